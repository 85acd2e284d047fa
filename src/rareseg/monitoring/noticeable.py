"""Say by simulation how often a shift would have been noticed in a stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rareseg.monitoring.betting import log_capital
from rareseg.monitoring.change_test import ALPHA

Floats = NDArray[np.float64]

SHIFTS = (1.0, 2.0, 4.0)
"""In standard deviations of a feature over groups."""

_TRIALS = 200
_MOST_STREAM, _MOST_REFERENCE = 400, 2000
"""More groups are simulated as so many: what was noticed by then is noticed."""


def share_noticed(
    n_reference: int,
    n_stream: int,
    share: float,
    *,
    shift: float,
    alpha: float = ALPHA,
    seed: int = 0,
) -> float:
    """Return in which share of simulated streams a shift of one feature is noticed.

    It is there from the first group on, in a feature that begins with ``share`` of the capital.
    Ranks do not depend on how a feature without ties is
    distributed, apart from what a shift means: here the values are normal. Without a stream group
    it is 0.
    """
    m, n = min(n_reference, _MOST_REFERENCE), min(n_stream, _MOST_STREAM)
    if n == 0:
        return 0.0
    generator = np.random.default_rng([seed, m, n])
    values = generator.normal(size=(_TRIALS, m + n))
    values[:, m:] += shift
    larger = np.stack(
        [(values[:, : m + k] > values[:, m + k, np.newaxis]).sum(1) for k in range(n)],
        axis=1,
    )
    ranks = (larger + generator.random((_TRIALS, n))) / (m + 1 + np.arange(n))
    evidence = log_capital(ranks) + np.log(share)
    return float((evidence.max(1) >= -np.log(alpha)).mean())
