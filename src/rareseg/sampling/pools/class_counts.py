"""Count the classes in patches, in compiled code."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from rareseg_runner.image_records import IGNORE

BLOCK = 64
"""Voxels that are compared at once: one cache line of bytes."""


def count_classes(labels: NDArray[np.uint8]) -> tuple[NDArray[np.int64], int]:
    """Return the voxels per class index, (256,), and the number of patches with foreground.

    ``labels`` is uint8 (B, *patch).
    """
    voxels = np.zeros(IGNORE + 1, np.int64)
    positive = _count_all(np.ascontiguousarray(labels).reshape(-1), len(labels), voxels)
    return voxels, int(positive)


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _count_all(labels, patches, voxels):  # type: ignore[no-untyped-def]
    positive = 0
    size = np.uint64(len(labels) // max(patches, 1))
    tables = np.zeros((4, IGNORE + 1), np.int64)
    for b in range(np.uint64(patches)):
        count_stretch(labels, b * size, (b + np.uint64(1)) * size, tables)
        positive += add_up_tables(tables, voxels)
    return positive


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def count_stretch(labels, first, end, tables):  # type: ignore[no-untyped-def]
    """Count the classes of the places first … end − 1, unsigned, into (4, 256) tables.

    Most blocks are of one class and are counted at once. In the others neighbours go to different
    tables, so that one need not wait for the sum that the last has just written.
    """
    while first + np.uint64(BLOCK) <= end:
        value, differs = labels[first], np.uint8(0)
        for i in range(BLOCK):
            differs |= labels[first + np.uint64(i)] ^ value
        if differs == 0:
            tables[0, value] += BLOCK
        else:
            for i in range(0, BLOCK, 4):
                for j in range(4):
                    tables[j, labels[first + np.uint64(i + j)]] += 1
        first += np.uint64(BLOCK)
    if first == end:
        return
    value, differs = labels[first], np.uint8(0)
    for i in range(first, end):
        differs |= labels[i] ^ value
    if differs == 0:
        tables[0, value] += np.int64(end - first)
    else:
        for i in range(first, end):
            tables[i & np.uint64(3), labels[i]] += 1


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def add_up_tables(tables, voxels):  # type: ignore[no-untyped-def]
    """Add what the tables count of one patch and clear them; tell whether any is foreground."""
    foreground = False
    for value in range(IGNORE + 1):
        total = tables[0, value] + tables[1, value] + tables[2, value] + tables[3, value]
        voxels[value] += total
        foreground |= total > 0 and value != 0 and value != IGNORE
    tables[:] = 0
    return foreground
