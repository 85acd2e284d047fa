"""Estimate the prevalence of positive images, and predictive values at it.

The share of positive images among validation cases is seldom that of the world. Predictive values
are told for a stated prevalence, or for one that is estimated from unlabelled images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.calibration.group_folds import group_folds
from rareseg.decision.calibration.image_sample import ImageSample, mixture_p_value
from rareseg.decision.guarantees.group_losses import Path, Row, tally
from rareseg.decision.operating_point import OperatingPoint
from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.measures.case_result import CaseResult
from rareseg.evaluation.statistics.intervals import (
    Estimate,
    count_groups,
    estimate_share,
    independence,
)
from rareseg.evaluation.statistics.undefined import Undefined, Value, is_defined, ratio
from rareseg.evaluation.tables.component_table import ComponentTable
from rareseg.evaluation.tables.score_table import CaseScores, ScoreTable
from rareseg.evaluation.tables.threshold_bins import bin_of

Floats = NDArray[np.float64]

LEAST_SEPARATION = 0.1
"""The shares of positive and negative images called must surely be further apart."""

DRIFTED = 0.05
"""With a smaller p, unlabelled images are no mixture of positive and negative ones."""

_DRAWS = 10_000


def estimate_prevalence(
    table: ScoreTable,
    image_scores: Sequence[float],
    *,
    region: str,
    generator: np.random.Generator,
    groups: Sequence[str | None] | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Return the share of positive images among unlabelled ones, from their image scores.

    The adjusted count (Rogan & Gladen 1978; Forman 2008), π = (q − f) / (s − f) within [0, 1]: s
    and f are the shares of the table's positive and negative cases at or above a cut, q that of the
    unlabelled images. The cut of largest s − f is chosen five times without a fifth of the groups,
    which are then judged at it; unlabelled images are judged at all five. The bounds are quantiles
    of π over draws of s, f and q, each from Beta(k + ½, n − k + ½) (Jeffreys) with n the effective
    number of groups (Kish) and k = share · n. ``groups`` are those of the unlabelled images, each
    its own where None.

    It assumes that positive images score as they do in the table, and negative ones too. Undefined,
    with the reason, without images of one of the three kinds, where leaving a fifth out leaves
    none, where the lower bound of s − f is at most 0.1, and where the unlabelled scores are no
    mixture of the others: :func:`~rareseg.decision.calibration.image_sample.mixture_p_value` below
    5 %, which refuses so many of those that are. Raises UsageError where the region is not in the
    table.
    """
    known = [None] * len(image_scores) if groups is None else list(groups)
    method = f"adjusted count, Jeffreys draws over groups{independence(known)}"
    n_groups = count_groups(known)

    def estimate(value: Value, low: Value, high: Value) -> Estimate:
        return Estimate(value, low, high, len(image_scores), n_groups, 0, method)

    rows = [row for row in table.select(region=region).rows if row.n_voxels > 0]
    rates = _rates(rows, image_scores, known)
    if isinstance(rates, Undefined):
        return estimate(rates, rates, rates)
    found, alarmed, called = (rate.drawn(generator) for rate in rates)
    s, f, q = (rate.share for rate in rates)
    tail = (1.0 - confidence) / 2.0
    apart = float(np.quantile(found - alarmed, tail))
    if apart <= LEAST_SEPARATION:
        weak = Undefined(
            "the scores hardly tell positive images from negative ones: the best cut calls "
            f"{s:.0%} of the positive and {f:.0%} of the negative cases of groups left out, and "
            f"these shares must surely be more than {LEAST_SEPARATION:g} apart"
        )
        return estimate(weak, weak, weak)
    ends = np.quantile((called - alarmed) / (found - alarmed), [tail, 1.0 - tail])
    low, high = np.clip(ends, 0.0, 1.0).tolist()
    return estimate(float(np.clip((q - f) / (s - f), 0.0, 1.0)), low, high)


