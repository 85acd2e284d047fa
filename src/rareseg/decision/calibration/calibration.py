"""Calibrate a region's scores by a slope and a bias on their log-odds.

A sampler that shows foreground more often than the world does, and losses such as dice, leave
scores that are overconfident. p' = σ(slope·logit p + bias) is monotone: it changes no curve and no
mask, but what a score means. ``slope`` is 1 / temperature (Guo et al. 2017, section 4.2), and with
a bias this is Platt's scaling of log-odds.

Where the sampler's prior is known, undoing it is the same with slope 1 and bias logit π_t − logit
π_s (Elkan 2001, theorem 2; Saerens et al. 2002, eq. 2.4). It holds for cross-entropy, for one
region against the rest (of a union of classes only while their shares within it are the same), and
for crops only nearly; so it is used only where its log-loss on validation cases is lower.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from rareseg.decision.calibration.group_folds import N_FOLDS, group_folds
from rareseg.decision.calibration.platt_scaling import fit_log_odds, log_loss
from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.metrics.calibration_curve import score_sums
from rareseg.evaluation.statistics.intervals import count_groups
from rareseg.evaluation.tables.score_table import CaseScores, ScoreTable
from rareseg_runner.scoring.log_odds import HIGHEST, LOWEST, log_odds

Floats = NDArray[np.float64]

Method = Literal["none", "temperature and bias", "prior undone"]

_NUMBERS = ("log_loss", "log_loss_before", "error", "error_before")
"""The fields that may be NaN."""


@dataclass(frozen=True)
class Calibration:
    """How one region's scores become probabilities, and what that rests on.

    ``log_loss`` (nats per voxel) and ``error`` (the expected calibration error over sixteenths,
    Guo et al. 2017, eq. 3), every case of equal weight, are those of cases that were left out of
    the fit in turn, group by group; ``log_loss_before`` and ``error_before`` those of the scores as
    they are. All are NaN where nothing could be fitted. ``reason`` says why this method.
    ``prevalence`` is the share of positive cases that it was fitted for, None that of the cases at
    hand.
    """

    region: str
    slope: float = 1.0
    bias: float = 0.0
    method: Method = "none"
    reason: str = "not fitted"
    log_loss: float = math.nan
    log_loss_before: float = math.nan
    error: float = math.nan
    error_before: float = math.nan
    n_cases: int = 0
    n_groups: int = 0
    prevalence: float | None = None

    def apply(self, scores: ArrayLike) -> NDArray[np.float32]:
        """Return the probabilities of scores in [0, 1], float32 of the same shape."""
        array = np.asarray(scores, np.float32)
        if self.slope == 1.0 and self.bias == 0.0:
            return array
        return np.asarray(expit(self.slope * log_odds(array) + self.bias), np.float32)

    @property
    def sentence(self) -> str:
        """The calibration in words."""
        if math.isnan(self.log_loss):
            return f"{self.region}: scores are left as they are: {self.reason}"
        rests = f"on {self.n_groups} groups left out in turn"
        if self.prevalence is not None:
            rests += f", weighed to a prevalence of {self.prevalence:.3g}"
        if self.method == "none":
            return (
                f"{self.region}: scores are left as they are: log-loss {self.log_loss:.4g}, "
                f"calibration error {self.error:.4g} {rests}; {self.reason}"
            )
        return (
            f"{self.region}: {self.method} (slope {self.slope:.3g}, bias {self.bias:.3g}): "
            f"log-loss {self.log_loss_before:.4g} → {self.log_loss:.4g}, calibration error "
            f"{self.error_before:.4g} → {self.error:.4g} {rests}; {self.reason}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as plain JSON values; NaN as None."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Calibration:
        """Return what :meth:`to_dict` wrote; ScoreError where it is damaged."""
        known = {field.name for field in fields(cls)}
        record = {"prevalence": None, **record}  # earlier versions fitted for none
        if set(record) != known:
            odd = ", ".join(sorted(set(record) ^ known))
            raise ScoreError(f"A calibration lacks or has unknown fields: {odd}; calibrate again.")
        values = dict(record)
        try:
            for name in _NUMBERS:
                values[name] = math.nan if record[name] is None else float(record[name])
            for name in ("slope", "bias"):
                values[name] = float(record[name])
        except (TypeError, ValueError) as error:
            raise ScoreError(f"A calibration is damaged ({error}); calibrate again.") from error
        calibration = cls(**values)
        if not (0.0 < calibration.slope < math.inf and math.isfinite(calibration.bias)):
            raise ScoreError(
                f"The calibration of region '{calibration.region}' has slope {calibration.slope} "
                f"and bias {calibration.bias}; the first must be above 0, both finite. Calibrate "
                "again."
            )
        return calibration


@dataclass(frozen=True, eq=False)
class _Voxels:
    """The voxels of some cases by bin: log-odds ``odds`` (k,), weights that add up to ``total``.

    ``counts`` are how many voxels they are, (inside, outside).
    """

    odds: Floats
    inside: Floats
    outside: Floats
    counts: tuple[int, int]
    total: float = 1.0


def calibrate(
    table: ScoreTable,
    *,
    region: str,
    sampled_prior: float | None = None,
    prevalence: float | None = None,
) -> Calibration:
    """Return the calibration with the lowest log-loss on groups that were left out of its fit.

    ``sampled_prior`` is the share of the region among the voxels that training was really shown;
    where it is given, undoing it is a candidate beside slope and bias, and beside leaving the
    scores as they are. Groups are left out in five folds, over which those that hold the region are
    spread evenly. No case with the region, none without a voxel outside it, or fewer than two
    groups that hold the region leave the scores as they are, with the reason. With a ``prevalence``
    p of positive cases where the scores will be read, and the share q at hand, positive cases weigh
    p/q and negative ones (1 − p)/(1 − q) throughout: a change of the prevalence is no shift of a
    voxel's log-odds, since positive and negative images keep their own scores. The voxels of a bin
    are taken at their mean score, which no bin's width moves by more than 1 part in 128.

    Raises UsageError where the region is not in the table or the prior is not between 0 and 1.
    """
    if sampled_prior is not None and not 0.0 < sampled_prior < 1.0:
        raise UsageError(
            f"A sampled prior of {sampled_prior:g} cannot be undone; give the share of the region "
            "among the voxels shown in training, between 0 and 1."
        )
    if prevalence is not None and not 0.0 < prevalence < 1.0:
        raise UsageError(
            f"Scores cannot be fitted for a prevalence of {prevalence:g}; give the share of "
            "positive cases, above 0 and below 1."
        )
    rows = [row for row in table.select(region=region).rows if row.n_voxels > 0]
    n_groups = count_groups([row.group for row in rows])
    why_not = _why_not(rows, n_groups, prevalence)
    if why_not is not None:
        return Calibration(region, reason=why_not, n_cases=len(rows), n_groups=n_groups)
    weights = _case_weights([row.n_inside > 0 for row in rows], prevalence)
    whole = [_voxels(row, weight) for row, weight in zip(rows, weights, strict=True)]
    methods: list[Method] = ["none", "temperature and bias"]
    if sampled_prior is not None:
        methods.append("prior undone")
    fold_of = group_folds(rows)
    left_out: dict[Method, _Voxels] = {}
    for method in methods:
        parts: list[_Voxels] = []
        for fold in range(N_FOLDS):
            kept = [v for v, own in zip(whole, fold_of, strict=True) if own != fold]
            out = [v for v, own in zip(whole, fold_of, strict=True) if own == fold]
            slope, bias = _fit(method, _pool(kept), sampled_prior)
            parts += [replace(v, odds=slope * v.odds + bias) for v in out]
        left_out[method] = _pool(parts)
    losses = {m: log_loss(v.odds, v.inside, v.outside) for m, v in left_out.items()}
    best = min(methods, key=lambda method: losses[method])
    slope, bias = _fit(best, _pool(whole), sampled_prior)
    others = ", ".join(f"{m} {losses[m]:.4g}" for m in methods if m not in (best, "none"))
    return Calibration(
        region=region,
        slope=slope,
        bias=bias,
        method=best,
        reason="the lowest log-loss on groups left out" + (f" ({others})" if others else ""),
        log_loss=losses[best],
        log_loss_before=losses["none"],
        error=_calibration_error(left_out[best]),
        error_before=_calibration_error(left_out["none"]),
        n_cases=len(rows),
        n_groups=n_groups,
        prevalence=prevalence,
    )


def prior_shift(sampled: float, true: float) -> float:
    """Return logit π_t − logit π_s, the bias that undoes a prior π_s where π_t holds."""
    for name, prior in (("sampled", sampled), ("true", true)):
        if not 0.0 < prior < 1.0:
            raise UsageError(f"The {name} prior is {prior:g}; it must lie between 0 and 1.")
    return float(logit(true) - logit(sampled))


def _why_not(rows: Sequence[CaseScores], n_groups: int, prevalence: float | None) -> str | None:
    """Return why nothing can be fitted, or None."""
    if prevalence is not None and all(row.n_inside for row in rows):
        return "another prevalence needs a case without the region"
    if not any(row.n_inside for row in rows):
        return f"none of the {len(rows)} cases holds the region"
    if not any(row.n_voxels > row.n_inside for row in rows):
        return "no voxel lies outside the region"
    if n_groups < 2:
        return "one group cannot tell whether a fit holds for another"
    if count_groups([row.group for row in rows if row.n_inside]) < 2:
        return "one group alone holds the region, which cannot tell whether a fit holds for another"
    return None


def _case_weights(positive: Sequence[bool], prevalence: float | None) -> list[float]:
    """Return the weight of every case: 1, or what brings the positive ones to a prevalence."""
    share = sum(positive) / len(positive)
    if prevalence is None:
        return [1.0] * len(positive)
    return [prevalence / share if own else (1 - prevalence) / (1 - share) for own in positive]


def _voxels(row: CaseScores, weight: float) -> _Voxels:
    """Return the voxels of one case, which together have the weight of the case."""
    return _Voxels(
        log_odds(score_sums(row) / (row.inside + row.outside)),
        weight * row.inside / row.n_voxels,
        weight * row.outside / row.n_voxels,
        (row.n_inside, row.n_voxels - row.n_inside),
        weight,
    )


def _pool(parts: Sequence[_Voxels]) -> _Voxels:
    """Return the voxels of several cases, with weights that add up to 1."""
    total = sum(part.total for part in parts)
    return _Voxels(
        np.concatenate([part.odds for part in parts]),
        np.concatenate([part.inside for part in parts]) / total,
        np.concatenate([part.outside for part in parts]) / total,
        (sum(part.counts[0] for part in parts), sum(part.counts[1] for part in parts)),
    )


def _fit(method: Method, voxels: _Voxels, sampled_prior: float | None) -> tuple[float, float]:
    """Return the slope and bias that a method finds on some voxels."""
    if method == "temperature and bias":
        return fit_log_odds(voxels.odds, voxels.inside, voxels.outside, counts=voxels.counts)
    if method == "prior undone" and sampled_prior is not None:
        share = min(max(float(voxels.inside.sum()), LOWEST), HIGHEST)
        return 1.0, prior_shift(sampled_prior, share)
    return 1.0, 0.0


def _calibration_error(voxels: _Voxels) -> float:
    """Return Σ weight · |frequency − confidence| over sixteenths, cut as `calibration_curve` is."""
    p = expit(voxels.odds)
    interval = np.where(p <= 0.5, np.floor(16.0 * p), np.ceil(16.0 * p) - 1.0).astype(np.int64)
    weight = voxels.inside + voxels.outside
    gaps = np.bincount(interval, voxels.inside - weight * p, minlength=16)
    return float(np.abs(gaps).sum())
