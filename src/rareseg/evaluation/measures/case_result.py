"""Count everything on the masks of one case at one operating point."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rareseg.data.records import Role
from rareseg.evaluation.measures.measure import cells
from rareseg.evaluation.measures.measure_table import CASE_COLUMNS, measure_named
from rareseg.evaluation.metrics.objects import ObjectMatch, match_objects
from rareseg.evaluation.metrics.overlap import Counts, count_masks
from rareseg.evaluation.statistics.undefined import Undefined, Value
from rareseg.evaluation.tables.case_arrays import require_informative_mask
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.decision.component_size import ANY_SIZE, Size, unit_of
from rareseg_runner.decision.image_score import as_presence, image_score
from rareseg_runner.image_records import Geometry

Stratum = Literal["positive", "negative", "ignored"]


class Cut(Protocol):
    """What evaluation needs to know of an operating point."""

    @property
    def region(self) -> str:
        """The region that is cut."""
        ...

    @property
    def threshold(self) -> float:
        """The score at or above which a voxel is on."""
        ...

    @property
    def gate(self) -> float:
        """The image score that a case must reach."""
        ...

    @property
    def smallest_component(self) -> Size:
        """The size that a component must reach."""
        ...


@dataclass(frozen=True)
class CaseResult:
    """The counts and objects of one region in one case, at one operating point.

    ``top_score`` is the largest score of the case, ``presence`` the network's own probability that
    the case holds the region, None where it tells none. ``voxel_size`` is one voxel's volume (or
    one pixel's area) in ``size_unit``.
    """

    case_id: str
    region: str
    role: Role | None
    group: str | None
    threshold: float
    gate: float
    smallest_component: Size
    top_score: float
    counts: Counts
    objects: ObjectMatch
    voxel_size: float
    size_unit: str
    presence: float | None = None

    @property
    def image_score(self) -> float:
        """The image score, which the image-level gate cuts (:func:`image_score`)."""
        return image_score(self.top_score, self.presence)

    @property
    def stratum(self) -> Stratum:
        """Positive where the region is present, negative where it is absent.

        "ignored" where no voxel counts: such a case is in neither.
        """
        if self.counts.total == 0:
            return "ignored"
        return "positive" if self.counts.tp + self.counts.fn else "negative"

    @property
    def found(self) -> bool:
        """Whether at least one voxel of the region is predicted."""
        return self.counts.tp > 0

    @property
    def false_alarm(self) -> bool:
        """Whether anything is predicted in a case without the region."""
        return self.stratum == "negative" and self.counts.fp > 0

    @property
    def false_positive_size(self) -> float:
        """The volume (or area) of all falsely predicted voxels, in ``size_unit``."""
        return self.counts.fp * self.voxel_size

    def metric(self, name: str) -> Value:
        """Return one of the case measures of this case, by its name in the measure table.

        Undefined also where it is not about such a case. Raises ScoreError for an unknown name.
        """
        value = measure_named(name).compute(self)
        return Undefined(f"{name} is not about this case") if value is None else value


def size_of_voxel(geometry: Geometry) -> tuple[float, str]:
    """Return (size, unit) of one voxel: mm³, or for photographs mm², or pixels without spacing."""
    z, y, x = geometry.spacing
    flat = geometry.dimension == 2
    return (y * x if flat else z * y * x), unit_of([geometry.spacing], flat=flat)


def measure_case(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_] | NDArray[np.uint8],
    *,
    case_id: str,
    point: Cut,
    top_score: float,
    presence: float | None = None,
    geometry: Geometry | None = None,
    role: Role | None = None,
    group: str | None = None,
    ignores: bool = False,
) -> CaseResult:
    """Return what is counted for one region in one case.

    ``prediction`` is the finished mask, (Z, Y, X) or (Y, X) bool, as `apply_point` gives it;
    ``reference`` is bool, or uint8 with 0, 1 and IGNORE, of the same shape. ``top_score`` is the
    largest score of the case, ``presence`` the network's probability that it holds the region, None
    where it tells none. Without ``geometry`` spacing is 1, of a photograph where there is one
    slice. Raises ScoreError where shapes differ, the presence is no probability, or the reference
    holds 0 and 255 alone, unless ``ignores`` says that 255 leaves voxels out.
    """
    where = f"Case '{case_id}', region '{point.region}'"
    require_informative_mask(reference, where, ignores=ignores)
    if geometry is None:
        flat = prediction.ndim == 2 or prediction.shape[0] == 1
        geometry = Geometry(dimension=2 if flat else 3)
    voxel_size, size_unit = size_of_voxel(geometry)
    return CaseResult(
        case_id=case_id,
        region=point.region,
        role=role,
        group=group,
        threshold=point.threshold,
        gate=point.gate,
        smallest_component=point.smallest_component,
        top_score=top_score,
        counts=count_masks(prediction, reference, ignores=True),
        objects=match_objects(reference, prediction, ignores=True),
        voxel_size=voxel_size,
        size_unit=size_unit,
        presence=as_presence(presence, f"Case '{case_id}', region '{point.region}'"),
    )


SEEN = "seen_as"
"""The column of the role in which the model has seen a case's image."""
NO_POINT = "no_point"
"""The column that says why a region has no operating point; "" where it has one."""


