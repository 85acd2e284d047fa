"""Read labels out of what a mask file holds: channels, colours, floats and classes in layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.errors import ReadError
from rareseg_runner.image_records import Image, Mask, Palette

NEAREST = 1e-3
"""The largest distance from a whole number at which a float is that number (0.99999 is 1)."""
NOISE = 1e-6
"""The largest value that rounding to 0 may lose; more may be a small probability."""
NEAREST_SCALED = 0.05
"""The same for integers that a header scales: 84 · 0.0117647 = 0.988 is 1."""


def labels_of(image: Image, path: Path, *, colours: bool) -> Mask:
    """Return the labels (z, y, x) of a mask file that was read as (channel, z, y, x).

    Equal channels are one. Else, of a picture (``colours``: red, green and blue of 8 bits), one
    colour on black is 1; of anything else, channels are classes (see :func:`from_one_hot`). Floats
    are labels where all are whole numbers.

    Raises:
        ReadError: several colours, overlapping classes, fractions, NaN or more than 32 bits.
    """
    array = image.array
    if any(not np.array_equal(array[0], other) for other in array[1:]):
        if colours and len(array) == 3 and array.dtype == np.uint8:
            labels, palette = from_colours(array.astype(np.uint8, copy=False), path)
            return Mask(labels, image.geometry, palette=palette)
        return Mask(from_one_hot(whole(array, path), path), image.geometry)
    return Mask(whole(array[0], path), image.geometry, palette=image.palette)


def whole(array: NDArray[Any], path: Path) -> NDArray[np.integer]:
    """Return integers: floats within ``NEAREST`` of whole numbers as int32, bits as uint8.

    Raises ReadError for other floats. No value above ``NOISE`` becomes 0, so that a map of small
    probabilities is never taken for an empty mask.
    """
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind != "f":
        return array
    within = np.abs(array) < 2**31  # neither are NaN and infinities
    rounded = np.round(np.where(within, array, 0))
    lost = (rounded == 0) & (np.abs(array) > NOISE)
    if not within.all() or lost.any() or (np.abs(array - rounded) > NEAREST).any():
        raise ReadError(
            f"{path} is a mask with values that are no whole numbers (such as probabilities) "
            "or need more than 32 bits; round them to one number per class, or cut "
            "probabilities with --binarize 0.5."
        )
    return rounded.astype(np.int32)


def unscaled(
    stored: NDArray[np.integer], slope: float, intercept: float, path: Path
) -> NDArray[np.integer]:
    """Return the labels of integers whose header says ``value = stored · slope + intercept``.

    Each distinct value must lie near a whole number and no two near the same one; so probabilities
    as scaled integers are refused, and a label that rounding left at 0.988 is 1.
    """
    found, where = np.unique(stored, return_inverse=True)
    values = found.astype(np.float64) * slope + intercept
    labels = np.round(values)
    distinct = len(np.unique(labels)) == len(labels)
    if not distinct or (np.abs(values - labels) > NEAREST_SCALED).any():
        raise ReadError(
            f"{path} is a mask whose header scales its values to {_some(values)}, which are no "
            "whole numbers; save it without a scale (scl_slope), one number per class."
        )
    return np.asarray(labels.astype(np.int32)[where].reshape(stored.shape))


def from_colours(array: NDArray[np.uint8], path: Path) -> tuple[NDArray[np.uint8], Palette]:
    """Return 1 where a picture (3, z, y, x) has its one colour, 0 where it is black.

    Raises ReadError where there are several colours: which class each stands for is not said.
    """
    red, green, blue = array.astype(np.int32)
    packed = (red << 16) | (green << 8) | blue
    found = np.unique(packed)
    colours = [(int(c) >> 16, (int(c) >> 8) & 255, int(c) & 255) for c in found if c]
    if len(colours) > 1:
        names = ", ".join("#{:02x}{:02x}{:02x}".format(*colour) for colour in colours[:4])
        raise ReadError(
            f"{path} is a mask in colours ({len(colours)} beside black: {names}"
            f"{', …' if len(colours) > 4 else ''}), which say no class; name the colour "
            "of each class with --colours ff0000,00ff00, or put a labelmap.txt beside the folder "
            "of masks (a line name:red,green,blue for each class)."
        )
    return (packed != 0).astype(np.uint8), ((1, colours[0]),)


def palette_of(used: NDArray[Any], colours: NDArray[Any]) -> Palette:
    """Return the colours (index, 3), 0 to 255, of the indices that occur, ascending."""
    found = zip(used, colours[used], strict=True)
    return tuple((int(index), (int(r), int(g), int(b))) for index, (r, g, b) in found)


def from_one_hot(array: NDArray[np.integer], path: Path) -> NDArray[np.uint8]:
    """Return the class of each voxel of (channel, z, y, x), of which at most one is not 0.

    Where every voxel has one, the first channel is the background: a voxel's label is the number of
    its channel, from 0. Else it is that number from 1, and 0 where no channel is set.

    Raises ReadError for channels that hold several values, or overlap.
    """
    for number, channel in enumerate(array):
        values = np.unique(channel)
        if len(values[values != 0]) > 1:
            raise ReadError(
                f"{path} is a mask of {len(array)} channels that differ, and channel {number} "
                f"holds {_some(values)}: they are no one-hot classes of 0 and one other value; "
                "export one number per class."
            )
    count = np.count_nonzero(array, axis=0)
    if count.max() > 1:
        pair = [int(k) for k in np.flatnonzero(array[(slice(None), *np.argwhere(count > 1)[0])])]
        raise ReadError(
            f"{path} is a one-hot mask whose channels overlap in {int((count > 1).sum())} voxels "
            f"(as {pair[0]} and {pair[1]}); one number per voxel says one class: export each as a "
            "mask of its own, or decide which one counts."
        )
    if len(array) > 255:
        raise ReadError(f"{path} is a one-hot mask of {len(array)} channels; at most 255 are read.")
    labels = np.argmax(array != 0, axis=0)
    if count.min() == 0:
        labels = np.where(count > 0, labels + 1, 0)
    return np.asarray(labels, np.uint8)


def _some(values: NDArray[Any]) -> str:
    more = ", …" if len(values) > 4 else ""
    return ", ".join(f"{float(value):.4g}" for value in values[:4]) + more