@dataclass(frozen=True)
class _Rate:
    """A share of images called, and the effective number of groups that it rests on."""

    share: float
    n: float

    def drawn(self, generator: np.random.Generator) -> Floats:
        """Return draws of what the share may be in truth (Jeffreys)."""
        hits = self.share * self.n
        return generator.beta(hits + 0.5, self.n - hits + 0.5, _DRAWS)


def _rates(
    rows: Sequence[CaseScores], image_scores: Sequence[float], groups: Sequence[str | None]
) -> tuple[_Rate, _Rate, _Rate] | Undefined:
    """Return the shares called of positive, negative and unlabelled images, or why there are none.

    Each fold of groups is judged at the cut that is chosen without it, unlabelled images at all.
    """
    for kind, none in (
        ("unlabelled image", not image_scores),
        ("positive case", not any(row.n_inside for row in rows)),
        ("negative case", all(row.n_inside for row in rows)),
    ):
        if none:
            return Undefined(f"there is no {kind}")
    positive = np.array([row.n_inside > 0 for row in rows], np.bool_)
    cases = ImageSample.of([row.image_score for row in rows], [row.group for row in rows])
    unlabelled = ImageSample.of(image_scores, groups)
    p = mixture_p_value(unlabelled, cases.part(positive), cases.part(~positive))
    if p < DRIFTED:
        return Undefined(
            "more than the prevalence has changed: no share of positive images explains the scores "
            f"of the unlabelled ones (minimum chi-square, p = {p:.2g})"
        )
    fold_of = group_folds(rows)
    folds = np.unique(fold_of)
    called, called_unlabelled = np.zeros(len(rows)), np.zeros(len(image_scores))
    for fold in folds:
        rest = fold_of != fold
        ours, theirs = positive & rest, ~positive & rest
        if not ours.any() or not theirs.any():
            kind = "negative" if ours.any() else "positive"
            return Undefined(f"without some of the groups there is no {kind} case to cut by")
        cut = _separating_cut(cases.odds[ours], cases.odds[theirs])
        called[~rest] = cases.odds[~rest] >= cut
        called_unlabelled += (unlabelled.odds >= cut) / len(folds)
    return (
        _Rate(float(called[positive].mean()), cases.part(positive).effective),
        _Rate(float(called[~positive].mean()), cases.part(~positive).effective),
        _Rate(float(called_unlabelled.mean()), unlabelled.effective),
    )


