"""Measure masks at the chosen point alone: surface distances and challenge scores.

No table can give these for every threshold, so each case has one row of them, beside
:class:`~rareseg.evaluation.measures.case_result.CaseResult`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rareseg.data.records import Role
from rareseg.evaluation.measures.case_result import write_records
from rareseg.evaluation.measures.measure import cells
from rareseg.evaluation.measures.measure_table import DETAIL_MEASURES
from rareseg.evaluation.metrics.challenge_scores import (
    AutopetVolumes,
    BratsLesions,
    BratsTask,
    autopet_volumes,
    brats_lesions,
)
from rareseg.evaluation.metrics.surface_distance import SurfaceDistances, measure_surfaces
from rareseg.evaluation.statistics.intervals import Estimate
from rareseg.evaluation.tables.case_arrays import require_informative_mask
from rareseg_runner.image_records import Geometry


@dataclass(frozen=True)
class CaseDetails:
    """The surface distances and challenge scores of one region in one case."""

    case_id: str
    region: str
    role: Role | None
    group: str | None
    surfaces: SurfaceDistances
    brats: BratsLesions
    autopet: AutopetVolumes


def detail_case(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_] | NDArray[np.uint8],
    *,
    case_id: str,
    region: str,
    geometry: Geometry,
    role: Role | None = None,
    group: str | None = None,
    tolerance_mm: float = 1.0,
    task: BratsTask = "glioma",
    ignores: bool = False,
) -> CaseDetails:
    """Return the details of one region's finished mask in one case.

    Both arrays are (Z, Y, X) or (Y, X), as for
    :func:`~rareseg.evaluation.measures.case_result.measure_case`. Raises as that does,
    and UsageError for a negative tolerance.
    """
    require_informative_mask(reference, f"Case '{case_id}', region '{region}'", ignores=ignores)
    spacing = geometry.spacing
    return CaseDetails(
        case_id=case_id,
        region=region,
        role=role,
        group=group,
        surfaces=measure_surfaces(
            prediction, reference, spacing=spacing, tolerance_mm=tolerance_mm, ignores=True
        ),
        brats=brats_lesions(prediction, reference, spacing=spacing, task=task, ignores=True),
        autopet=autopet_volumes(prediction, reference, spacing=spacing, ignores=True),
    )


def summarize_details(details: Sequence[CaseDetails]) -> dict[str, Estimate]:
    """Return the mean of every measure over the cases of one region in which it is defined.

    With intervals over groups; ``n_undefined`` of each says in how many cases it is not.
    """
    groups = [case.group for case in details]
    return {measure.name: measure.estimate(details, groups) for measure in DETAIL_MEASURES}


def detail_record(case: CaseDetails) -> dict[str, object]:
    """Return one line of CSV: a value that is undefined is "" and its reason stands last."""
    values, undefined = cells(DETAIL_MEASURES, case)
    return {
        "case": case.case_id,
        "region": case.region,
        "role": case.role or "",
        "group": "" if case.group is None else case.group,
        **values,
        "tolerance_mm": case.surfaces.tolerance_mm,
        "brats_lesions": case.brats.n_counted,
        "brats_false_positives": case.brats.n_false_positives,
        "undefined": undefined,
    }


def write_details_csv(path: Path, details: Sequence[CaseDetails]) -> None:
    """Write one line per case and region, atomically; numbers as they are, nothing rounded.

    Raises WorkError where the file cannot be written.
    """
    nothing = np.zeros((0, 0), np.bool_)
    columns = detail_record(
        detail_case(nothing, nothing, case_id="", region="", geometry=Geometry())
    )
    write_records(path, list(columns), [detail_record(case) for case in details])
