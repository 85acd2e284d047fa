"""Schedule the pool of each patch, so that shares hold after any number of patches."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


class Schedule:
    """The endless sequence of pools in which pool i has had ``share[i] · n ± 1`` of n patches.

    At each patch, of the pools that are at least 1/(2k−2) behind their share, the one that would
    first be 1 − 1/(2k−2) behind is next; no pool is ever further from its share than that. Which
    patch comes from which pool depends on the shares alone. ``shares`` (k,) sum to 1; a pool of
    share 0 never comes.

    Source: Tijdeman 1980, The chairman assignment problem, Discrete Mathematics 32, theorem 1.
    """

    def __init__(self, shares: NDArray[np.float64]) -> None:
        self._active = np.flatnonzero(shares > 0)
        self._shares = shares[self._active] / shares.sum()
        # Where the last call ended. One tuple, replaced as a whole: threads may share a schedule.
        self._reached = (0, np.zeros(len(self._active), np.int64))

    def pools(self, first: int, n: int) -> NDArray[np.int16]:
        """Return the pools, int16 (n,), of the patches ``first`` … ``first + n − 1``.

        Going on from the last call takes time in proportion to ``n``, any other place to
        ``first + n`` (tens of nanoseconds each).
        """
        return self.draws(first, n)[0]

    def draws(self, first: int, n: int) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
        """Return as :meth:`pools`, and how often each patch's pool came before it, (n,)."""
        begin, counts = self._reached
        if begin > first:
            begin, counts = 0, np.zeros(len(self._active), np.int64)
        counts, chosen, nth = counts.copy(), np.empty(n, np.int64), np.empty(n, np.int64)
        _assign(self._shares, counts, begin, first, chosen, nth)
        self._reached = (first + n, counts)
        return self._active[chosen].astype(np.int16), nth


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _assign(shares, counts, begin, first, chosen, nth):  # type: ignore[no-untyped-def]
    """Go from patch ``begin`` on, updating ``counts``; note the patches from ``first`` on."""
    k = len(shares)
    slack = 1.0 / (2 * k - 2) if k > 1 else 0.0
    for patch in range(begin, first + len(chosen)):
        n = patch + 1
        best, soonest = -1, np.inf
        for i in range(k):
            behind = shares[i] * n - counts[i]
            due = (1.0 - slack - behind) / shares[i]
            # The tolerance is for rounding alone; the theorem has one such pool at every step.
            if behind >= slack - 1e-9 and due < soonest:
                best, soonest = i, due
        if patch >= first:
            chosen[patch - first] = best
            nth[patch - first] = counts[best]
        counts[best] += 1
