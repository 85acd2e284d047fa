"""Count what the window about every voxel holds."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from rareseg.sampling.pools.run_lengths import Runs
from rareseg.sampling.pools.windows import Border, corners
from rareseg_runner.image_records import IGNORE


@dataclass(frozen=True)
class ClassSelection:
    """Voxels by their class: those of class ``index``, or all known ones of ``others``."""

    index: int
    others: bool = False


FOREGROUND = ClassSelection(0, others=True)


def window_runs(
    label: NDArray[np.uint8],
    patch: tuple[int, int, int],
    border: Border,
    wanted: ClassSelection,
    *,
    at_least: int = 1,
    share: float = 0.0,
    centre: int | None = None,
    negate: bool = False,
) -> Runs:
    """Return the runs of the centres whose window holds what is wanted, in flat order.

    ``label`` is (Z, Y, X) class indices. A window must hold ``at_least`` wanted voxels, and they
    must be ``share`` or more of its known voxels (those that are not ``IGNORE``); ``negate`` gives
    the windows that do not. Centres are known voxels, or those of class ``centre`` alone. What lies
    outside the image counts nothing, also under ``reflect``: labels are ``IGNORE`` there.

    Counts are running sums, whatever the patch size, over the box in which a window can reach
    anything wanted; rows outside of it are told as a whole.
    """
    box = np.empty((3, 2), np.int64)
    unknown = _box(label, wanted.index, wanted.others, box)
    reach = np.zeros((3, 2), np.int64)
    first, bounds, inner = np.zeros(0, np.int64), [], []
    for axis, (n, size) in enumerate(zip(label.shape, patch, strict=True)):
        first = corners(np.arange(n)[:, None], np.array([n]), (size,), border)[:, 0]
        low, high = first.clip(0, n), (first + size).clip(0, n)
        near = np.flatnonzero((low < box[axis, 1]) & (high > box[axis, 0]))
        if len(near):
            reach[axis] = near[0], near[-1] + 1
        bounds += [low, high]
        inner += [bound.clip(*box[axis]) - box[axis, 0] for bound in (low, high)]
    if centre is not None:
        around = np.empty((3, 2), np.int64)
        _box(label, centre, False, around)
        reach[:, 0] = np.maximum(reach[:, 0], around[:, 0])
        reach[:, 1] = np.minimum(reach[:, 1], around[:, 1])
    starts, ends = _window_runs(
        label,
        (wanted.index, wanted.others),
        -1 if centre is None else centre,
        negate,
        unknown,
        at_least,
        share,
        box,
        reach,
        tuple(inner[:4]),
        tuple(bounds),
        first,
        patch[2],
    )
    return starts, ends - starts


@numba.njit(inline="always")  # type: ignore[misc, unused-ignore]
def _is_wanted(value, index, others):  # type: ignore[no-untyped-def]
    return ((value == index) != others) & (value != IGNORE)


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _box(label, index, others, box):  # type: ignore[no-untyped-def]
    """Write the box of what is wanted, [low, high) per axis; tell whether any voxel is unknown."""
    depth, height, width = label.shape
    box[0, 0], box[1, 0], box[2, 0] = depth, height, width
    box[:, 1] = 0
    unknown = False
    for z in range(depth):
        for y in range(height):
            row = label[z, y]
            # Bits are gathered without a branch, so that rows without anything pass vectorised.
            met, ignored = np.uint8(0), np.uint8(0)
            for x in range(width):
                met |= np.uint8(_is_wanted(row[x], index, others))
                ignored |= np.uint8(row[x] == IGNORE)
            unknown |= bool(ignored)
            if met == 0:
                continue
            box[0, 0], box[0, 1] = min(box[0, 0], z), z + 1
            box[1, 0], box[1, 1] = min(box[1, 0], y), max(box[1, 1], y + 1)
            left, right = 0, width
            while left < box[2, 0] and not _is_wanted(row[left], index, others):
                left += 1
            while right > box[2, 1] and not _is_wanted(row[right - 1], index, others):
                right -= 1
            box[2, 0], box[2, 1] = min(box[2, 0], left), max(box[2, 1], right)
    if box[0, 1] == 0:
        box[:] = 0
    return unknown


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _window_runs(  # type: ignore[no-untyped-def]
    label, wanted, centre, negate, unknown, at_least, share, box, reach, inner, bounds, corner, size
):
    """Slide a plane of counts along z, a row of counts along y, and take differences along x.

    ``inner`` are the windows' bounds along z and y within ``box``, ``bounds`` those of all axes
    within the image; ``corner`` and ``size`` are theirs along x.
    """
    depth, height, width = label.shape
    z0, y0, x0 = box[:, 0]
    z_low, z_high, y_low, y_high = inner
    all_z_low, all_z_high, all_y_low, all_y_high, all_x_low, all_x_high = bounds
    plane = np.zeros((box[1, 1] - y0, box[2, 1] - x0), np.int32)
    line = np.zeros(plane.shape[1], np.int32)
    # Sums go on unchanged over a window's width on both sides: no bound is tested per window.
    before = np.zeros(len(line) + 2 * size + 1, np.int32)
    # Known voxels are counted only where a share of them is asked for and some are not known.
    counted = share > 0 and unknown
    all_plane = np.zeros((height, width) if counted else (0, 0), np.int32)
    all_line = np.zeros(all_plane.shape[1], np.int32)
    all_before = np.zeros(len(all_line) + 2 * size + 1, np.int32)
    left, right = reach[2]
    held, known = np.zeros(width, np.int32), np.ones(width, np.int32)
    inside = np.empty(width, np.bool_)
    starts, ends, n = np.empty(64, np.int64), np.empty(64, np.int64), 0
    z_in = z_out = all_z_in = all_z_out = 0
    for z in range(depth):
        near_plane = reach[0, 0] <= z < reach[0, 1]
        if not (near_plane or negate):
            continue
        if near_plane:
            for k in range(z_in, z_high[z]):
                _count(plane, label[z0 + k], y0, x0, wanted[0], wanted[1], 1)
            for k in range(z_out, z_low[z]):
                _count(plane, label[z0 + k], y0, x0, wanted[0], wanted[1], -1)
            z_in, z_out = z_high[z], z_low[z]
            if counted:
                for k in range(all_z_in, all_z_high[z]):
                    _count(all_plane, label[k], 0, 0, IGNORE, True, 1)
                for k in range(all_z_out, all_z_low[z]):
                    _count(all_plane, label[k], 0, 0, IGNORE, True, -1)
                all_z_in, all_z_out = all_z_high[z], all_z_low[z]
        # The line starts anew in every plane: sliding it back would take as many additions.
        line[:] = 0
        all_line[:] = 0
        y_in = y_out = all_y_in = all_y_out = 0
        for y in range(height):
            near = near_plane and reach[1, 0] <= y < reach[1, 1]
            if near:
                _slide(line, plane, y_in, y_high[y], y_out, y_low[y])
                y_in, y_out = y_high[y], y_low[y]
                if counted:
                    _slide(all_line, all_plane, all_y_in, all_y_high[y], all_y_out, all_y_low[y])
                    all_y_in, all_y_out = all_y_high[y], all_y_low[y]
                # No wanted voxel in the window's rows: the whole row of windows is passed over.
                near = _sum_up(line, before, size) > 0
            if not (near or negate):
                continue
            row = label[z, y]
            inside[:] = negate
            first, end = (0, width) if negate else (left, right)
            if near:
                _differences(before, corner, x0, size, left, right, held)
                for x in range(left, right):
                    inside[x] = held[x] >= at_least
                if share > 0:
                    if counted:
                        _sum_up(all_line, all_before, size)
                        _differences(all_before, corner, 0, size, left, right, known)
                    area = (all_z_high[z] - all_z_low[z]) * (all_y_high[y] - all_y_low[y])
                    for x in range(left, right):
                        if not counted:
                            known[x] = area * (all_x_high[x] - all_x_low[x])
                        # The quotient, since 0.07 · 100 is above 7 in binary.
                        inside[x] &= held[x] / max(known[x], 1) >= share
                if negate:
                    for x in range(left, right):
                        inside[x] = not inside[x]
            if centre >= 0:
                for x in range(first, end):
                    inside[x] &= row[x] == centre
            elif unknown:
                for x in range(first, end):
                    inside[x] &= row[x] != IGNORE
            place = (z * height + y) * width
            begin = -1
            for x in range(first, end):
                if inside[x] == (begin >= 0):
                    continue
                if inside[x]:
                    begin = x
                else:
                    starts, ends, n = _push(starts, ends, n, place + begin, place + x)
                    begin = -1
            if begin >= 0:
                starts, ends, n = _push(starts, ends, n, place + begin, place + end)
    return starts[:n].copy(), ends[:n].copy()


@numba.njit(inline="always")  # type: ignore[misc, unused-ignore]
def _push(starts, ends, n, start, end):  # type: ignore[no-untyped-def]
    """Append a run, or lengthen the last one that it touches."""
    if n > 0 and ends[n - 1] == start:
        ends[n - 1] = end
        return starts, ends, n
    if n == len(starts):
        starts = np.append(starts, np.empty_like(starts))
        ends = np.append(ends, np.empty_like(ends))
    starts[n], ends[n] = start, end
    return starts, ends, n + 1


@numba.njit(inline="always")  # type: ignore[misc, unused-ignore]
def _count(plane, layer, top, left, index, others, sign):  # type: ignore[no-untyped-def]
    """Add ``sign`` where a layer's part that begins at top and left is wanted."""
    for y in range(plane.shape[0]):
        target = plane[y]
        row = layer[top + y, left : left + len(target)]
        for x in range(len(target)):
            target[x] += np.int32(sign * _is_wanted(row[x], index, others))


