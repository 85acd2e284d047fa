"""Trace the outline of a mask as polygons, and draw polygons as a mask.

One rule for both: pixel (row r, column c) is the square from (x, y) = (c, r) to (c + 1, r + 1), and
belongs to a polygon where its centre (c + ½, r + ½) lies inside. Insides are even-odd: a point is
inside where a line from it to the far left crosses the rings an odd number of times. A centre that
lies exactly on a ring belongs to the polygon to its right or below it, so that two polygons with a
common side neither overlap nor leave a gap.

What :func:`trace` returns follows the borders of pixels, so that :func:`rasterise` of it is the
mask again, pixel for pixel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from rareseg.errors import DataError
from rareseg_runner.components import bounding_box

Ring = NDArray[np.float64]
"""Corners (x, y) of a closed line, shape (N, 2), in pixels; the first is not repeated at the end.
"""


@dataclass(frozen=True, eq=False)
class Polygon:
    """What a shell encloses, without its holes.

    Neither shell nor holes cross or touch themselves; a hole may touch the shell in single points.
    On the screen (y downwards) the shell runs clockwise and the holes counter-clockwise.
    """

    shell: Ring
    holes: tuple[Ring, ...] = ()

    @property
    def rings(self) -> tuple[Ring, ...]:
        """The shell and then the holes."""
        return (self.shell, *self.holes)


def trace(mask: NDArray[np.bool_]) -> list[Ring]:
    """Return the rings round the pixels that are on in ``mask`` (Y, X), none for an empty mask.

    Corners are whole numbers, and only those where the line turns. Shells run clockwise on the
    screen and holes counter-clockwise; :func:`trace_polygons` says which belong together.
    """
    return [ring for polygon in trace_polygons(mask) for ring in polygon.rings]


def trace_polygons(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Return a polygon for every part of ``mask`` (Y, X) that is connected by sides of pixels.

    Pixels that touch at a corner alone are polygons of their own, as what reads polygons asks for.
    In the order of rows of their first pixels; an empty mask gives none.
    """
    mask = np.asarray(mask, np.bool_)
    if mask.ndim != 2:
        raise ValueError(f"a mask of two axes (y, x) is traced, not one of shape {mask.shape}")
    box = bounding_box(mask)
    if box is None:
        return []
    parts, count = ndimage.label(mask[box])
    corner = np.array([box[1].start, box[0].start], np.float64)
    shells: list[Ring | None] = [None] * count
    holes: list[list[Ring]] = [[] for _ in range(count)]
    for part, ring in _closed_lines(parts):
        placed = ring + corner
        if ring_area(ring) > 0:
            shells[part - 1] = placed
        else:
            holes[part - 1].append(placed)
    return [
        Polygon(shell, tuple(own))
        for shell, own in zip(shells, holes, strict=True)
        if shell is not None
    ]


