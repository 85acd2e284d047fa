"""Compute where a window lies, given its centre."""

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
    corner = np.empty(centre.shape, np.int64)
    axes = centre.shape[-1]
    _corners(
        np.ascontiguousarray(centre, np.int64).reshape(-1, axes),
        np.broadcast_to(shape, centre.shape).reshape(-1, axes),
        tuple(map(int, patch)),
        border == "shift",
        corner.reshape(-1, axes),
    )
    return corner


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _corners(centre, shape, patch, shift, corner):  # type: ignore[no-untyped-def]
    for i in range(len(centre)):
        for axis in range(len(patch)):
            corner[i, axis] = centre[i, axis] - patch[axis] // 2
            room = shape[i, axis] - patch[axis]
            # An image that is smaller than the window lies in its middle.
            if shift and room < 0:
                corner[i, axis] = room // 2
            elif shift:
                corner[i, axis] = min(max(corner[i, axis], 0), room)
