"""What is promised of the points in use: in words, as records, and what ends or voids it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from rareseg.decision.guarantees import Certificate, Statement
from rareseg.decision.operating_point import Infeasible, OperatingPoint
from rareseg.decision.promises import Kept, check_arithmetic
from rareseg.evaluation.values import format_value
from rareseg.prediction.bundle import Bundle, weights_digest


def describe_promise(result: Kept | Infeasible) -> str:
    """Return one line: where the cut lies and what stands for it, or why there is no promise."""
    if isinstance(result, Infeasible):
        return f"{result.region}: infeasible: {result.reason}."
    point = result.point
    gate = f", gate {point.gate:.4g}" if point.gate > 0 else ""
    dice = format_value(point.mean_dice)
    return (
        f"{point.region}: threshold {point.threshold:.4g}{gate}, dice {dice} on positive select "
        f"cases. {result.statement.sentence}."
    )


def ended(
    kept: Mapping[str, Kept],
    points: Mapping[str, OperatingPoint],
    certificates: Mapping[str, Sequence[Statement]],
) -> list[str]:
    """Return one line for each earlier certificate that the moved points leave behind."""
    return [
        f"{name}: the point moves, which ends an earlier certificate: {statement.promise.sentence}."
        for name, result in kept.items()
        if name in points
        for statement in certificates.get(name, ())
        if isinstance(statement, Certificate)
        and statement.speaks_of(points[name])
        and not statement.speaks_of(result.point)
    ]


def statement_lines(
    bundle: Bundle, folder: Path, *, device: str | torch.device
) -> dict[str, tuple[str, ...]]:
    """Return by region what is promised of the points of a bundle, as used on ``device``.

    A statement that another arithmetic or other weights void says so; statements about points that
    are no longer used are left out.
    """
    now = arithmetic_of(bundle, weights_digest(folder), device)
    return lines_about(bundle.points, bundle.certificates, now)


def lines_about(
    points: Mapping[str, OperatingPoint],
    certificates: Mapping[str, Sequence[Statement]],
    now: Mapping[str, Any],
) -> dict[str, tuple[str, ...]]:
    """Return the lines of :func:`statement_lines` under the arithmetic ``now``."""
    lines = {
        name: tuple(
            f"{check_arithmetic(statement, point, now)}."
            for statement in certificates.get(name, ())
            if statement.speaks_of(point)
        )
        for name, point in points.items()
    }
    return {name: own for name, own in lines.items() if own}


def arithmetic_of(bundle: Bundle, weights: str, device: str | torch.device) -> dict[str, Any]:
    """Return what the scores of a bundle depend on: a certificate is void under another."""
    prediction = bundle.recipe.prediction.model_dump(mode="json")
    scaled = {
        f"presence of {region}": [own.slope, own.bias] for region, own in bundle.presence.items()
    }
    return {
        **scaled,
        **prediction,
        "weights": weights,
        "precision": bundle.precision,
        "backend": f"torch on {torch.device(device).type}",
    }
