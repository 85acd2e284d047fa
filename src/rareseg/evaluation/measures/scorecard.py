"""Sum up cases in a scorecard: positives, negatives and objects apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rareseg.data.records import Role
from rareseg.errors import ScoreError
from rareseg.evaluation.measures.case_result import CaseResult, measure_case, write_cases_csv
from rareseg.evaluation.measures.measure_table import SUMMED
from rareseg.evaluation.metrics.overlap import Counts, accuracy, background_accuracy
from rareseg.evaluation.statistics.intervals import INDEPENDENT_IMAGES, Estimate, count_groups
from rareseg.evaluation.statistics.undefined import Undefined, Value
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.decision.component_size import Size

__all__ = [
    "CaseResult",
    "NegativeStratum",
    "ObjectStratum",
    "PositiveStratum",
    "RegionScorecard",
    "Scorecard",
    "make_scorecard",
    "measure_case",
    "scorecard_to_json",
    "write_cases_csv",
    "write_scorecard",
]

STRATA = {"positive": "positives", "negative": "negatives", "object": "objects"}
"""Where the estimates of each stratum stand in scorecard.json."""


@dataclass(frozen=True)
class PositiveStratum:
    """The cases in which the region is present."""

    n_cases: int
    n_groups: int


@dataclass(frozen=True)
class NegativeStratum:
    """The cases in which the region is absent; ``size_unit`` is that of what is falsely on."""

    n_cases: int
    n_groups: int
    size_unit: str


@dataclass(frozen=True)
class ObjectStratum:
    """Connected components of the region, over positive and negative cases.

    ``median_size`` is of the reference objects, in ``size_unit``.
    """

    n_objects: int
    n_cases: int
    median_size: Value
    size_unit: str


@dataclass(frozen=True)
class RegionScorecard:
    """One region at one operating point, on cases of one role.

    ``estimates`` hold the measures of each stratum
    (:data:`~rareseg.evaluation.measures.measure_table.SUMMED`) by name; ``part["dice"]`` gives one.
    ``accuracy`` is that of all voxels of all cases together and ``background_accuracy`` what
    predicting nothing anywhere would reach: where they are close, accuracy says nothing.
    ``n_ignored`` counts cases without any voxel that counts; they are in no stratum.
    """

    region: str
    role: Role | None
    threshold: float
    gate: float
    smallest_component: Size
    positives: PositiveStratum
    negatives: NegativeStratum
    objects: ObjectStratum
    estimates: Mapping[str, Estimate]
    accuracy: Value
    background_accuracy: Value
    n_ignored: int

    def __getitem__(self, measure: str) -> Estimate:
        """Return a measure's estimate by its name; ScoreError, which lists them, for any other."""
        if measure not in self.estimates:
            names = ", ".join(self.estimates)
            raise ScoreError(f"A scorecard has no measure '{measure}'; it has {names}.")
        return self.estimates[measure]


@dataclass(frozen=True)
class Scorecard:
    """All regions. ``assumption`` is "assumes independent images", or "" where groups are known."""

    regions: tuple[RegionScorecard, ...]
    n_cases: int
    n_groups: int
    assumption: str

    def region(self, name: str) -> RegionScorecard:
        """Return one region's part; ScoreError where there is none."""
        for part in self.regions:
            if part.region == name:
                return part
        names = ", ".join(part.region for part in self.regions)
        raise ScoreError(f"The scorecard has no region '{name}'; it has {names}.")


def make_scorecard(
    results: Sequence[CaseResult],
) -> Scorecard:
    """Return the scorecard of all results; regions in the order in which they first occur.

    No result at all gives a scorecard without regions. Raises ScoreError where the results of one
    region have several roles or operating points, or hold a case twice.
    """
    regions = dict.fromkeys(result.region for result in results)
    groups = {result.case_id: result.group for result in results}
    return Scorecard(
        regions=tuple(
            _region_scorecard([result for result in results if result.region == region])
            for region in regions
        ),
        n_cases=len(groups),
        n_groups=count_groups(list(groups.values())),
        assumption=INDEPENDENT_IMAGES if None in groups.values() else "",
    )


