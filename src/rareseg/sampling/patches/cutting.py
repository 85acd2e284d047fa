"""Cut patches from the store at given places, and count their classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from rareseg.data.store.store import Store
from rareseg.sampling.patches.cache_hints import LINE, prefetch
from rareseg.sampling.patches.places import Places
from rareseg.sampling.pools.class_counts import add_up_tables, count_stretch
from rareseg.sampling.pools.windows import Border, as_zyx
from rareseg_runner.image_records import IGNORE

ROWS_AHEAD = 8
"""A row of a patch is asked for when this many rows before it are copied."""


@dataclass(frozen=True, eq=False)
class Patches:
    """B patches as they were cut.

    ``images`` float32 (B, C, *patch), ``labels`` uint8 (B, *patch) class indices. ``voxels``
    (256,) int64 counts the labels by index, ``with_foreground`` the patches that hold any.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.uint8]
    voxels: NDArray[np.int64]
    with_foreground: int


def cut(store: Store, places: Places, *, patch_size: Sequence[int], border: Border) -> Patches:
    """Cut images and labels at their places, and count the labels.

    Images are normalised (``array * scale + offset``) while they are copied. Outside the image
    labels are ``IGNORE`` and images follow the border rule: reflected, or the case's background.
    """
    patch = as_zyx(patch_size)
    table = store.cases
    count = len(places)
    images = np.empty(count * store.channels * math.prod(patch), np.float32)
    labels = np.empty(count * math.prod(patch), np.uint8)
    voxels = np.zeros(IGNORE + 1, np.int64)
    where = (places.case, places.corner, patch)
    with_foreground = _cut_labels(
        store.labels, table.label_offset, table.shape, *where, labels, voxels
    )
    _cut_images(
        store.images,
        table.image_offset,
        table.shape,
        table.scale,
        table.offset,
        table.background,
        *where,
        border == "reflect",
        images,
    )
    size = tuple(patch_size)
    return Patches(
        images=images.reshape(count, store.channels, *size),
        labels=labels.reshape(count, *size),
        voxels=voxels,
        with_foreground=int(with_foreground),
    )


