"""Log-odds of scores, finite for scores of exactly 0 and 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

Floats = NDArray[np.float64]

LOWEST, HIGHEST = 2.0**-40, 1.0 - 2.0**-30
"""Scores beyond are taken for these, so that a score of exactly 0 or 1 has log-odds."""


def log_odds(scores: ArrayLike) -> Floats:
    """Return the log-odds of scores in [0, 1], float64 of the same shape, finite."""
    return np.asarray(logit(np.clip(np.asarray(scores, np.float64), LOWEST, HIGHEST)), np.float64)