def case_record(result: CaseResult) -> dict[str, object]:
    """Return one line of cases.csv: a value that is undefined is "" and its reason stands last."""
    counts, objects = result.counts, result.objects
    values, undefined = cells(CASE_COLUMNS, result)
    return {
        "case": result.case_id,
        "region": result.region,
        "role": result.role or "",
        "group": "" if result.group is None else result.group,
        "stratum": result.stratum,
        "threshold": result.threshold,
        "gate": result.gate,
        "smallest_component": result.smallest_component.number,
        "smallest_component_unit": result.smallest_component.unit or "",
        "top_score": result.top_score,
        "presence": "" if result.presence is None else result.presence,
        "image_score": result.image_score,
        "tp": counts.tp,
        "fp": counts.fp,
        "fn": counts.fn,
        "tn": counts.tn,
        **values,
        "size_unit": result.size_unit,
        "objects": len(objects.sizes),
        "objects_found": objects.n_found,
        "predicted_components": len(objects.predicted_sizes),
        "undefined": undefined,
    }


def write_cases_csv(
    path: Path,
    results: Sequence[CaseResult],
    no_point: Mapping[str, str] = MappingProxyType({}),
    seen: Mapping[str, Role] = MappingProxyType({}),
) -> None:
    """Write one line per case and region, atomically; numbers as they are, nothing rounded.

    ``no_point`` leads from regions without an operating point to the reason, which stands last in
    their lines; ``seen`` from cases whose image the model has seen to the role that it played, in a
    column of their own where there are any. Raises WorkError where the file cannot be written.
    """
    records = [
        case_record(result)
        | {NO_POINT: no_point.get(result.region, "")}
        | ({SEEN: seen.get(result.case_id, "")} if seen else {})
        for result in results
    ]
    write_records(path, [*_columns(), NO_POINT, *([SEEN] if seen else [])], records)


def write_records(
    path: Path, columns: Sequence[str], records: Sequence[Mapping[str, object]]
) -> None:
    """Write records as CSV under a head, atomically. Raises WorkError where that fails."""
    with (
        atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.DictWriter(stream, fieldnames=columns)
        writer.writeheader()
        writer.writerows(records)


def _columns() -> dict[str, object]:
    """Return the columns, which an empty list of results has too."""
    nothing = ObjectMatch((), (), (), ())
    return case_record(
        CaseResult("", "", None, None, 0, 0, ANY_SIZE, 0, Counts(0, 0, 0, 0), nothing, 1.0, "")
    )
