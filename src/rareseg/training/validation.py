"""Validate a network on whole cases while it trains: one score to choose by, two to read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rareseg.evaluation.metrics.overlap import checkpoint_score, cumulative
from rareseg.evaluation.statistics.undefined import Undefined, Value, is_defined, mean_of_defined
from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg.evaluation.tables.threshold_bins import bin_of

HALF = np.array([bin_of(0.5)])
NOT_LOOKED_AT = Undefined("not looked at")


@dataclass(frozen=True)
class ValidationResult:
    """One look at the validation cases.

    ``score`` in [0, 1] chooses the checkpoint (see
    :func:`~rareseg.evaluation.metrics.overlap.checkpoint_score`). ``dice`` is the mean over
    positive cases and ``alarms`` the share of negative cases with anything on, both cut at 0.5 and
    over all regions; Undefined where there is no such case. Without ``has_cases`` there was nothing
    to look at, and the score says nothing.
    """

    score: float
    dice: Value = NOT_LOOKED_AT
    alarms: Value = NOT_LOOKED_AT
    has_cases: bool = True

    @property
    def strata(self) -> str:
        """Both strata in words, "" where neither is known."""
        said = []
        if is_defined(self.dice):
            said.append(f"dice {self.dice:.2f}")
        if is_defined(self.alarms):
            said.append(f"false alarms {self.alarms:.0%}")
        return f"{', '.join(said)} at 0.5" if said else ""


def check(table: ScoreTable) -> ValidationResult:
    """Return what a table of whole validation cases says; a score that is undefined counts as 0."""
    score = checkpoint_score(table)
    dice: list[Value] = []
    alarms: list[Value] = []
    for row in table:
        if not row.n_voxels:
            continue
        tp, fp = (int(counts[0]) for counts in cumulative(row, HALF))
        if row.n_inside:
            dice.append(2.0 * tp / (tp + fp + row.n_inside))
        else:
            alarms.append(float(fp > 0))
    return ValidationResult(
        score if is_defined(score) else 0.0,
        mean_of_defined(dice, undefined="no positive case"),
        mean_of_defined(alarms, undefined="no negative case"),
        has_cases=len(table.rows) > 0,
    )
