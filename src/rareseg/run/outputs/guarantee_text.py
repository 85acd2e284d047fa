"""Describe the guarantees of the points in use, and what ends or voids them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rareseg.decision.decisions import Decisions
from rareseg.decision.guarantees.guarantee_search import GuaranteedPoint, check_arithmetic
from rareseg.decision.operating_point import Infeasible
from rareseg.evaluation.statistics.undefined import format_value


def describe_guarantee(result: GuaranteedPoint | Infeasible) -> str:
    """Return one line: where the cut lies and what stands for it, or why there is no guarantee."""
    if isinstance(result, Infeasible):
        return f"{result.region}: infeasible: {result.reason}."
    point = result.point
    gate = f", gate {point.gate:.4g}" if point.gate > 0 else ""
    dice = format_value(point.mean_dice)
    return (
        f"{point.region}: threshold {point.threshold:.4g}{gate}, dice {dice} on positive "
        f"validation cases. {result.statement.sentence}."
    )


def describe_ended(decisions: Decisions, kept: Mapping[str, GuaranteedPoint]) -> list[str]:
    """Return one line for each certificate in use that the moved points leave behind."""
    return [
        f"{name}: the point moves, which ends an earlier certificate: "
        f"{statement.guarantee.sentence}."
        for name, statement in decisions.ended_by(kept)
    ]


def statement_lines(
    decisions: Decisions, arithmetic: Mapping[str, Any]
) -> dict[str, tuple[str, ...]]:
    """Return by region what is guaranteed of the points in use, as scored by an arithmetic.

    A statement that another arithmetic or other weights void says so; statements about points that
    are no longer used are left out.
    """
    lines = {
        name: tuple(
            f"{check_arithmetic(statement, point, arithmetic)}."
            for statement in decisions.statements[name]
            if statement.holds_for(point)
        )
        for name, point in decisions.points.items()
    }
    return {name: own for name, own in lines.items() if own}