def _region_scorecard(results: Sequence[CaseResult]) -> RegionScorecard:
    """Return the scorecard of one region's results."""
    first = results[0]
    _require_comparable(results)
    counted = [result for result in results if result.stratum != "ignored"]
    positive, negative = (
        [result for result in counted if result.stratum == stratum]
        for stratum in ("positive", "negative")
    )
    own = {"positive": positive, "negative": negative, "object": counted}
    groups = {stratum: [result.group for result in some] for stratum, some in own.items()}
    sizes = [size * result.voxel_size for result in counted for size in result.objects.sizes]
    total = sum((result.counts for result in counted), Counts(0, 0, 0, 0))
    unit = first.size_unit
    return RegionScorecard(
        region=first.region,
        role=first.role,
        threshold=first.threshold,
        gate=first.gate,
        smallest_component=first.smallest_component,
        positives=PositiveStratum(len(positive), count_groups(groups["positive"])),
        negatives=NegativeStratum(len(negative), count_groups(groups["negative"]), unit),
        objects=ObjectStratum(
            n_objects=len(sizes),
            n_cases=len(counted),
            median_size=float(np.median(sizes)) if sizes else Undefined("no object"),
            size_unit=unit,
        ),
        estimates={
            measure.name: measure.estimate(own[measure.stratum], groups[measure.stratum])
            for measure in SUMMED
        },
        accuracy=accuracy(total),
        background_accuracy=background_accuracy(total),
        n_ignored=len(results) - len(counted),
    )


def _require_comparable(results: Sequence[CaseResult]) -> None:
    """Raise ScoreError where results of a region cannot stand in one scorecard."""
    region = results[0].region
    if len({result.case_id for result in results}) < len(results):
        raise ScoreError(f"A case stands twice among the results of region '{region}'.")
    kinds_of: dict[str, set[object]] = {
        "roles": {result.role for result in results},
        "operating points": {
            (result.threshold, result.gate, result.smallest_component) for result in results
        },
        "size units": {result.size_unit for result in results},
    }
    for what, kinds in kinds_of.items():
        if len(kinds) > 1:
            shown = ", ".join(sorted(str(kind) for kind in kinds))
            raise ScoreError(
                f"The results of region '{region}' have several {what} ({shown}); make one "
                "scorecard for each."
            )


def scorecard_to_json(scorecard: Scorecard) -> dict[str, Any]:
    """Return the scorecard as plain JSON values, under the names of its fields.

    Estimates stand in their stratum, each under its measure's key. An undefined value is
    ``{"undefined": reason}``, a size a number of voxels or "5 mm³".
    """
    plain = plain_record(scorecard)
    assert isinstance(plain, dict)
    for region, part in zip(plain["regions"], scorecard.regions, strict=True):
        del region["estimates"]
        for measure in SUMMED:
            estimate = plain_record(part[measure.name])
            region[STRATA[measure.stratum]][measure.scorecard_key] = estimate
    return plain


def plain_record(node: object) -> Any:
    """Return records as dictionaries and tuples as lists, to any depth, as JSON takes them.

    An undefined value is ``{"undefined": reason}``.
    """
    if isinstance(node, Undefined):
        return {"undefined": node.reason}
    if isinstance(node, Size):
        return node.plain
    if is_dataclass(node) and not isinstance(node, type):
        return {field.name: plain_record(getattr(node, field.name)) for field in fields(node)}
    if isinstance(node, tuple | list):
        return [plain_record(item) for item in node]
    return node


def write_scorecard(path: Path, scorecard: Scorecard) -> None:
    """Write the scorecard as JSON, atomically. Raises WorkError where that fails."""
    text = json.dumps(scorecard_to_json(scorecard), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
