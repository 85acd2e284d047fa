"""Count what was delivered over a whole run, phase by phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rareseg.data.store.store import Store
from rareseg.sampling.patches.composition import Composition, PasteCount, PhaseCounts
from rareseg.sampling.patches.coverage import Coverage, DistinctWindows
from rareseg.sampling.patches.places import Places
from rareseg.sampling.pools.pool import pool_classes
from rareseg.sampling.strategies.mixture import Mixture
from rareseg_runner.image_records import IGNORE


class RunComposition:
    """Counts of every phase, the different windows, and what they covered.

    The voxels to watch are chosen when the first batch comes, which takes one pass over the labels.
    """

    def __init__(self, store: Store, phases: Sequence[str]) -> None:
        self._store = store
        self._phases = tuple(phases)
        self._tallies = [PhaseCounts(len(store)) for _ in phases]
        # What had been seen when each phase ended.
        self._ends: list[tuple[int, tuple[float | None, ...]] | None] = [None for _ in phases]
        self._windows = DistinctWindows()
        self._coverage: Coverage | None = None
        self._current = 0

    def add(
        self,
        phase: int,
        mixture: Mixture,
        places: Places,
        patch: tuple[int, int, int],
        voxels: NDArray[np.int64],
        with_foreground: int,
    ) -> None:
        """Add one batch of a phase, its windows being of size (z, y, x)."""
        if phase > self._current:
            for ended in range(self._current, phase):
                self._ends[ended] = self._seen()
            self._current = phase
        tally = self._tallies[phase]
        tally.add(mixture.names, mixture.asked, mixture.delivered, places.pool, places.case)
        tally.count(voxels, with_foreground)
        self._windows.add(places)
        self._watch().add(places, patch)

    def recount(
        self,
        phase: int,
        voxels: NDArray[np.int64],
        with_foreground: int,
        labels: torch.Tensor,
        pasted: PasteCount | None,
    ) -> None:
        """Count ``labels`` (B, *patch) in place of those of a batch that was added."""
        tally = self._tallies[phase]
        tally.count(-voxels, -with_foreground)
        tally.count_labels(labels, self._store.classes.count)
        tally.count_pasted(pasted)

    def composition(self, mixtures: Sequence[Mixture]) -> Composition:
        """Return the account; ``mixtures``, one a phase, say what is asked before any batch."""
        seen = self._seen()
        parts = [
            self._part([tally], end or seen, mixture, phase)
            for tally, end, mixture, phase in zip(
                self._tallies, self._ends, mixtures, self._phases, strict=True
            )
        ]
        phases = tuple(part for part in parts if part.patches) if len(parts) > 1 else ()
        return self._part(self._tallies, seen, mixtures[0], "", phases)

    def _part(
        self,
        tallies: Sequence[PhaseCounts],
        seen: tuple[int, tuple[float | None, ...]],
        mixture: Mixture,
        phase: str,
        phases: tuple[Composition, ...] = (),
    ) -> Composition:
        tally = PhaseCounts(len(self._store))
        for part in tallies:
            tally.merge(part)
        patches = int(tally.centres.sum())
        classes = self._store.classes.names
        if not patches:
            tally.expect(mixture.names, mixture.asked, mixture.delivered)
        return Composition(
            patches=patches,
            pools=tuple(tally.pools),
            asked=tuple((tally.asked / max(1, patches)).tolist()),
            drawn=tuple((tally.drawn / max(1, patches)).tolist()),
            centres=tuple(tally.centres.tolist()),
            classes=tuple(classes),
            voxels=tuple(tally.voxels[: len(classes)].tolist()),
            ignored=int(tally.voxels[IGNORE]),
            with_foreground=tally.with_foreground,
            cases=tuple(tally.cases.tolist()),
            windows=seen[0],
            covered=seen[1],
            pasted=tally.pasted,
            phase=phase,
            phases=phases,
        )

    def _watch(self) -> Coverage:
        if self._coverage is None:
            self._coverage = Coverage(self._store, pool_classes(self._store))
        return self._coverage

    def _seen(self) -> tuple[int, tuple[float | None, ...]]:
        """Return the windows counted so far and the share of each class that they covered."""
        if self._coverage is None:
            return 0, ()
        return self._windows.count(), self._coverage.shares()

    def state(self) -> dict[str, Any]:
        """Return plain values from which :meth:`restore` goes on."""
        return {
            "tallies": [tally.to_dict() for tally in self._tallies],
            "ends": [None if end is None else [end[0], list(end[1])] for end in self._ends],
            "windows": self._windows.state(),
            "covered": None if self._coverage is None else self._coverage.state(),
            "current": self._current,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same cases and phases."""
        self._tallies = [PhaseCounts.from_dict(values) for values in state["tallies"]]
        self._ends = [None if end is None else (end[0], tuple(end[1])) for end in state["ends"]]
        self._windows.restore(state["windows"])
        self._coverage = None
        if state["covered"] is not None:
            self._watch().restore(state["covered"])
        self._current = int(state["current"])