# Both kernels copy row by row into flat arrays. What of a row lies inside the image, from ``left``
# to ``right`` in the patch, is one run of plain arithmetic; a patch that lies inside as a whole has
# loops of its own. Two habits make them twice as fast: places within a row are unsigned, since a
# signed one might count from the array's end; and the loops stand in the kernel, since a slice or
# an array that is handed on counts one more reference to the array at every row.


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _cut_labels(  # type: ignore[no-untyped-def]
    stored, offsets, shape, cases, corners, patch, labels, voxels
):
    """Copy class indices, ``IGNORE`` outside the image; count them, and patches with foreground."""
    depth, height, width = patch
    columns, place = np.uint64(width), np.uint64(0)
    with_foreground = 0
    tables = np.zeros((4, IGNORE + 1), np.int64)
    for b in range(len(cases)):
        first = place
        case = cases[b]
        Z, Y, X = np.int64(shape[case, 0]), np.int64(shape[case, 1]), np.int64(shape[case, 2])
        z0, y0, x0 = np.int64(corners[b, 0]), np.int64(corners[b, 1]), np.int64(corners[b, 2])
        left = min(max(-x0, 0), width)
        right = max(min(X - x0, width), left)
        whole = left == 0 and right == width and 0 <= y0 <= Y - height and 0 <= z0 <= Z - depth
        for z in range(z0, z0 + depth):
            source = np.uint64(offsets[case] + (z * Y + y0) * X + x0)
            for y in range(y0, y0 + height):
                if whole:
                    _prefetch_rows(stored, source, y - y0, height, width, X, Y)
                    for i in range(columns):
                        labels[place + i] = stored[source + i]
                else:
                    begin, end = (left, right) if 0 <= z < Z and 0 <= y < Y else (width, width)
                    for i in range(np.uint64(begin)):
                        labels[place + i] = IGNORE
                    for i in range(np.uint64(begin), np.uint64(end)):
                        labels[place + i] = stored[source + i]
                    for i in range(np.uint64(end), columns):
                        labels[place + i] = IGNORE
                    tables[0, IGNORE] += width - (end - begin)
                    count_stretch(labels, place + np.uint64(begin), place + np.uint64(end), tables)
                source += np.uint64(X)
                place += columns
        # Counted while the patch is at hand: another pass over the batch would fetch it again.
        if whole:
            count_stretch(labels, first, place, tables)
        with_foreground += add_up_tables(tables, voxels)
    return with_foreground


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _cut_images(  # type: ignore[no-untyped-def]
    stored, offsets, shape, scale, offset, background, cases, corners, patch, reflect, images
):
    """Copy ``stored * scale + offset`` in float32; product and sum are rounded one by one."""
    depth, height, width = patch
    columns, place = np.uint64(width), np.uint64(0)
    for b in range(len(cases)):
        case = cases[b]
        Z, Y, X = np.int64(shape[case, 0]), np.int64(shape[case, 1]), np.int64(shape[case, 2])
        z0, y0, x0 = np.int64(corners[b, 0]), np.int64(corners[b, 1]), np.int64(corners[b, 2])
        left = min(max(-x0, 0), width)
        right = max(min(X - x0, width), left)
        whole = left == 0 and right == width and 0 <= y0 <= Y - height and 0 <= z0 <= Z - depth
        # From here and up to there a reflected row runs backwards once, and does not turn again.
        turns, returns = min(max(1 - X - x0, 0), left), max(min(2 * X - 1 - x0, width), right)
        for channel in range(scale.shape[1]):
            factor, shift = scale[case, channel], offset[case, channel]
            # In float32 like the voxels, so that the border has exactly the value of background.
            around = background[case, channel] * factor + shift
            first = offsets[case] + channel * Z * Y * X
            for z in range(z0, z0 + depth):
                source = np.uint64(first + (z * Y + y0) * X + x0)
                for y in range(y0, y0 + height):
                    if whole:
                        _prefetch_rows(stored, source, y - y0, height, width, X, Y)
                        for i in range(columns):
                            images[place + i] = np.float32(stored[source + i]) * factor + shift
                        source += np.uint64(X)
                        place += columns
                        continue
                    inside = 0 <= z < Z and 0 <= y < Y
                    begin, end = (left, right) if inside or reflect else (width, width)
                    row = first + (_folded(z, Z) * Y + _folded(y, Y)) * X
                    source = np.uint64(row + x0)
                    for i in range(np.uint64(begin), np.uint64(end)):
                        images[place + i] = np.float32(stored[source + i]) * factor + shift
                    if reflect:
                        mirrored = np.uint64(row - x0)
                        for i in range(np.uint64(turns), np.uint64(left)):
                            images[place + i] = np.float32(stored[mirrored - i]) * factor + shift
                        mirrored = np.uint64(row + 2 * (X - 1) - x0)
                        for i in range(np.uint64(right), np.uint64(returns)):
                            images[place + i] = np.float32(stored[mirrored - i]) * factor + shift
                        # Windows far wider than the image: its rows are folded more than once here.
                        for i in range(width - returns + turns):
                            at = i if i < turns else returns + i - turns
                            value = stored[row + _folded(x0 + at, X)]
                            images[place + np.uint64(at)] = np.float32(value) * factor + shift
                    else:
                        for i in range(np.uint64(begin)):
                            images[place + i] = around
                        for i in range(np.uint64(end), columns):
                            images[place + i] = around
                    place += columns


@numba.njit(inline="always")  # type: ignore[misc, unused-ignore]
def _folded(i, n):  # type: ignore[no-untyped-def]
    """Reflect an index into 0…n−1 as often as needed: a triangular wave of period 2(n − 1)."""
    if 0 <= i < n:
        return i
    if n == 1:
        return 0
    i = abs(i) % (2 * (n - 1))
    return i if i < n else 2 * (n - 1) - i


@numba.njit(inline="always")  # type: ignore[misc, unused-ignore]
def _prefetch_rows(stored, source, y, height, width, X, Y):  # type: ignore[no-untyped-def]
    """Hint at the row that comes ``ROWS_AHEAD`` later, in the next plane where this one ends."""
    rows = ROWS_AHEAD if y + ROWS_AHEAD < height else ROWS_AHEAD + Y - height
    ahead = source + np.uint64(rows * X)
    for i in range(np.uint64(0), np.uint64(width), np.uint64(LINE // stored.itemsize)):
        prefetch(stored, ahead + i)
