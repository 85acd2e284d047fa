"""Compute dice, precision, recall and curves from confusion counts.

Everything is a pure function of counts. Where a formula has no denominator the answer is
:class:`~rareseg.evaluation.statistics.undefined.Undefined` with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from rareseg.errors import ScoreError
from rareseg.evaluation.statistics.undefined import (
    Undefined,
    Value,
    is_defined,
    mean_of_defined,
    ratio,
)
from rareseg.evaluation.tables.case_arrays import as_labels, label_message, require_informative_mask
from rareseg.evaluation.tables.score_steps import ScoreSteps, Weighting, score_steps
from rareseg.evaluation.tables.score_table import CaseScores, ScoreTable
from rareseg.evaluation.tables.threshold_bins import N_BINS, bin_edges, bin_of
from rareseg_runner.image_records import IGNORE

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """Voxels of one mask against its reference; ignored voxels are in none of the four."""

    tp: int
    fp: int
    fn: int
    tn: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn
        )

    @property
    def total(self) -> int:
        """The number of voxels that count."""
        return self.tp + self.fp + self.fn + self.tn


def dice(counts: Counts) -> Value:
    """2·TP / (2·TP + FP + FN), in [0, 1]; undefined where reference and prediction are empty."""
    return ratio(
        2 * counts.tp,
        2 * counts.tp + counts.fp + counts.fn,
        undefined="reference and prediction are empty",
    )


def iou(counts: Counts) -> Value:
    """TP / (TP + FP + FN), in [0, 1]; undefined where reference and prediction are empty."""
    return ratio(
        counts.tp,
        counts.tp + counts.fp + counts.fn,
        undefined="reference and prediction are empty",
    )


def precision(counts: Counts) -> Value:
    """TP / (TP + FP), in [0, 1]; undefined where nothing is predicted."""
    return ratio(counts.tp, counts.tp + counts.fp, undefined="nothing is predicted")


def recall(counts: Counts) -> Value:
    """TP / (TP + FN), in [0, 1]; undefined where no voxel is positive."""
    return ratio(counts.tp, counts.tp + counts.fn, undefined="no positive voxel")


def false_negative_rate(counts: Counts) -> Value:
    """FN / (TP + FN) = 1 − recall, in [0, 1]; undefined where no voxel is positive."""
    return ratio(counts.fn, counts.tp + counts.fn, undefined="no positive voxel")


def specificity(counts: Counts) -> Value:
    """TN / (TN + FP), in [0, 1]; undefined where no voxel is negative."""
    return ratio(counts.tn, counts.tn + counts.fp, undefined="no negative voxel")


def accuracy(counts: Counts) -> Value:
    """(TP + TN) / all, in [0, 1]; undefined where no voxel counts."""
    return ratio(counts.tp + counts.tn, counts.total, undefined="no voxel counts")


def background_accuracy(counts: Counts) -> Value:
    """(FP + TN) / all: the accuracy of predicting nothing anywhere."""
    return ratio(counts.fp + counts.tn, counts.total, undefined="no voxel counts")


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _confusion(
    prediction: NDArray[np.uint8], reference: NDArray[np.uint8]
) -> tuple[int, int, int, int]:
    """Return (reference 0, reference 1, and of these two the predicted ones) in one pass.

    The arrays are flat; prediction is 0 or 1. Other reference values count nowhere.
    """
    outside = inside = fp = tp = 0
    for i in range(prediction.size):
        is_outside = reference[i] == 0
        is_inside = reference[i] == 1
        is_predicted = prediction[i] != 0
        outside += is_outside
        inside += is_inside
        fp += is_outside & is_predicted
        tp += is_inside & is_predicted
    return outside, inside, fp, tp


def count_masks(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_] | NDArray[np.uint8],
    *,
    ignores: bool = False,
) -> Counts:
    """Return the counts of a bool mask against a reference of the same shape.

    The reference is bool, or integers 0, 1 and IGNORE. Raises ScoreError where shapes differ,
    the reference holds another value, or 0 and 255 alone, unless ``ignores`` says that 255 leaves
    voxels out.
    """
    require_informative_mask(reference, "A mask", ignores=ignores)
    if prediction.shape != reference.shape:
        raise ScoreError(
            f"The prediction has shape {prediction.shape} and the reference has shape "
            f"{reference.shape}; both must be on the case's original grid."
        )
    labels = as_labels(np.ravel(reference), "A mask")
    outside, inside, fp, tp = _confusion(
        np.ravel(prediction).astype(np.bool_, copy=False).view(np.uint8), labels
    )
    if outside + inside < labels.size and np.any((labels > 1) & (labels != IGNORE)):
        raise ScoreError(label_message("A mask"))
    return Counts(tp=tp, fp=fp, fn=inside - tp, tn=outside - fp)


def counts_at(row: CaseScores, threshold: float) -> Counts:
    """Return one case's counts for the mask ``score >= threshold``, from its table row alone.

    They equal the counts of the mask exactly, because a threshold must be a bin edge; ScoreError
    names the nearest edge below where it is not one.
    """
    edge_bin = bin_of(threshold)
    edge = float(bin_edges()[edge_bin])
    if edge != float(np.float32(threshold)):
        raise ScoreError(
            f"The threshold {threshold} is no bin edge, so that a table cannot give its exact "
            f"counts; the nearest edge below is {edge!r}."
        )
    predicted = row.bins >= edge_bin
    tp = int(row.inside[predicted].sum())
    fp = int(row.outside[predicted].sum())
    return Counts(tp, fp, row.n_inside - tp, row.n_voxels - row.n_inside - fp)


@dataclass(frozen=True)
class Curve:
    """Confusion counts at every threshold that occurs, from the highest down.

    ``thresholds`` (k,) float32, descending; ``tp`` and ``fp`` (k,) float64, non-decreasing;
    ``positives`` and ``negatives`` are the totals that they reach. Counts are voxels, or shares of
    cases where each case has weight one. ``steps`` are the same voxels as finely as the table keeps
    their order, which areas under the curve read.
    """

    thresholds: NDArray[np.float32]
    tp: Floats
    fp: Floats
    positives: float
    negatives: float
    steps: ScoreSteps


def occurring_bins(rows: Sequence[CaseScores]) -> NDArray[np.int64]:
    """Return the bins that hold a voxel of any of the rows, ascending."""
    occupied = np.zeros(N_BINS, np.bool_)
    for row in rows:
        occupied[row.bins] = True
    return np.flatnonzero(occupied)


def cumulative(
    row: CaseScores, bins: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return one case's (tp, fp) at the lower edge of every one of ``bins``; both (k,) int64."""
    dense = np.zeros((2, N_BINS + 1), np.int64)
    dense[0, row.bins] = row.inside
    dense[1, row.bins] = row.outside
    at_or_above = dense[:, ::-1].cumsum(axis=1)[:, ::-1]
    tp, fp = at_or_above[:, bins]
    return tp, fp


