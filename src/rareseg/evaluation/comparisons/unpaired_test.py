"""Compare two evaluations of different cases: what became of the results, and of the data.

Two months hold other cases, so that nothing can be paired. Each number has its own interval over
groups, and the interval of the difference is made of the two (Zou & Donner 2008, eq. 11, MOVER;
for shares it is Newcombe's "square-and-add", 1998).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rareseg.data.records import object_named
from rareseg.errors import ScoreError
from rareseg.evaluation.comparisons.paired_test import Headline, headline, headline_of_row
from rareseg.evaluation.measures.case_result import CaseResult
from rareseg.evaluation.measures.measure_table import shown_in
from rareseg.evaluation.statistics.intervals import Estimate, estimate_mean, estimate_share
from rareseg.evaluation.statistics.jackknife import Scale
from rareseg.evaluation.statistics.undefined import Undefined, Value, is_defined, value_to_json
from rareseg_runner.text_files import read_table


@dataclass(frozen=True)
class CaseLine:
    """One region of one case of an evaluation: what is compared, and what the case is like.

    ``size`` is that of the reference in voxels, ``image_score`` in [0, 1].
    """

    headline: Headline
    stratum: str
    n_objects: int
    size: float
    image_score: float

    @classmethod
    def of(cls, result: CaseResult) -> CaseLine:
        """Return the line of a result."""
        counts = result.counts
        return cls(
            headline(result),
            result.stratum,
            len(result.objects.sizes),
            float(counts.tp + counts.fn),
            result.image_score,
        )


@dataclass(frozen=True)
class UnpairedComparison:
    """The difference second − first of one number over different cases.

    ``first`` and ``second`` have their own intervals, with the cases and groups behind them.
    ``of_data`` says that it is about the cases and not about what was made of them.
    """

    measure: str
    first: Estimate
    second: Estimate
    difference: Value
    low: Value
    high: Value
    of_data: bool = False

    @property
    def differs(self) -> bool:
        """Whether the interval leaves 0 out: with 95 % for this line by itself."""
        return is_defined(self.low) and is_defined(self.high) and not self.low <= 0.0 <= self.high


@dataclass(frozen=True)
class _DataMeasure:
    """Something of the cases themselves; ``value`` is None where it is not about a case."""

    words: str
    value: Callable[[CaseLine], float | None]
    scale: Scale | None
    """None of what a case is or is not."""


_OF_DATA = (
    _DataMeasure(
        "share of cases with the region",
        lambda line: None if line.stratum == "ignored" else float(line.stratum == "positive"),
        None,
    ),
    _DataMeasure(
        "objects in a positive case",
        lambda line: float(line.n_objects) if line.stratum == "positive" else None,
        "count",
    ),
    _DataMeasure(
        "voxels of the region in a positive case",
        lambda line: line.size if line.stratum == "positive" else None,
        "count",
    ),
    _DataMeasure(
        "image score of positive cases",
        lambda line: line.image_score if line.stratum == "positive" else None,
        "share",
    ),
    _DataMeasure(
        "image score of negative cases",
        lambda line: line.image_score if line.stratum == "negative" else None,
        "share",
    ),
)


def compare_unpaired(
    first: Sequence[CaseLine], second: Sequence[CaseLine], *, region: str
) -> tuple[UnpairedComparison, ...]:
    """Return how one region differs between two evaluations of different cases, by stratum.

    First what a comparison shows of results, then what the cases themselves are like. A number
    without a case on one side is Undefined.
    """
    ours, theirs = (
        [line for line in lines if line.headline.region == region] for lines in (first, second)
    )
    found = []
    for measure in shown_in("comparison"):
        scale: Scale | None = "count" if measure.interval == "mean count" else "share"
        if measure.words in ("found", "false alarm"):
            scale = None

        def value(line: CaseLine, name: str = measure.words) -> Value | None:
            return line.headline.values.get(name)

        found.append(_compare(measure.words, ours, theirs, value, scale, of_data=False))
    return (
        *found,
        *(
            _compare(own.words, ours, theirs, own.value, own.scale, of_data=True)
            for own in _OF_DATA
        ),
    )


def difference_interval(first: Estimate, second: Estimate) -> tuple[Value, Value, Value]:
    """Return second − first with (low, high) of the two intervals, of independent numbers.

    low = d − √((m₂ − l₂)² + (u₁ − m₁)²), high = d + √((u₂ − m₂)² + (m₁ − l₁)²). Undefined where a
    number or one of its bounds is.
    """
    for part in (first.value, second.value):
        if isinstance(part, Undefined):
            return part, part, part
    assert is_defined(first.value), "looked at above"
    assert is_defined(second.value), "looked at above"
    change = second.value - first.value
    for part in (first.low, first.high, second.low, second.high):
        if isinstance(part, Undefined):
            return change, part, part
    down = math.hypot(second.value - _number(second.low), _number(first.high) - first.value)
    up = math.hypot(_number(second.high) - second.value, first.value - _number(first.low))
    return change, change - down, change + up


def read_case_lines(path: Path) -> tuple[CaseLine, ...]:
    """Return the lines of a ``cases.csv``; ScoreError, which names the file, where it is none."""
    try:
        return tuple(_read_line(row) for row in read_table(path))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ScoreError(
            f"{path} cannot be read as the cases of an evaluation ({error}); name the folder that "
            "`rareseg evaluate --out` or `rareseg train --out` wrote."
        ) from error


def unpaired_to_json(line: UnpairedComparison) -> dict[str, Any]:
    """Return a comparison as plain JSON values."""

    def side(own: Estimate) -> dict[str, Any]:
        return {
            "value": value_to_json(own.value),
            "low": value_to_json(own.low),
            "high": value_to_json(own.high),
            "n_cases": own.n_cases,
            "n_groups": own.n_groups,
        }

    return {
        "measure": line.measure,
        "of": "data" if line.of_data else "results",
        "first": side(line.first),
        "second": side(line.second),
        "difference": value_to_json(line.difference),
        "low": value_to_json(line.low),
        "high": value_to_json(line.high),
        "method": "unpaired, square-and-add",
    }


def _compare(
    words: str,
    first: Sequence[CaseLine],
    second: Sequence[CaseLine],
    value: Callable[[CaseLine], Value | None],
    scale: Scale | None,
    *,
    of_data: bool,
) -> UnpairedComparison:
    ours, theirs = (_estimate(lines, value, scale, words) for lines in (first, second))
    return UnpairedComparison(
        words, ours, theirs, *difference_interval(ours, theirs), of_data=of_data
    )


def _estimate(
    lines: Sequence[CaseLine],
    value: Callable[[CaseLine], Value | None],
    scale: Scale | None,
    words: str,
) -> Estimate:
    found = [(own, line.headline.group) for line in lines if (own := value(line)) is not None]
    values, groups = [own for own, _ in found], [group for _, group in found]
    none = f"no case has a {words}"
    if scale is None:
        hits = [float(own) for own in values if is_defined(own)]
        return estimate_share(hits, [1.0] * len(hits), groups, none=none)
    return estimate_mean(values, groups, none=none, scale=scale)


def _read_line(row: Mapping[str, str]) -> CaseLine:
    line = {object_named(name): text for name, text in row.items()}
    return CaseLine(
        headline_of_row(row),
        line["stratum"],
        int(line["objects"]),
        float(line["tp"]) + float(line["fn"]),
        float(line.get("image_score") or line["top_score"]),
    )


def _number(value: Value) -> float:
    assert is_defined(value), "looked at before"
    return float(value)
