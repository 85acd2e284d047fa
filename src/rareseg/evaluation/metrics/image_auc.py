"""Compute the area under the image-level ROC curve with an interval over groups.

The interval is taken on the log-odds scale, where the area's distribution is closer to normal, and
a group's positive and negative cases leave together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rareseg.evaluation.statistics.intervals import Estimate, group_numbers, independence
from rareseg.evaluation.statistics.jackknife import (
    FEWEST_GROUPS,
    TOO_FEW,
    effective_groups,
    jackknife_interval,
    method_name,
)
from rareseg.evaluation.statistics.undefined import Undefined, Value


def image_auc(
    image_scores: ArrayLike,
    positive: ArrayLike,
    groups: Sequence[str | None],
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Return how well image scores tell positive cases from negative ones, with an interval.

    The value is the share of pairs of a positive and a negative case in which the positive one
    scores higher, ties counting one half (Mann–Whitney). With θ₋g the log-odds of the area without
    group g of G, the standard error is √((G − 1)/G · Σ (θ₋g − θ̄)²), and the interval θ ± t · it, t
    Student's at min(Kish of positives, Kish of negatives) − 1 degrees of freedom.

    ``image_scores`` (n,) in [0, 1], ``positive`` (n,) bool. Undefined without a positive or without
    a negative case; without bounds where either has fewer than five effective groups (Kish's
    (Σm)² / Σm², m being a group's cases), or where the area, of all groups or with one left out, is
    0 or 1.
    """
    scores, is_positive = np.asarray(image_scores, np.float64), np.asarray(positive, np.bool_)
    numbers = group_numbers(groups)
    n_groups = len(np.unique(numbers))
    method = method_name("share") + independence(groups)

    def estimate(value: Value, low: Value, high: Value) -> Estimate:
        return Estimate(value, low, high, len(scores), n_groups, 0, method)

    if not is_positive.any() or is_positive.all():
        undefined = Undefined("no positive case" if not is_positive.any() else "no negative case")
        return estimate(undefined, undefined, undefined)
    wins, pairs = _pairs(scores, is_positive, numbers, n_groups)
    total_wins, total_pairs = wins[-1], pairs[-1]
    value = float(total_wins / total_pairs)
    # The side with fewer effective groups says how much is known.
    sizes = min(
        (np.bincount(numbers[side]).astype(np.float64) for side in (is_positive, ~is_positive)),
        key=effective_groups,
    )
    if effective_groups(sizes) < FEWEST_GROUPS:
        return estimate(value, TOO_FEW, TOO_FEW)
    areas = (total_wins - wins[:-1]) / (total_pairs - pairs[:-1])
    if min(value, areas.min()) <= 0.0 or max(value, areas.max()) >= 1.0:
        end = Undefined("an area of 0 or 1 has no interval")
        return estimate(value, end, end)
    return estimate(
        value, *jackknife_interval(value, areas, sizes, scale="share", confidence=confidence)
    )


def _pairs(
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    numbers: NDArray[np.int64],
    n_groups: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (wins, pairs) that leave with each group, (n_groups + 1,); the last is of all.

    Pairs within a group leave once.
    """
    ours, theirs = scores[positive], scores[~positive]
    won = _wins(ours, theirs)
    lost = len(ours) - _wins(theirs, ours)
    wins = np.bincount(numbers[positive], won, n_groups)
    wins += np.bincount(numbers[~positive], lost, n_groups)
    n_pos = np.bincount(numbers[positive], minlength=n_groups).astype(np.float64)
    n_neg = np.bincount(numbers[~positive], minlength=n_groups).astype(np.float64)
    pairs = n_pos * len(theirs) + n_neg * len(ours) - n_pos * n_neg
    for group in np.flatnonzero((n_pos > 0) & (n_neg > 0)):
        own = numbers == group
        wins[group] -= _wins(scores[own & positive], scores[own & ~positive]).sum()
    return np.append(wins, won.sum()), np.append(pairs, float(len(ours) * len(theirs)))


def _wins(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return over how many of ``theirs`` each of ``ours`` wins, ties counting one half."""
    ordered = np.sort(theirs)
    below = np.searchsorted(ordered, ours, side="left")
    upto = np.searchsorted(ordered, ours, side="right")
    return np.asarray((below + upto) / 2.0, np.float64)
