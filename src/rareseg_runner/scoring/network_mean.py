"""Average the scores of several networks on one image: probabilities, or log-odds.

Where each network is sure and errs by itself, a mean of probabilities counts votes: it is never
near 1 unless all agree, and lies elsewhere for two networks than for five. A mean of log-odds keeps
the place that single networks have, and loses the noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from rareseg_runner.scoring.log_odds import log_odds

Array = NDArray[np.float32]

_LEAST = np.finfo(np.float32).tiny
"""A probability of 0 is taken for this, so that its logarithm is finite."""


def as_terms(probabilities: Array, *, of_log_odds: bool) -> Array:
    """Return what is added up over networks, of probabilities (class, ...) float32."""
    if not of_log_odds:
        return probabilities
    return np.asarray(np.log(np.maximum(probabilities, _LEAST)))


def from_terms(total: Array, count: int, *, of_log_odds: bool) -> Array:
    """Return the mean (class, ...) float32 of ``count`` networks whose terms add up to ``total``.

    Of log-odds: p_c ∝ exp(mean over networks of log p_c), which of two classes is the sigmoid of
    the mean log-odds.
    """
    mean = total / np.float32(count)
    if not of_log_odds:
        return np.asarray(mean, np.float32)
    scores = np.exp(mean - mean.max(axis=0, keepdims=True))
    return np.asarray(scores / scores.sum(axis=0, keepdims=True), np.float32)


def mean_presence(said: Sequence[Array], *, of_log_odds: bool) -> Array:
    """Return the mean over networks of presences in [0, 1], each (regions,) float32."""
    if not of_log_odds:
        return np.asarray(np.mean(said, axis=0, dtype=np.float32))
    return np.asarray(expit(log_odds(said).mean(axis=0)), np.float32)
