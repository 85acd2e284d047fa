"""Make the tables of positives, negatives and objects for several operating points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rareseg.evaluation.measures.case_result import CaseResult
from rareseg.evaluation.measures.measure import Measure, Over
from rareseg.evaluation.measures.measure_table import shown_in
from rareseg.evaluation.measures.scorecard import RegionScorecard
from rareseg.evaluation.statistics.intervals import Estimate
from rareseg.evaluation.statistics.undefined import Undefined, is_defined
from rareseg.report.wording.numbers import FORMS, Form, count, interval, object_noun, size


@dataclass(frozen=True)
class Number:
    """A number as text: its value and interval, or the reason why it is undefined.

    ``n_undefined`` eligible cases had no value and are not in the mean.
    """

    value: str
    interval: str
    reason: str
    method: str
    n_undefined: int = 0


@dataclass(frozen=True)
class StratumRow:
    """What is measured, what that means, and a number per scorecard."""

    name: str
    meaning: str
    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class StratumTable:
    """One stratum. ``rests_on`` are its counts; without a case ``reason`` stands for the rows."""

    title: str
    meaning: str
    rests_on: str
    rows: tuple[StratumRow, ...]
    reason: str = ""


Parts = Sequence[RegionScorecard]

TITLES: Mapping[Over, str] = {
    "positive": "Positive cases",
    "negative": "Negative cases",
    "object": "Objects",
}


def stratum_tables(parts: Parts, main: RegionScorecard) -> tuple[StratumTable, ...]:
    """Return the tables of positives, negatives and objects, one column per part.

    The counts are those of ``main``; parts are of the same cases.
    """
    positives, negatives, objects = main.positives, main.negatives, main.objects
    noun = object_noun(objects.size_unit)
    median = (
        f", median {size(objects.median_size)} {objects.size_unit}"
        if is_defined(objects.median_size)
        else ""
    )
    return (
        StratumTable(
            TITLES["positive"],
            f"{main.region} is present",
            _cases(positives.n_cases, positives.n_groups),
            _rows("positive", parts, main) if positives.n_cases else (),
            "" if positives.n_cases else "no positive case",
        ),
        StratumTable(
            TITLES["negative"],
            f"{main.region} is absent",
            _cases(negatives.n_cases, negatives.n_groups),
            _rows("negative", parts, main) if negatives.n_cases else (),
            "" if negatives.n_cases else "no negative case",
        ),
        StratumTable(
            f"{noun.capitalize()}s",
            f"connected parts of {main.region}",
            f"{count(objects.n_objects, noun)}{median}",
            _rows("object", parts, main) if objects.n_cases else (),
            "" if objects.n_cases else "no case",
        ),
    )


def _rows(stratum: Over, parts: Parts, main: RegionScorecard) -> tuple[StratumRow, ...]:
    """Return the rows of one stratum; of groups only where they have several cases."""
    alone = main.negatives.n_groups == main.negatives.n_cases
    return tuple(
        StratumRow(
            measure.title,
            _meaning(measure, main),
            tuple(_number(part[measure.name], FORMS[measure.unit]) for part in parts),
        )
        for measure in shown_in("strata")
        if measure.stratum == stratum and not (measure.level == "group" and alone)
    )


def _meaning(measure: Measure[CaseResult], main: RegionScorecard) -> str:
    """Return what is measured, with the unit of sizes."""
    unit = f", in {main.negatives.size_unit}" if measure.unit == "size" else ""
    return f"{measure.definition}{unit}"


def _cases(n_cases: int, n_groups: int) -> str:
    groups = f" from {count(n_groups, 'group')}" if n_groups != n_cases else ""
    return count(n_cases, "case") + groups


def _number(estimate: Estimate, form: Form) -> Number:
    if isinstance(estimate.value, Undefined):
        return Number("", "", estimate.value.reason, estimate.method)
    return Number(
        form(estimate.value),
        interval(estimate.low, estimate.high, form),
        "",
        f"{estimate.method}; {count(estimate.n_cases, 'case')}",
        estimate.n_undefined,
    )
