"""Calibrate the presence of regions in whole images by a slope and a bias.

It learned on windows, half of which hold something, and is asked for the largest of many windows:
what it says of whole images is too high. Platt's scaling (1999) of its log-odds, fitted on whole
validation images, mends that. It is monotone: images keep their order by presence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from rareseg.errors import ScoreError
from rareseg.evaluation.statistics.intervals import group_numbers
from rareseg.evaluation.tables.region_rows import RegionTable
from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg_runner.scoring.log_odds import log_odds
from rareseg_runner.scoring.presence_scaling import PresenceScaling

Floats = NDArray[np.float64]

FEWEST_GROUPS = 5
"""With fewer positive, or fewer negative, groups nothing is fitted."""

_SPREAD_OF_SLOPE, _SPREAD_OF_BIAS = 1.0, 2.0
"""Standard deviations of the normal priors about slope 1 and bias 0, which a few groups hardly
move and many do."""


def fit_presence_scaling(table: ScoreTable, *, region: str) -> PresenceScaling:
    """Return the scaling of a region's presence, from whole cases that nothing was learned from.

    The rows' presence is what the network said, unscaled. The slope a ≥ 0 and bias b minimise

        Σᵢ wᵢ · (−yᵢ·log σ(a·xᵢ + b) − (1 − yᵢ)·log σ(−a·xᵢ − b)) + (a − 1)²/2 + b²/8

    over cases i with log-odds xᵢ: a loss in nats per group (wᵢ shares 1 among a group's positive,
    and among its negative, cases) with Platt's targets, (n₊+1)/(n₊+2) and 1/(n₋+2) for n groups
    (1999, section 2.2), and normal priors about doing nothing. Below five positive or five negative
    groups nothing is done; a group can be both. Cases without a voxel that counts are left out.

    Raises UsageError where the region is not in the table, ScoreError where a row has no presence.
    """
    rows = [row for row in table.select(region=region).rows if row.n_voxels > 0]
    said = [row.presence for row in rows if row.presence is not None]
    if len(said) < len(rows):
        raise ScoreError(
            f"Region '{region}' has no presence in this table, so that there is none to scale."
        )
    positive = np.array([row.n_inside > 0 for row in rows], np.bool_)
    numbers = group_numbers([row.group for row in rows])
    n_positive, n_negative = (len(set(numbers[own].tolist())) for own in (positive, ~positive))
    for n, kind in ((n_positive, "positive"), (n_negative, "negative")):
        if n < FEWEST_GROUPS:
            return PresenceScaling(
                n_positive=n_positive,
                n_negative=n_negative,
                reason=f"{n} {kind} group{'' if n == 1 else 's'} of {FEWEST_GROUPS} that it takes",
            )
    targets = np.where(positive, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))
    slope, bias = _fit(log_odds(said), targets, _weights(numbers, positive))
    return PresenceScaling(slope, bias, n_positive, n_negative, "")


T = TypeVar("T", bound=RegionTable[Any])


def scale_presence(table: T, scalings: Mapping[str, PresenceScaling]) -> T:
    """Return the table with the presence of each region scaled; rows without one stay as they are.

    Regions without a scaling keep what the network said.
    """
    return replace(
        table,
        rows=tuple(
            row
            if row.presence is None or row.region not in scalings
            else replace(row, presence=scalings[row.region].apply(row.presence))
            for row in table.rows
        ),
    )


def _weights(numbers: NDArray[np.int64], positive: NDArray[np.bool_]) -> Floats:
    """Return a weight for each case, which add up to 1 over a group's cases of one kind."""
    weights = np.zeros(len(numbers))
    for own in (positive, ~positive):
        sizes = np.bincount(numbers[own], minlength=int(numbers.max()) + 1)
        weights[own] = 1.0 / sizes[numbers[own]]
    return weights


def _fit(odds: Floats, targets: Floats, weights: Floats) -> tuple[float, float]:
    """Return (slope, bias) of the least loss."""

    def loss(at: Floats) -> tuple[float, Floats]:
        slope, bias = at
        z = slope * odds + bias
        costs = -(targets * log_expit(z) + (1.0 - targets) * log_expit(-z))
        pull = weights * (expit(z) - targets)
        away = np.array([(slope - 1.0) / _SPREAD_OF_SLOPE**2, bias / _SPREAD_OF_BIAS**2])
        prior = 0.5 * ((slope - 1.0) * away[0] + bias * away[1])
        gradient = np.array([(pull * odds).sum(), pull.sum()]) + away
        return float((weights * costs).sum() + prior), gradient

    # Convex, in two numbers.
    found = minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.0, None), (None, None)]
    )
    return float(found.x[0]), float(found.x[1])
