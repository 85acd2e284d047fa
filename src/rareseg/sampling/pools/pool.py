"""Pools: exact sets of voxels over all cases of a store, run-length encoded.

A pool lists the runs of consecutive voxels, in the store's flat label array, that belong to it.
A draw is an integer below the pool's size, looked up in the runs: an exact bijection onto the
voxels, so that every voxel of the pool is equally likely and none is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rareseg.data.store.store import CaseIndex, Store
from rareseg.errors import UsageError
from rareseg.sampling.pools.run_lengths import PackedRuns, Packer, Runs, combine, find_runs
from rareseg.sampling.pools.window_contents import FOREGROUND, ClassSelection, window_runs
from rareseg.sampling.pools.windows import Border, as_zyx
from rareseg_runner.image_records import IGNORE

Weighting = Literal["voxel", "case", "group"]
"""``voxel``: every voxel of a pool is equally likely, so large cases dominate. ``case``: the case
is drawn first, among those that have any, so the voxels of small objects repeat. ``group``: the
group is drawn first, among those that have any, then the case, then the voxel, so that a patient
with many images counts as one with a single image; a case without a group is one of its own."""


@dataclass(frozen=True, eq=False)
class Pool:
    """A set of voxels: R ascending runs that never cross from one case into the next.

    ``case_bounds`` (n + 1,) int64 are the voxels of the pool before each of the n ``cases``, and
    the total. The table of cases is the store's own, not a copy.
    """

    name: str
    runs: PackedRuns
    case_bounds: NDArray[np.int64]
    cases: CaseIndex

    @property
    def size(self) -> int:
        """The number of voxels."""
        return self.runs.size

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each run starts in the flat label array, (R,)."""
        return self.runs.unpacked()[0]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The length of each run, (R,)."""
        return self.runs.unpacked()[1]

    @property
    def nbytes(self) -> int:
        """The memory that the pool takes, in bytes."""
        return self.runs.nbytes + self.case_bounds.nbytes

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
        present, bounds = self._by_group
        if weighting == "case":
            chosen = rng.integers(len(present), size=n)
        else:
            group = rng.integers(len(bounds) - 1, size=n)
            chosen = bounds[group] + rng.integers(np.diff(bounds)[group])
        first, end = self.case_bounds[present[chosen]], self.case_bounds[present[chosen] + 1]
        return self.at(rng.integers(first, end))

    @cached_property
    def _by_group(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The cases that have any voxel, group by group, and where each group begins and ends."""
        codes: dict[str | int, int] = {}
        rows = np.flatnonzero(np.diff(self.case_bounds))
        names = [self.cases.groups[row] for row in rows]
        code = np.array(
            [
                codes.setdefault(row if name is None else name, len(codes))
                for row, name in zip(rows.tolist(), names, strict=True)
            ],
            np.int64,
        )
        bounds = np.append(0, np.cumsum(np.bincount(code)))
        return rows[np.argsort(code, kind="stable")], bounds

    def at(self, rank: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the flat place of the pool's voxel number ``rank``, 0 ≤ rank < size."""
        return self.runs.at(rank)

    def contains(self, place: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for each flat place whether the pool holds it."""
        return self.runs.contains(place)


def pool_everything(store: Store) -> Pool:
    """Return the pool of all voxels that are not ``IGNORE``."""
    return pool_where(store, "everything", lambda row: store.label(row) != IGNORE)


def pool_class(store: Store, index: int) -> Pool:
    """Return the pool of the voxels of one class index."""
    return pool_classes(store)[index]


def pool_classes(store: Store) -> tuple[Pool, ...]:
    """Return one pool per class, background first, from a single pass over the labels."""
    makers = [_Maker(store) for _ in store.classes.names]
    for row in range(len(store)):
        (starts, lengths), values = find_runs(store.label(row).reshape(-1))
        for index, maker in enumerate(makers):
            own = values == index
            maker.add((starts[own], lengths[own]))
    return tuple(maker.pool(name) for name, maker in zip(store.classes.names, makers, strict=True))


def pool_windows(
    store: Store,
    patch_size: tuple[int, ...],
    border: Border,
    holds: Literal["foreground", "nothing"] | int,
    *,
    at_least: int = 1,
    share: float = 0.0,
) -> Pool:
    """Return the centres of all windows that hold foreground, no foreground, or a class index.

    What a window holds is what lies in it once it is placed by the border rule: a window whose
    centre is background holds foreground if a single voxel of it reaches in, or ``at_least`` so
    many, and these are ``share`` (0…1) or more of the window's known voxels. Centres that are
    ``IGNORE`` belong to no pool.

    Raises :class:`UsageError` for an amount that is impossible, or one of nothing.
    """
    if at_least < 1 or not 0 <= share <= 1 or (holds == "nothing" and (at_least, share) != (1, 0)):
        raise UsageError(
            f"Windows are to hold {holds} by at least {at_least} voxels and a share of {share:g}; "
            "at_least must be 1 or more, share in 0…1, and 'nothing' has no amount."
        )
    patch = as_zyx(patch_size)
    named = store.classes.names[holds] if isinstance(holds, int) else holds
    amount = f"at least {at_least} voxels of " if at_least > 1 else ""
    amount += f"at least {100 * share:g} % of " if share > 0 else ""
    return _pool(
        store,
        f"windows with {amount}{named}",
        (
            window_runs(
                store.label(row),
                patch,
                border,
                ClassSelection(holds) if isinstance(holds, int) else FOREGROUND,
                at_least=at_least,
                share=share,
                negate=holds == "nothing",
            )
            for row in range(len(store))
        ),
    )


def pool_rim(store: Store, index: int, width_voxels: int) -> Pool:
    """Return the voxels of a class that lie within ``width_voxels`` of its boundary.

    These have a known voxel of another class at most so many steps away along every axis (the
    Chebyshev distance): in-plane in a store of axial planes, in all three axes otherwise. Neither
    the image's edge nor ``IGNORE`` is a boundary. The rim of the background surrounds what it
    surrounds; its union with the rim of a class is a band about that class's boundary.

    Raises :class:`UsageError` for a width below 1.
    """
    if width_voxels < 1:
        raise UsageError(f"The width of a rim is {width_voxels} voxels; it must be at least 1.")
    size = 2 * width_voxels + 1
    patch = (1 if store.preprocessing.dimension == 2 else size, size, size)
    return _pool(
        store,
        f"rim of {store.classes.names[index]}",
        (
            window_runs(
                store.label(row),
                patch,
                "background",
                ClassSelection(index, others=True),
                centre=index,
            )
            for row in range(len(store))
        ),
    )


def pool_mask(
    store: Store,
    name: str,
    masks: Mapping[str, NDArray[Any]] | Callable[[str], NDArray[Any] | None],
) -> Pool:
    """Return the pool of the voxels that one's own masks set, on the store's grid.

    ``masks`` maps a case id to an array of its shape, (Z, Y, X) or (Y, X) for a photograph, bool or
    0 and 1; it is a mapping or a function. A case without a mask (or with ``None``) has none of the
    pool's voxels. ``IGNORE`` belongs to no pool.

    Raises :class:`UsageError` for a case that the store does not hold, and for a mask of another
    shape or with other values.
    """
    if isinstance(masks, Mapping):
        for case_id in masks:
            store.row(case_id)
    find = masks.get if isinstance(masks, Mapping) else masks

    def belongs(row: int) -> NDArray[np.bool_]:
        label, mask = store.label(row), find(store.cases.ids[row])
        if mask is None:
            return np.zeros(label.shape, bool)
        mask = np.asarray(mask)
        if mask.shape not in (label.shape, label.shape[1:] if len(label) == 1 else label.shape):
            raise UsageError(
                f"The mask '{name}' of case '{store.cases.ids[row]}' has the shape {mask.shape}; "
                f"it must be {label.shape}, as in the store."
            )
        if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
            raise UsageError(
                f"The mask '{name}' of case '{store.cases.ids[row]}' holds values other than 0 and "
                "1; compare it with the value that is meant."
            )
        set_there: NDArray[np.bool_] = mask.astype(bool).reshape(label.shape)
        set_there &= label != IGNORE
        return set_there

    return pool_where(store, name, belongs)


def pool_where(store: Store, name: str, belongs: Callable[[int], NDArray[np.bool_]]) -> Pool:
    """Return the pool of the voxels for which ``belongs(row)``, (Z, Y, X) bool, is true."""

    def runs(row: int) -> Runs:
        (starts, lengths), values = find_runs(np.ascontiguousarray(belongs(row)).reshape(-1))
        return starts[values > 0], lengths[values > 0]

    return _pool(store, name, map(runs, range(len(store))))


def pool_of_runs(
    store: Store, name: str, starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> Pool:
    """Return the pool of ascending runs in the flat label array, (R,) each, none empty.

    Runs do not cross from case to case. Nothing is left out, ``IGNORE`` neither.
    """
    return _pool_of_flat(store.cases, name, (starts, lengths))


def pool_of_places(store: Store, name: str, places: NDArray[np.int64]) -> Pool:
    """Return the pool of these flat places, in any order and however often each is named."""
    places = np.unique(places)
    row = np.searchsorted(store.cases.label_offset, places, side="right")
    first = np.ones(len(places), bool)
    first[1:] = (np.diff(places) > 1) | (np.diff(row) > 0)
    starts = np.flatnonzero(first)
    return pool_of_runs(store, name, places[starts], np.diff(starts, append=len(places)))


def union(first: Pool, second: Pool, name: str | None = None) -> Pool:
    """Return the voxels that either pool holds; raises :class:`UsageError` as all of its kind.

    Both pools must be of the same cases.
    """
    return _combined(first, second, name, "or", only_first=True, only_second=True, both=True)


def intersection(first: Pool, second: Pool, name: str | None = None) -> Pool:
    """Return the voxels that both pools hold; otherwise as :func:`union`."""
    return _combined(first, second, name, "and", only_first=False, only_second=False, both=True)


def difference(first: Pool, second: Pool, name: str | None = None) -> Pool:
    """Return the voxels of the first pool that the second lacks; otherwise as :func:`union`."""
    return _combined(first, second, name, "without", only_first=True, only_second=False, both=False)


class _Maker:
    """Makes a pool of what each case adds to it, in the order of the cases."""

    def __init__(self, store: Store) -> None:
        self._cases = store.cases
        self._packer = Packer()
        self._sizes: list[int] = []

    def add(self, runs: Runs) -> None:
        """Add the runs of the next case, as places within it."""
        offset = self._cases.label_offset[len(self._sizes)]
        self._sizes.append(self._packer.add((runs[0] + offset, runs[1])))

    def pool(self, name: str) -> Pool:
        """Return the pool, once every case was added."""
        bounds = np.append(0, np.cumsum(self._sizes, dtype=np.int64))
        return Pool(name, self._packer.packed(), bounds, self._cases)


def _pool(store: Store, name: str, runs: Iterable[Runs]) -> Pool:
    """Make a pool of the runs of each case, as places within it."""
    maker = _Maker(store)
    for part in runs:
        maker.add(part)
    return maker.pool(name)


def _pool_of_flat(cases: CaseIndex, name: str, runs: Runs) -> Pool:
    """Make a pool of ascending runs of flat places, none of them across two cases."""
    starts, lengths = runs
    packer = Packer()
    packer.add(runs)
    before = np.append(0, np.cumsum(lengths, dtype=np.int64))
    bounds = np.append(before[np.searchsorted(starts, cases.label_offset)], before[-1])
    return Pool(name, packer.packed(), bounds, cases)


def _combined(first: Pool, second: Pool, name: str | None, word: str, **keep: bool) -> Pool:
    """Combine the runs of two pools, and part them again where a case ends."""
    offsets = first.cases.label_offset
    if not np.array_equal(offsets, second.cases.label_offset):
        raise UsageError(
            f"The pools '{first.name}' and '{second.name}' are of other cases; combine pools that "
            "were made from one store or one subset of it."
        )
    starts, lengths = combine(first.runs.unpacked(), second.runs.unpacked(), **keep)
    ends = starts + lengths
    run = np.searchsorted(starts, offsets) - 1
    cuts = offsets[(run >= 0) & (offsets < np.append(ends, 0)[run])]
    starts, ends = np.sort(np.append(starts, cuts)), np.sort(np.append(ends, cuts))
    return _pool_of_flat(
        first.cases, name or f"{first.name} {word} {second.name}", (starts, ends - starts)
    )
