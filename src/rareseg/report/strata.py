"""The three strata of a scorecard, side by side for several operating points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rareseg.evaluation.intervals import Estimate
from rareseg.evaluation.scorecard import RegionScorecard
from rareseg.evaluation.values import Undefined, is_defined
from rareseg.report.wording import Form, count, interval, percent, quantity, score, size


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
class Measure:
    """One row: what is measured, what that means, and a number per scorecard."""

    name: str
    meaning: str
    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class StratumTable:
    """One stratum. ``rests_on`` are its counts; without a case ``reason`` stands for the rows."""

    title: str
    meaning: str
    rests_on: str
    rows: tuple[Measure, ...]
    reason: str = ""


Parts = Sequence[RegionScorecard]
Pick = Callable[[RegionScorecard], Estimate]


def stratum_tables(parts: Parts, main: RegionScorecard) -> tuple[StratumTable, ...]:
    """Return the tables of positives, negatives and lesions, one column per part.

    The counts are those of ``main``; parts are of the same cases.
    """
    return (_positives(parts, main), _negatives(parts, main), _lesions(parts, main))


def _positives(parts: Parts, main: RegionScorecard) -> StratumTable:
    return _table(
        "Positive cases",
        f"{main.region} is present",
        _cases(main.positives.n_cases, main.positives.n_groups),
        (
            _row("Dice", "2·TP / (2·TP + FP + FN), mean", parts, lambda p: p.positives.dice),
            _row("IoU", "TP / (TP + FP + FN), mean", parts, lambda p: p.positives.iou),
            _row("Precision", "TP / (TP + FP), mean", parts, lambda p: p.positives.precision),
            _row("Recall", "TP / (TP + FN), mean", parts, lambda p: p.positives.recall),
            _row("Found", "cases touched at all", parts, lambda p: p.positives.found, percent),
        ),
        "" if main.positives.n_cases else "no positive case",
    )


def _negatives(parts: Parts, main: RegionScorecard) -> StratumTable:
    negatives = main.negatives
    rows = [
        _row(
            "False alarms",
            "cases with anything predicted",
            parts,
            lambda p: p.negatives.false_alarm_rate,
            percent,
        )
    ]
    if negatives.n_groups < negatives.n_cases:
        rows.append(
            _row(
                "Groups alarmed",
                "groups with any such case",
                parts,
                lambda p: p.negatives.groups_with_alarm,
                percent,
            )
        )
    rows.append(
        _row(
            "Falsely predicted",
            f"{negatives.size_unit} per case, mean",
            parts,
            lambda p: p.negatives.false_positive_size,
            quantity,
        )
    )
    return _table(
        "Negative cases",
        f"{main.region} is absent",
        _cases(negatives.n_cases, negatives.n_groups),
        tuple(rows),
        "" if negatives.n_cases else "no negative case",
    )


def _lesions(parts: Parts, main: RegionScorecard) -> StratumTable:
    lesions = main.lesions
    median = (
        f", median {size(lesions.median_size)} {lesions.size_unit}"
        if is_defined(lesions.median_size)
        else ""
    )
    return _table(
        "Lesions",
        f"connected parts of {main.region}",
        f"{count(lesions.n_lesions, 'lesion')}{median}",
        (
            _row("Found", "lesions touched at all", parts, lambda p: p.lesions.recall, percent),
            _row(
                "False components",
                "per case, touching no lesion",
                parts,
                lambda p: p.lesions.false_positives_per_case,
                quantity,
            ),
        ),
        "" if lesions.n_cases else "no case",
    )


def _table(
    title: str, meaning: str, rests_on: str, rows: tuple[Measure, ...], reason: str
) -> StratumTable:
    return StratumTable(title, meaning, rests_on, () if reason else rows, reason)


def _cases(n_cases: int, n_groups: int) -> str:
    groups = f" from {count(n_groups, 'group')}" if n_groups != n_cases else ""
    return count(n_cases, "case") + groups


def _row(name: str, meaning: str, parts: Parts, pick: Pick, form: Form = score) -> Measure:
    return Measure(name, meaning, tuple(_number(pick(part), form) for part in parts))


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
