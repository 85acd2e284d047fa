"""The image-level ROC: cases with and without the region, by their image score.

The image score is what an image-level gate cuts: at every point of the curve stands a gate that
reaches it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.evaluation.intervals import Estimate, group_numbers, independence
from rareseg.evaluation.scores import CaseScores, ScoreTable
from rareseg.evaluation.values import Undefined, Value

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ImageLevel:
    """How well the image score tells positive cases from negative ones.

    ``gates``, ``true_positive_rate`` and ``false_positive_rate`` (k,) from the highest gate down,
    beginning at 0 with a gate of infinity; a rate without cases behind it is NaN, and ``auc``
    Undefined. ``auc`` carries its interval over groups.
    """

    region: str
    gates: Floats
    true_positive_rate: Floats
    false_positive_rate: Floats
    auc: Estimate
    n_positive: int
    n_negative: int


def image_level(
    table: ScoreTable,
    *,
    region: str,
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> ImageLevel:
    """Return the image-level ROC curve of one region, with the area under it.

    The area is the share of pairs of a positive and a negative case in which the positive one has
    the larger image score, ties counting one half (Mann–Whitney; the trapezoids of scikit-learn's
    `roc_curve`). Its interval is a percentile bootstrap over groups, a group's positive and
    negative cases together; draws without one of the two are left out. Undefined where there is no
    positive, or no negative, case; without bounds where there are fewer than two groups. Cases
    without a voxel that counts are left out.
    """
    rows = [row for row in table.select(region=region).rows if row.n_voxels > 0]
    image_scores = np.array([row.image_score for row in rows], np.float64)
    positive = np.array([row.n_inside > 0 for row in rows], np.bool_)
    gates = np.unique(image_scores)[::-1]
    reached = image_scores[:, np.newaxis] >= gates
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    return ImageLevel(
        region=region,
        gates=np.concatenate([[np.inf], gates]),
        true_positive_rate=_rates(reached[positive]),
        false_positive_rate=_rates(reached[~positive]),
        auc=_auc(rows, image_scores, positive, np.random.default_rng(seed), resamples, confidence),
        n_positive=n_positive,
        n_negative=n_negative,
    )


def _rates(reached: NDArray[np.bool_]) -> Floats:
    """Return the share of cases (rows) that reach each gate, behind 0 for a gate of infinity."""
    return np.concatenate([[0], reached.sum(axis=0)]) / (len(reached) or np.nan)


def _auc(
    rows: Sequence[CaseScores],
    image_scores: Floats,
    positive: NDArray[np.bool_],
    generator: np.random.Generator,
    resamples: int,
    confidence: float,
) -> Estimate:
    """Return the area with its bootstrap interval: (Σ wins over pairs) / pairs, by group."""
    groups = [row.group for row in rows]
    numbers = group_numbers(groups)
    n_groups = len(set(numbers.tolist()))
    method = f"bootstrap over groups, {resamples} resamples{independence(groups)}"
    missing = "no positive case" if not positive.any() else "no negative case"
    if not positive.any() or positive.all():
        undefined = Undefined(missing)
        return Estimate(undefined, undefined, undefined, len(rows), n_groups, 0, method)
    # Wins of group g's positives over group h's negatives: a drawn sample's area is a quadratic
    # form in how often each group was drawn.
    wins = np.zeros((n_groups, n_groups))
    theirs = image_scores[~positive]
    for number, own in zip(numbers[positive], image_scores[positive], strict=True):
        won = (own > theirs) + 0.5 * (own == theirs)
        wins[number] += np.bincount(numbers[~positive], won, minlength=n_groups)
    n_pos = np.bincount(numbers[positive], minlength=n_groups).astype(np.float64)
    n_neg = np.bincount(numbers[~positive], minlength=n_groups).astype(np.float64)
    value = float(wins.sum() / (n_pos.sum() * n_neg.sum()))
    low: Value
    high: Value
    if n_groups < 2:
        low = high = Undefined("an interval needs two groups or more")
    else:
        drawn = generator.multinomial(n_groups, np.full(n_groups, 1 / n_groups), resamples)
        pairs = (drawn @ n_pos) * (drawn @ n_neg)
        won = np.einsum("ri,ri->r", drawn @ wins, drawn)
        areas = won[pairs > 0] / pairs[pairs > 0]
        tail = (1.0 - confidence) / 2.0
        low, high = (float(bound) for bound in np.quantile(areas, [tail, 1.0 - tail]))
    return Estimate(value, low, high, len(rows), n_groups, 0, method)