def _separating_cut(positive: Floats, negative: Floats) -> float:
    """Return the cut with most positives less negatives at or above it (Youden's J), in a gap."""
    values = np.unique(np.concatenate([positive, negative]))
    found, alarmed = (
        1.0 - np.searchsorted(np.sort(side), values) / len(side) for side in (positive, negative)
    )
    told = found - alarmed
    best = np.flatnonzero(told >= told.max() - 1e-12)
    at = best[len(best) // 2]
    return float(values[max(at - 1, 0) : at + 1].mean())


@dataclass(frozen=True)
class PredictiveValues:
    """What it means that anything, or nothing, is on in an image, at a prevalence.

    ``positive`` is the share of images with anything on that hold the region, ``negative`` the
    share of those with nothing on that do not; each with (low, high), jointly from the intervals of
    ``sensitivity`` and ``false_alarm_rate`` over groups.
    """

    region: str
    prevalence: float
    positive: Value
    positive_interval: tuple[Value, Value]
    negative: Value
    negative_interval: tuple[Value, Value]
    sensitivity: Estimate
    false_alarm_rate: Estimate


@dataclass(frozen=True)
class Call:
    """What was said of one image: whether it ``holds`` the region, and whether anything is ``on``.

    An image in which no voxel counts has ``holds`` None, and is in neither stratum.
    """

    group: str | None
    holds: bool | None
    on: bool


def calls_of(results: Sequence[CaseResult], *, region: str) -> tuple[Call, ...]:
    """Return the calls of cases that were measured at one operating point."""
    return tuple(
        Call(
            result.group,
            None if result.stratum == "ignored" else result.stratum == "positive",
            result.counts.tp + result.counts.fp > 0,
        )
        for result in results
        if result.region == region
    )


def calls_at(table: ScoreTable | ComponentTable, point: OperatingPoint) -> tuple[Call, ...]:
    """Return the calls of a table's cases at a point, as its masks would make them.

    Raises UsageError where a smallest component is asked of a score table, or where the region is
    not in the table, and ScoreError where the threshold is not on a component table's grid.
    """
    grid = table.grid if isinstance(table, ComponentTable) else None
    if grid is None and point.smallest_component.removes:
        raise UsageError(
            f"Score tables do not see components, which the smallest component of "
            f"{point.smallest_component} at the point of '{point.region}' needs; give the "
            "component table."
        )
    bins = np.array([bin_of(point.threshold)], np.int64)
    if grid is not None and int(bins[0]) not in grid:
        raise ScoreError(
            f"The threshold {point.threshold:.6g} of '{point.region}' is not on the component "
            "table's grid; give the score table."
        )
    path = Path(bins, np.array([point.gate]), point.smallest_component, np.zeros(1), grid)
    rows: Sequence[Row] = table.select(region=point.region).rows
    calls = []
    for row in rows:
        seen = tally(row, path)
        holds = row.n_inside > 0 if row.n_voxels > 0 else None
        calls.append(Call(row.group, holds, bool((seen.tp + seen.fp)[0] > 0)))
    return tuple(calls)


def predictive_values(
    calls: Sequence[Call], *, region: str, prevalence: float, confidence: float = 0.95
) -> PredictiveValues:
    """Return the predictive values of one region's masks where a share of images is positive.

    ``calls`` were made at one operating point; they give sensitivity s (share of positive
    images with anything on) and false-alarm rate f (share of negative ones). With prevalence π
    (Bayes): positive = s·π / (s·π + f·(1−π)), negative = (1−f)·(1−π) / ((1−f)·(1−π) + (1−s)·π).
    Each of the two intervals behind them has confidence 1 − (1 − confidence)/2, so that both hold
    together with ``confidence`` (Bonferroni); the prevalence is taken as known. Undefined without
    positive or without negative images, and where nothing (or everything) is ever on.

    Raises UsageError for a prevalence that is none.
    """
    if not 0.0 <= prevalence <= 1.0:
        raise UsageError(
            f"A prevalence of {prevalence:g} does not exist; give the share of positive images, "
            "between 0 and 1."
        )
    rates = []
    for holds, stratum in ((True, "positive"), (False, "negative")):
        own = [call for call in calls if call.holds is holds]
        rates.append(
            estimate_share(
                [float(call.on) for call in own],
                [1.0] * len(own),
                [call.group for call in own],
                none=f"no {stratum} case",
                confidence=1.0 - (1.0 - confidence) / 2.0,
            )
        )
    found, alarms = rates
    positive, negative = (_positive_value, _negative_value)
    return PredictiveValues(
        region=region,
        prevalence=prevalence,
        positive=positive(found.value, alarms.value, prevalence),
        positive_interval=(
            positive(found.low, alarms.high, prevalence),
            positive(found.high, alarms.low, prevalence),
        ),
        negative=negative(found.value, alarms.value, prevalence),
        negative_interval=(
            negative(found.low, alarms.high, prevalence),
            negative(found.high, alarms.low, prevalence),
        ),
        sensitivity=found,
        false_alarm_rate=alarms,
    )


def _positive_value(sensitivity: Value, alarms: Value, prevalence: float) -> Value:
    """Return s·π / (s·π + f·(1−π))."""
    if not is_defined(sensitivity):
        return sensitivity
    if not is_defined(alarms):
        return alarms
    right = sensitivity * prevalence
    return ratio(right, right + alarms * (1.0 - prevalence), undefined="nothing is ever on")


def _negative_value(sensitivity: Value, alarms: Value, prevalence: float) -> Value:
    """Return (1−f)·(1−π) / ((1−f)·(1−π) + (1−s)·π)."""
    if not is_defined(sensitivity):
        return sensitivity
    if not is_defined(alarms):
        return alarms
    right = (1.0 - alarms) * (1.0 - prevalence)
    missed = (1.0 - sensitivity) * prevalence
    return ratio(right, right + missed, undefined="something is always on")
