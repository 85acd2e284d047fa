"""The table of all measures, from which files, scorecards and reports are made.

Each is one :class:`~rareseg.evaluation.measures.measure.Measure`. From this table are made the
columns of cases.csv and details.csv, scorecard.json, the tables of the report, what the terminal
prints, comparisons, and a page of the documentation; nothing lists measures again. To add one,
write its entry, and its value by hand in ``tests/report/test_measures.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rareseg.errors import ScoreError
from rareseg.evaluation.measures.measure import Measure, Place
from rareseg.evaluation.metrics import overlap
from rareseg.evaluation.metrics.overlap import Counts
from rareseg.evaluation.statistics.undefined import Value

if TYPE_CHECKING:  # whose files are written by this table
    from rareseg.evaluation.measures.case_result import CaseResult
    from rareseg.evaluation.measures.mask_measures import CaseDetails


def _of_counts(metric: Callable[[Counts], Value]) -> Callable[[CaseResult], Value]:
    return lambda case: metric(case.counts)


def _found(case: CaseResult) -> Value | None:
    return int(case.counts.tp > 0) if case.stratum == "positive" else None


def _false_alarm(case: CaseResult) -> Value | None:
    return int(case.counts.fp > 0) if case.stratum == "negative" else None


def _object_recall(case: CaseResult) -> Value | None:
    objects = case.objects
    return objects.n_found / len(objects.sizes) if objects.sizes else None


_COUNTING = "rareseg.evaluation.metrics.overlap"
_OBJECTS = "rareseg.evaluation.metrics.objects"

CASE_MEASURES: tuple[Measure[CaseResult], ...] = (
    Measure(
        "dice",
        "Dice",
        "2·TP / (2·TP + FP + FN), mean",
        _COUNTING,
        _of_counts(overlap.dice),
        "positive",
        places=frozenset({"strata", "case table", "summary", "comparison", "contest"}),
        margin=0.02,
    ),
    Measure(
        "iou",
        "IoU",
        "TP / (TP + FP + FN), mean",
        _COUNTING,
        _of_counts(overlap.iou),
        "positive",
        places=frozenset({"strata", "case table"}),
    ),
    Measure(
        "precision",
        "Precision",
        "TP / (TP + FP), mean",
        _COUNTING,
        _of_counts(overlap.precision),
        "positive",
        places=frozenset({"strata", "case table", "comparison"}),
        margin=0.05,
    ),
    Measure(
        "recall",
        "Recall",
        "TP / (TP + FN), mean",
        _COUNTING,
        _of_counts(overlap.recall),
        "positive",
        places=frozenset({"strata", "case table", "comparison"}),
        margin=0.05,
    ),
    Measure(
        "specificity",
        "Specificity",
        "TN / (TN + FP)",
        _COUNTING,
        _of_counts(overlap.specificity),
        "all",
    ),
    Measure(
        "accuracy",
        "Accuracy",
        "(TP + TN) / all",
        _COUNTING,
        _of_counts(overlap.accuracy),
        "all",
    ),
    Measure(
        "false_negative_rate",
        "False-negative rate",
        "FN / (TP + FN) = 1 − recall, mean",
        _COUNTING,
        _of_counts(overlap.false_negative_rate),
        "positive",
        higher_is_better=False,
    ),
    Measure(
        "found",
        "Found",
        "cases touched at all",
        _COUNTING,
        _found,
        "positive",
        unit="share",
        interval="share",
        places=frozenset({"strata", "summary", "comparison"}),
        margin=0.05,
    ),
    Measure(
        "false_alarm",
        "False alarms",
        "cases with anything predicted",
        _COUNTING,
        _false_alarm,
        "negative",
        unit="share",
        higher_is_better=False,
        interval="share",
        places=frozenset({"strata", "summary", "comparison", "contest"}),
        key="false_alarm_rate",
        margin=0.05,
    ),
    Measure(
        "groups_alarmed",
        "Groups alarmed",
        "groups with any such case",
        _COUNTING,
        _false_alarm,
        "negative",
        unit="share",
        level="group",
        higher_is_better=False,
        interval="groups with any",
        places=frozenset({"strata"}),
        key="groups_with_alarm",
    ),
    Measure(
        "false_positive_size",
        "Falsely predicted",
        "mean size per case",
        _COUNTING,
        lambda case: case.false_positive_size,
        "negative",
        unit="size",
        higher_is_better=False,
        interval="mean count",
        places=frozenset({"strata"}),
    ),
    Measure(
        "object_recall",
        "Objects found",
        "objects touched at all",
        _OBJECTS,
        _object_recall,
        "object",
        unit="share",
        level="object",
        interval="share",
        places=frozenset({"strata", "comparison", "contest"}),
        key="recall",
        trials=lambda case: len(case.objects.sizes),
    ),
    Measure(
        "false_positive_components",
        "False components",
        "per case, touching no object",
        f"{_OBJECTS}; as autoPET III",
        lambda case: len(case.objects.false_positive_sizes),
        "object",
        unit="count",
        higher_is_better=False,
        interval="mean count",
        places=frozenset({"strata", "case table", "comparison", "contest"}),
        key="false_positives_per_case",
    ),
)
"""What is counted on the finished mask of every case, at every point that is looked at."""

DETAIL_MEASURES: tuple[Measure[CaseDetails], ...] = (
    Measure(
        "hausdorff_95_mm",
        "95 % Hausdorff distance",
        "max(P₉₅ d(S→R), P₉₅ d(R→S))",
        "MONAI's definition; rareseg.evaluation.metrics.surface_distance",
        lambda case: case.surfaces.hausdorff_95_mm,
        "all",
        unit="mm",
        higher_is_better=False,
        interval="mean count",
    ),
    Measure(
        "mean_surface_distance_mm",
        "Mean surface distance",
        "over the edge voxels of both surfaces",
        "rareseg.evaluation.metrics.surface_distance",
        lambda case: case.surfaces.mean_mm,
        "all",
        unit="mm",
        higher_is_better=False,
        interval="mean count",
    ),
    Measure(
        "surface_dice",
        "Surface dice",
        "(|d(S→R) ≤ τ| + |d(R→S) ≤ τ|) / (|S| + |R|)",
        "Nikolov et al., arXiv 1809.04430; Seidlitz et al., arXiv 2111.05408, eq. 1–3",
        lambda case: case.surfaces.surface_dice,
        "all",
    ),
    Measure(
        "brats_lesionwise_dice",
        "Lesion-wise dice, as BraTS 2023",
        "Σ dice of objects / (objects + false components)",
        "the challenge's scorer; rareseg.evaluation.metrics.challenge_scores",
        lambda case: case.brats.dice,
        "all",
        volumes_only=True,
    ),
    Measure(
        "autopet_false_positive_ml",
        "False-positive volume, as autoPET",
        "predicted components that touch no object",
        "the challenge's scorer; rareseg.evaluation.metrics.challenge_scores",
        lambda case: case.autopet.false_positive_ml,
        "all",
        unit="ml",
        higher_is_better=False,
        interval="mean count",
        volumes_only=True,
    ),
    Measure(
        "autopet_false_negative_ml",
        "False-negative volume, as autoPET",
        "objects that no prediction touches",
        "the challenge's scorer; rareseg.evaluation.metrics.challenge_scores",
        lambda case: case.autopet.false_negative_ml,
        "all",
        unit="ml",
        higher_is_better=False,
        interval="mean count",
        volumes_only=True,
    ),
)
"""What is measured in detail, on the masks at the chosen point alone."""

MEASURES: tuple[Measure[Any], ...] = (*CASE_MEASURES, *DETAIL_MEASURES)
"""Every measure, in the order in which they are printed."""

CASE_COLUMNS = tuple(measure for measure in CASE_MEASURES if measure.level != "group")
"""Those with a column in cases.csv."""

SUMMED = tuple(measure for measure in CASE_MEASURES if measure.stratum != "all")
"""Those with an estimate in the scorecard."""

_BY_NAME: Mapping[str, Measure[CaseResult]] = MappingProxyType(
    {measure.name: measure for measure in CASE_MEASURES}
)


def measure_named(name: str) -> Measure[CaseResult]:
    """Return a measure of cases by its name, or by its words as comparisons have them.

    Raises :class:`ScoreError`, which lists the names, for any other.
    """
    found = _BY_NAME.get(name.replace(" ", "_"))
    if found is None:
        raise ScoreError(f"There is no measure {name!r}; there are {', '.join(_BY_NAME)}.")
    return found


def shown_in(place: Place) -> tuple[Measure[CaseResult], ...]:
    """Return the measures that a place shows, in the order of the table."""
    return tuple(measure for measure in CASE_MEASURES if place in measure.places)
