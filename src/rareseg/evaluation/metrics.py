"""Confusion counts and what is read from them, for one mask and for every threshold at once.

Everything is a pure function of counts. Where a formula has no denominator the answer is
:class:`~rareseg.evaluation.values.Undefined` with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from rareseg.data.records import IGNORE
from rareseg.errors import ScoreError
from rareseg.evaluation.bins import N_BINS, bin_edges, bin_of
from rareseg.evaluation.scores import COLUMNS, CaseScores, ScoreTable, as_labels, label_message
from rareseg.evaluation.values import Undefined, Value, mean_of_defined, ratio

Floats = NDArray[np.float64]
Weighting = Literal["voxel", "case"]


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
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_] | NDArray[np.uint8]
) -> Counts:
    """Return the counts of a bool mask against a reference of the same shape.

    The reference is bool, or integers 0, 1 and IGNORE. Raises ScoreError where shapes differ or
    the reference holds another value.
    """
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
    cases where each case has weight one. ``hits`` (k,) int64 counts the positive voxels that each
    step adds, whatever their weight, and ``tied`` (k,) says where all voxels of a step have one
    score.
    """

    thresholds: NDArray[np.float32]
    tp: Floats
    fp: Floats
    positives: float
    negatives: float
    hits: NDArray[np.int64]
    tied: NDArray[np.bool_]


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
    inside = np.zeros(N_BINS)
    outside = np.zeros(N_BINS)
    sums = {name: np.zeros(N_BINS, np.int64) for name in COLUMNS}
    for row in rows:
        if row.n_voxels == 0:
            continue
        scale = 1.0 / row.n_voxels if weighting == "case" else 1.0
        inside[row.bins] += row.inside * scale
        outside[row.bins] += row.outside * scale
        for name, total in sums.items():
            total[row.bins] += getattr(row, name)
    bins = np.flatnonzero(inside + outside)[::-1]
    tp = np.cumsum(inside[bins])
    fp = np.cumsum(outside[bins])
    return Curve(
        thresholds=bin_edges()[bins],
        tp=tp,
        fp=fp,
        positives=float(tp[-1]) if len(tp) else 0.0,
        negatives=float(fp[-1]) if len(fp) else 0.0,
        hits=sums["inside"][bins],
        tied=_tied(**{name: total[bins] for name, total in sums.items()}),
    )


def _tied(
    inside: NDArray[np.int64],
    outside: NDArray[np.int64],
    inside_low: NDArray[np.int64],
    outside_low: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Tell where all voxels of a bin have one score: both means of the low bits are it.

    Means that are whole numbers, and equal, without a tie are rare and only in small bins.
    """
    mean_inside, rest_inside = np.divmod(inside_low, np.maximum(inside, 1))
    mean_outside, rest_outside = np.divmod(outside_low, np.maximum(outside, 1))
    one_sided = (inside == 0) | (outside == 0)
    whole = (rest_inside == 0) & (rest_outside == 0)
    return np.asarray(whole & (one_sided | (mean_inside == mean_outside)))


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
    """Return the area under the ROC curve by trapezoids, in [0, 1]; undefined without P or N."""
    if not curve.positives:
        return Undefined("no positive voxel")
    if not curve.negatives:
        return Undefined("no negative voxel")
    fpr, tpr = roc(curve)
    return float(np.trapezoid(tpr, fpr))


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

    That is scikit-learn's `average_precision_score`. Where a bin holds one score, its voxels are
    the ties that the sum treats as one step. Where it holds several, their order is lost, and each
    positive voxel counts with the precision that it has in a random order of the bin:

        Σᵢ₌₁ʰ w·(T + i·w) / (S + i·c),   w = a / h,   c = w + b / (h + 1)

    with T true and S all voxels above the bin, h positive voxels of weight a and negatives of
    weight b within it. Taking the bin as one tie instead would bias the sum low (by up to 4·10⁻⁴
    on smooth scores); this stays within 10⁻⁴ of the exact sum, on smooth and on saturated scores.
    """
    if not curve.positives:
        return Undefined("no positive voxel in any case")
    a = np.diff(curve.tp, prepend=0.0)
    b = np.diff(curve.fp, prepend=0.0)
    as_ties = a * curve.tp / (curve.tp + curve.fp)
    spread = (curve.hits > 0) & ~curve.tied
    T = (curve.tp - a)[spread]
    S = T + (curve.fp - b)[spread]
    h = curve.hits[spread]
    w = a[spread] / h
    c = w + b[spread] / (h + 1)
    # The sum in closed form: sums of 1 / (S/c + i) are differences of the digamma function.
    harmonic = digamma(S / c + h + 1) - digamma(S / c + 1)
    in_random_order = w / c * (w * h + (T - w * S / c) * harmonic)
    return float((as_ties[~spread].sum() + in_random_order.sum()) / curve.positives)


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
