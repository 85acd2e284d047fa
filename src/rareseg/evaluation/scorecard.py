"""The scorecard: positives, negatives and lesions, each with its own count, never one mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rareseg.data.files import atomic_write
from rareseg.data.records import Role
from rareseg.errors import ScoreError
from rareseg.evaluation.cases import CaseResult, measure_case, write_cases_csv
from rareseg.evaluation.intervals import (
    INDEPENDENT_IMAGES,
    Estimate,
    count_groups,
    estimate_groups_with_any,
    estimate_mean,
    estimate_share,
)
from rareseg.evaluation.metrics import Counts, accuracy, background_accuracy
from rareseg.evaluation.values import Undefined, Value
from rareseg.recipe.size import Size

__all__ = [
    "CaseResult",
    "LesionStratum",
    "NegativeStratum",
    "PositiveStratum",
    "RegionScorecard",
    "Scorecard",
    "make_scorecard",
    "measure_case",
    "scorecard_to_json",
    "write_cases_csv",
    "write_scorecard",
]


@dataclass(frozen=True)
class PositiveStratum:
    """Cases in which the region is present: means over cases, and the share that is touched."""

    n_cases: int
    n_groups: int
    dice: Estimate
    iou: Estimate
    precision: Estimate
    recall: Estimate
    false_negative_rate: Estimate
    found: Estimate


@dataclass(frozen=True)
class NegativeStratum:
    """Cases in which the region is absent.

    ``false_alarm_rate`` is the share of cases in which anything is predicted,
    ``groups_with_alarm`` the share of groups in which any of the cases has an alarm, and
    ``false_positive_size`` the mean volume or area falsely predicted per case, in ``size_unit``.
    """

    n_cases: int
    n_groups: int
    false_alarm_rate: Estimate
    groups_with_alarm: Estimate
    false_positive_size: Estimate
    size_unit: str


@dataclass(frozen=True)
class LesionStratum:
    """Connected components of the region, over all cases.

    ``recall`` is the share of lesions touched; ``false_positives_per_case`` is the mean number of
    predicted components that touch no reference voxel, over positive and negative cases;
    ``median_size`` is of the reference lesions, in ``size_unit``.
    """

    n_lesions: int
    n_cases: int
    recall: Estimate
    false_positives_per_case: Estimate
    median_size: Value
    size_unit: str


@dataclass(frozen=True)
class RegionScorecard:
    """One region at one operating point, on cases of one role.

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
    lesions: LesionStratum
    accuracy: Value
    background_accuracy: Value
    n_ignored: int


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
    total = sum((result.counts for result in counted), Counts(0, 0, 0, 0))
    return RegionScorecard(
        region=first.region,
        role=first.role,
        threshold=first.threshold,
        gate=first.gate,
        smallest_component=first.smallest_component,
        positives=_positives([result for result in counted if result.stratum == "positive"]),
        negatives=_negatives(
            [result for result in counted if result.stratum == "negative"],
            first.size_unit,
        ),
        lesions=_lesions(counted, first.size_unit),
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


def _positives(results: Sequence[CaseResult]) -> PositiveStratum:
    """Return the stratum of cases in which the region is present."""
    groups = [result.group for result in results]

    def mean(metric: str) -> Estimate:
        reason = f"{metric} is undefined in every positive case" if results else "no positive case"
        return estimate_mean(
            [result.metric(metric) for result in results],
            groups,
            none=reason,
            scale="share",
        )

    return PositiveStratum(
        n_cases=len(results),
        n_groups=count_groups(groups),
        dice=mean("dice"),
        iou=mean("iou"),
        precision=mean("precision"),
        recall=mean("recall"),
        false_negative_rate=mean("false_negative_rate"),
        found=estimate_share(
            [result.found for result in results],
            [1] * len(results),
            groups,
            none="no positive case",
        ),
    )


def _negatives(results: Sequence[CaseResult], unit: str) -> NegativeStratum:
    """Return the stratum of cases in which the region is absent."""
    groups = [result.group for result in results]
    alarms = [result.false_alarm for result in results]
    return NegativeStratum(
        n_cases=len(results),
        n_groups=count_groups(groups),
        false_alarm_rate=estimate_share(
            alarms, [1] * len(results), groups, none="no negative case"
        ),
        groups_with_alarm=estimate_groups_with_any(alarms, groups, none="no negative case"),
        false_positive_size=estimate_mean(
            [result.false_positive_size for result in results],
            groups,
            none="no negative case",
            scale="count",
        ),
        size_unit=unit,
    )


def _lesions(results: Sequence[CaseResult], unit: str) -> LesionStratum:
    """Return the stratum of lesions, over positive and negative cases."""
    groups = [result.group for result in results]
    sizes = [size * result.voxel_size for result in results for size in result.lesions.sizes]
    return LesionStratum(
        n_lesions=len(sizes),
        n_cases=len(results),
        recall=estimate_share(
            [result.lesions.n_found for result in results],
            [len(result.lesions.sizes) for result in results],
            groups,
            none="no lesion",
        ),
        false_positives_per_case=estimate_mean(
            [float(len(result.lesions.false_positive_sizes)) for result in results],
            groups,
            none="no case",
            scale="count",
        ),
        median_size=float(np.median(sizes)) if sizes else Undefined("no lesion"),
        size_unit=unit,
    )


def scorecard_to_json(scorecard: Scorecard) -> dict[str, Any]:
    """Return the scorecard as plain JSON values, under the names of its fields.

    An undefined value is ``{"undefined": reason}``, a size a number of voxels or "5 mm³".
    """
    plain = plain_record(scorecard)
    assert isinstance(plain, dict)
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