def ring_area(ring: Ring) -> float:
    """Return the area of a ring in pixels: positive where it runs clockwise on the screen."""
    x, y = ring[:, 0], ring[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


_RIGHT, _DOWN, _LEFT, _UP = range(4)
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def _closed_lines(parts: NDArray[np.int32]) -> Iterable[tuple[int, Ring]]:
    """Yield (number of the part, ring) for each closed line round a part of ``parts`` (Y, X).

    Lines keep the part on their right. Where two pixels touch at a corner alone the line turns
    right, which keeps it at its own pixel; where it comes by a corner a second time, what lies
    between is a ring of its own, so that none touches itself.
    """
    width = parts.shape[1]
    around = np.pad(parts, 1)
    own = around[1:-1, 1:-1]
    columns = width + 1  # corners in a row
    # For each side of a pixel that is a border: the neighbour there, and where its line begins.
    sides = {
        _RIGHT: (around[:-2, 1:-1], 0, 0),
        _DOWN: (around[1:-1, 2:], 0, 1),
        _LEFT: (around[2:, 1:-1], 1, 1),
        _UP: (around[1:-1, :-2], 1, 0),
    }
    begins: dict[int, list[int]] = {}
    part_of: dict[tuple[int, int], int] = {}
    for direction, (neighbour, down, right) in sides.items():
        rows, places = np.nonzero((own != 0) & (neighbour == 0))
        numbers = own[rows, places].tolist()
        for corner, number in zip(
            ((rows + down) * columns + places + right).tolist(), numbers, strict=True
        ):
            begins.setdefault(corner, []).append(direction)
            part_of[corner, direction] = number
    jumps = [x + columns * y for x, y in _STEPS]
    while part_of:
        corner, direction = first = next(iter(part_of))
        part = part_of[first]
        line: list[int] = []  # the corners passed, and the direction taken from each
        turns: list[int] = []
        passed: dict[int, int] = {}
        while True:
            if corner in passed:
                begin = passed[corner]
                yield part, _corners(line[begin:], turns[begin:], columns)
                for old in line[begin:]:
                    del passed[old]
                del line[begin:], turns[begin:]
            if (corner, direction) not in part_of:
                break
            passed[corner] = len(line)
            line.append(corner)
            turns.append(direction)
            del part_of[corner, direction]
            corner += jumps[direction]
            ways = begins[corner]
            right = (direction + 1) % 4
            direction = right if len(ways) > 1 else ways[0]


def _corners(line: Sequence[int], turns: Sequence[int], columns: int) -> Ring:
    """Return (x, y) of those corners of a closed line at which it turns."""
    directions = np.asarray(turns)
    kept = np.asarray(line)[directions != np.roll(directions, 1)]
    return np.stack([kept % columns, kept // columns], axis=1).astype(np.float64)


def rasterise(rings: Iterable[ArrayLike], shape: Sequence[int]) -> NDArray[np.bool_]:
    """Return a mask of ``shape`` (Y, X): the pixels whose centre lies inside ``rings``, even-odd.

    ``rings`` are (N, 2) corners (x, y), closed from the last to the first; what lies outside of the
    image is cut off, and a ring of fewer than three corners encloses nothing. A hole is one more
    ring; polygons that are to be united where they overlap are drawn one by one.

    Raises :class:`DataError` for corners that are no pairs of finite numbers.
    """
    height, width = int(shape[0]), int(shape[1])
    begins, ends = _edges(rings)
    up = begins[:, 1] > ends[:, 1]  # the same edge gives the same crossings in both directions
    begins[up], ends[up] = ends[up], begins[up].copy()
    # An edge crosses the rows whose centres y satisfy begin <= y < end.
    first = np.clip(np.ceil(begins[:, 1] - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(ends[:, 1] - 0.5), 0, height).astype(np.int64)
    counts = np.maximum(last - first, 0)
    if counts.sum() == 0:
        return np.zeros((height, width), np.bool_)
    edge = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    (x0, y0), (x1, y1) = begins[edge].T, ends[edge].T
    crossings = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
    columns = np.clip(np.ceil(crossings - 0.5), 0, width).astype(np.int64)
    top, below = int(rows.min()), int(rows.max()) + 1
    flips = np.bincount(
        (rows - top) * (width + 1) + columns, minlength=(below - top) * (width + 1)
    ).reshape(below - top, width + 1)
    mask = np.zeros((height, width), np.bool_)
    mask[top:below] = np.logical_xor.accumulate(flips[:, :width] % 2 == 1, axis=1)
    return mask


def _edges(rings: Iterable[ArrayLike]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the edges of all rings begin and end, each (E, 2)."""
    begins = [np.zeros((0, 2))]
    ends = [np.zeros((0, 2))]
    for ring in rings:
        try:
            corners = np.asarray(ring, np.float64)
        except (TypeError, ValueError):
            corners = np.full((1, 1), np.nan)
        if corners.size == 0:
            continue
        if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
            raise DataError(
                f"a polygon's corners are pairs (x, y) of finite numbers; found {str(ring)[:80]}."
            )
        begins.append(corners)
        ends.append(np.roll(corners, -1, axis=0))
    return np.concatenate(begins), np.concatenate(ends)


def one_ring(polygons: Sequence[Polygon]) -> Ring:
    """Return one closed line round several polygons and their holes, for files that allow one.

    Rings are joined by a line to and fro, from corner to nearest corner, which encloses nothing:
    :func:`rasterise` gives the same pixels. (A program that draws the line itself as well sets the
    pixels on it.) No polygons give a ring without corners.
    """
    rings = [ring for polygon in polygons for ring in polygon.rings]
    if not rings:
        return np.zeros((0, 2))
    joined = rings[0]
    for ring in rings[1:]:
        here, there = _nearest(joined, ring)
        turned = np.roll(ring, -there, axis=0)
        joined = np.concatenate([joined[: here + 1], turned, turned[:1], joined[here:]])
    return joined


def _nearest(first: Ring, second: Ring) -> tuple[int, int]:
    """Return the indices of the nearest two corners of two rings."""
    best, found = np.inf, (0, 0)
    for start in range(0, len(second), 256):  # memory stays small however long the rings are
        part = second[start : start + 256]
        distances = ((first[:, None] - part[None]) ** 2).sum(-1)
        here, there = np.unravel_index(int(distances.argmin()), distances.shape)
        if distances[here, there] < best:
            best, found = distances[here, there], (int(here), start + int(there))
    return found