def pooled_curve(rows: Sequence[CaseScores], *, weighting: Weighting = "voxel") -> Curve:
    """Return the curve of all rows together.

    ``weighting`` "voxel" adds counts as they are, so that large cases weigh more; "case" divides
    each case's counts by its number of voxels first, so that every case weighs the same. Rows
    without a voxel that counts add nothing; no row at all gives a curve of length 0.
    """
    inside, outside = np.zeros((2, N_BINS))
    for row in rows:
        if row.n_voxels == 0:
            continue
        scale = 1.0 / row.n_voxels if weighting == "case" else 1.0
        inside[row.bins] += row.inside * scale
        outside[row.bins] += row.outside * scale
    bins = np.flatnonzero(inside + outside)[::-1]
    tp = np.cumsum(inside[bins])
    fp = np.cumsum(outside[bins])
    return Curve(
        thresholds=bin_edges()[bins],
        tp=tp,
        fp=fp,
        positives=float(tp[-1]) if len(tp) else 0.0,
        negatives=float(fp[-1]) if len(fp) else 0.0,
        steps=score_steps(rows, weighting=weighting),
    )


def roc(curve: Curve) -> tuple[Floats, Floats]:
    """Return (false-positive rate, true-positive rate), both (k + 1,), from (0, 0) to (1, 1).

    FP / N and TP / P at every threshold. Raises ScoreError where P or N is 0; ask
    :func:`roc_auc`, which answers Undefined there.
    """
    if not curve.positives or not curve.negatives:
        raise ScoreError(
            "A ROC curve needs positive and negative voxels; the cases given have "
            f"{curve.positives:g} and {curve.negatives:g}."
        )
    fpr = np.concatenate([[0.0], curve.fp / curve.negatives])
    tpr = np.concatenate([[0.0], curve.tp / curve.positives])
    return fpr, tpr


def roc_auc(curve: Curve) -> Value:
    """Return the area under the ROC curve by trapezoids, in [0, 1]; undefined without P or N.

    It is exact down to the highest floor of a case's highest scores. Below, half of the pairs of a
    positive and a negative voxel in one bin count as won.
    """
    if not curve.positives:
        return Undefined("no positive voxel")
    if not curve.negatives:
        return Undefined("no negative voxel")
    steps = curve.steps
    won = np.cumsum(steps.positive) - steps.positive / 2.0
    return float((won * steps.negative).sum() / (curve.positives * curve.negatives))


def precision_recall(curve: Curve) -> tuple[Floats, Floats]:
    """Return (precision, recall), both (k,), at the curve's thresholds.

    TP / (TP + FP) and TP / P. Raises ScoreError where P is 0; ask :func:`average_precision`,
    which answers Undefined there.
    """
    if not curve.positives:
        raise ScoreError("A precision-recall curve needs positive voxels; the cases have none.")
    return curve.tp / (curve.tp + curve.fp), curve.tp / curve.positives


