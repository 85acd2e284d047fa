"""Register one thumbnail on another, and measure how alike they are there.

Correlation is computed for all shifts at once by Fourier transforms and divided by how much of
the two pictures then overlaps; at the best shift it is computed once more, exactly, over the
overlap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from rareseg.data.look_alikes.thumbnails import F32, GRID, SHORTEST, Symmetry, Thumbnail, resize
from rareseg.data.look_alikes.thumbnails import transform as apply_symmetry

LEAST_OVERLAP = 0.5
"""How much of the smaller picture has to lie on the other."""
FARTHEST = {2: 30, 3: 8}
"""The largest shift that is looked at, in pixels of a picture."""
HOPELESS = 0.15
"""Photographs of half the size that nowhere correlate so much show different things.

Planted copies of scales that no file tells, which correlate least (of half the size, shifted by
8 %, turned, JPEG 40), reach 0.18 and more; 1.5 % of pairs of noise reach 0.15.
"""
SAME_SCALE = 1.3
"""Files whose longest sides differ by less than this factor may be cut from one, not rescaled."""
HINT = 0.15
"""From this correlation on, more scales are tried."""
MORE_SCALES = (0.95, 1.05, 0.9, 1.1)
FINER_SCALES = (0.975, 1.025)
"""Tried last, around the best scale so far."""


@dataclass(frozen=True)
class Placement:
    """Where the second of two images lies on the first, whatever their sizes.

    Its axes (y, x of photographs, z, y, x of volumes) are exchanged by ``order``, as in
    ``np.transpose``, and then turned round along ``flips``; it then fills the box from ``low`` to
    ``high``, in shares of the first image's sides, which may reach beyond [0, 1].
    """

    order: tuple[int, ...]
    flips: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def same(cls, dimension: int) -> Placement:
        """Return that of two images that cover each other."""
        return cls(tuple(range(dimension)), (), (0.0,) * dimension, (1.0,) * dimension)


@dataclass(frozen=True)
class Registration:
    """How the second of two thumbnails lies best on the first.

    ``similarity`` is the correlation over their overlap. The second is scaled by ``scale`` and
    lies ``shift`` pixels of the picture (y, x or z, y, x) farther on, which ``placement`` says in
    shares of the first.
    """

    similarity: float
    placement: Placement
    scale: float
    shift: tuple[int, ...]


def register(
    first: Thumbnail, others: Sequence[tuple[Thumbnail, Symmetry]], *, clear: float
) -> list[Registration]:
    """Return how each of ``others``, given with its symmetry, lies best on the first.

    As they stand, and at the scale of their files where these are of about one size; where
    neither reaches ``clear`` but something speaks for it, photographs at a few scales around.
    """
    pictures = [apply_symmetry(other.values, symmetry) for other, symmetry in others]
    best = _at_scale(first.values, pictures, [1.0] * len(others))
    ratios = [other.extent / first.extent for other, _ in others]
    again = [k for k, ratio in enumerate(ratios) if _tells_scale(ratio)]
    _improve(best, first.values, pictures, again, [ratios[k] for k in again])
    if first.picture.ndim == 2:
        for factor in (*MORE_SCALES, *FINER_SCALES):
            again = [k for k, found in enumerate(best) if HINT <= found[0] < clear]
            around = [best[k][2] if factor in FINER_SCALES else 1.0 for k in again]
            _improve(best, first.values, pictures, again, [scale * factor for scale in around])
    fits = []
    for (similarity, reversed_, scale, shift), picture, (_, symmetry) in zip(
        best, pictures, others, strict=True
    ):
        base = _shrunk(first.values, min(1.0, 1.0 / scale))
        laid = _shrunk(picture, min(1.0, scale))
        if similarity >= HINT:
            similarity = _between_pixels(base, np.flip(laid) if reversed_ else laid, shift)
        placement = _place(base.shape, laid.shape, symmetry, shift, reversed_=reversed_)
        fits.append(Registration(similarity, placement, scale, shift))
    return fits


def could_fit(first: Thumbnail, others: Sequence[tuple[Thumbnail, Symmetry]]) -> list[bool]:
    """Return which of ``others`` are worth :func:`register`, at a sixth of its time.

    Photographs are looked at in half the size, at the scales that their files tell; those that
    correlate with the first by less than ``HOPELESS`` are not. Volumes always are.
    """
    if first.picture.ndim != 2:
        return [True] * len(others)
    base = _halved(first.picture)
    pictures = [apply_symmetry(_halved(other.picture), symmetry) for other, symmetry in others]
    could = [mean >= HOPELESS for mean, _, _ in _coarse_shifts(base, pictures)]
    for k, (other, _) in enumerate(others):
        ratio = other.extent / first.extent
        if not could[k] and _tells_scale(ratio):
            laid = _shrunk(pictures[k], min(1.0, ratio))
            ((mean, _, _),) = _coarse_shifts(_shrunk(base, min(1.0, 1.0 / ratio)), [laid])
            could[k] = mean >= HOPELESS
    return could


def _halved(picture: NDArray[np.int8]) -> F32:
    """Return a photograph's picture in half the size, with a mean square of 1."""
    y, x = (n // 2 * 2 for n in picture.shape)
    rows = picture[:y:2, :x].astype(np.float32) + picture[1:y:2, :x]
    small = rows[:, ::2] + rows[:, 1::2]
    return np.asarray(small / np.sqrt(np.vdot(small, small) / small.size + 1e-12), np.float32)


def _coarse_shifts(first: F32, others: Sequence[F32]) -> list[tuple[float, bool, tuple[int, ...]]]:
    return _best_shifts(first, others, GRID[2] // 2, FARTHEST[2] // 2)


def _tells_scale(ratio: float) -> bool:
    """Whether the sides of two files differ, and by so little that they may be cut from one."""
    return 0.015 < abs(math.log(ratio)) < math.log(SAME_SCALE)


def _place(
    base: tuple[int, ...],
    laid: tuple[int, ...],
    symmetry: Symmetry,
    shift: tuple[int, ...],
    *,
    reversed_: bool,
) -> Placement:
    """Return a placement from shapes and the shift in pixels of one common scale."""
    order, turned = symmetry
    return Placement(
        order=order,
        flips=tuple(axis for axis in range(len(base)) if (axis in turned) != reversed_),
        low=tuple(round(-s / n, 4) for n, s in zip(base, shift, strict=True)),
        high=tuple(round((m - s) / n, 4) for n, m, s in zip(base, laid, shift, strict=True)),
    )


_Found = tuple[float, bool, float, tuple[int, ...]]


def _improve(
    best: list[_Found], first: F32, pictures: Sequence[F32], which: list[int], scales: list[float]
) -> None:
    for k, found in zip(which, _at_scale(first, [pictures[k] for k in which], scales), strict=True):
        best[k] = max(best[k], found, key=lambda f: f[0])


def _at_scale(first: F32, pictures: Sequence[F32], scales: Sequence[float]) -> list[_Found]:
    """Lay each picture, scaled, on the first; where it would grow, the first shrinks instead."""
    found: list[_Found | None] = [None] * len(pictures)
    for factor in sorted({max(scale, 1.0) for scale in scales}):
        which = [k for k, scale in enumerate(scales) if max(scale, 1.0) == factor]
        base = _shrunk(first, 1.0 / factor)
        small = [_shrunk(pictures[k], min(scales[k], 1.0)) for k in which]
        for k, (similarity, reversed_, shift) in zip(which, _shifts(base, small), strict=True):
            found[k] = (similarity, reversed_, scales[k], shift)
    return [f for f in found if f is not None]


def _shrunk(picture: F32, scale: float) -> F32:
    if scale == 1.0:
        return picture
    return resize(picture, [max(SHORTEST, round(n * scale)) for n in picture.shape])


def _shifts(first: F32, others: Sequence[F32]) -> list[tuple[float, bool, tuple[int, ...]]]:
    """Return for each the correlation at its best shift, whether turned round, and that shift."""
    found = _best_shifts(first, others, GRID[first.ndim], FARTHEST[first.ndim])
    return [
        (_correlation(first, np.flip(other) if reversed_ else other, shift), reversed_, shift)
        if mean > -np.inf
        else (0.0, False, shift)
        for (mean, reversed_, shift), other in zip(found, others, strict=True)
    ]


def _best_shifts(
    first: F32, others: Sequence[F32], side: int, far: int
) -> list[tuple[float, bool, tuple[int, ...]]]:
    """Return for each the largest mean product, whether turned round, and the shift.

    Of pictures that fit on a grid of so many pixels a ``side``, shifted by up to ``far`` of them;
    minus infinity where none of these shifts leaves enough in common.
    """
    grid, axes = (side,) * first.ndim, tuple(range(1, first.ndim + 1))
    stack = np.zeros((len(others), *grid), np.float32)
    for row, picture in zip(stack, others, strict=True):
        row[tuple(slice(0, n) for n in picture.shape)] = picture
    waves = fft.rfftn(stack, axes=axes)
    base = np.conj(fft.rfftn(first, grid))
    # A transform's conjugate belongs to the picture turned round about its first pixel.
    products = [fft.irfftn(base * turned, grid, axes=axes) for turned in (waves, np.conj(waves))]
    found = []
    for k, picture in enumerate(others):
        overlap, usable, indices = _tried(first.shape, picture.shape, side, far)
        options = []
        for reversed_, product in enumerate(products):
            mean = np.where(usable, product[k][indices[reversed_]] / overlap, -np.inf)
            place = np.unravel_index(int(mean.argmax()), mean.shape)
            shift = tuple(int(p) - far for p in place)
            options.append((float(mean[place]), bool(reversed_), shift))
        found.append(max(options) if usable.any() else (-np.inf, False, (0,) * first.ndim))
    return found


def _between_pixels(first: F32, other: F32, shift: tuple[int, ...]) -> float:
    """Return the correlation at the best place between pixels, each axis by a parabola."""
    middle = _correlation(first, other, shift)
    part = []
    for axis in range(first.ndim):
        step = np.arange(first.ndim) == axis
        below, above = (
            _correlation(first, other, tuple((np.array(shift) + sign * step).tolist()))
            for sign in (-1, 1)
        )
        bend = below - 2.0 * middle + above
        part.append(float(np.clip(0.5 * (below - above) / bend, -0.5, 0.5)) if bend < 0 else 0.0)
    moved = ndimage.shift(other, [-p for p in part], order=3, mode="nearest")
    return max(middle, _correlation(first, moved, shift))


@lru_cache(maxsize=64)
def _tried(
    first: tuple[int, ...], other: tuple[int, ...], side: int, far: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_], tuple[tuple[NDArray[np.int_], ...], ...]]:
    """Return of every shift the overlap (1 at least), whether it is enough, and where it stands.

    Where in the product of two transforms, for the other as it is and for it turned round.
    Pictures of a data set have few shapes.
    """
    shifts = np.arange(-far, far + 1)
    overlap = _overlap(first, other, shifts)
    usable = overlap >= LEAST_OVERLAP * min(np.prod(first), np.prod(other))
    ends = [0] * len(other), [n - 1 for n in other]
    indices = tuple(np.ix_(*[(shifts - end) % side for end in own]) for own in ends)
    return np.maximum(overlap, 1), usable, indices


def _overlap(
    first: tuple[int, ...], other: tuple[int, ...], shifts: NDArray[np.int_]
) -> NDArray[np.float64]:
    """Return how many pixels overlap at each shift of the other, one axis per dimension."""
    product = np.ones((), np.float64)
    for a, b in zip(first, other, strict=True):
        common = np.maximum(np.minimum(a, b - shifts) - np.maximum(0, -shifts), 0)
        product = product[..., None] * common
    return product


def _correlation(first: F32, other: F32, shift: tuple[int, ...]) -> float:
    """Return the correlation of ``first[x]`` and ``other[x + shift]`` where both are."""
    start = [max(0, -s) for s in shift]
    stop = [min(a, b - s) for a, b, s in zip(first.shape, other.shape, shift, strict=True)]
    here = first[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    there = other[tuple(slice(a + s, b + s) for a, b, s in zip(start, stop, shift, strict=True))]
    x, y = here - here.mean(), there - there.mean()
    return float(np.sum(x * y) / np.sqrt(np.sum(x * x) * np.sum(y * y) + 1e-12))
