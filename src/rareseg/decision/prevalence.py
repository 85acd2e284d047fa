"""How often images hold a region where the model works, and what an alarm is worth there.

The share of positive images among select cases is seldom that of the world. Predictive values are
told for a stated prevalence, or for one that Saerens' EM estimates from unlabelled images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from rareseg.decision.group_losses import Path, Row, tally
from rareseg.decision.log_odds import fit_log_odds, log_odds
from rareseg.decision.operating_point import OperatingPoint
from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.bins import bin_of
from rareseg.evaluation.cases import CaseResult
from rareseg.evaluation.component_table import ComponentTable
from rareseg.evaluation.intervals import Estimate, estimate_share, group_numbers
from rareseg.evaluation.scores import ScoreTable
from rareseg.evaluation.values import Undefined, Value, is_defined, ratio

Floats = NDArray[np.float64]

_MOST_STEPS = 10_000
_STILL = 1e-10
"""EM ends where no prior moves by more."""


@dataclass(frozen=True)
class Presence:
    """The probability that an image holds a region, from its image score.

    σ(slope·logit(image score) + bias), fitted on ``n_positive`` and ``n_negative`` images, of which
    the share ``prevalence`` is positive.
    """

    region: str
    slope: float
    bias: float
    n_positive: int
    n_negative: int

    @property
    def prevalence(self) -> float:
        """The share of positive images that it was fitted under."""
        return self.n_positive / (self.n_positive + self.n_negative)

    def probabilities(self, image_scores: ArrayLike) -> Floats:
        """Return the probability of every image score in [0, 1]; same shape."""
        return np.asarray(expit(self.slope * log_odds(image_scores) + self.bias), np.float64)


def fit_presence(table: ScoreTable, *, region: str) -> Presence | Undefined:
    """Return how the image score tells positive images, by Platt's scaling of its log-odds.

    Undefined where there is no positive, or no negative, case. Raises UsageError where the region
    is not in the table.
    """
    rows = [row for row in table.select(region=region).rows if row.n_voxels > 0]
    positive = np.array([row.n_inside > 0 for row in rows], np.bool_)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return Undefined("no positive case" if not n_positive else "no negative case")
    slope, bias = fit_log_odds(
        log_odds([row.image_score for row in rows]),
        positive / len(rows),
        ~positive / len(rows),
        counts=(n_positive, n_negative),
    )
    return Presence(region, slope, bias, n_positive, n_negative)


def estimate_prevalence(image_scores: Sequence[float], presence: Presence) -> Value:
    """Return the share of positive images among unlabelled ones, from their image scores.

    By :func:`shifted_prior`; it assumes that positive images look as they did where ``presence``
    was fitted, and negative ones too, and that only their shares have changed. Undefined where
    there is no image.
    """
    if len(image_scores) == 0:
        return Undefined("no unlabelled image")
    positive = presence.probabilities(image_scores)
    prior = np.array([1.0 - presence.prevalence, presence.prevalence])
    return float(shifted_prior(np.stack([1.0 - positive, positive], axis=1), prior)[1])


def prevalence_interval(
    table: ScoreTable,
    image_scores: Sequence[float],
    *,
    region: str,
    generator: np.random.Generator,
    resamples: int = 500,
    confidence: float = 0.95,
) -> tuple[Value, Value]:
    """Return the percentile interval of :func:`estimate_prevalence`, over both sets of images.

    Groups of the table, on which :func:`fit_presence` is fitted anew each time, and unlabelled
    images are drawn with replacement. Draws without positive or without negative images are left
    out. It covered the truth in 90 % of 60 simulations with 40 labelled and 100 unlabelled images,
    in 97 % with 150 and 200: of few images it promises a little too much. Undefined where the
    estimate is.
    """
    rows = [row for row in table.select(region=region).rows if row.n_voxels > 0]
    if not len(image_scores) or isinstance(fit_presence(table, region=region), Undefined):
        undefined = Undefined("no estimate")
        return undefined, undefined
    numbers = group_numbers([row.group for row in rows])
    odds, own = log_odds([row.image_score for row in rows]), log_odds(image_scores)
    positive = np.array([row.n_inside > 0 for row in rows], np.bool_)
    found = []
    for _ in range(resamples):
        n_groups = int(numbers.max()) + 1
        drawn = np.bincount(generator.integers(n_groups, size=n_groups), minlength=n_groups)
        times = drawn[numbers].astype(np.float64)
        n_positive, n_negative = int(times[positive].sum()), int(times[~positive].sum())
        images = own[generator.integers(len(own), size=len(own))]
        if not n_positive or not n_negative:
            continue
        weights = times / times.sum()
        slope, bias = fit_log_odds(
            odds, weights * positive, weights * ~positive, counts=(n_positive, n_negative)
        )
        shift = np.log(n_negative / n_positive)
        found.append(_likeliest_share(slope * images + bias + shift))
    if not found:
        undefined = Undefined("no draw held positive and negative images")
        return undefined, undefined
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(found, [tail, 1.0 - tail])
    return float(low), float(high)


def _likeliest_share(log_ratios: Floats) -> float:
    """Return the share π of largest likelihood Π (1 − π + π·r), r the ratios p(x|1) / p(x|0).

    It is where Saerens' EM ends; the likelihood is concave in π, and halving gets there sooner.
    """
    gain = np.expm1(np.minimum(log_ratios, 500.0))
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2.0
        if float((gain / (1.0 + middle * gain)).sum()) > 0.0:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def shifted_prior(posteriors: ArrayLike, prior: ArrayLike) -> Floats:
    """Return the class shares of a new population, from posteriors under another prior.

    ``posteriors`` (n, C) were calibrated under ``prior`` (C,), both of sum 1; n > 0. Saerens et al.
    (2002), eq. 2.9: p^k(y|x) ∝ p(y|x)·π^k(y)/π(y), π^{k+1}(y) = mean over x of p^k(y|x), from
    π⁰ = π until nothing moves: the shares of largest likelihood. Raises ScoreError where the arrays
    do not fit or are no probabilities.
    """
    given, before = np.asarray(posteriors, np.float64), np.asarray(prior, np.float64)
    fits = given.ndim == 2 and len(given) > 0 and before.shape == given.shape[1:]
    if not fits or not np.allclose(given.sum(axis=1), 1.0) or not np.isclose(before.sum(), 1.0):
        raise ScoreError(
            f"Posteriors of shape {given.shape} and a prior of shape {before.shape} do not fit; "
            "give (n, C) with n > 0 and (C,), each of sum 1."
        )
    if given.min() < 0.0 or not before.min() > 0.0:
        raise ScoreError("Posteriors must not be negative, and a prior must be above 0.")
    now = before
    for _ in range(_MOST_STEPS):
        weighted = given * (now / before)
        following = (weighted / weighted.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(following - now).max() < _STILL:
            return np.asarray(following, np.float64)
        now = following
    return np.asarray(now, np.float64)


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
