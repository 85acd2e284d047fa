"""Make the table of a comparison: strategies by regions and measures.

Every row has the same cases and seeds. A row is the winner of a column only where the paired
interval of its difference to every other row excludes 0, at a confidence that holds for all columns
of the cut and all rows together (Bonferroni), and only with three trainings of each row or more. A
row that finds no object at all takes no part: it raises no alarms either, and is better than
nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rareseg.errors import ScoreError
from rareseg.evaluation.comparisons.paired_seeds import (
    FEWEST_SEEDS,
    BySeed,
    SeedDifference,
    compare_over_seeds,
)
from rareseg.evaluation.comparisons.paired_test import Headline
from rareseg.evaluation.measures.case_result import CaseResult
from rareseg.evaluation.measures.measure import Measure
from rareseg.evaluation.measures.measure_table import measure_named, shown_in
from rareseg.evaluation.statistics.undefined import Value, is_defined, value_to_json

FOUND = "object recall"
"""The measure by which a row is silent."""

CONFIDENCE = 0.95

WORTH = 0.05
"""The difference for which it is said how often such a comparison would tell it."""

POWER = 0.8
"""How often a difference should be told."""

Runs = Sequence[Sequence[Headline]]
"""For each seed, the measures of all cases and regions."""


@dataclass(frozen=True)
class ComparisonEntry:
    """One row in one column. ``against`` is the difference to the first row, None in that one."""

    row: str
    value: Value
    n_cases: int
    n_groups: int
    against: SeedDifference | None


@dataclass(frozen=True)
class Power:
    """How often such a comparison would tell a difference of :data:`WORTH`.

    ``share`` of comparisons, 0 to 1; ``seeds`` are the fewest that tell it in 80 % of them, None
    where fifty do not: then it takes other groups.
    """

    share: float
    seeds: int | None


@dataclass(frozen=True)
class Column:
    """One measure of one region at one cut, in all rows.

    ``winner`` is "" where no row is better than every other beyond chance. ``silent`` rows find no
    object of the region at this cut, in any case under any seed. ``closest`` is the best row
    against the one that comes closest to it, at the ``confidence`` that all columns and rows share;
    None without such a row.
    """

    cut: str
    region: str
    measure: str
    entries: tuple[ComparisonEntry, ...]
    winner: str
    silent: frozenset[str] = frozenset()
    closest: SeedDifference | None = None
    confidence: float = CONFIDENCE

    @property
    def of(self) -> Measure[CaseResult]:
        """The measure itself."""
        return measure_named(self.measure)

    @property
    def power(self) -> Power | None:
        """How often such a comparison would tell a difference, of the best row and its closest.

        None where nothing tells groups or trainings apart, and of what is no share.
        """
        spread = None if self.closest is None else self.closest.spread
        if self.closest is None or spread is None or not self.of.is_share:
            return None
        if self.closest.n_seeds < FEWEST_SEEDS:
            return None
        return Power(
            spread.power(WORTH, self.closest.n_seeds, confidence=self.confidence),
            spread.seeds_for(WORTH, POWER, confidence=self.confidence),
        )

    @property
    def best(self) -> str:
        """The row with the best mean, or "" where none is defined or none finds anything."""
        found = [
            entry
            for entry in self.entries
            if is_defined(entry.value) and entry.row not in self.silent
        ]
        sign = 1.0 if self.of.higher_is_better else -1.0
        ranked = sorted(found, key=lambda entry: -sign * _number(entry.value))
        return ranked[0].row if ranked else ""


def tabulate_runs(runs: Mapping[str, Mapping[str, Runs]]) -> tuple[Column, ...]:
    """Return the columns of a table of ``runs``: by row, then by cut, the runs of every seed.

    Columns of which no case has the measure are left out. Raises ScoreError where rows differ in
    their cases, cuts or number of seeds.
    """
    rows = list(runs)
    cuts = list(runs[rows[0]]) if rows else []
    if any(list(own) != cuts for own in runs.values()):
        raise ScoreError("Rows are compared at the same cuts, but they hold others.")
    columns: list[Column] = []
    for cut in cuts:
        lines = runs[rows[0]][cut][0]
        groups = {line.case_id: line.group for line in lines}
        found = {}
        for region in dict.fromkeys(line.region for line in lines):
            for measure in (column.words for column in shown_in("contest")):
                values = {row: values_by_seed(runs[row][cut], region, measure) for row in rows}
                if values[rows[0]][0]:
                    found[region, measure] = values
        together = 1.0 - (1.0 - CONFIDENCE) / max(1, len(found) * (len(rows) - 1))
        for (region, measure), values in found.items():
            silent = silent_rows({row: own[cut] for row, own in runs.items()}, region)
            columns.append(
                _column(
                    Column(cut, region, measure, (), "", silent, confidence=together),
                    values,
                    groups,
                )
            )
    return tuple(columns)


def values_by_seed(runs: Runs, region: str, measure: str) -> list[dict[str, float]]:
    """Return for each seed the measure of every case that has it."""
    return [
        {
            line.case_id: _number(line.values[measure])
            for line in lines
            if line.region == region and measure in line.values
        }
        for lines in runs
    ]


def silent_rows(runs: Mapping[str, Runs], region: str) -> frozenset[str]:
    """Return the rows that find no object of a region, though there are some, under any seed."""
    return frozenset(
        row for row, own in runs.items() if _finds_nothing(values_by_seed(own, region, FOUND))
    )


def comparison_record(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return the table as plain JSON values, one entry a row and column."""
    return [
        {
            "cut": column.cut,
            "region": column.region,
            "measure": column.measure,
            "row": entry.row,
            "value": value_to_json(entry.value),
            "n_cases": entry.n_cases,
            "n_groups": entry.n_groups,
            "difference": _difference_record(entry.against),
            "best": entry.row == column.best,
            "winner": entry.row == column.winner,
            "silent": entry.row in column.silent,
        }
        for column in columns
        for entry in column.entries
    ]


def _column(
    column: Column,
    values: Mapping[str, BySeed],
    groups: Mapping[str, str | None],
) -> Column:
    """Return the column with its rows, and its winner."""
    rows = list(values)

    def compare(one: str, other: str, confidence: float = CONFIDENCE) -> SeedDifference:
        return compare_over_seeds(
            values[one], values[other], groups, measure=column.measure, confidence=confidence
        )

    entries = []
    for row in rows:
        against = compare(rows[0], row)
        entries.append(
            ComparisonEntry(
                row,
                against.second,
                against.difference.n_cases,
                against.difference.n_groups,
                None if row == rows[0] else against,
            )
        )
    column = replace(column, entries=tuple(entries))
    best = column.best
    others = [row for row in rows if row != best and row not in column.silent]
    if not (best and others):
        return column
    against_best = [compare(best, other, column.confidence) for other in others]
    return replace(
        column,
        winner=best if all(one.differs for one in against_best) else "",
        closest=min(against_best, key=lambda one: abs(_number(one.difference.value))),
    )


def _finds_nothing(recalls: BySeed) -> bool:
    """Whether cases hold objects, and none is found."""
    found = [recall for values in recalls for recall in values.values()]
    return bool(found) and not any(found)


def _number(value: Value) -> float:
    assert is_defined(value), "undefined values are left out before"
    return value


def _difference_record(against: SeedDifference | None) -> dict[str, Any] | None:
    if against is None:
        return None
    return {
        "value": value_to_json(against.difference.value),
        "low": value_to_json(against.difference.low),
        "high": value_to_json(against.difference.high),
        "method": against.difference.method,
        "seeds": against.n_seeds,
    }
