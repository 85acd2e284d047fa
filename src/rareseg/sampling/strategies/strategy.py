"""Resolve a sampling strategy by its name into shares over pools.

A strategy of one's own is one function::

    @strategy("rim")
    def rim(cases):
        return [Share(my_pool(cases.store), 0.5), Share(pool_everything(cases.store), 0.5)]

This is the door to the modules behind it: the records (:mod:`rareseg.sampling.strategies.mixture`),
the register (:mod:`rareseg.sampling.strategies.strategy_registry`) and the built-in strategies
(:mod:`rareseg.sampling.strategies.builtin`), which are registered by being imported here.
"""

from __future__ import annotations

import rareseg.sampling.strategies.builtin  # noqa: F401 - registers
from rareseg.sampling.pools.mined_pools import MinedPools, nothing_mined
from rareseg.sampling.strategies.mixture import Mixture, Share
from rareseg.sampling.strategies.strategy_registry import (
    Cases,
    Strategy,
    chain,
    find_phases,
    mines,
    resolve,
    strategies,
    strategy,
)

__all__ = [
    "Cases",
    "MinedPools",
    "Mixture",
    "Share",
    "Strategy",
    "chain",
    "find_phases",
    "mines",
    "nothing_mined",
    "resolve",
    "strategies",
    "strategy",
]
