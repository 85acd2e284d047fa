"""Compare the masks of two images of the same content where the images overlap.

Of each mask the share of every class in each voxel of a small grid is kept. The second's are
brought onto the first's grid as the two images lie (found with the look-alikes), and compared
class by class over what both show.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rareseg.data.look_alikes import Placement

Floats = NDArray[np.float32]

LONGEST = {2: 96, 3: 32}
"""Voxels of a miniature's longest side, in photographs and in volumes."""
SAME = 0.5
"""Below this overlap (dice), two masks of the same content differ."""
LEAST = 8.0
"""Voxels of the original image below which a class is hardly drawn at all."""


@dataclass(frozen=True, eq=False)
class Miniature:
    """A mask made small: ``shares`` (classes − 1, z, y, x) in [0, 1].

    ``factor`` is how many of the original's voxels lie under one of the miniature's.
    """

    shares: Floats
    factor: float


@dataclass(frozen=True)
class MaskComparison:
    """Whether two masks of the same content differ, and what is seen ("" where they do not)."""

    differ: bool
    words: str


def shrink_mask(labels: NDArray[np.uint8], n_classes: int) -> Miniature:
    """Return the miniature of class indices (z, y, x)."""
    longest = LONGEST[2 if labels.shape[0] == 1 else 3]
    scale = longest / max(labels.shape)
    shape = [max(1, round(n * scale)) if n > 1 else 1 for n in labels.shape]
    shares = [_resize((labels == k).astype(np.float32), shape) for k in range(1, n_classes)]
    stacked = np.stack(shares) if shares else np.zeros((0, *shape), np.float32)
    return Miniature(stacked, float(labels.size / np.prod(shape)))


def compare_masks(
    first: Miniature, second: Miniature, placement: Placement, names: tuple[str, ...]
) -> MaskComparison:
    """Say whether two masks of the same content differ; ``names`` are those of the classes.

    ``placement`` says where the second lies on the first. The background comes first among
    ``names``. A class differs where one mask lacks it altogether and the other has it where both
    images look, or where the overlap is below ``SAME``, unless most of it lies where the first does
    not look.
    """
    grid = first.shares.shape[1:]
    both = _moved_onto(np.ones(second.shares.shape[1:], np.float32), grid, placement)
    worst, worst_name = 1.0, ""
    for name, own, other in zip(names[1:], first.shares, second.shares, strict=True):
        a, b = own * both, _moved_onto(other, grid, placement)
        here, there = float(a.sum()) * first.factor, float(b.sum()) * first.factor
        drawn = (float(own.sum()) * first.factor, float(other.sum()) * second.factor)
        if min(drawn) < 1.0 and max(here, there) >= LEAST:
            words = f"{name} is drawn in one ({max(drawn):,.0f} voxels) and not in the other"
            return MaskComparison(True, words)
        # What lies beyond the common field of view cannot agree.
        seen_by_both = min(a.sum() / max(own.sum(), 1e-9), there / max(drawn[1], 1e-9)) >= 0.5
        if seen_by_both and max(here, there) >= LEAST:
            overlap = _overlap(a, b)
            if overlap < worst:
                worst, worst_name = overlap, name
    if worst < SAME:
        return MaskComparison(True, f"the masks of {worst_name} overlap by {worst:.2f}")
    return MaskComparison(False, "")


def _moved_onto(share: Floats, grid: tuple[int, ...], placement: Placement) -> Floats:
    """Return what a share (z, y, x) of the second image is on the grid of the first; 0 beyond."""
    ahead = len(grid) - len(placement.order)  # photographs have a z axis of one slice
    order = (*range(ahead), *(axis + ahead for axis in placement.order))
    turned = np.flip(share.transpose(order), tuple(axis + ahead for axis in placement.flips))
    low, high = (0.0,) * ahead + placement.low, (1.0,) * ahead + placement.high
    sizes = zip(turned.shape, grid, low, high, strict=True)
    step = np.array([n / (m * (end - begin)) for n, m, begin, end in sizes])
    # Places are those of the voxels' centres, half a voxel inside.
    start = step * (0.5 - np.array(low) * np.array(grid)) - 0.5
    laid = ndimage.affine_transform(turned, step, start, grid, order=1, mode="grid-constant")
    return np.asarray(laid, np.float32)


def _overlap(a: Floats, b: Floats) -> float:
    """Return the dice of two shares, at the best of the shifts by one voxel."""
    total = float(a.sum() + b.sum())
    steps = [(-1, 0, 1) if size > 1 else (0,) for size in a.shape]
    shifted = (np.roll(b, step, (0, 1, 2)) for step in product(*steps))
    return max(2.0 * float(np.minimum(a, other).sum()) / total for other in shifted)


def _resize(array: Floats, shape: list[int]) -> Floats:
    """Return the array at another shape: every axis by the means of what lies under a voxel."""
    for axis, size in enumerate(shape):
        if array.shape[axis] != size:
            array = _resize_axis(array, axis, size)
    return array


def _resize_axis(array: Floats, axis: int, size: int) -> Floats:
    edges = np.linspace(0.0, array.shape[axis], size + 1)
    total = np.concatenate(
        [np.zeros_like(array.take([0], axis)), np.cumsum(array, axis, dtype=np.float64)], axis
    )
    low = np.floor(edges).astype(int).clip(0, array.shape[axis] - 1)
    part = (edges - low).reshape([-1 if k == axis else 1 for k in range(array.ndim)])
    at_edges = total.take(low, axis) * (1 - part) + total.take(low + 1, axis) * part
    widths = np.diff(edges).reshape([-1 if k == axis else 1 for k in range(array.ndim)])
    return np.asarray(np.diff(at_edges, axis=axis) / widths, np.float32)
