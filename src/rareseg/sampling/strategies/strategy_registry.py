"""Registry of sampling strategies, and what a strategy may read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rareseg.data.store.store import Store
from rareseg.errors import RecipeError, UsageError, nearest
from rareseg.recipe import MiningSection, Phase, SamplingSection
from rareseg.sampling.pools.mined_pools import MinedPools
from rareseg.sampling.strategies.mixture import Mixture, Share

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Cases:
    """All that a strategy may look at.

    ``store`` holds the cases that are trained on, ``settings`` and ``mining`` are sections of the
    recipe, ``mined`` is what the last round of mining found. ``epoch_patches`` are the patches,
    those of all ranks, from one round to the next; 0 where nothing is ever mined.
    """

    store: Store
    settings: SamplingSection
    mined: MinedPools
    mining: MiningSection = field(default_factory=MiningSection)
    epoch_patches: int = 0
    made: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, make: Callable[..., T], *arguments: Hashable) -> T:
        """Return ``make(store, *arguments)``, made once for all rounds: labels do not change."""
        key = (make, *arguments)
        if key not in self.made:
            self.made[key] = make(self.store, *arguments)
        made: T = self.made[key]
        return made


Strategy = Callable[[Cases], Sequence[Share]]
Chain = Callable[[SamplingSection], Sequence[Phase]]

_strategies: dict[str, Strategy] = {}
_chains: dict[str, Chain] = {}
_mining: set[str] = set()


def strategy(name: str, *, mines: bool = False) -> Callable[[Strategy], Strategy]:
    """Register a function (cases) → shares as the strategy of this name.

    One that ``mines`` reads ``cases.mined`` and is asked again after each round of mining.
    """

    def register(function: Strategy) -> Strategy:
        _take_name(name)
        _strategies[name] = function
        if mines:
            _mining.add(name)
        return function

    return register


def chain(name: str) -> Callable[[Chain], Chain]:
    """Register a function (settings) → phases as the strategy of this name."""

    def register(function: Chain) -> Chain:
        _take_name(name)
        _chains[name] = function
        return function

    return register


def _take_name(name: str) -> None:
    if name in strategies():
        raise UsageError(f"A strategy named '{name}' exists already; choose another name.")


def strategies() -> tuple[str, ...]:
    """Return the names of all strategies that are registered so far."""
    return (*_strategies, *_chains)


def find_phases(settings: SamplingSection) -> tuple[Phase, ...]:
    """Return the phases of a run in their order, one where no chain is asked for.

    Raises :class:`RecipeError` for an unknown strategy and for a chain within a chain.
    """
    if settings.phases is None:
        _require(settings.strategy, "sampling.strategy")
        if settings.strategy not in _chains:
            return (Phase(strategy=settings.strategy, until=1.0),)
    phases = _chains[settings.strategy](settings) if settings.phases is None else settings.phases
    for phase in phases:
        _require(phase.strategy, "sampling.phases")
        if phase.strategy in _chains:
            raise RecipeError(
                f"sampling.phases names '{phase.strategy}', which is a chain of phases itself; "
                f"name the strategies of its phases: {', '.join(_strategies)}."
            )
    return tuple(phases)


def mines(phase: Phase) -> bool:
    """Say whether a phase's strategy reads what mining found."""
    return phase.strategy in _mining


def resolve(name: str, cases: Cases) -> Mixture:
    """Return the mixture that a strategy means for these cases; pools that are empty are logged.

    Raises :class:`RecipeError` for an unknown name, and what :class:`Mixture` raises.
    """
    _require(name, "sampling.strategy")
    if name in _chains:
        raise UsageError(
            f"The strategy '{name}' is a chain of phases, which has no single mixture; resolve "
            "the strategies of its phases."
        )
    mixture = Mixture(tuple(_strategies[name](cases)), cases.settings.weighting)
    for share in mixture.missing:
        log.warning(
            "sampling: '%s' is empty in these %d cases; its share of %.3g goes to the others",
            share.pool.name,
            len(cases.store),
            share.share,
        )
    return mixture


def _require(name: str, key: str) -> None:
    if name not in strategies():
        raise RecipeError(
            f"{key} is '{name}'{nearest(name, strategies())}; allowed are "
            f"{', '.join(strategies())}."
        )
