"""Compute confidence intervals over independent groups: Clopper–Pearson, jackknife.

A group is a patient or a tile; its images are not independent. A case without a known group is
its own, and every :class:`Estimate` that rests on such cases says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from rareseg.errors import UsageError
from rareseg.evaluation.statistics.jackknife import (
    Scale,
    effective_groups,
    mean_interval,
    method_name,
)
from rareseg.evaluation.statistics.undefined import Undefined, Value, is_defined

INDEPENDENT_IMAGES = "assumes independent images"


@dataclass(frozen=True)
class Estimate:
    """A number with its interval and with what it rests on.

    ``n_cases`` and ``n_groups`` count the cases behind the value; ``n_undefined`` is how many more
    were eligible but had no value. ``method`` says how the interval came about.
    """

    value: Value
    low: Value
    high: Value
    n_cases: int
    n_groups: int
    n_undefined: int
    method: str


def clopper_pearson(successes: float, n: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the two-sided interval of a proportion, within [0, 1].

    low = Beta⁻¹(α/2; x, n − x + 1), high = Beta⁻¹(1 − α/2; x + 1, n − x), with low = 0 at x = 0
    and high = 1 at x = n (Clopper & Pearson 1934). Non-integer x and n are allowed, as effective
    sample sizes need them (Korn & Graubard 1998). Raises UsageError unless 0 ≤ x ≤ n and n > 0.
    """
    if not 0 <= successes <= n or n <= 0:
        raise UsageError(
            f"A proportion of {successes} in {n} does not exist; give 0 ≤ successes ≤ n and n > 0."
        )
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes == n else float(beta.ppf(1 - tail, successes + 1, n - successes))
    return low, high


def group_numbers(groups: Sequence[str | None]) -> NDArray[np.int64]:
    """Return a number per case, equal within a group; every case without a group has its own."""
    known: dict[object, int] = {}
    return np.array(
        [
            known.setdefault(("case", i) if group is None else ("group", group), len(known))
            for i, group in enumerate(groups)
        ],
        np.int64,
    )


def count_groups(groups: Sequence[str | None]) -> int:
    """Return how many independent groups there are."""
    return len(set(group_numbers(groups).tolist()))


def estimate_share(
    hits: Sequence[float],
    trials: Sequence[float],
    groups: Sequence[str | None],
    *,
    none: str,
    confidence: float = 0.95,
) -> Estimate:
    """Return the share Σ hits / Σ trials over cases, with an interval over groups.

    ``hits[i]`` of ``trials[i]`` in case i (1 of 1 for a case that is or is not). The interval is
    Clopper–Pearson's with n = Kish's effective number of groups (Σ m_g)² / Σ m_g², m_g the trials
    of group g: as if all trials of a group agreed, which is the least that they can say. With one
    case per group this is the plain interval; it never claims [0, 0]. Cases without trials are
    left out. ``none`` is the reason where no trial is left.
    """
    numbers, hit, trial, known = _eligible(hits, trials, groups)
    method = _method("Clopper–Pearson over groups", known)
    if len(trial) == 0:
        undefined = Undefined(none)
        return Estimate(undefined, undefined, undefined, 0, 0, 0, method)
    share = float(hit.sum() / trial.sum())
    per_group = np.bincount(numbers, trial).astype(np.float64)
    n = effective_groups(per_group)
    low, high = clopper_pearson(min(share * n, n), n, confidence=confidence)
    return Estimate(share, low, high, len(trial), len(per_group), 0, method)


def estimate_groups_with_any(
    hits: Sequence[bool],
    groups: Sequence[str | None],
    *,
    none: str,
    confidence: float = 0.95,
) -> Estimate:
    """Return the share of groups in which **any** case is a hit, by plain Clopper–Pearson.

    ``none`` is the reason where there is no case.
    """
    numbers = group_numbers(groups)
    method = _method("Clopper–Pearson, a group counts where any of its cases does", groups)
    if len(numbers) == 0:
        undefined = Undefined(none)
        return Estimate(undefined, undefined, undefined, 0, 0, 0, method)
    hit = np.bincount(numbers, np.asarray(hits, np.float64)) > 0
    n_hit, n_groups = int(hit.sum()), len(hit)
    low, high = clopper_pearson(n_hit, n_groups, confidence=confidence)
    return Estimate(n_hit / n_groups, low, high, len(numbers), n_groups, 0, method)


def estimate_mean(
    values: Sequence[Value],
    groups: Sequence[str | None],
    *,
    none: str,
    scale: Scale,
    confidence: float = 0.95,
) -> Estimate:
    """Return the mean over cases with a jackknife interval over groups.

    Every case weighs the same. ``scale`` is "share" for values within [0, 1], "count" for those of
    0 and more, "plain" for differences and whatever can be negative. Values that are Undefined are
    counted in ``n_undefined``. Below five effective groups, and where nothing tells one group from
    another, the bounds are Undefined
    (:func:`~rareseg.evaluation.statistics.jackknife.mean_interval`). ``none`` is the reason where
    no value is defined.
    """
    defined = [i for i, value in enumerate(values) if is_defined(value)]
    numbers_of = np.array([value for value in values if is_defined(value)], np.float64)
    own_groups = [groups[i] for i in defined]
    n_undefined = len(values) - len(defined)
    method = _method(method_name(scale), own_groups)
    if not defined:
        undefined = Undefined(none)
        return Estimate(undefined, undefined, undefined, 0, 0, n_undefined, method)
    numbers = group_numbers(own_groups)
    sums = np.bincount(numbers, numbers_of).astype(np.float64)
    sizes = np.bincount(numbers).astype(np.float64)
    low, high = mean_interval(sums, sizes, scale=scale, confidence=confidence)
    return Estimate(
        float(numbers_of.mean()), low, high, len(defined), len(sums), n_undefined, method
    )


def _eligible(
    hits: Sequence[float], trials: Sequence[float], groups: Sequence[str | None]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], list[str | None]]:
    """Return group numbers, hits, trials and groups of the cases that have any trial."""
    keep = [i for i, trial in enumerate(trials) if trial > 0]
    known = [groups[i] for i in keep]
    hit = np.array([hits[i] for i in keep], np.float64)
    trial = np.array([trials[i] for i in keep], np.float64)
    return group_numbers(known), hit, trial, known


def _method(text: str, groups: Sequence[str | None]) -> str:
    """Return the method's text with its assumption, where a group is unknown."""
    return text + independence(groups)


def independence(groups: Sequence[str | None]) -> str:
    """Return "; assumes independent images" where a group is unknown, else nothing."""
    return f"; {INDEPENDENT_IMAGES}" if any(group is None for group in groups) else ""
