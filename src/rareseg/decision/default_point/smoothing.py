"""Smooth over the log-odds of threshold and gate by a Gaussian, exactly for step functions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]

_LOWEST, _HIGHEST = 2.0**-126, 1.0 - 2.0**-24
"""The ends of the bins: the smallest normal float32, and the largest one below 1."""

WIDEST = 1.0
"""The largest standard deviation of the Gaussian, in log-odds."""

IQR_SHARE = 0.5
"""The standard deviation as a share of the interquartile range of cases of one kind."""


def log_odds(scores: ArrayLike) -> Floats:
    """Return ln(p / (1 − p)) in float64, same shape, with p clipped to the ends of the bins."""
    p = np.clip(np.asarray(scores, np.float64), _LOWEST, _HIGHEST)
    return np.asarray(np.log(p) - np.log1p(-p))


def smoothing_width(image_odds: Floats, positive: NDArray[np.bool_]) -> float:
    """Return σ = min(1, ½ of the interquartile range of how image scores vary), in log-odds.

    ``image_odds`` (n,) are the cases' image scores, each of which is taken less the median of its
    stratum: σ is to follow how much scores of one kind of case vary, and not how far apart the two
    kinds lie. ``positive`` (n,) tells the strata. No case at all gives 0, which smooths nothing.
    """
    if len(image_odds) == 0:
        return 0.0
    centred = image_odds.copy()
    for stratum in (positive, ~positive):
        if stratum.any():
            centred[stratum] -= np.median(image_odds[stratum])
    low, high = np.quantile(centred, [0.25, 0.75])
    return float(min(WIDEST, IQR_SHARE * (high - low)))


def threshold_kernel(odds: Floats, width: float) -> Floats:
    """Return the (t, t) matrix that smooths values at thresholds of ascending log-odds (t,).

    A value holds from halfway to the threshold below it to halfway to the one above, and the first
    and last value without end. Entry (a, b) is the share of a Gaussian around threshold a that
    lies where value b holds; rows sum to 1, and a width of 0 gives the identity.
    """
    if width == 0.0:
        return np.eye(len(odds))
    between = (odds[1:] + odds[:-1]) / 2.0
    below = ndtr((np.append(between, np.inf) - odds[:, np.newaxis]) / width)
    return np.diff(below, prepend=0.0, axis=1)


def passing_share(image_odds: Floats, gate_odds: Floats, width: float) -> Floats:
    """Return how much of a Gaussian around each gate lets each case pass, (k, n) in [0, 1].

    That is Φ((s − g) / σ), the smoothed step at the case's image score s (n,) for a gate g (k,). A
    score at the upper end passes whole, as the gates beyond it repeat that end. ``width`` must
    be above 0.
    """
    share = ndtr((image_odds - gate_odds[:, np.newaxis]) / width)
    share[:, image_odds >= log_odds(1.0)] = 1.0
    return np.asarray(share)
