"""Look up the mixture in force at each batch: phases, and mined pools within them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rareseg.errors import UsageError
from rareseg.recipe import Phase
from rareseg.sampling.pools.mined_pools import MinedPools
from rareseg.sampling.strategies.mixture import Mixture
from rareseg.sampling.strategies.pool_schedule import Schedule
from rareseg.sampling.strategies.strategy import Cases, mines, resolve


@dataclass(frozen=True, eq=False)
class PhasePart:
    """From batch ``first`` on, a mixture, and which patch of the stretch comes from which pool."""

    first: int
    mixture: Mixture
    schedule: Schedule


class Phases:
    """The stretches of a run: one a phase, renewed after each round of mining where it mines.

    Phases begin at fixed batches. What was mined holds until the next round; batches before it
    cannot be drawn again, since the pools of their time are not kept.

    Raises :class:`UsageError` for several phases without a number of ``steps``, and what
    :func:`rareseg.sampling.strategies.strategy_registry.resolve` raises.
    """

    def __init__(self, cases: Cases, phases: Sequence[Phase], steps: int | None) -> None:
        if len(phases) > 1 and steps is None:
            raise UsageError(
                f"The phases {', '.join(phase.title for phase in phases)} end after shares of the "
                "run, whose length is not known; give steps, the batches of the whole run."
            )
        self._cases = cases
        self.phases = tuple(phases)
        self.firsts = (0, *(round(phase.until * (steps or 0)) for phase in phases[:-1]))
        self._stretches = [
            _stretch(first, resolve(phase.strategy, cases))
            for first, phase in zip(self.firsts, phases, strict=True)
        ]
        self.stream = self._describe()

    @classmethod
    def of_mixture(cls, cases: Cases, mixture: Mixture) -> Phases:
        """Return the program of one mixture that never changes."""
        program = cls.__new__(cls)
        program._cases, program.firsts = cases, (0,)
        program.phases = (Phase(strategy="mixture", until=1.0),)
        program._stretches = [_stretch(0, mixture)]
        program.stream = program._describe()
        return program

    @property
    def mixtures(self) -> tuple[Mixture, ...]:
        """The mixture of each phase, as it is now."""
        return tuple(stretch.mixture for stretch in self._stretches)

    @property
    def mined(self) -> MinedPools:
        """What the last round of mining found."""
        return self._cases.mined

    def phase_at(self, batch: int) -> int:
        """Return the index of the phase that a batch belongs to."""
        return int(np.searchsorted(self.firsts, batch, side="right")) - 1

    def at(self, batch: int) -> PhasePart:
        """Return what is in force at a batch; raise :class:`UsageError` where that is gone."""
        stretch = self._stretches[self.phase_at(batch)]
        if batch < stretch.first:
            raise UsageError(
                f"Batch {batch} was drawn from pools of an earlier round of mining, which are not "
                f"kept; those from batch {self.mined.step} on can be drawn."
            )
        return stretch

    def mines_between(self, first: int, end: int) -> bool:
        """Say whether any batch from ``first`` to before ``end`` is drawn from mined pools."""
        ends = (*self.firsts[1:], end)
        return any(
            mines(phase) and begins < end and ends_at > first
            for phase, begins, ends_at in zip(self.phases, self.firsts, ends, strict=True)
        )

    def renew(self, mined: MinedPools) -> None:
        """Put in force what a round of mining found, from its step on."""
        self._cases = replace(self._cases, mined=mined)
        ends = (*self.firsts[1:], None)
        for index, (phase, first, end) in enumerate(
            zip(self.phases, self.firsts, ends, strict=True)
        ):
            if not mines(phase):
                continue
            # A phase that is over keeps its mixture for the report, and can no more be drawn.
            over = end is not None and end <= mined.step
            mixture = (
                self._stretches[index].mixture if over else resolve(phase.strategy, self._cases)
            )
            self._stretches[index] = _stretch(max(first, mined.step), mixture)

    def _describe(self) -> dict[str, Any]:
        """Return what decides the draws before anything is mined."""
        return {
            "phases": [
                [phase.strategy, first]
                for phase, first in zip(self.phases, self.firsts, strict=True)
            ],
            "pools": [list(mixture.names) for mixture in self.mixtures],
            "pool_sizes": [
                [share.pool.size for share in mixture.shares] for mixture in self.mixtures
            ],
            "shares": [mixture.delivered.tolist() for mixture in self.mixtures],
        }


def _stretch(first: int, mixture: Mixture) -> PhasePart:
    return PhasePart(first, mixture, Schedule(mixture.delivered))
