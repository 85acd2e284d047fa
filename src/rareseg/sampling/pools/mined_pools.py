"""Record of what mining found: pools of hard voxels, and suspected voxels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rareseg.data.store.store import Store
from rareseg.sampling.pools.pool import Pool, pool_of_runs
from rareseg.sampling.pools.voxel_judgement import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    HARD,
    JudgedVoxels,
)
from rareseg_runner.image_records import IGNORE

FALSE_POSITIVES = "false positives"
FALSE_NEGATIVES = "false negatives"
SET_ASIDE = "set aside"

Portion = tuple[NDArray[np.int64], NDArray[np.uint8], JudgedVoxels]
"""Ascending flat places (n,), their class indices (n,), and what was found about them."""


def low_confidence(name: str) -> str:
    """Return the name of the mined pool of a class: what is hard of its voxels."""
    return f"low confidence: {name}"


@dataclass(frozen=True, eq=False)
class Suspicion:
    """Voxels that were wrong with high confidence in the last round: R ascending runs.

    ``starts`` and ``lengths`` (R,) int64 are flat places, ``rounds`` uint8 (R,) says for how many
    rounds in a row, at most 255, ``predicted`` uint8 (R,) as which class.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    rounds: NDArray[np.uint8]
    predicted: NDArray[np.uint8]

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """The four arrays, in the order of the fields."""
        return self.starts, self.lengths, self.rounds, self.predicted

    def where(self, chosen: NDArray[np.bool_] | slice) -> Suspicion:
        """Return some of the runs alone."""
        return Suspicion(*(array[chosen] for array in self.arrays))

    def within(self, first: int, n: int) -> Suspicion:
        """Return the runs that begin at the flat places ``first`` … ``first + n − 1``."""
        low, high = np.searchsorted(self.starts, [first, first + n])
        return self.where(slice(int(low), int(high)))

    def voxels(self) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the flat place of every voxel, its rounds and its predicted class, (n,) each."""
        offsets = np.cumsum(self.lengths) - self.lengths
        places = np.repeat(self.starts - offsets, self.lengths) + np.arange(self.lengths.sum())
        return (
            places,
            np.repeat(self.rounds, self.lengths),
            np.repeat(self.predicted, self.lengths),
        )


@dataclass(frozen=True, eq=False)
class MinedPools:
    """What the last round found: which one, before which step, and with which weights (a hash).

    ``judged`` counts the voxels that were looked at, by class. ``pools`` hold, without what is set
    aside, "low confidence: CLASS" for every class (hard voxels of that true class), "false
    positives" and "false negatives". Before the first round, ``round`` is 0 and all are empty.
    """

    round: int
    step: int
    weights: str
    judged: tuple[int, ...]
    pools: Mapping[str, Pool]
    set_aside: Pool
    suspicion: Suspicion

    def state(self) -> dict[str, Any]:
        """Return plain numbers and tensors; :func:`restore_mined` gives the record back."""
        return {
            "round": self.round,
            "step": self.step,
            "weights": self.weights,
            "judged": list(self.judged),
            "pools": {name: _tensors(pool.runs.unpacked()) for name, pool in self.pools.items()},
            "set_aside": _tensors(self.set_aside.runs.unpacked()),
            "suspicion": _tensors(self.suspicion.arrays),
        }


def restore_mined(store: Store, state: Mapping[str, Any]) -> MinedPools:
    """Make the record from what :meth:`MinedPools.state` gave, over the same cases."""
    return MinedPools(
        round=int(state["round"]),
        step=int(state["step"]),
        weights=str(state["weights"]),
        judged=tuple(state["judged"]),
        pools={
            name: pool_of_runs(store, name, *_arrays(runs)) for name, runs in state["pools"].items()
        },
        set_aside=pool_of_runs(store, SET_ASIDE, *_arrays(state["set_aside"])),
        suspicion=Suspicion(*_arrays(state["suspicion"])),
    )


def nothing_mined(store: Store) -> MinedPools:
    """Return what is known before the first round: nothing."""
    return gather(store, (), number=0, step=0, weights="", rounds_aside=0)


def gather(
    store: Store,
    portions: Iterable[Portion],
    *,
    number: int,
    step: int,
    weights: str,
    rounds_aside: int,
) -> MinedPools:
    """Return the record of round ``number`` from its portions, in ascending order of places.

    Voxels that were suspected for ``rounds_aside`` rounds or more are the set aside ones; 0: none.
    """
    names, offsets = store.classes.names, store.cases.label_offset
    kinds = (*map(low_confidence, names), FALSE_POSITIVES, FALSE_NEGATIVES)
    runs: dict[str, list[Sequence[NDArray[np.int64]]]] = {kind: [] for kind in kinds}
    suspicion: list[Sequence[NDArray[Any]]] = []
    counted: NDArray[np.int64] = np.zeros(IGNORE + 1, np.int64)
    for places, labels, judged in portions:
        counted += np.bincount(labels, minlength=len(counted))
        flags, rounds, predicted = judged.flags, judged.rounds, judged.predicted
        of_class = np.where(flags & HARD, labels + np.uint16(1), 0)
        first, lengths, key = _runs(places, of_class, offsets)
        for index, name in enumerate(names):
            own = key == index + 1
            runs[low_confidence(name)].append((places[first[own]], lengths[own]))
        for kind, flag in ((FALSE_POSITIVES, FALSE_POSITIVE), (FALSE_NEGATIVES, FALSE_NEGATIVE)):
            first, lengths, _ = _runs(places, flags & flag, offsets)
            runs[kind].append((places[first], lengths))
        doubted = np.where(rounds, rounds.astype(np.uint16) << 8 | predicted, 0)
        first, lengths, _ = _runs(places, doubted, offsets)
        suspicion.append((places[first], lengths, rounds[first], predicted[first]))
    under = Suspicion(*_joined(suspicion, (np.int64, np.int64, np.uint8, np.uint8)))
    aside = under.where(under.rounds >= (rounds_aside or 256))
    return MinedPools(
        round=number,
        step=step,
        weights=weights,
        judged=tuple(counted[: len(names)].tolist()),
        pools={
            kind: pool_of_runs(store, kind, *_joined(found, (np.int64, np.int64)))
            for kind, found in runs.items()
        },
        set_aside=pool_of_runs(store, SET_ASIDE, aside.starts, aside.lengths),
        suspicion=under,
    )


_Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint16]]


def _runs(places: NDArray[np.int64], key: NDArray[Any], offsets: NDArray[np.int64]) -> _Found:
    """Return the index of the first place, the length and the key of each run of one key, not 0.

    ``places`` (n,) ascend; runs do not cross the ``offsets`` at which cases begin.
    """
    key = key.astype(np.uint16)
    count = _find_runs(places, key, offsets, np.zeros(0, np.int64), np.zeros(0, np.int64))
    first, lengths = np.empty(count, np.int64), np.empty(count, np.int64)
    _find_runs(places, key, offsets, first, lengths)
    return first, lengths, key[first]


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _find_runs(places, key, offsets, first, lengths):  # type: ignore[no-untyped-def]
    """Count the runs, and note them where there is room."""
    count, case, previous = 0, 0, 0
    for i in range(len(places)):
        begins = key[i] != previous or (i > 0 and places[i] != places[i - 1] + 1)
        while case < len(offsets) and offsets[case] <= places[i]:
            begins = True
            case += 1
        previous = key[i]
        if previous == 0:
            continue
        if begins:
            count += 1
        # A first call with empty arrays only counts, so that the second gets arrays that fit.
        if count <= len(first):
            if begins:
                first[count - 1] = i
                lengths[count - 1] = 0
            lengths[count - 1] += 1
    return count


def _joined(
    parts: Sequence[Sequence[NDArray[Any]]], dtypes: Sequence[type[np.generic]]
) -> list[NDArray[Any]]:
    """Concatenate the parts column by column, also where there is none."""
    return [
        np.concatenate([np.zeros(0, dtype), *(part[column] for part in parts)])
        for column, dtype in enumerate(dtypes)
    ]


def _tensors(arrays: Sequence[NDArray[Any]]) -> list[Tensor]:
    return [torch.from_numpy(array.copy()) for array in arrays]


def _arrays(tensors: Sequence[Tensor]) -> list[NDArray[Any]]:
    return [tensor.cpu().numpy() for tensor in tensors]