def average_precision(curve: Curve) -> Value:
    """Return Σₖ (Rₖ − Rₖ₋₁)·Pₖ over descending scores, in [0, 1]; undefined without positives.

    That is scikit-learn's `average_precision_score`, and exact down to the highest floor of a
    case's highest scores: everywhere where every case has at most 65,536 voxels and 4,096 scores.
    Below, bins that hold one score are the ties that the sum treats as one step. Where a bin holds
    several, their order is lost, and each positive voxel counts with the precision that it has in a
    random order of the bin:

        Σᵢ₌₁ʰ w·(T + i·w) / (S + i·c),   w = a / h,   c = w + b / (h + 1)

    with T true and S all voxels above the bin, h positive voxels of weight a and negatives of
    weight b within it. In samples of 50,000 to 4 million voxels with 67 or 600 positives this moves
    the sum by less than 10⁻⁵; :func:`average_precision_bounds` says how far it can be in each case.
    """
    if not curve.positives:
        return Undefined("no positive voxel in any case")
    a, b, T, S = _before(curve.steps)
    as_ties = a * (T + a) / np.maximum(S + a + b, _TINY)
    spread = _spread(curve.steps)
    a, b, T, S, h = a[spread], b[spread], T[spread], S[spread], curve.steps.hits[spread]
    w = a / h
    c = w + b / (h + 1)
    # The sum in closed form: sums of 1 / (S/c + i) are differences of the digamma function.
    harmonic = digamma(S / c + h + 1) - digamma(S / c + 1)
    in_random_order = w / c * (w * h + (T - w * S / c) * harmonic)
    return float((as_ties[~spread].sum() + in_random_order.sum()) / curve.positives)


def average_precision_bounds(curve: Curve) -> tuple[Value, Value]:
    """Return (least, most) between which the exact average precision lies; both undefined without.

    In a step whose order is not known, no positive voxel counts for more than a·(T + a) / (S + a)
    together (all ahead of the negatives, tied), nor for less than
    ∫₀ᵃ (T + x) / (S + b + x) dx = a − (S + b − T)·log(1 + a / (S + b)) (all behind them). A bin of
    positive and negative voxels whose low bits have equal, whole means is taken for a tie.
    """
    value = average_precision(curve)
    if not is_defined(value):
        return value, value
    a, b, T, S = _before(curve.steps)
    known = curve.steps.exact | (curve.steps.tied & (b > 0)) | (a == 0)
    tied = a * (T + a) / np.maximum(S + a + b, _TINY)
    most = a * (T + a) / np.maximum(S + a, _TINY)
    behind = np.where(
        S + b > 0, S + b, 1.0
    )  # where none is behind, T is 0 and so is the second part
    least = a - (S + b - T) * np.log1p(a / behind)
    low, high = (float(np.where(known, tied, end).sum() / curve.positives) for end in (least, most))
    return low, high


_TINY = np.finfo(np.float64).tiny


def _before(steps: ScoreSteps) -> tuple[Floats, Floats, Floats, Floats]:
    """Return each step's positives and negatives, and the positives and all voxels above it."""
    a, b = steps.positive, steps.negative
    return a, b, np.cumsum(a) - a, np.cumsum(a + b) - (a + b)


def _spread(steps: ScoreSteps) -> NDArray[np.bool_]:
    """Tell where positive voxels share a step with others in an order that is not known."""
    return (steps.hits > 0) & ~steps.tied


def dice_curve(curve: Curve) -> Floats:
    """Return 2·TP / (2·TP + FP + FN) = 2·TP / (TP + FP + P) at every threshold, (k,)."""
    return np.asarray(2 * curve.tp / (curve.tp + curve.fp + curve.positives))


def best_dice(curve: Curve) -> tuple[Value, Value]:
    """Return the largest pooled dice over the curve's thresholds, and the highest that reaches it.

    Only bin edges are thresholds, and there the dice is exact. A threshold between edges could
    reach up to 10⁻⁴ more where there are thousands of positive voxels, and up to 10⁻³ where there
    are hundreds among scores that hardly separate (tested).
    """
    if not curve.positives:
        reason = Undefined("no positive voxel in any case")
        return reason, reason
    values = dice_curve(curve)
    best = int(np.argmax(values))
    return float(values[best]), float(curve.thresholds[best])


def case_average_precisions(table: ScoreTable) -> dict[str, Value]:
    """Return every region's average precision over all of its cases, each of equal weight.

    Positive and negative cases are pooled: each case's histogram is divided by its number of
    voxels, and the average precision is that of the sum. Undefined for a region that no case holds.
    """
    return {
        region: average_precision(pooled_curve(table.select(region=region).rows, weighting="case"))
        for region in table.regions
    }


def checkpoint_score(table: ScoreTable) -> Value:
    """Return the scalar that chooses the best checkpoint, in [0, 1].

    The mean over regions of :func:`case_average_precisions`. A region that no case holds says
    nothing about a checkpoint and is left out; where no case holds any, it is Undefined.
    """
    return mean_of_defined(
        case_average_precisions(table).values(), undefined="no positive voxel in any case"
    )
