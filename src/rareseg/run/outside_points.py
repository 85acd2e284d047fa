"""What was decided for the scores of another tool: points, promises, and for which classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rareseg.data.files import atomic_write
from rareseg.data.records import Classes
from rareseg.decision.guarantees import Statement, statement_from_dict
from rareseg.decision.operating_point import OperatingPoint
from rareseg.errors import RunError, ScoreError

FORMAT = 1
NAME = "operating_points.json"
ABOUT = "outside.json"
"""Which scores and references the points are of, and how these were opened."""


@dataclass(frozen=True)
class OutsidePoints:
    """The operating points of another tool's scores, and what is promised of them.

    ``channels`` are the declared regions in the order of a file's channels, empty where none were
    declared. ``certificates`` and ``spent`` are those of a
    :class:`~rareseg.prediction.bundle.Bundle`. ``with_presence`` says whether the gates were chosen
    on image scores that hold what an ``image_scores.csv`` said.
    """

    classes: Classes
    channels: tuple[str, ...] = ()
    points: Mapping[str, OperatingPoint] = field(default_factory=dict)
    certificates: Mapping[str, tuple[Statement, ...]] = field(default_factory=dict)
    spent: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    with_presence: bool = False


def save_outside_points(folder: Path, decided: OutsidePoints) -> None:
    """Write ``operating_points.json``, atomically. Raises WorkError where that fails."""
    record = {
        "format": FORMAT,
        "classes": decided.classes.to_dict(),
        "channels": list(decided.channels),
        "points": {region: point.to_dict() for region, point in decided.points.items()},
        "certificates": {
            region: [statement.to_dict() for statement in statements]
            for region, statements in decided.certificates.items()
        },
        "spent": {region: dict(used) for region, used in decided.spent.items()},
        "with_presence": decided.with_presence,
    }
    with atomic_write(folder / NAME) as temporary:
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_references(folder: Path) -> dict[str, Any]:
    """Return how the references of the points were opened; RunError where that is not told."""
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        return {name: about["references"][name] for name in ("group_from", "missing_mask")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{folder / ABOUT} is missing or damaged ({error}); tune again into another --out."
        ) from error


def load_outside_points(folder: Path) -> OutsidePoints:
    """Read what :func:`save_outside_points` wrote; RunError where it is missing or damaged."""
    path = folder / NAME
    if not path.is_file():
        raise RunError(
            f"{path} is missing; name the folder that `rareseg tune --probabilities DIR "
            "--references DATA --out OUT` wrote."
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise RunError(
                f"{path} is of format {record['format']}, this version of rareseg reads format "
                f"{FORMAT}; tune again into another --out."
            )
        return OutsidePoints(
            classes=Classes.from_dict(record["classes"]),
            channels=tuple(record["channels"]),
            points={
                region: OperatingPoint.from_dict(point)
                for region, point in record["points"].items()
            },
            certificates={
                region: tuple(statement_from_dict(found) for found in statements)
                for region, statements in record["certificates"].items()
            },
            spent=record["spent"],
            with_presence=bool(record.get("with_presence", False)),
        )
    except (OSError, AttributeError, KeyError, TypeError, ValueError, ScoreError) as error:
        raise RunError(
            f"{path} is damaged ({type(error).__name__}: {error}); tune again into another --out."
        ) from error
