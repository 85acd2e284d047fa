"""Describe what a default point reaches on groups left out of its choice."""

from __future__ import annotations

from rareseg.decision.operating_point import (
    FEW_ALARMS,
    FEWEST_GROUPS,
    OperatingPoint,
    PointEvidence,
    ReachedPoint,
)
from rareseg.evaluation.statistics.undefined import Undefined, Value, is_defined
from rareseg.report.wording.numbers import Form, count, interval, percent, score, threshold


def evidence_rows(point: OperatingPoint) -> list[tuple[str, str]]:
    """Return (title, text) of what is known beside a point; empty without evidence.

    The point itself, the one with few alarms and 0.5; then, where that is so, that the image scores
    do not tell positive cases from negative ones, or that there are too few groups to tell.
    """
    evidence = point.evidence
    if evidence is None:
        return []
    n = evidence.n_positive_groups
    folds = f", in {evidence.n_folds} folds" if evidence.n_folds < point.n_groups else ""
    positive = count(n, "group with a positive case", "groups with a positive case")
    left_out = f"{_reached(evidence.chosen)} ({positive}{folds})"
    few, half = evidence.few_alarms, evidence.half
    fixed = evidence.is_uninformative and evidence.chosen == half
    rows = [] if fixed else [("On groups left out of the choice", left_out)]
    few_title = f"With at most {percent(FEW_ALARMS)} alarms, likewise"
    rows.append((few_title, few.reason if isinstance(few, Undefined) else _with_cut(few)))
    rows.append(("At 0.5", half.reason if isinstance(half, Undefined) else _reached(half)))
    if evidence.is_uninformative:
        rows.append(("The scores are uninformative", is_uninformative(evidence)))
    if evidence.too_few:
        rows.append(("Too few groups", f"{positive}; at least {FEWEST_GROUPS} are needed"))
    return rows


def evidence_lines(point: OperatingPoint) -> list[str]:
    """Return the rows as lines for the terminal."""
    return [f"{title}: {text}" for title, text in evidence_rows(point)]


def is_uninformative(evidence: PointEvidence) -> str:
    """Return that image scores do not tell positive cases from negative ones, with the area."""
    area, high = evidence.auc, evidence.auc_high
    known = (
        f": {score(area)}, at most {score(high)}" if is_defined(area) and is_defined(high) else ""
    )
    return (
        "positive cases score hardly higher than negative ones (area under the image-level ROC "
        f"curve{known})"
    )


def _with_cut(point: ReachedPoint) -> str:
    gate = f", gate {threshold(point.gate)}" if point.gate > 0 else ""
    size = f", components of {point.smallest_component}" if point.smallest_component.removes else ""
    return f"{_reached(point)} (threshold {threshold(point.threshold)}{gate}{size})"


def _reached(point: ReachedPoint) -> str:
    """Return "dice 0.41 (0.30–0.53), found 70 % (50–86 %), alarms …"; what is undefined says why.

    An interval that cannot be had is left out: too few groups are said in a row of their own.
    """
    if isinstance(point.dice, Undefined):
        return point.dice.reason
    return ", ".join(
        (
            f"dice {score(point.dice)}{_bounds(point, 'dice', score)}",
            _share("found", point.found, _bounds(point, "found", percent)),
            _share("alarms", point.alarms, _bounds(point, "alarms", percent)),
        )
    )


def _share(name: str, value: Value, bounds: str) -> str:
    return value.reason if isinstance(value, Undefined) else f"{name} {percent(value)}{bounds}"


def _bounds(point: ReachedPoint, name: str, form: Form) -> str:
    low, high = point.intervals.get(name, (None, None))
    if low is None or high is None or not (is_defined(low) and is_defined(high)):
        return ""
    return f" ({interval(low, high, form)})"
