"""Compute area openings of thresholded scores for every component size at once.

A voxel that reaches the first ``n`` thresholds of a grid has level ``n``. Removing components of
fewer than ``s`` voxels at every threshold lowers its level to that of the highest threshold at
which its component is large enough, and no further: components only grow as the threshold falls.
That is the area opening of the levels (Vincent 1993), found here with union-find in one pass over
the voxels from the highest level down (Meijster and Wilkinson 2002).
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from rareseg.errors import UsageError
from rareseg_runner.components import bounding_box

Levels = NDArray[np.uint8]


def levels_of(scores: NDArray[np.float32], thresholds: NDArray[np.float32]) -> Levels:
    """Return how many of the ascending ``thresholds`` (at most 255) each score reaches."""
    if len(thresholds) > 255:
        raise UsageError(f"Levels of {len(thresholds)} thresholds do not fit; give at most 255.")
    return np.searchsorted(thresholds, scores, side="right").astype(np.uint8)


def open_levels(levels: Levels, smallest: Sequence[int]) -> Levels:
    """Return (s, Z, Y, X): levels without components of fewer than each of ``smallest`` voxels.

    ``levels`` is (Z, Y, X) uint8. A voxel is on at threshold ``k`` and size ``smallest[i]`` where
    the result at ``i`` is above ``k``. Components are 26-connected (8-connected in one slice);
    sizes of 0 and 1 keep everything. Memory: about 16 bytes per voxel of the box above level 0.
    """
    opened = np.zeros((len(smallest), *levels.shape), np.uint8)
    box = bounding_box(levels > 0)
    if box is None:
        return opened
    part = np.ascontiguousarray(levels[box])
    flat = part.ravel()
    order = np.argsort(255 - flat, kind="stable")[: np.count_nonzero(flat)]
    shape = np.array(part.shape, np.int64)
    for i, size in enumerate(smallest):
        result = part if size <= 1 else _opened(flat, order, shape, size).reshape(part.shape)
        opened[i][box] = result
    return opened


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _opened(
    flat: Levels, order: NDArray[np.int64], shape: NDArray[np.int64], smallest: int
) -> Levels:
    """Return the opening of one size; ``order`` are the voxels above 0, highest level first."""
    depth, height, width = shape
    parent = np.full(len(flat), -1, np.int64)
    area = np.zeros(len(flat), np.int64)
    entered = np.zeros(len(flat), np.bool_)
    for voxel in order:
        parent[voxel] = voxel
        area[voxel] = 1
        entered[voxel] = True
        z, rest = divmod(voxel, height * width)
        y, x = divmod(rest, width)
        for nz in range(max(0, z - 1), min(depth, z + 2)):
            for ny in range(max(0, y - 1), min(height, y + 2)):
                for nx in range(max(0, x - 1), min(width, x + 2)):
                    other = (nz * height + ny) * width + nx
                    if not entered[other] or other == voxel:
                        continue
                    root = other
                    # Path halving: every look-up shortens the way of the next.
                    while parent[root] != root:
                        parent[root] = parent[parent[root]]
                        root = parent[root]
                    if root == voxel:
                        continue
                    if flat[root] == flat[voxel] or area[root] < smallest:
                        area[voxel] += area[root]
                        parent[root] = voxel
                    else:
                        # That component is large enough already, and so is what joins it.
                        area[voxel] = smallest
    opened = np.zeros_like(flat)
    # Backwards: a parent entered after its children, so that its value is known before theirs.
    for k in range(len(order) - 1, -1, -1):
        voxel = order[k]
        if parent[voxel] != voxel:
            opened[voxel] = opened[parent[voxel]]
        elif area[voxel] >= smallest:
            opened[voxel] = flat[voxel]
    return opened
