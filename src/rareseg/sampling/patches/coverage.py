"""Estimate coverage: distinct windows and voxels seen, in constant memory.

A bitmap over all voxels would be exact, and would take an eighth of the masks in memory and again
in every checkpoint. These take a few hundred kilobytes whatever the data, are exact while the
numbers are small, which is where they matter, and state their error beyond.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from rareseg.data.store.store import Store
from rareseg.sampling.patches.permutation import mixed
from rareseg.sampling.patches.places import Places, locate
from rareseg.sampling.pools.pool import Pool

SMALLEST_KEPT = 16_384
"""Up to so many distinct windows are counted; beyond, the number is right to 1.6 % (95 %)."""

WATCHED = 10_000
"""Voxels of each class that are watched; of a class with more the share is right to 1 % (95 %)."""


class DistinctWindows:
    """Counts windows that differ in case or corner: the k smallest values of a hash of them.

    Below k the count is exact, beyond it is (k − 1) / (k-th smallest hash, in 0…1), with a
    relative standard error of 1 / √(k − 2). Source: Beyer et al. 2007, On synopses for
    distinct-value estimation under multiset operations, SIGMOD, section 4.1.
    """

    def __init__(self) -> None:
        self._kept: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._waiting: list[NDArray[np.uint64]] = []

    def add(self, places: Places) -> None:
        """Take note of the windows of one batch."""
        hashes = np.empty(len(places), np.uint64)
        _hash(places.case, places.corner, hashes)
        self._waiting.append(hashes)
        if sum(map(len, self._waiting)) > SMALLEST_KEPT:
            self._merge_waiting()

    def _merge_waiting(self) -> None:
        self._kept = np.unique(np.concatenate([self._kept, *self._waiting]))[:SMALLEST_KEPT]
        self._waiting = []

    def count(self) -> int:
        """Return how many different windows there were."""
        self._merge_waiting()
        if len(self._kept) < SMALLEST_KEPT:
            return len(self._kept)
        return round((SMALLEST_KEPT - 1) / (float(self._kept[-1]) / 2**64))

    def state(self) -> str:
        """Return what :meth:`restore` goes on from."""
        self._merge_waiting()
        return self._kept.tobytes().hex()

    def restore(self, state: str) -> None:
        """Go on from a state."""
        self._kept = np.frombuffer(bytes.fromhex(state), np.uint64)
        self._waiting = []


class Coverage:
    """Watches voxels of each class, spread evenly over it, and notes which a window has held."""

    def __init__(self, store: Store, pools: Sequence[Pool]) -> None:
        self._store = store
        watched = [pool.at(_spread(pool.size)) for pool in pools]
        kinds = np.repeat(np.arange(len(pools)), [len(places) for places in watched])
        places = np.concatenate(watched)
        order = np.argsort(places)
        self._places, self._kinds = places[order], kinds[order]
        self._seen = np.zeros(len(places), np.uint8)
        self._classes = len(pools)
        case, _ = locate(store, self._places)
        self._bounds = np.searchsorted(case, np.arange(len(store) + 1))

    def add(self, places: Places, patch: tuple[int, int, int]) -> None:
        """Note what lies in the windows of one batch, of size (z, y, x)."""
        table = self._store.cases
        _watch(
            places.case,
            places.corner,
            np.array(patch),
            table.shape,
            table.label_offset,
            self._places,
            self._bounds,
            self._seen,
        )

    def shares(self) -> tuple[float | None, ...]:
        """Return the share of each class's voxels that a window has held; None: it has none."""
        watched = np.bincount(self._kinds, minlength=self._classes)
        seen = np.bincount(self._kinds[self._seen > 0], minlength=self._classes)
        return tuple(
            float(part / whole) if whole else None
            for part, whole in zip(seen, watched, strict=True)
        )

    def state(self) -> str:
        """Return what :meth:`restore` goes on from, over the same cases."""
        return np.packbits(self._seen).tobytes().hex()

    def restore(self, state: str) -> None:
        """Go on from a state."""
        bits = np.frombuffer(bytes.fromhex(state), np.uint8)
        self._seen = np.unpackbits(bits, count=len(self._seen))


def _spread(size: int) -> NDArray[np.int64]:
    """Return the ranks that are watched in a pool: all, or :data:`WATCHED` at even distances."""
    if size <= WATCHED:
        return np.arange(size)
    return ((np.arange(WATCHED) + 0.5) * (size / WATCHED)).astype(np.int64)


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _hash(case, corner, hashes):  # type: ignore[no-untyped-def]
    for i in range(len(case)):
        # From 1 on, since the mixing leaves 0 as it is.
        word = mixed(np.uint64(case[i] + 1))
        for axis in range(3):
            word = mixed(word ^ np.uint64(np.int64(corner[i, axis])))
        hashes[i] = word


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _watch(cases, corners, patch, shapes, offsets, places, bounds, seen):  # type: ignore[no-untyped-def]
    """Mark the watched places inside each window, searching for the first of each slice."""
    for b in range(len(cases)):
        case = cases[b]
        Z, Y, X = np.int64(shapes[case, 0]), np.int64(shapes[case, 1]), np.int64(shapes[case, 2])
        z_low, y_low, x_low = max(corners[b, 0], 0), max(corners[b, 1], 0), max(corners[b, 2], 0)
        z_high = min(corners[b, 0] + patch[0], Z)
        y_high = min(corners[b, 1] + patch[1], Y)
        x_high = min(corners[b, 2] + patch[2], X)
        i, end = bounds[case], bounds[case + 1]
        for z in range(z_low, z_high):
            first = offsets[case] + (z * Y + y_low) * X
            last = offsets[case] + (z * Y + y_high) * X
            # Watched places ascend, so that each slice is searched behind the one before.
            i += np.searchsorted(places[i:end], first)
            while i < end and places[i] < last:
                x = (places[i] - offsets[case]) % X
                if x_low <= x < x_high:
                    seen[i] = 1
                i += 1
