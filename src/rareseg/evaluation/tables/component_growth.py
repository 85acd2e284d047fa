"""Track how components grow and merge as the threshold falls, in one pass.

Labelling a mask anew at each of a hundred thresholds would cost a hundred passes. Here the voxels
enter in the order of their scores, and a union–find structure (Tarjan 1975: union by size, path
halving) keeps the components of what has entered so far, so that all thresholds together cost
about as much as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from rareseg.errors import ScoreError
from rareseg_runner.components import bounding_box, label_components
from rareseg_runner.image_records import IGNORE

_MOST_VOXELS = 2**31 - 1
"""Places of voxels are int32, which halves the memory of every column."""


@dataclass(frozen=True)
class GrownComponents:
    """The components of one case at every threshold, from the highest threshold down.

    Component columns (c,), threshold after threshold, within one in raster order of the first
    voxel: ``levels`` uint8 is the threshold's index, ``sizes`` all voxels, ``inside`` those of the
    reference and ``ignored`` those that count nowhere (int32), ``tops`` float32 the highest score.
    Pairs (m,) int32: the component in row ``touching`` holds ``shared`` voxels of object
    ``touched``, at least one. ``object_sizes`` (l,) int64.
    """

    levels: NDArray[np.uint8]
    sizes: NDArray[np.int32]
    inside: NDArray[np.int32]
    ignored: NDArray[np.int32]
    tops: NDArray[np.float32]
    touching: NDArray[np.int32]
    touched: NDArray[np.int32]
    shared: NDArray[np.int32]
    object_sizes: NDArray[np.int64]


def grow_components(
    scores: NDArray[np.float32], reference: NDArray[np.uint8], edges: NDArray[np.float32]
) -> GrownComponents:
    """Return the components of ``scores >= edge`` for every one of ``edges``.

    ``scores`` and ``reference`` are (Z, Y, X) or (Y, X), 8-connected in one slice and 26-connected
    in a volume; ``edges`` (t,) ascend, t ≤ 255. Memory: about 40 bytes per voxel of the box that
    holds all voxels at or above the lowest edge. An empty array has no component. Raises
    ScoreError where that box holds 2³¹ voxels or more.
    """
    if scores.ndim == 2:
        scores, reference = scores[np.newaxis], reference[np.newaxis]
    objects, n_objects = label_components(reference == 1)
    object_sizes = np.bincount(objects.ravel(), minlength=n_objects + 1)[1:].astype(np.int64)
    box = bounding_box(scores >= edges[0])
    if box is None:
        return _nothing(object_sizes)
    scores, reference, objects = scores[box], reference[box], objects[box]
    if scores.size > _MOST_VOXELS:
        raise ScoreError(
            f"Components of {scores.size} voxels at once cannot be counted (at most "
            f"{_MOST_VOXELS}); choose a higher lowest threshold."
        )
    flat, labels = scores.ravel(), reference.ravel()
    order, starts = _enter_in_order(flat, edges)
    levels, sizes, inside, ignored, tops, touching, touched, shared = _grow(
        order,
        starts,
        np.array(scores.shape),
        objects.ravel().astype(np.int32, copy=False),
        n_objects,
        (labels == 1).astype(np.int32),
        (labels == IGNORE).astype(np.int32),
        flat.copy(),
    )
    return GrownComponents(
        levels, sizes, inside, ignored, tops, touching, touched, shared, object_sizes
    )


def _nothing(object_sizes: NDArray[np.int64]) -> GrownComponents:
    """Return what there is where no voxel reaches the lowest threshold."""
    none = np.empty(0, np.int32)
    return GrownComponents(
        np.empty(0, np.uint8),
        none,
        none,
        none,
        np.empty(0, np.float32),
        none,
        none,
        none,
        object_sizes,
    )


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _enter_in_order(
    scores: NDArray[np.float32], edges: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the voxels that reach any edge, by falling level, and where each level begins.

    Those of level k, at or above edge k and below the next, stand at starts[k + 1]:starts[k].
    """
    n_levels = edges.size
    level_of = np.zeros(scores.size, np.uint8)
    count = np.zeros(n_levels + 1, np.int64)
    for i in range(scores.size):
        if scores[i] >= edges[0]:
            # Bisect for the last edge at or below the score.
            low, high = 0, n_levels
            while high - low > 1:
                middle = (low + high) // 2
                if scores[i] >= edges[middle]:
                    low = middle
                else:
                    high = middle
            level_of[i] = low + 1
            count[low] += 1
    starts = np.zeros(n_levels + 1, np.int64)
    for level in range(n_levels - 1, -1, -1):
        starts[level] = starts[level + 1] + count[level]
    # A counting sort: linear, and stable, so that equal scores enter in the order of memory.
    order = np.empty(starts[0], np.int32)
    cursor = starts[1:].copy()
    for i in range(scores.size):
        level = level_of[i]
        if level > 0:
            order[cursor[level - 1]] = i
            cursor[level - 1] += 1
    return order, starts


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _root(parent: NDArray[np.int32], voxel: int) -> int:
    """Return the root of a voxel that has entered, halving the path on the way."""
    while parent[voxel] != voxel:
        parent[voxel] = parent[parent[voxel]]
        voxel = parent[voxel]
    return voxel


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _enter(
    voxels: NDArray[np.int32],
    shape: NDArray[np.int64],
    parent: NDArray[np.int32],
    size: NDArray[np.int32],
    inside: NDArray[np.int32],
    ignored: NDArray[np.int32],
    first: NDArray[np.int32],
    top: NDArray[np.float32],
) -> None:
    """Let voxels enter, one after the other, and join each to its neighbours that are in."""
    depth, height, width = shape
    for voxel in voxels:
        plane, x = divmod(voxel, width)
        z, y = divmod(plane, height)
        parent[voxel] = voxel
        own = np.int32(voxel)
        for nz in range(max(z - 1, 0), min(z + 2, depth)):
            for ny in range(max(y - 1, 0), min(y + 2, height)):
                line = (nz * height + ny) * width
                for neighbour in range(line + max(x - 1, 0), line + min(x + 2, width)):
                    other = parent[neighbour]
                    # Neighbours mostly belong to the own component: asked before the search for
                    # the root, which costs more.
                    if other < 0 or other == own:
                        continue
                    other = np.int32(_root(parent, other))
                    if other == own:
                        continue
                    # The smaller joins the larger, so that no path is longer than log2(voxels).
                    if size[other] > size[own]:
                        own, other = other, own
                    parent[other] = own
                    size[own] += size[other]
                    inside[own] += inside[other]
                    ignored[own] += ignored[other]
                    first[own] = min(first[own], first[other])
                    top[own] = max(top[own], top[other])


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _distinct(
    keys: NDArray[np.int64], voxels: NDArray[np.int32], n: int, parent: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the keys (voxel · n + object, object below n) of the voxels' roots, each once.

    With each the sum of ``voxels`` over the keys that became it.
    """
    moved = np.empty(keys.size, np.int64)
    for k in range(keys.size):
        voxel, component = divmod(keys[k], n)
        moved[k] = np.int64(_root(parent, voxel)) * n + component
    # Components that have joined have one root now, so their keys meet after sorting.
    order = np.argsort(moved)
    found, sums = np.empty(keys.size, np.int64), np.empty(keys.size, np.int32)
    kept = 0
    for k in order:
        if kept == 0 or moved[k] != found[kept - 1]:
            found[kept], sums[kept] = moved[k], 0
            kept += 1
        sums[kept - 1] += voxels[k]
    return found[:kept].copy(), sums[:kept].copy()


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _longer(column: NDArray[Any], length: int) -> NDArray[Any]:
    """Return the column with room for ``length`` entries, and twice as much as it had."""
    if length <= column.size:
        return column
    longer = np.empty(max(length, 2 * column.size), column.dtype)
    longer[: column.size] = column
    return longer


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _grow(
    order: NDArray[np.int32],
    starts: NDArray[np.int64],
    shape: NDArray[np.int64],
    object_of: NDArray[np.int32],
    n_objects: int,
    inside: NDArray[np.int32],
    ignored: NDArray[np.int32],
    top: NDArray[np.float32],
) -> tuple[NDArray[Any], ...]:
    """Return the columns of :class:`GrownComponents` but the last, from the highest level down.

    ``order`` and ``starts`` are those of :func:`_enter_in_order`. ``inside``, ``ignored`` and
    ``top`` begin as those of every voxel alone and are changed: what is known of a component
    stands at its root.
    """
    n_voxels, n_levels = object_of.size, starts.size - 1
    parent = np.full(n_voxels, -1, np.int32)  # -1: has not entered
    size = np.ones(n_voxels, np.int32)
    first = np.arange(n_voxels).astype(np.int32)
    row_of = np.empty(n_voxels, np.int32)
    alive = np.empty(order.size, np.int32)
    n_alive = n_rows = n_links = 0
    keys, held = np.empty(0, np.int64), np.empty(0, np.int32)
    levels = np.empty(1024, np.uint8)
    sizes, insides, ignoreds = (
        np.empty(1024, np.int32),
        np.empty(1024, np.int32),
        np.empty(1024, np.int32),
    )
    tops = np.empty(1024, np.float32)
    touching, touched, shared = (
        np.empty(1024, np.int32),
        np.empty(1024, np.int32),
        np.empty(1024, np.int32),
    )
    for level in range(n_levels - 1, -1, -1):
        new = order[starts[level + 1] : starts[level]]
        _enter(new, shape, parent, size, inside, ignored, first, top)
        alive[n_alive : n_alive + new.size] = new
        # What has joined another component since is dropped in place; new voxels stand behind.
        roots = 0
        for k in range(n_alive + new.size):
            if parent[alive[k]] == alive[k]:
                alive[roots] = alive[k]
                roots += 1
        n_alive = roots
        here = alive[:n_alive]
        end = n_rows + n_alive
        levels, sizes, insides, ignoreds, tops = (
            _longer(levels, end),
            _longer(sizes, end),
            _longer(insides, end),
            _longer(ignoreds, end),
            _longer(tops, end),
        )
        # By the first voxel, so that rows do not depend on which root a union has kept.
        for root in here[np.argsort(first[here])]:
            levels[n_rows] = level
            sizes[n_rows] = size[root]
            insides[n_rows] = inside[root]
            ignoreds[n_rows] = ignored[root]
            tops[n_rows] = top[root]
            row_of[root] = n_rows
            n_rows += 1
        # Counted first: one array of the right size costs less than one that grows.
        n_new = 0
        for voxel in new:
            n_new += object_of[voxel] > 0
        if n_new:
            more = np.empty(keys.size + n_new, np.int64)
            more[: keys.size] = keys
            at = keys.size
            for voxel in new:
                if object_of[voxel] > 0:
                    more[at] = np.int64(voxel) * (n_objects + 1) + object_of[voxel]
                    at += 1
            ones = np.ones(more.size, np.int32)
            ones[: held.size] = held
            keys, held = more, ones
        keys, held = _distinct(keys, held, n_objects + 1, parent)
        touching = _longer(touching, n_links + keys.size)
        touched = _longer(touched, n_links + keys.size)
        shared = _longer(shared, n_links + keys.size)
        for k in range(keys.size):
            root, component = divmod(keys[k], n_objects + 1)
            touching[n_links] = row_of[root]
            touched[n_links] = component - 1
            shared[n_links] = held[k]
            n_links += 1
    return (
        levels[:n_rows].copy(),
        sizes[:n_rows].copy(),
        insides[:n_rows].copy(),
        ignoreds[:n_rows].copy(),
        tops[:n_rows].copy(),
        touching[:n_links].copy(),
        touched[:n_links].copy(),
        shared[:n_links].copy(),
    )
