"""Read decisions of format 1, which stood in several files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rareseg.decision.calibration.calibration import Calibration
from rareseg.decision.decisions import NEVER_TUNED, Decisions, RegionDecision
from rareseg.decision.guarantees.guarantee import statement_from_dict
from rareseg.decision.operating_point import Infeasible, OperatingPoint
from rareseg_runner.text_files import read_json


def decisions_of_format_1(
    content: Mapping[str, Any], regions: Iterable[str], reasons: Path
) -> Decisions:
    """Return the decisions in a ``bundle.json`` or ``operating_points.json`` of format 1.

    ``reasons`` is the ``decision.json`` that says why a region has no point, if there is one.
    Raises ScoreError, AttributeError, KeyError, TypeError or ValueError where they are damaged.
    """
    why = _read_reasons(reasons) if reasons.is_file() else {}
    points, calibration = content["points"], content.get("calibration", {})
    statements, spent = content.get("certificates", {}), content.get("spent", {})
    return Decisions(
        {
            region: RegionDecision(
                found=OperatingPoint.from_dict(points[region])
                if region in points
                else Infeasible(region, why.get(region, NEVER_TUNED)),
                statements=tuple(map(statement_from_dict, statements.get(region, ()))),
                spent=dict(spent.get(region, {})),
                calibration=Calibration.from_dict(calibration[region])
                if region in calibration
                else None,
            )
            for region in regions
        }
    )


def _read_reasons(path: Path) -> dict[str, str]:
    """Return by region why no point was chosen."""
    record = read_json(path)
    return {
        region: str(choice["found"]["infeasible"])
        for region, choice in record.items()
        if "infeasible" in choice["found"]
    }
