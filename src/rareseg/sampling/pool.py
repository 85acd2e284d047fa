"""Exact sets of voxels over all cases of a store, as runs.

A pool lists the runs of consecutive voxels, in the store's flat label array, that belong to it.
A draw is an integer below the pool's size, looked up in the cumulative run lengths: an exact
bijection onto the voxels, so that every voxel of the pool is equally likely and none is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rareseg.data.records import IGNORE
from rareseg.data.store import Store
from rareseg.sampling.windows import Border, as_zyx, window_counts

Weighting = Literal["voxel", "case"]
"""``voxel``: every voxel of a pool is equally likely, so large cases dominate. ``case``: the case
is drawn first, among those that have any, so the voxels of small lesions repeat."""


@dataclass(frozen=True, eq=False)
class Pool:
    """A set of voxels: R ascending runs that never cross from one case into the next.

    ``starts`` (R,) int64 are places in the flat label array, ``cumulative`` (R + 1,) int64 the
    voxels before each run, and the total. ``case_bounds`` (n + 1,) int64 are the voxels of the pool
    before each of the store's n cases, and the total.
    """

    name: str
    starts: NDArray[np.int64]
    cumulative: NDArray[np.int64]
    case_bounds: NDArray[np.int64]

    @property
    def size(self) -> int:
        """The number of voxels."""
        return int(self.cumulative[-1])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The length of each run, (R,)."""
        return np.diff(self.cumulative)

    @property
    def nbytes(self) -> int:
        """The memory that the pool takes, in bytes."""
        return self.starts.nbytes + self.cumulative.nbytes + self.case_bounds.nbytes

    def draw(
        self, rng: np.random.Generator, n: int, weighting: Weighting = "voxel"
    ) -> NDArray[np.int64]:
        """Draw ``n`` voxels with replacement: places (n,) in the flat label array.

        Raises :class:`ValueError` for an empty pool; a mixture never draws from one.
        """
        if self.size == 0:
            raise ValueError(f"the pool '{self.name}' is empty")
        if weighting == "voxel":
            return self.at(rng.integers(self.size, size=n))
        sizes = np.diff(self.case_bounds)
        present = np.flatnonzero(sizes)
        case = present[rng.integers(len(present), size=n)]
        return self.at(self.case_bounds[case] + rng.integers(sizes[case]))

    def at(self, rank: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the flat place of the pool's voxel number ``rank``, 0 ≤ rank < size."""
        run = np.searchsorted(self.cumulative, rank, side="right") - 1
        return self.starts[run] + (rank - self.cumulative[run])

    def contains(self, place: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for each flat place whether the pool holds it."""
        if self.size == 0:
            return np.zeros(np.shape(place), bool)
        run = np.searchsorted(self.starts, place, side="right") - 1
        inside: NDArray[np.bool_] = (run >= 0) & (place < self.starts[run] + self.lengths[run])
        return inside


def pool_everything(store: Store) -> Pool:
    """Return the pool of all voxels that are not ``IGNORE``."""
    return pool_where(store, "everything", lambda row: store.label(row) != IGNORE)


def pool_class(store: Store, index: int) -> Pool:
    """Return the pool of the voxels of one class index."""
    return pool_classes(store)[index]


def pool_classes(store: Store) -> tuple[Pool, ...]:
    """Return one pool per class, background first, from a single pass over the labels."""
    parts = [_runs(store.label(row)) for row in range(len(store))]
    offsets = store.cases.label_offset
    starts = _joined([part[0] + offset for part, offset in zip(parts, offsets, strict=True)])
    lengths = _joined([part[1] for part in parts])
    values = _joined([part[2] for part in parts])
    return tuple(
        _pool(store, name, starts[values == index], lengths[values == index])
        for index, name in enumerate(store.classes.names)
    )


def pool_windows(
    store: Store,
    patch_size: tuple[int, ...],
    border: Border,
    holds: Literal["foreground", "nothing"] | int,
) -> Pool:
    """Return the centres of all windows that hold foreground, no foreground, or a class index.

    What a window holds is what lies in it once it is placed by the border rule: a window whose
    centre is background holds foreground if a single voxel of it reaches in. Centres that are
    ``IGNORE`` belong to no pool.
    """
    patch = as_zyx(patch_size)

    def centres(row: int) -> NDArray[np.bool_]:
        label = store.label(row)
        known: NDArray[np.bool_] = label != IGNORE
        wanted = label == holds if isinstance(holds, int) else known & (label != 0)
        found = np.zeros(label.shape, bool)
        if wanted.any():
            found = window_counts(wanted, patch, border) > 0
        return known & ~found if holds == "nothing" else known & found

    named = store.classes.names[holds] if isinstance(holds, int) else holds
    return pool_where(store, f"windows with {named}", centres)


def pool_where(store: Store, name: str, belongs: Callable[[int], NDArray[np.bool_]]) -> Pool:
    """Return the pool of the voxels for which ``belongs(row)``, (Z, Y, X) bool, is true."""
    starts, lengths = [], []
    for row, offset in enumerate(store.cases.label_offset):
        first, length, value = _runs(belongs(row))
        starts.append(first[value] + offset)
        lengths.append(length[value])
    return _pool(store, name, _joined(starts), _joined(lengths))


def _runs(labels: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Return the starts, lengths and values of the runs of equal voxels in flat order."""
    flat = labels.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    return starts, np.diff(starts, append=flat.size), flat[starts]


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Concatenate, also where there is nothing."""
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _pool(store: Store, name: str, starts: NDArray[Any], lengths: NDArray[Any]) -> Pool:
    """Make a pool of ascending runs over a store's cases."""
    cumulative = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    first_run = np.searchsorted(starts, store.cases.label_offset)
    return Pool(
        name=name,
        starts=starts.astype(np.int64),
        cumulative=cumulative,
        case_bounds=np.append(cumulative[first_run], cumulative[-1]),
    )
