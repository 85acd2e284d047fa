"""Show a network of an engine a whole image: its slices or windows, and mirror images.

As :func:`rareseg.prediction.scorer.score_array` does it with torch and MONAI: the same windows, the
same weights where they overlap, the same mean over mirrors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.scoring.image_scores import ArrayScores
from rareseg_runner.scoring.model_description import ScoringSettings

Array = NDArray[np.float32]

PIXELS_AT_ONCE = 2**18
"""Slices are given to the network side by side up to so many pixels."""

_SIGMA = 0.125
"""Of the Gaussian weights of a window, in its sides: as in MONAI and nnU-Net."""

_LEAST_WEIGHT = 1e-3


class EngineNetwork(Protocol):
    """A network that an engine computes. Threads must not share one."""

    def __call__(self, images: Array) -> tuple[Array, Array | None]:
        """From images (image, channel, *space) to logits (image, class, *space) and log-odds.

        The log-odds (image, region) that an image holds each region are None where the network
        says nothing of whole images. Each side of the images is a multiple of its stride.
        """


def score_with_engine(
    network: EngineNetwork, array: Array, settings: ScoringSettings
) -> ArrayScores:
    """Return what a network says of a normalised array (channel, z, y, x).

    In 2D every slice is an image of its own; slices of one value alone are computed once for each
    value. An image no larger than the tile is taken at once, padded by reflection to the network's
    stride; a larger one in windows, blended with Gaussian weights. Softmax is computed in float32.
    The presence is the largest over windows and slices, then the mean over mirrors.
    """
    if settings.dimension == 3:
        probabilities, odds = _score_images(network, array[np.newaxis], settings)
        return ArrayScores(probabilities[0], _presence([odds]))
    slices = array.transpose(1, 0, 2, 3)
    of, different = _different_slices(slices)
    at_once = max(1, PIXELS_AT_ONCE // max(1, slices[0, 0].size))
    found, said = [], []
    for first in range(0, len(different), at_once):
        batch = slices[different[first : first + at_once]]
        probabilities, odds = _score_images(network, batch, settings)
        found.append(probabilities)
        said.append(odds)
    every = np.concatenate(found)[of]
    return ArrayScores(np.ascontiguousarray(every.transpose(1, 0, 2, 3)), _presence(said))


def _different_slices(slices: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return for every slice which of the computed ones it equals, and which are computed.

    Of slices whose channels hold one value each, as beyond a body, equal ones are computed once.
    """
    flat = slices.reshape(len(slices), slices.shape[1], -1)
    constant = (flat == flat[:, :, :1]).all(axis=(1, 2))
    known: dict[bytes, int] = {}
    of: list[int] = []
    different: list[int] = []
    for number, is_constant in enumerate(constant):
        key = flat[number, :, 0].tobytes() if is_constant else b""
        if is_constant and key in known:
            of.append(known[key])
            continue
        if is_constant:
            known[key] = len(different)
        of.append(len(different))
        different.append(number)
    return np.array(of, np.intp), np.array(different, np.intp)


def _score_images(
    network: EngineNetwork, batch: Array, settings: ScoringSettings
) -> tuple[Array, Array | None]:
    """Return probabilities (image, class, *space) and log-odds (mirror, image, region) or None."""
    space = batch.shape[2:]
    padded = _pad_to_stride(batch, settings.stride)
    mirrors = flipped_axes(len(space), mirror=settings.mirror)
    total: Array | None = None
    said: list[Array] = []
    for flipped in mirrors:
        logits, odds = _logits(network, np.flip(padded, flipped), settings, space)
        scores = np.flip(_softmax(logits), flipped)
        total = scores if total is None else total + scores
        if odds is not None:
            said.append(odds)
    assert total is not None
    mean = total / np.float32(len(mirrors))
    within = (slice(None), slice(None), *(slice(0, side) for side in space))
    return np.asarray(mean[within], np.float32), np.stack(said) if said else None


