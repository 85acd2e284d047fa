"""What to look at, and how often: a strategy resolves to shares over pools, and to nothing else.

A strategy of one's own is one function::

    @strategy("rim")
    def rim(store, settings):
        return [Share(my_pool(store), 0.5), Share(pool_everything(store), 0.5)]

The rule for empty pools: the share of a pool without voxels goes to the other pools of its family
in proportion to their shares, and where the family has none left, to all others in proportion. It
is logged, and shown beside what was asked for in the composition that the sampler reports.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.data.store import Store
from rareseg.errors import DataError, RecipeError, UsageError, nearest
from rareseg.recipe import SamplingSection
from rareseg.sampling.pool import Pool, Weighting, pool_classes, pool_everything, pool_windows

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Share:
    """The share, 0…1, of all patches that are centred in a pool.

    Pools of one ``family`` stand in for each other where one is empty; "" is a family of its own.
    """

    pool: Pool
    share: float
    family: str = ""


@dataclass(frozen=True)
class Mixture:
    """Shares over pools that sum to 1, and how a voxel is drawn within a pool.

    Raises :class:`UsageError` for shares that are negative or do not sum to 1, and
    :class:`DataError` where every pool with a share is empty.
    """

    shares: tuple[Share, ...]
    weighting: Weighting = "voxel"

    def __post_init__(self) -> None:
        asked = self.asked
        if (asked < 0).any() or abs(asked.sum() - 1.0) > 1e-6:
            raise UsageError(
                f"The shares {', '.join(f'{share:g}' for share in asked)} sum to {asked.sum():g}; "
                "they must not be negative and must sum to 1."
            )
        if not self.delivered.any():
            raise DataError(
                f"There is nothing to draw: {', '.join(self.names)} hold no voxel in these cases; "
                "use another strategy or other cases."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The pools' names."""
        return tuple(share.pool.name for share in self.shares)

    @property
    def asked(self) -> NDArray[np.float64]:
        """The shares that were asked for."""
        return np.array([share.share for share in self.shares], np.float64)

    @property
    def delivered(self) -> NDArray[np.float64]:
        """The shares that are drawn, by the rule for empty pools; all 0 where nothing is left."""
        full = np.array([share.pool.size > 0 for share in self.shares])
        asked = self.asked
        out = np.where(full, asked, 0.0)
        families = [share.family for share in self.shares]
        for family in set(families) - {""}:
            members = np.array([name == family for name in families])
            if out[members].any():
                out[members] *= asked[members].sum() / out[members].sum()
        total = out.sum()
        return out / total if total > 0 else out


Strategy = Callable[[Store, SamplingSection], Sequence[Share]]

_strategies: dict[str, Strategy] = {}


def strategy(name: str) -> Callable[[Strategy], Strategy]:
    """Register a function (store, settings) → shares as the strategy of this name."""

    def register(function: Strategy) -> Strategy:
        if name in _strategies:
            raise UsageError(f"A strategy named '{name}' exists already; choose another name.")
        _strategies[name] = function
        return function

    return register


def strategies() -> tuple[str, ...]:
    """Return the names of all strategies."""
    return tuple(_strategies)


def resolve(name: str, store: Store, settings: SamplingSection) -> Mixture:
    """Return the mixture that a strategy means for these cases.

    Raises :class:`RecipeError` for an unknown name, and what :class:`Mixture` raises.
    """
    if name not in _strategies:
        raise RecipeError(
            f"sampling.strategy is '{name}'{nearest(name, _strategies)}; "
            f"allowed are {', '.join(_strategies)}."
        )
    mixture = Mixture(tuple(_strategies[name](store, settings)), settings.weighting)
    for share in mixture.shares:
        if share.share > 0 and share.pool.size == 0:
            log.warning(
                "sampling: '%s' is empty in these %d cases; its share of %.3g goes to the others",
                share.pool.name,
                len(store),
                share.share,
            )
    return mixture


@strategy("random")
def random(store: Store, settings: SamplingSection) -> Sequence[Share]:
    """Every voxel alike: the natural proportions, which a rare class hardly appears in."""
    return [Share(pool_everything(store), 1.0)]


@strategy("balanced")
def balanced(store: Store, settings: SamplingSection) -> Sequence[Share]:
    """Centre equally often on every class, background included.

    With five classes each gives 20 % of the patches. It finds more of what is rare, and tends to
    overestimate it.
    """
    pools = pool_classes(store)
    return [Share(pool, 1.0 / len(pools)) for pool in pools]


@strategy("negatives")
def negatives(store: Store, settings: SamplingSection) -> Sequence[Share]:
    """Give ``positive_share`` of the windows some foreground, and the others none at all.

    By what a window really holds, not by its centre. With several classes the positive windows are
    drawn in equal shares from those that hold each class (a window may hold others as well); a
    class that no window holds leaves its share to the other classes. Where most images are empty
    this is the only strategy here whose false alarms cost as often as intended.
    """
    size, border = settings.patch_size, settings.border
    foreground = range(1, store.classes.count)
    if len(foreground) == 1:
        positive = [pool_windows(store, size, border, "foreground")]
    else:
        positive = [pool_windows(store, size, border, index) for index in foreground]
    nothing = pool_windows(store, size, border, "nothing")
    share = settings.positive_share
    return [
        *(Share(pool, share / len(positive), family="foreground") for pool in positive),
        Share(nothing, 1.0 - share),
    ]
