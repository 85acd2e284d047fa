"""The points of every region: as chosen, or why none was, and where it is cut all the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rareseg.decision.operating_point import Infeasible, OperatingPoint, default_point
from rareseg.errors import RunError

Decided = Mapping[str, OperatingPoint | Infeasible]
"""The point of each region, or the reason why it has none."""

NEVER = "it was never tuned"


def decided_points(
    points: Mapping[str, OperatingPoint], regions: Mapping[str, object], choices: Path | None = None
) -> dict[str, OperatingPoint | Infeasible]:
    """Return the point of every region of a model, or the reason that ``choices`` gives for none.

    ``choices`` is the ``decision.json`` that the points were written beside. Raises
    :class:`RunError` where it is damaged.
    """
    reasons = _reasons(choices) if choices is not None and choices.is_file() else {}
    return {
        region: points.get(region) or Infeasible(region, reasons.get(region, NEVER))
        for region in regions
    }


def points_in_use(
    points: Mapping[str, OperatingPoint], regions: Mapping[str, object]
) -> dict[str, OperatingPoint]:
    """Return where every region is cut: at its point, or at 0.5 where none was chosen."""
    return {region: points.get(region) or default_point(region) for region in regions}


def _reasons(path: Path) -> dict[str, str]:
    """Return by region why no point was chosen."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {
            region: str(choice["found"]["infeasible"])
            for region, choice in record.items()
            if "infeasible" in choice["found"]
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is damaged ({error}); call `rareseg tune` again.") from error
