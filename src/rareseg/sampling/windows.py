"""Where a window lies, given its centre, and what it then really holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numba
import numpy as np
from numpy.typing import NDArray

from rareseg.errors import UsageError

Border = Literal["reflect", "background", "shift"]
"""What happens where a window reaches over the image's edge.

``reflect`` mirrors the image without repeating the edge, as often as needed; ``background`` pads
with the case's own surrounding value; ``shift`` moves the window back inside. An axis that is
shorter than the window cannot be shifted into: there the image lies in the middle, padded with
background. Labels outside the image are always ``IGNORE``.
"""

BORDERS: tuple[Border, ...] = ("reflect", "background", "shift")


def as_zyx(patch_size: Sequence[int]) -> tuple[int, int, int]:
    """Return a patch size (y, x) or (z, y, x) as (z, y, x); two axes are one axial plane.

    Raises :class:`UsageError` for another number of axes or a size below 1.
    """
    if len(patch_size) not in (2, 3) or min(patch_size) < 1:
        raise UsageError(
            f"The patch size is {tuple(patch_size)}; it must be (y, x) or (z, y, x), each at "
            "least 1."
        )
    z, y, x = (1, *patch_size) if len(patch_size) == 2 else patch_size
    return int(z), int(y), int(x)


def corners(
    centre: NDArray[np.int64], shape: NDArray[np.integer], patch: Sequence[int], border: Border
) -> NDArray[np.int64]:
    """Return the first voxel of the window about each centre: ``centre − patch // 2``, or shifted.

    ``centre`` and ``shape`` are (..., axes); ``patch`` has one size per axis. Corners are negative
    where a window begins outside its image. Every window contains its centre.
    """
    size = np.asarray(patch, np.int64)
    corner: NDArray[np.int64] = centre - size // 2
    if border == "shift":
        room = shape - size
        corner = np.where(room >= 0, np.clip(corner, 0, np.maximum(room, 0)), room // 2)
    return corner


def window_counts(
    mask: NDArray[np.bool_], patch: tuple[int, int, int], border: Border
) -> NDArray[np.int32]:
    """Count the voxels that are set in the window about every voxel, exactly.

    ``mask`` is (Z, Y, X), the result too. What lies outside the image counts nothing, also under
    ``reflect``: labels are ``IGNORE`` there. One pass of running sums, whatever the patch size.
    """
    bounds = []
    for n, size in zip(mask.shape, patch, strict=True):
        first = corners(np.arange(n)[:, None], np.array([n]), (size,), border)[:, 0]
        bounds += [first.clip(0, n), (first + size).clip(0, n)]
    counts = np.empty(mask.shape, np.int32)
    _running_sums(np.ascontiguousarray(mask).view(np.uint8), *bounds, counts)
    return counts


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _running_sums(  # type: ignore[no-untyped-def]
    mask, z_low, z_high, y_low, y_high, x_low, x_high, counts
):
    """Sum ``mask`` over [low, high) of each axis; the bounds ascend, so that each sum slides."""
    depth, height, width = mask.shape
    plane = np.zeros((height, width), np.int32)
    column = np.empty(width, np.int32)
    before = np.zeros(width + 1, np.int32)
    z_in, z_out = 0, 0
    for z in range(depth):
        while z_in < z_high[z]:
            plane += mask[z_in]
            z_in += 1
        while z_out < z_low[z]:
            plane -= mask[z_out]
            z_out += 1
        column[:] = 0
        y_in, y_out = 0, 0
        for y in range(height):
            while y_in < y_high[y]:
                column += plane[y_in]
                y_in += 1
            while y_out < y_low[y]:
                column -= plane[y_out]
                y_out += 1
            total = np.int32(0)
            for x in range(width):
                total += column[x]
                before[x + 1] = total
            row = counts[z, y]
            for x in range(width):
                row[x] = before[x_high[x]] - before[x_low[x]]