@numba.njit(inline="always")  # type: ignore[misc, unused-ignore]
def _slide(line, plane, entered, enters, left, leaves):  # type: ignore[no-untyped-def]
    """Add to a line the rows that enter, from ``entered`` on, and take off those that leave."""
    for k in range(entered, enters):
        line += plane[k]
    for k in range(left, leaves):
        line -= plane[k]


@numba.njit(inline="always")  # type: ignore[misc, unused-ignore]
def _sum_up(line, before, pad):  # type: ignore[no-untyped-def]
    """Write the sums of all before each place of a line, which go on over ``pad`` on both sides."""
    total = np.int32(0)
    target = before[pad + 1 : pad + 1 + len(line)]
    for x in range(len(line)):
        total += line[x]
        target[x] = total
    before[pad + 1 + len(line) :] = total
    return total


@numba.njit(inline="always")  # type: ignore[misc, unused-ignore]
def _differences(before, corner, x0, size, left, right, out):  # type: ignore[no-untyped-def]
    """Write the sum over the window of each x in left … right − 1.

    In the middle the corners go on by 1, and the loop is plain; at the ends they may stand still.
    """
    start, stop = left, right
    while start + 1 < stop and corner[start + 1] == corner[start]:
        start += 1
    while stop - 1 > start and corner[stop - 1] == corner[stop - 2]:
        stop -= 1
    for x in range(left, start):
        out[x] = before[corner[x] - x0 + 2 * size] - before[corner[x] - x0 + size]
    for x in range(stop, right):
        out[x] = before[corner[x] - x0 + 2 * size] - before[corner[x] - x0 + size]
    low = corner[start] - x0 + size
    lows, highs = before[low : low + stop - start], before[low + size : low + size + stop - start]
    target = out[start:stop]
    for x in range(len(target)):
        target[x] = highs[x] - lows[x]
