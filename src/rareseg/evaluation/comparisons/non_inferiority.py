"""Test whether a strategy is non-inferior in every column and better in one.

A claim about many columns is tested as a whole: the intervals of all columns and rivals hold
together, at the confidence of one (Bonferroni). What the intervals leave open stays open; few
cases prove nothing, least of all that there is no difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from rareseg.errors import UsageError
from rareseg.evaluation.comparisons.comparison_table import Runs, silent_rows, values_by_seed
from rareseg.evaluation.comparisons.paired_seeds import (
    FEWEST_SEEDS,
    SeedDifference,
    compare_over_seeds,
)
from rareseg.evaluation.measures.measure_table import measure_named, shown_in
from rareseg.evaluation.statistics.undefined import is_defined, value_to_json

Outcome = Literal["better", "not worse", "open", "worse"]


@dataclass(frozen=True)
class RivalComparison:
    """The candidate against one rival in one column.

    ``change`` is candidate − rival, with an interval that holds together with all others of the
    claim.
    """

    region: str
    measure: str
    rival: str
    change: SeedDifference
    margin: float

    @property
    def outcome(self) -> Outcome:
        """What the interval says; where no case differs the rivals are level, not worse.

        Open below three trainings of each.
        """
        if self.change.n_seeds < FEWEST_SEEDS:
            return "open"
        low, high = self.change.difference.low, self.change.difference.high
        if not (is_defined(low) and is_defined(high)):
            level = self.change.difference.value == 0.0 and self.change.difference.n_groups > 1
            return "not worse" if level else "open"
        if not measure_named(self.measure).higher_is_better:
            low, high = -high, -low
        if low > 0.0:
            return "better"
        if low >= -self.margin:
            return "not worse"
        return "worse" if high < -self.margin else "open"


@dataclass(frozen=True)
class NonInferiority:
    """What was tested, and every comparison behind it, column after column."""

    candidate: str
    rivals: tuple[str, ...]
    cut: str
    margin: float
    confidence: float
    held: tuple[RivalComparison, ...]

    def columns(self) -> dict[tuple[str, str], Outcome]:
        """Return by region and measure how the candidate stands against the best of its rivals.

        It is "better" or "not worse" where it is so against every rival, and "worse" where it is
        worse than one of them.
        """
        found: dict[tuple[str, str], Outcome] = {}
        for column, held in groupby(self.held, lambda one: (one.region, one.measure)):
            outcomes = {one.outcome for one in held}
            order: tuple[Outcome, ...] = ("worse", "open", "not worse", "better")
            found[column] = next(outcome for outcome in order if outcome in outcomes)
        return found

    @property
    def holds(self) -> bool:
        """Whether the candidate is not worse in every column and better in at least one."""
        outcomes = set(self.columns().values())
        return "better" in outcomes and outcomes <= {"better", "not worse"}


def check_non_inferiority(
    runs: Mapping[str, Mapping[str, Runs]],
    candidate: str,
    *,
    cut: str,
    margin: float = 0.01,
    confidence: float = 0.95,
) -> NonInferiority:
    """Hold ``candidate`` against every other row of ``runs``, cut at ``cut``.

    ``margin`` is by how much it may be worse, in dice and as a share of objects or negative
    images. Rivals that find no object of a region raise no alarm there and are left out of that
    column. Raises :class:`UsageError` where the candidate is no row, has no rival, or the margin
    lies outside [0, 1].
    """
    if candidate not in runs or len(runs) < 2:
        raise UsageError(
            f"{candidate!r} is to be compared with other rows, but the rows are "
            f"{', '.join(runs) or 'none'}; name one of two or more."
        )
    if not 0.0 <= margin <= 1.0:
        raise UsageError(f"The margin of a claim is {margin:g}; it must lie between 0 and 1.")
    rivals = tuple(row for row in runs if row != candidate)
    groups = {line.case_id: line.group for line in runs[candidate][cut][0]}
    columns = _columns({row: own[cut] for row, own in runs.items()}, candidate, rivals)
    together = 1.0 - (1.0 - confidence) / max(1, len(columns))
    held = tuple(
        RivalComparison(
            region,
            measure,
            rival,
            compare_over_seeds(
                values_by_seed(runs[rival][cut], region, measure),
                values_by_seed(runs[candidate][cut], region, measure),
                groups,
                measure=measure,
                confidence=together,
            ),
            margin,
        )
        for region, measure, rival in columns
    )
    return NonInferiority(candidate, rivals, cut, margin, confidence, held)


def non_inferiority_record(claim: NonInferiority) -> dict[str, Any]:
    """Return the claim as plain JSON values."""
    return {
        "candidate": claim.candidate,
        "rivals": list(claim.rivals),
        "cut": claim.cut,
        "margin": claim.margin,
        "confidence": claim.confidence,
        "holds": claim.holds,
        "columns": [
            {"region": region, "measure": measure, "outcome": outcome}
            for (region, measure), outcome in claim.columns().items()
        ],
        "held": [
            {
                "region": one.region,
                "measure": one.measure,
                "rival": one.rival,
                "difference": value_to_json(one.change.difference.value),
                "low": value_to_json(one.change.difference.low),
                "high": value_to_json(one.change.difference.high),
                "outcome": one.outcome,
            }
            for one in claim.held
        ],
    }


def _columns(
    runs: Mapping[str, Runs], candidate: str, rivals: Sequence[str]
) -> list[tuple[str, str, str]]:
    """Return region, measure and rival of every comparison that can be made."""
    regions = dict.fromkeys(line.region for line in runs[candidate][0])
    found = []
    for region in regions:
        silent = silent_rows(runs, region)
        for measure in (one.words for one in shown_in("contest") if one.is_share):
            if not values_by_seed(runs[candidate], region, measure)[0]:
                continue
            quiet = silent if measure == "false alarm" else frozenset()
            found += [(region, measure, rival) for rival in rivals if rival not in quiet]
    return found
