"""Draw patch positions from pools with an explicit generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from rareseg.data.store.store import Store
from rareseg.sampling.patches.permutation import permuted_ranks
from rareseg.sampling.pools.windows import Border, as_zyx, corners
from rareseg.sampling.strategies.mixture import Mixture


@dataclass(frozen=True, eq=False)
class Places:
    """Where B patches lie: which case, which first voxel, and which pool the centre came from.

    ``case`` (B,) int32 is a row of the store's table; ``corner`` (B, 3) int32 is z, y, x and may
    lie outside the image; ``pool`` (B,) int16 is an index into the mixture's shares.
    """

    case: NDArray[np.int32]
    corner: NDArray[np.int32]
    pool: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.case)

    def part(self, first: int, end: int) -> Places:
        """Return the places ``first`` … ``end − 1``."""
        return Places(self.case[first:end], self.corner[first:end], self.pool[first:end])

    def widened(self, margin: Sequence[int]) -> Places:
        """Return the windows that reach ``margin`` (z, y, x) further on either side."""
        return Places(self.case, self.corner - np.array(margin, np.int32), self.pool)


def draw_places(
    store: Store,
    mixture: Mixture,
    pools: NDArray[np.int16],
    rng: np.random.Generator,
    *,
    patch_size: Sequence[int],
    border: Border,
    nth: NDArray[np.int64] | None = None,
    seed: Sequence[int] = (0,),
) -> Places:
    """Draw one place per entry of ``pools`` (B,): a centre in that pool, and its window's corner.

    ``nth`` (B,) says how often each one's pool came before. Pools that are drawn in turn need it;
    their order is decided by ``seed``. All else is decided by ``rng``, so that equal generators
    give equal places.
    """
    flat = np.empty(len(pools), np.int64)
    for index, share in enumerate(mixture.shares):
        chosen = (pools == index).nonzero()[0]
        if not len(chosen):
            continue
        if share.in_turn and nth is not None:
            ranks = permuted_ranks(nth[chosen], share.pool.size, (*seed, index))
            flat[chosen] = share.pool.at(ranks)
        else:
            flat[chosen] = share.pool.draw(rng, len(chosen), mixture.weighting)
    return windows_about(store, flat, pools, patch_size=patch_size, border=border)


def windows_about(
    store: Store,
    flat: NDArray[np.int64],
    pools: NDArray[np.int16],
    *,
    patch_size: Sequence[int],
    border: Border,
) -> Places:
    """Return the windows about centres that are flat places (B,) in the store's labels."""
    case, centre = locate(store, flat)
    corner = corners(centre, store.cases.shape[case], as_zyx(patch_size), border)
    return Places(case, corner.astype(np.int32), pools)


def locate(store: Store, flat: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the case (B,) and the voxel z, y, x in it (B, 3) of flat places (B,)."""
    case, centre = np.empty(len(flat), np.int32), np.empty((len(flat), 3), np.int64)
    _locate(flat, store.cases.label_offset, store.cases.shape, case, centre)
    return case, centre


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _locate(flat, offsets, shape, case, centre):  # type: ignore[no-untyped-def]
    for i in range(len(flat)):
        row = np.searchsorted(offsets, flat[i], side="right") - 1
        within = flat[i] - offsets[row]
        height, width = np.int64(shape[row, 1]), np.int64(shape[row, 2])
        case[i] = row
        centre[i, 0] = within // (height * width)
        centre[i, 1] = within // width % height
        centre[i, 2] = within % width
