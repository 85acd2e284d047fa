"""Jackknife over groups: the standard error of a mean or a ratio.

A group (patient, tile) leaves with all its cases, the number is computed anew, and the spread of
these numbers gives a standard error (Tukey 1958; Efron & Stein 1981). The interval takes Student's
t at Kish's effective number of groups − 1, on a scale on which the number is closer to normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import t as student

from rareseg.evaluation.statistics.undefined import Undefined, Value

Floats = NDArray[np.float64]

Scale: TypeAlias = Literal["share", "count", "plain"]
"""``share``: within [0, 1], log-odds; ``count``: 0 and more, log; ``plain``: as it is."""

FEWEST_GROUPS = 5
"""Below so many effective groups there is no interval."""

TOO_FEW = Undefined(f"fewer than {FEWEST_GROUPS} groups")
ALL_ALIKE = Undefined("all groups alike")

_NAMES = {"share": ", log-odds", "count": ", log", "plain": ""}


def effective_groups(sizes: Floats) -> float:
    """Return Kish's (Σw)² / Σw²: as many groups of equal size say as much as these."""
    return float(sizes.sum() ** 2 / np.sum(sizes**2))


def method_name(scale: Scale) -> str:
    """Return how the interval came about, in words."""
    return f"jackknife over groups{_NAMES[scale]}"


def standard_error(left_out: Floats) -> float:
    """Return √((G − 1)/G · Σ (θ₋g − θ̄)²) of the numbers (G,) without each group."""
    n = len(left_out)
    return math.sqrt((n - 1) / n * float(np.sum((left_out - left_out.mean()) ** 2)))


def without_each(sums: Floats, sizes: Floats) -> Floats:
    """Return Σ sums / Σ sizes (G,) without each group in turn, of two groups or more."""
    return np.asarray((sums.sum() - sums) / (sizes.sum() - sizes), np.float64)


def jackknife_interval(
    value: float, left_out: Floats, sizes: Floats, *, scale: Scale, confidence: float = 0.95
) -> tuple[Value, Value]:
    """Return the bounds of ``value``, from what it is without each group, ``left_out`` (G,).

    ``sizes`` (G,) is how much of it rests on each group, for Kish's number. Where a number without
    a group has no place on the scale (0 or 1 of a share, 0 of a count), the error is carried over
    by the scale's slope at ``value``. Undefined below five effective groups, where all numbers are
    alike, and where ``value`` itself has no place on the scale.
    """
    kish = effective_groups(sizes)
    if kish < FEWEST_GROUPS - 1e-9:
        return TOO_FEW, TOO_FEW
    if np.ptp(left_out) <= 1e-12 * max(1.0, abs(value)):
        return ALL_ALIKE, ALL_ALIKE
    highest = {"share": 1.0, "count": math.inf, "plain": math.inf}[scale]
    if scale != "plain" and not 0.0 < value < highest:
        end = Undefined(f"a value of {value:g}")
        return end, end
    to, back, slope = _SCALES[scale]
    if scale == "plain" or bool(((left_out > 0.0) & (left_out < highest)).all()):
        error = standard_error(to(left_out))
    else:
        error = standard_error(left_out) * slope(value)
    reach = float(student.ppf((1.0 + confidence) / 2.0, kish - 1.0)) * error
    middle = float(to(np.float64(value)))
    return float(back(np.float64(middle - reach))), float(back(np.float64(middle + reach)))


def mean_interval(
    sums: Floats, sizes: Floats, *, scale: Scale, confidence: float = 0.95
) -> tuple[Value, Value]:
    """Return the bounds of the mean Σ sums / Σ sizes over cases, by groups (G,).

    ``sizes`` (G,) are the cases of each group, > 0. Where every case is 0, the upper bound of a
    share is 1 − (α/2)^(1/Kish), that of a proportion without a hit (Clopper & Pearson 1934), and a
    count has no upper bound; where every case is 1, the lower bound of a share is (α/2)^(1/Kish).
    Otherwise as :func:`jackknife_interval`.
    """
    kish = effective_groups(sizes)
    value = float(sums.sum() / sizes.sum())
    if kish < FEWEST_GROUPS - 1e-9:
        return TOO_FEW, TOO_FEW
    tail = ((1.0 - confidence) / 2.0) ** (1.0 / kish)
    if scale == "share" and not sums.any():
        return 0.0, 1.0 - tail
    if scale == "share" and bool((sums >= sizes).all()):
        return tail, 1.0
    if scale == "count" and not sums.any():
        return 0.0, Undefined("no upper limit: all are 0")
    return jackknife_interval(
        value, without_each(sums, sizes), sizes, scale=scale, confidence=confidence
    )


_Curve: TypeAlias = Callable[[NDArray[np.float64] | np.float64], NDArray[np.float64]]


def _plain(value: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.asarray(value, np.float64)


_SCALES: dict[str, tuple[_Curve, _Curve, Callable[[float], float]]] = {
    "share": (logit, expit, lambda value: 1.0 / (value * (1.0 - value))),
    "count": (np.log, np.exp, lambda value: 1.0 / value),
    "plain": (_plain, _plain, lambda value: 1.0),
}
"""To the scale, back from it, and its slope."""
