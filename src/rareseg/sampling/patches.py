"""Plan, then cut: places are drawn from an explicit generator, patches are cut without chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from rareseg.data.records import IGNORE
from rareseg.data.store import Store
from rareseg.sampling.strategy import Mixture
from rareseg.sampling.windows import Border, as_zyx, corners


@dataclass(frozen=True, eq=False)
class Places:
    """Where B patches lie: which case, which first voxel, and which pool the centre came from.

    ``case`` (B,) int32 is a row of the store's table; ``corner`` (B, 3) int32 is z, y, x and may
    lie outside the image; ``pool`` (B,) int16 is an index into the mixture's shares.
    """

    case: NDArray[np.int32]
    corner: NDArray[np.int32]
    pool: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.case)

    def part(self, first: int, end: int) -> Places:
        """Return the places ``first`` … ``end − 1``."""
        return Places(self.case[first:end], self.corner[first:end], self.pool[first:end])


def draw_places(
    store: Store,
    mixture: Mixture,
    pools: NDArray[np.int16],
    rng: np.random.Generator,
    *,
    patch_size: Sequence[int],
    border: Border,
) -> Places:
    """Draw one place per entry of ``pools`` (B,): a centre in that pool, and its window's corner.

    Nothing but ``rng`` decides, so equal generators give equal places.
    """
    flat = np.empty(len(pools), np.int64)
    for index in np.unique(pools):
        chosen = pools == index
        pool = mixture.shares[index].pool
        flat[chosen] = pool.draw(rng, int(chosen.sum()), mixture.weighting)
    case = np.searchsorted(store.cases.label_offset, flat, side="right") - 1
    shape = store.cases.shape[case].astype(np.int64)
    within = flat - store.cases.label_offset[case]
    row, x = np.divmod(within, shape[:, 2])
    z, y = np.divmod(row, shape[:, 1])
    corner = corners(np.stack([z, y, x], axis=1), shape, as_zyx(patch_size), border)
    return Places(case.astype(np.int32), corner.astype(np.int32), pools)


def cut(
    store: Store, places: Places, *, patch_size: Sequence[int], border: Border
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Cut images, float32 (B, C, *patch), and class indices, uint8 (B, *patch), at their places.

    Images are normalised (``array * scale + offset``) while they are copied. Outside the image
    labels are ``IGNORE`` and images follow the border rule: reflected, or the case's background.
    """
    patch = as_zyx(patch_size)
    table = store.cases
    count = len(places)
    images = np.empty((count, store.channels, *patch), np.float32)
    labels = np.empty((count, *patch), np.uint8)
    _cut(
        store.images,
        store.labels,
        table.image_offset,
        table.label_offset,
        table.shape,
        table.scale,
        table.offset,
        table.background,
        places.case,
        places.corner,
        border == "reflect",
        images,
        labels,
    )
    size = tuple(patch_size)
    return images.reshape(count, store.channels, *size), labels.reshape(count, *size)


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _cut(  # type: ignore[no-untyped-def]
    stored, classes, image_offset, label_offset, shape, scale, offset, background,
    cases, corners, reflect, images, labels,
):  # fmt: skip
    """Copy every patch row by row; a row's part inside the image is one run of plain arithmetic."""
    count, channels, depth, height, width = images.shape
    for b in range(count):
        case = cases[b]
        Z, Y, X = np.int64(shape[case, 0]), np.int64(shape[case, 1]), np.int64(shape[case, 2])
        z0, y0, x0 = np.int64(corners[b, 0]), np.int64(corners[b, 1]), np.int64(corners[b, 2])
        left, right = max(np.int64(0), -x0), min(np.int64(width), X - x0)
        for pz in range(depth):
            z = z0 + pz
            for py in range(height):
                y = y0 + py
                inside = 0 <= z < Z and 0 <= y < Y
                target = labels[b, pz, py]
                if inside:
                    start = label_offset[case] + (z * Y + y) * X + x0
                    target[:left] = IGNORE
                    target[left:right] = classes[start + left : start + right]
                    target[right:] = IGNORE
                else:
                    target[:] = IGNORE
        for channel in range(channels):
            factor, shift = scale[case, channel], offset[case, channel]
            around = background[case, channel] * factor + shift
            first = image_offset[case] + channel * Z * Y * X
            for pz in range(depth):
                z = z0 + pz
                for py in range(height):
                    y = y0 + py
                    line = images[b, channel, pz, py]
                    if reflect:
                        start = first + (_folded(z, Z) * Y + _folded(y, Y)) * X
                    elif 0 <= z < Z and 0 <= y < Y:
                        start = first + (z * Y + y) * X
                    else:
                        line[:] = around
                        continue
                    row = stored[start : start + X]
                    _scaled(row[x0 + left : x0 + right], factor, shift, line[left:right])
                    if reflect:
                        for px in range(left):
                            line[px] = np.float32(row[_folded(x0 + px, X)]) * factor + shift
                        for px in range(right, width):
                            line[px] = np.float32(row[_folded(x0 + px, X)]) * factor + shift
                    else:
                        line[:left] = around
                        line[right:] = around


@numba.njit(inline="always")  # type: ignore[misc, unused-ignore]
def _scaled(source, factor, shift, target):  # type: ignore[no-untyped-def]
    """Write ``source * factor + shift`` in float32; product and sum are rounded one by one."""
    for i in range(len(source)):
        target[i] = np.float32(source[i]) * factor + shift


@numba.njit(inline="always")  # type: ignore[misc, unused-ignore]
def _folded(i, n):  # type: ignore[no-untyped-def]
    """Reflect an index into 0…n−1 as often as needed: a triangular wave of period 2(n − 1)."""
    if 0 <= i < n:
        return i
    if n == 1:
        return 0
    i = abs(i) % (2 * (n - 1))
    return i if i < n else 2 * (n - 1) - i