def _logits(
    network: EngineNetwork, images: Array, settings: ScoringSettings, space: Sequence[int]
) -> tuple[Array, Array | None]:
    """Return the logits of padded images, and the largest log-odds over the windows of each."""
    tile = settings.tile
    if tile is None or all(a <= b for a, b in zip(space, tile, strict=True)):
        return network(np.ascontiguousarray(images))
    size = window_within(tile, images.shape[2:], settings.stride)
    weights = gaussian_weights(size)
    total: Array | None = None
    covered = np.zeros(images.shape[2:], np.float32)
    largest: Array | None = None
    for corner in window_corners(images.shape[2:], size, settings.overlap):
        place = tuple(slice(low, low + side) for low, side in zip(corner, size, strict=True))
        logits, odds = network(np.ascontiguousarray(images[(slice(None), slice(None), *place)]))
        if total is None:
            total = np.zeros((len(images), logits.shape[1], *images.shape[2:]), np.float32)
        total[(slice(None), slice(None), *place)] += logits * weights
        covered[place] += weights
        if odds is not None:
            largest = odds if largest is None else np.maximum(largest, odds)
    assert total is not None
    return total / covered, largest


def flipped_axes(dimension: int, *, mirror: bool) -> list[tuple[int, ...]]:
    """Return which axes of (image, channel, *space) each mirror image flips; () is the image."""
    if not mirror:
        return [()]
    every = product((False, True), repeat=dimension)
    return [tuple(axis + 2 for axis, on in enumerate(own) if on) for own in every]


def reflected_places(side: int, multiple: int) -> NDArray[np.intp]:
    """Return the places along an axis, with its reflection at the far end up to a multiple."""
    period = max(1, 2 * (side - 1))
    places = np.arange(-(-side // multiple) * multiple) % period
    return np.asarray(np.where(places < side, places, period - places), np.intp)


def window_within(tile: Sequence[int], space: Sequence[int], multiple: int) -> tuple[int, ...]:
    """Return the tile, rounded up to the stride and no larger than the padded image."""
    return tuple(
        min(-(-side // multiple) * multiple, whole) for side, whole in zip(tile, space, strict=True)
    )


def window_corners(
    space: Sequence[int], size: Sequence[int], overlap: float
) -> Iterator[tuple[int, ...]]:
    """Give the corners of the windows that cover an image, the last of each axis at its far end."""
    along = []
    for whole, side in zip(space, size, strict=True):
        step = whole if side == whole else max(1, int(side * (1.0 - overlap)))
        count = next(k for k in range(whole + 1) if k * step + side >= whole) + 1
        along.append([min(k * step, whole - side) for k in range(count)])
    return product(*along)


def gaussian_weights(size: Sequence[int]) -> Array:
    """Return the weight of each voxel of a window: largest in the middle, at least 0.001."""
    weights = np.ones((1,) * len(size), np.float32)
    for axis, side in enumerate(size):
        places = np.arange(-(side - 1) / 2.0, (side - 1) / 2.0 + 1.0, dtype=np.float32)
        own = np.exp(places**2 / np.float32(-2.0 * (side * _SIGMA) ** 2))
        weights = weights * own.reshape([-1 if k == axis else 1 for k in range(len(size))])
    return np.maximum(weights, max(float(weights.min()), _LEAST_WEIGHT)).astype(np.float32)


def _softmax(logits: Array) -> Array:
    """Return the softmax over classes (axis 1), in float32."""
    scores = logits.astype(np.float32)
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores


def _pad_to_stride(batch: Array, multiple: int) -> Array:
    """Pad the far end of every axis to a multiple by reflection, however small the image is."""
    for axis in range(2, batch.ndim):
        if batch.shape[axis] % multiple:
            batch = batch.take(reflected_places(batch.shape[axis], multiple), axis=axis)
    return batch


def _presence(said: Sequence[Array | None]) -> Array | None:
    """Return the presence (regions,): the largest over images, then the mean over mirrors."""
    odds = [own for own in said if own is not None]
    if not odds:
        return None
    largest = np.concatenate(odds, axis=1).max(axis=1).astype(np.float32)
    return np.asarray((1.0 / (1.0 + np.exp(-largest))).mean(axis=0), np.float32)
