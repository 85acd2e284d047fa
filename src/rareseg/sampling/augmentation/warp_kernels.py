"""Compiled kernels that interpolate patches at given coordinates on the CPU.

A patch is made block by block: where its voxels come from, once for all channels, then labels and
channels one after the other. Blocks are small enough for the processor's nearest memory and large
enough that beginning one costs nothing.
"""

from __future__ import annotations

import numba
import numpy as np

BLOCK = 2048
"""Voxels that a block holds at least, unless the patch is smaller; always whole rows."""


@numba.njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc, unused-ignore]
def pull(  # type: ignore[no-untyped-def]
    images, labels, outside, window, patch, matrix, plain, bend, bent, votes, new_images, new_labels
):
    """Fill ``new_images`` (B, C, voxels) and ``new_labels`` (B, voxels), flat in space.

    ``images`` (B, C, voxels) float32 and ``labels`` (B, voxels) integers are windows of the sides
    ``window`` (z, y, x), and ``patch`` has the sides of what is filled. ``matrix`` (B, 3, 4) leads
    from a voxel of the patch to one of the window, plus ``bend[bent[b]]`` (3, voxels) where
    ``bent[b]`` is not negative. Patches that are ``plain`` need no interpolation. Labels are
    ``outside``, of their type, where a place lies outside the window.
    """
    height, width = patch[1], patch[2]
    rows = patch[0] * height
    each = min(rows, BLOCK // width + 1)
    flat = window[0] == 1 and patch[0] == 1
    strides = (window[1] * window[2], window[2], 1)
    # Along an axis of one voxel the neighbour above is the voxel itself.
    steps = (
        strides[0] if window[0] > 1 else 0,
        strides[1] if window[1] > 1 else 0,
        1 if window[2] > 1 else 0,
    )
    # Rows are taken in blocks whose buffers stay in the first cache level between the passes.
    base = np.empty(each * width, np.int32)
    nearest = np.empty(each * width, np.int32)
    inside = np.empty(each * width, np.uint8)
    weights = np.zeros((3, each * width), np.float32)
    nothing = np.empty(0, np.float32)
    ramp = np.arange(width).astype(np.float32)
    for b in range(len(images)):
        for row in range(0, rows, each):
            some = min(each, rows - row)
            first, end = row * width, (row + some) * width
            base[:] = 0
            nearest[:] = 0
            inside[:] = 1
            for axis in range(1 if flat else 0, 3):
                off = bend[bent[b], axis, first:end] if bent[b] >= 0 else nothing
                _locate(
                    matrix[b, axis], row, some, height, ramp, window[axis], strides[axis], off,
                    base, nearest, inside, weights[axis],
                )  # fmt: skip
            drawn = new_labels[b, first:end]
            if plain[b] or not votes:
                _take_nearest(labels[b], nearest, inside, outside, drawn)
            else:
                _take_votes(labels[b], base, inside, outside, weights, steps, drawn)
            for channel in range(images.shape[1]):
                source, taken = images[b, channel], new_images[b, channel, first:end]
                if plain[b]:
                    _take_exactly(source, nearest, taken)
                elif flat:
                    _take_plane(source, base, weights, steps, taken)
                else:
                    _take_volume(source, base, weights, steps, taken)


@numba.njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[misc, unused-ignore]
def _locate(  # type: ignore[no-untyped-def]
    line, row, rows, height, ramp, side, stride, off, base, nearest, inside, weight
):
    """Add one axis to where the voxels of some rows come from.

    ``base`` gets the window's voxel below, ``weight`` the share of the one above and ``nearest``
    the nearer of both, reflected at the window's outermost voxels; ``inside`` keeps 1 where the
    place lies in the window. All in float32 and without a branch, so that it is vectorised.
    """
    top = np.float32(side - 1)
    last = np.int32(max(side - 2, 0))
    half = np.float32(0.5)
    along, up = np.int32(stride), np.int32(stride if side > 1 else 0)
    period = np.float32(max(2 * (side - 1), 1))
    low, high = np.float32(-0.5), np.float32(side - 0.5)
    columns = np.uint64(len(ramp))
    for r in range(rows):
        z, y = divmod(row + r, height)
        begin = line[0] * np.float32(z) + line[1] * np.float32(y) + line[3]
        step = line[2]
        end = begin + step * ramp[-1]
        at = np.uint64(r) * columns
        if len(off) == 0 and min(begin, end) >= 0 and max(begin, end) <= top:
            # The whole row lies inside, as most rows do: nothing to reflect or to ignore.
            for i in range(columns):
                place = begin + step * ramp[i]
                below = min(np.int32(place), last)
                share = place - np.float32(below)
                weight[at + i] = share
                base[at + i] += below * along
                nearest[at + i] += below * along + (up if share >= half else np.int32(0))
            continue
        for i in range(columns):
            weight[at + i] = begin + step * ramp[i]
        if len(off):
            for i in range(columns):
                weight[at + i] += off[at + i]
        for i in range(columns):
            place = weight[at + i]
            inside[at + i] &= np.uint8((place >= low) & (place < high))
            # Reflection without repeating the outermost voxel has the period 2 (side - 1).
            place = abs(place)
            place -= period * np.floor(place / period)
            place = min(place, period - place)
            below = min(np.int32(place), last)
            share = place - np.float32(below)
            weight[at + i] = share
            base[at + i] += below * along
            nearest[at + i] += below * along + (up if share >= half else np.int32(0))


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _take_nearest(source, nearest, inside, outside, taken):  # type: ignore[no-untyped-def]
    for i in range(np.uint64(len(taken))):
        # An unsigned index spares the check for one that counts from the end.
        label = source[np.uint32(nearest[i])]
        taken[i] = label if inside[i] else outside


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _take_exactly(source, nearest, taken):  # type: ignore[no-untyped-def]
    for i in range(np.uint64(len(taken))):
        taken[i] = source[np.uint32(nearest[i])]


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _take_plane(source, base, weights, steps, taken):  # type: ignore[no-untyped-def]
    """Interpolate between the four neighbours."""
    up, right = weights[1], weights[2]
    # Shifted views, so that all four are read at one index.
    a, b = source, source[steps[2] :]
    c, d = source[steps[1] :], source[steps[1] + steps[2] :]
    for i in range(np.uint64(len(taken))):
        at = np.uint32(base[i])
        low = a[at] + right[i] * (b[at] - a[at])
        high = c[at] + right[i] * (d[at] - c[at])
        taken[i] = low + up[i] * (high - low)


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _take_volume(source, base, weights, steps, taken):  # type: ignore[no-untyped-def]
    """Interpolate between the eight neighbours."""
    deep, up, right = weights[0], weights[1], weights[2]
    a, b = source, source[steps[2] :]
    c, d = source[steps[1] :], source[steps[1] + steps[2] :]
    e, f = source[steps[0] :], source[steps[0] + steps[2] :]
    g, h = source[steps[0] + steps[1] :], source[steps[0] + steps[1] + steps[2] :]
    for i in range(np.uint64(len(taken))):
        at = np.uint32(base[i])
        low = a[at] + right[i] * (b[at] - a[at])
        high = c[at] + right[i] * (d[at] - c[at])
        near = low + up[i] * (high - low)
        low = e[at] + right[i] * (f[at] - e[at])
        high = g[at] + right[i] * (h[at] - g[at])
        taken[i] = near + deep[i] * (low + up[i] * (high - low) - near)


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _take_votes(source, base, inside, outside, weights, steps, taken):  # type: ignore[no-untyped-def]
    """Give each voxel the class of which its neighbours, each with its weight, hold most.

    Where two hold as much, that of the first neighbour in order wins.
    """
    corners = np.empty(8, np.int64)
    for corner in range(8):
        corners[corner] = (
            (corner >> 2) * steps[0] + (corner >> 1 & 1) * steps[1] + (corner & 1) * steps[2]
        )
    around = np.empty(8, source.dtype)
    voices = np.empty(8, np.float32)
    one = np.float32(1)
    for i in range(len(taken)):
        at = np.int64(base[i])
        label = source[at]
        agreed = True
        for corner in range(8):
            around[corner] = source[at + corners[corner]]
            agreed &= around[corner] == label
        # Away from outlines all eight agree, and nothing is weighed.
        if not agreed:
            deep, up, right = weights[0, i], weights[1, i], weights[2, i]
            for corner in range(8):
                voices[corner] = (
                    (deep if corner & 4 else one - deep)
                    * (up if corner & 2 else one - up)
                    * (right if corner & 1 else one - right)
                )
            most = np.float32(-1)
            for corner in range(8):
                held = np.float32(0)
                for other in range(8):
                    if around[other] == around[corner]:
                        held += voices[other]
                if held > most:
                    most, label = held, around[corner]
        taken[i] = label if inside[i] else outside
