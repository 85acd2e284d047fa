"""How components grow and merge as the threshold falls: every voxel is looked at once.

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

from rareseg.data.components import bounding_box, label_components
from rareseg.data.records import IGNORE
from rareseg.errors import ScoreError

_MOST_VOXELS = 2**31 - 1


@dataclass(frozen=True)
class Grown:
    """The components of one case at every threshold, from the highest threshold down.

    Component columns (c,), threshold after threshold, within one in raster order of the first
    voxel: ``levels`` uint8 is the threshold's index, ``sizes`` all voxels, ``inside`` those of the
    reference and ``ignored`` those that count nowhere (int32), ``tops`` float32 the highest score.
    Pairs (m,) int32: the component in row ``touching`` holds a voxel of lesion ``touched``.
    ``lesion_sizes`` (l,) int64.
    """

    levels: NDArray[np.uint8]
    sizes: NDArray[np.int32]
    inside: NDArray[np.int32]
    ignored: NDArray[np.int32]
    tops: NDArray[np.float32]
    touching: NDArray[np.int32]
    touched: NDArray[np.int32]
    lesion_sizes: NDArray[np.int64]


def grow_components(
    scores: NDArray[np.float32], reference: NDArray[np.uint8], edges: NDArray[np.float32]
) -> Grown:
    """Return the components of ``scores >= edge`` for every one of ``edges``.

    ``scores`` and ``reference`` are (Z, Y, X) or (Y, X), 8-connected in one slice and 26-connected
    in a volume; ``edges`` (t,) ascend, t ≤ 255. Memory: about 40 bytes per voxel of the box that
    holds all voxels at or above the lowest edge. An empty array has no component. Raises
    ScoreError where that box holds 2³¹ voxels or more.
    """
    if scores.ndim == 2:
        scores, reference = scores[np.newaxis], reference[np.newaxis]
    lesions, n_lesions = label_components(reference == 1)
    lesion_sizes = np.bincount(lesions.ravel(), minlength=n_lesions + 1)[1:].astype(np.int64)
    box = bounding_box(scores >= edges[0])
    if box is None:
        return _nothing(lesion_sizes)
    scores, reference, lesions = scores[box], reference[box], lesions[box]
    if scores.size > _MOST_VOXELS:
        raise ScoreError(
            f"Components of {scores.size} voxels at once cannot be counted (at most "
            f"{_MOST_VOXELS}); choose a higher lowest threshold."
        )
    flat, lesion_of = scores.ravel(), lesions.ravel()
    order, starts = _enter_in_order(flat, edges)
    state = _State.of(flat, reference.ravel())
    alive = np.empty(0, np.int32)
    pairs = np.empty((2, 0), np.int64)
    rows: list[tuple[NDArray[Any], ...]] = []
    links: list[NDArray[np.int64]] = []
    n_rows = 0
    for level in range(len(edges) - 1, -1, -1):
        new = order[starts[level + 1] : starts[level]]
        _enter(new, np.array(scores.shape), *state.columns)
        alive = _still_roots(np.concatenate([alive, new]), state.parent)
        here = alive[np.argsort(state.first[alive], kind="stable")]
        rows.append(
            (
                np.full(len(here), level, np.uint8),
                state.size[here],
                state.inside[here],
                state.ignored[here],
                state.top[here],
            )
        )
        new = new[lesion_of[new] > 0]
        both = np.stack([new, lesion_of[new]]).astype(np.int64)
        pairs = _distinct(np.concatenate([pairs, both], axis=1), state.parent, n_lesions + 1)
        by_root = np.argsort(here)
        rows_of = n_rows + by_root[np.searchsorted(here, pairs[0], sorter=by_root)]
        links.append(np.stack([rows_of, pairs[1] - 1]))
        n_rows += len(here)
    levels, sizes, inside, ignored, tops = map(np.concatenate, zip(*rows, strict=True))
    touching, touched = np.concatenate(links, axis=1).astype(np.int32)
    return Grown(levels, sizes, inside, ignored, tops, touching, touched, lesion_sizes)


def _nothing(lesion_sizes: NDArray[np.int64]) -> Grown:
    """Return what there is where no voxel reaches the lowest threshold."""
    none = np.empty(0, np.int32)
    return Grown(
        np.empty(0, np.uint8), none, none, none, np.empty(0, np.float32), none, none, lesion_sizes
    )


@dataclass(frozen=True)
class _State:
    """What is known per voxel of the box; of a component, its root voxel's entries hold.

    ``parent`` is -1 for a voxel that has not entered.
    """

    parent: NDArray[np.int32]
    size: NDArray[np.int32]
    inside: NDArray[np.int32]
    ignored: NDArray[np.int32]
    first: NDArray[np.int32]
    top: NDArray[np.float32]

    @classmethod
    def of(cls, scores: NDArray[np.float32], reference: NDArray[np.uint8]) -> _State:
        """Return the state in which no voxel has entered."""
        return cls(
            parent=np.full(scores.size, -1, np.int32),
            size=np.ones(scores.size, np.int32),
            inside=(reference == 1).astype(np.int32),
            ignored=(reference == IGNORE).astype(np.int32),
            first=np.arange(scores.size, dtype=np.int32),
            top=scores.copy(),
        )

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """All columns, in the order in which the kernel takes them."""
        return self.parent, self.size, self.inside, self.ignored, self.first, self.top


def _distinct(pairs: NDArray[np.int64], parent: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """Return the pairs (voxel, lesion below n) with the voxel's root in its place, each once."""
    return np.stack(np.divmod(np.unique(_roots(pairs[0], parent) * n + pairs[1]), n))


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
def _roots(voxels: NDArray[np.int64], parent: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the root of every voxel."""
    result = np.empty(voxels.size, np.int64)
    for k in range(voxels.size):
        result[k] = _root(parent, voxels[k])
    return result


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _still_roots(voxels: NDArray[np.int32], parent: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return those voxels that are roots."""
    result = np.empty(voxels.size, np.int32)
    n = 0
    for voxel in voxels:
        if parent[voxel] == voxel:
            result[n] = voxel
            n += 1
    return result[:n].copy()


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
                    if other < 0 or other == own:
                        continue
                    other = np.int32(_root(parent, other))
                    if other == own:
                        continue
                    if size[other] > size[own]:
                        own, other = other, own
                    parent[other] = own
                    size[own] += size[other]
                    inside[own] += inside[other]
                    ignored[own] += ignored[other]
                    first[own] = min(first[own], first[other])
                    top[own] = max(top[own], top[other])
