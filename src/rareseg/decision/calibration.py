"""Make a region's scores mean what they say: a slope and a bias on their log-odds.

A sampler that shows foreground more often than the world does, and losses such as dice, leave
scores that promise too much. p' = σ(slope·logit p + bias) is monotone: it changes no curve and no
mask, but what a score means. ``slope`` is 1 / temperature (Guo et al. 2017, section 4.2), and with
a bias this is Platt's scaling of log-odds.

Where the sampler's prior is known, undoing it is the same with slope 1 and bias
logit π_t − logit π_s (Elkan 2001, theorem 2; Saerens et al. 2002, eq. 2.4). It holds for one region
against the rest, for cross-entropy, and for crops only nearly; so it is used only where its
log-loss on select cases is lower.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit, logit

from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.calibration_curve import score_sums
from rareseg.evaluation.intervals import count_groups, group_numbers
from rareseg.evaluation.scores import CaseScores, ScoreTable

Floats = NDArray[np.float64]

Method = Literal["none", "temperature and bias", "prior undone"]

LOWEST, HIGHEST = 2.0**-40, 1.0 - 2.0**-30
"""Scores beyond are taken for these, so that a score of exactly 0 or 1 has log-odds."""

_FOLDS = 5


@dataclass(frozen=True)
class Calibration:
    """How one region's scores become probabilities, and what that rests on.

    ``log_loss`` (nats per voxel, every case of equal weight) is that of cases which were left out
    of the fit in turn, group by group, and ``log_loss_before`` that of the scores as they are;
    both NaN where there are fewer than two groups. ``reason`` says why this method.
    """

    region: str
    slope: float = 1.0
    bias: float = 0.0
    method: Method = "none"
    reason: str = "not fitted"
    log_loss: float = math.nan
    log_loss_before: float = math.nan
    n_cases: int = 0
    n_groups: int = 0

    def apply(self, scores: ArrayLike) -> NDArray[np.float32]:
        """Return the probabilities of scores in [0, 1], float32 of the same shape."""
        array = np.asarray(scores, np.float32)
        if self.slope == 1.0 and self.bias == 0.0:
            return array
        odds = logit(np.clip(array.astype(np.float64), LOWEST, HIGHEST))
        return np.asarray(expit(self.slope * odds + self.bias), np.float32)

    @property
    def sentence(self) -> str:
        """The calibration in words."""
        if self.method == "none":
            return f"{self.region}: scores are left as they are: {self.reason}"
        return (
            f"{self.region}: {self.method} (slope {self.slope:.3g}, bias {self.bias:.3g}): "
            f"log-loss {self.log_loss_before:.4g} → {self.log_loss:.4g} on {self.n_groups} groups "
            f"left out in turn; {self.reason}"
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
        if set(record) != known:
            odd = ", ".join(sorted(set(record) ^ known))
            raise ScoreError(f"A calibration lacks or has unknown fields: {odd}; tune again.")
        values = dict(record)
        for name in ("log_loss", "log_loss_before"):
            values[name] = math.nan if record[name] is None else float(record[name])
        calibration = cls(**values)
        if not (0.0 < calibration.slope < math.inf and math.isfinite(calibration.bias)):
            raise ScoreError(
                f"The calibration of region '{calibration.region}' has slope {calibration.slope} "
                f"and bias {calibration.bias}; the first must be above 0, both finite. Tune again."
            )
        return calibration


@dataclass(frozen=True, eq=False)
class _Voxels:
    """The voxels of some cases by bin: log-odds ``odds`` (k,), and weights that add up to 1.

    ``counts`` are how many voxels they are, (inside, outside).
    """

    odds: Floats
    inside: Floats
    outside: Floats
    counts: tuple[int, int]


def calibrate(table: ScoreTable, *, region: str, sampled_prior: float | None = None) -> Calibration:
    """Return the calibration with the lowest log-loss on groups that were left out of its fit.

    ``sampled_prior`` is the share of the region among the voxels that training was really shown;
    where it is given, undoing it is a candidate beside slope and bias, and beside leaving the
    scores as they are. Groups are left out in five folds. No case with the region, none without a
    voxel outside it, or fewer than two groups leave the scores as they are, with the reason.

    Raises UsageError where the region is not in the table or the prior is not between 0 and 1.
    """
    if sampled_prior is not None and not 0.0 < sampled_prior < 1.0:
        raise UsageError(
            f"A sampled prior of {sampled_prior:g} cannot be undone; give the share of the region "
            "among the voxels shown in training, between 0 and 1."
        )
    rows = [row for row in table.select(region=region).rows if row.n_voxels > 0]
    groups = [row.group for row in rows]
    n_groups = count_groups(groups)
    why_not = _why_not(rows, n_groups)
    if why_not is not None:
        return Calibration(region, reason=why_not, n_cases=len(rows), n_groups=n_groups)
    whole = [_voxels(row) for row in rows]
    numbers = group_numbers(groups)
    candidates: dict[Method, tuple[float, float]] = {
        "none": (1.0, 0.0),
        "temperature and bias": _fit(_pool(whole)),
    }
    if sampled_prior is not None:
        candidates["prior undone"] = (1.0, _undo(_pool(whole), sampled_prior))
    losses: dict[Method, float] = {}
    for method in candidates:
        total = 0.0
        for fold in range(min(_FOLDS, n_groups)):
            out = numbers % _FOLDS == fold
            kept = _pool([v for v, is_out in zip(whole, out, strict=True) if not is_out])
            slope, bias = 1.0, 0.0
            if method == "temperature and bias":
                slope, bias = _fit(kept)
            elif method == "prior undone" and sampled_prior is not None:
                bias = _undo(kept, sampled_prior)
            left = [v for v, is_out in zip(whole, out, strict=True) if is_out]
            total += sum(_log_loss(v, slope, bias) for v in left)
        losses[method] = total / len(rows)
    best = min(candidates, key=lambda method: losses[method])
    others = ", ".join(f"{m} {losses[m]:.4g}" for m in candidates if m not in (best, "none"))
    return Calibration(
        region=region,
        slope=candidates[best][0],
        bias=candidates[best][1],
        method=best,
        reason="the lowest log-loss on groups left out" + (f" ({others})" if others else ""),
        log_loss=losses[best],
        log_loss_before=losses["none"],
        n_cases=len(rows),
        n_groups=n_groups,
    )


def prior_shift(sampled: float, true: float) -> float:
    """Return logit π_t − logit π_s, the bias that undoes a prior π_s where π_t holds."""
    for name, prior in (("sampled", sampled), ("true", true)):
        if not 0.0 < prior < 1.0:
            raise UsageError(f"The {name} prior is {prior:g}; it must lie between 0 and 1.")
    return float(logit(true) - logit(sampled))


def _why_not(rows: Sequence[CaseScores], n_groups: int) -> str | None:
    """Return why nothing can be fitted, or None."""
    if not any(row.n_inside for row in rows):
        return f"none of the {len(rows)} cases holds the region"
    if not any(row.n_voxels > row.n_inside for row in rows):
        return "no voxel lies outside the region"
    if n_groups < 2:
        return "one group cannot tell whether a fit holds for another"
    holding = count_groups([row.group for row in rows if row.n_inside])
    if holding < 2:
        return "one group alone holds the region, which cannot tell whether a fit holds for another"
    return None


def _voxels(row: CaseScores) -> _Voxels:
    """Return the voxels of one case."""
    counts = row.inside + row.outside
    mean = np.clip(score_sums(row) / counts, LOWEST, HIGHEST)
    return _Voxels(
        np.asarray(logit(mean), np.float64),
        row.inside / row.n_voxels,
        row.outside / row.n_voxels,
        (row.n_inside, row.n_voxels - row.n_inside),
    )


def _pool(parts: Sequence[_Voxels]) -> _Voxels:
    """Return the voxels of several cases, every case of equal weight."""
    n = len(parts)
    return _Voxels(
        np.concatenate([part.odds for part in parts]),
        np.concatenate([part.inside for part in parts]) / n,
        np.concatenate([part.outside for part in parts]) / n,
        (sum(part.counts[0] for part in parts), sum(part.counts[1] for part in parts)),
    )


def _log_loss(voxels: _Voxels, slope: float, bias: float) -> float:
    """Return the mean of −log p(truth) over the voxels, in nats."""
    odds = slope * voxels.odds + bias
    loss = voxels.inside * log_expit(odds) + voxels.outside * log_expit(-odds)
    return -float(loss.sum())


def _undo(voxels: _Voxels, sampled_prior: float) -> float:
    """Return the bias that takes the sampled prior back to the share measured in the cases."""
    share = float(voxels.inside.sum())
    return prior_shift(sampled_prior, min(max(share, LOWEST), HIGHEST))


def _fit(voxels: _Voxels) -> tuple[float, float]:
    """Return the slope and bias with the lowest log-loss."""
    return fit_log_odds(voxels.odds, voxels.inside, voxels.outside, counts=voxels.counts)


def fit_log_odds(
    odds: Floats, inside: Floats, outside: Floats, *, counts: tuple[int, int]
) -> tuple[float, float]:
    """Return (slope > 0, bias) that minimise Σ −inside·log σ(slope·x + bias) − outside·log σ(−…).

    ``odds`` x, ``inside`` and ``outside`` are (k,), weights ≥ 0; ``counts`` are the numbers of
    examples (inside, outside) behind them. Platt's targets (1999, section 2.2), (N₊+1)/(N₊+2) and
    1/(N₋+2) in place of 1 and 0, keep the answer finite where the scores separate perfectly.
    Newton's method with step halving (Lin, Lin & Weng 2007), from slope 1 and bias 0. A slope at
    or below 0, of scores that say nothing, becomes 2⁻¹⁰, so that the order of scores stays.
    """
    flip_inside, flip_outside = 1.0 / (counts[0] + 2.0), 1.0 / (counts[1] + 2.0)
    yes = inside * (1.0 - flip_inside) + outside * flip_outside
    no = outside * (1.0 - flip_outside) + inside * flip_inside

    def loss(at: Floats) -> float:
        z = at[0] * odds + at[1]
        return -float((yes * log_expit(z) + no * log_expit(-z)).sum())

    at = np.array([1.0, 0.0])
    for _ in range(100):
        p = expit(at[0] * odds + at[1])
        pull = (yes + no) * p - yes
        gradient = np.array([(pull * odds).sum(), pull.sum()])
        bend = (yes + no) * p * (1.0 - p)
        mixed = (bend * odds).sum()
        hessian = np.array([[(bend * odds**2).sum(), mixed], [mixed, bend.sum()]])
        hessian += np.eye(2) * 1e-12
        step = np.linalg.solve(hessian, gradient)
        decrease = float(gradient @ step)
        if decrease < 1e-12:
            break
        here, share = loss(at), 1.0
        while loss(at - share * step) > here - 1e-4 * share * decrease and share > 1e-10:
            share /= 2.0
        at = at - share * step
    if at[0] <= 0.0:
        return 2.0**-10, float(at[1])
    return float(at[0]), float(at[1])
