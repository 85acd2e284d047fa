"""Mixtures: shares over pools, and the rule for pools that are empty.

The rule: the share of a pool without voxels goes to the other pools of its family in proportion to
their shares, and where the family has none left, to all others in proportion. It is logged, and
shown beside what was asked for in the composition that the sampler reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rareseg.errors import DataError, UsageError
from rareseg.sampling.pools.pool import Pool, Weighting


@dataclass(frozen=True)
class Share:
    """The share, 0…1, of all patches that are centred in a pool.

    Pools of one ``family`` stand in for each other where one is empty; "" is a family of its own.
    A pool that is drawn ``in_turn`` gives every voxel once, in random order, before any comes
    again, whatever the weighting: for pools that are a sample themselves, as mined ones are.
    """

    pool: Pool
    share: float
    family: str = ""
    in_turn: bool = False


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
            wanted = [share.pool.name for share in self.shares if share.share > 0]
            raise DataError(
                f"There is nothing to draw: {', '.join(wanted)} hold no voxel in these cases; "
                "use another strategy or other cases."
            )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The pools' names."""
        return tuple(share.pool.name for share in self.shares)

    @property
    def missing(self) -> tuple[Share, ...]:
        """The shares that were asked for of pools without a voxel."""
        return tuple(share for share in self.shares if share.share > 0 and share.pool.size == 0)

    @cached_property
    def asked(self) -> NDArray[np.float64]:
        """The shares that were asked for."""
        return np.array([share.share for share in self.shares], np.float64)

    @cached_property
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
