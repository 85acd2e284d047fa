"""The table of measures: what is measured of a case, how it is called, and where it stands.

Each measure is one :class:`Measure` in :data:`CASE_MEASURES` or :data:`DETAIL_MEASURES`. From them
are made the columns of cases.csv and details.csv, scorecard.json, the tables of the report, what
the terminal prints, comparisons, and a page of the documentation; nothing lists measures again.
To add one, write its entry, and its value by hand in ``tests/report/test_measures.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from rareseg.errors import ScoreError
from rareseg.evaluation import metrics
from rareseg.evaluation.intervals import (
    Estimate,
    estimate_groups_with_any,
    estimate_mean,
    estimate_share,
)
from rareseg.evaluation.jackknife import Scale
from rareseg.evaluation.metrics import Counts
from rareseg.evaluation.values import Undefined, Value, is_defined, ratio

if TYPE_CHECKING:  # whose files are written by this table
    from rareseg.evaluation.cases import CaseResult
    from rareseg.evaluation.details import CaseDetails

Unit: TypeAlias = Literal["score", "share", "size", "count", "mm", "ml"]
"""``score`` and ``share`` lie in [0, 1], and a share is printed in per cent; ``size`` is a volume
or area in the case's own unit; the others are 0 and more."""

Over: TypeAlias = Literal["positive", "negative", "lesion", "all"]
"""The cases that a measure sums up: those with the region, those without it, or every case whose
voxels count, for its lesions and components or for itself."""

Level: TypeAlias = Literal["case", "object", "group"]
"""What has a value: every case, every lesion of all cases together, or every group."""

Interval: TypeAlias = Literal["mean share", "mean count", "share", "groups with any"]
"""``mean``: jackknife over groups, on the scale of a share or of a count; the others:
Clopper–Pearson of a share of cases or objects, or of the groups in which any case is above 0."""

Place: TypeAlias = Literal["strata", "case table", "summary", "comparison", "contest"]
"""Where a measure is shown beside the files: the report's tables of strata and of cases; the
summary, which is what the terminal prints and what verdicts always weigh; the comparison with
an earlier evaluation; and the one of ways of training."""

C = TypeVar("C")


@dataclass(frozen=True)
class Measure(Generic[C]):
    """One number that is read of a case, and everything that is said about it.

    ``name`` is its column in cases.csv or details.csv, and with spaces its name in comparisons;
    ``key`` is its key in its stratum of scorecard.json where that is another. ``compute`` gives the
    value of one case, Undefined with its reason, or None where the measure is not about such a
    case. ``trials`` gives the objects of a case where its value is a share of them. ``margin`` is
    by how much it may be worse, at the bad end of its interval, where another measure is better;
    None for what is not weighed. ``volumes_only``: it is defined for volumes.
    """

    name: str
    title: str
    definition: str
    source: str
    compute: Callable[[C], Value | None]
    stratum: Over
    unit: Unit = "score"
    level: Level = "case"
    higher_is_better: bool = True
    interval: Interval = "mean share"
    places: frozenset[Place] = frozenset()
    key: str = ""
    trials: Callable[[C], int] | None = None
    margin: float | None = None
    volumes_only: bool = False

    @property
    def words(self) -> str:
        """Its name in comparisons: ``false alarm``."""
        return self.name.replace("_", " ")

    @property
    def scorecard_key(self) -> str:
        """Its key in its stratum of scorecard.json."""
        return self.key or self.name

    @property
    def heading(self) -> str:
        """Its title where the stratum is not named beside it: ``Dice, positive cases``."""
        over = {"positive": ", positive cases", "negative": ", negative cases"}
        return self.title + over.get(self.stratum, ", mean over cases")

    @property
    def phrase(self) -> str:
        """What it is called in a sentence: ``mean dice``, ``false components per case``."""
        title = self.title.lower()
        return {"mean share": f"mean {title}", "mean count": f"{title} per case"}.get(
            self.interval, title
        )

    @property
    def is_share(self) -> bool:
        """Whether it lies within [0, 1], so that one margin can stand for several."""
        return self.unit in ("score", "share")

    def estimate(self, cases: Sequence[C], groups: Sequence[str | None]) -> Estimate:
        """Return its value over the cases of its stratum, with the interval over their groups.

        Cases that it is not about are left out. Where none has a value, the Estimate is Undefined.
        """
        found = [
            (case, value, group)
            for case, group in zip(cases, groups, strict=True)
            if (value := self.compute(case)) is not None
        ]
        none = self._no_value(len(found))
        own = [group for _, _, group in found]
        if self.interval == "mean share" or self.interval == "mean count":
            scale: Scale = "share" if self.interval == "mean share" else "count"
            return estimate_mean([value for _, value, _ in found], own, none=none, scale=scale)
        shares = [(case, value) for case, value, _ in found if is_defined(value)]
        if self.interval == "groups with any":
            return estimate_groups_with_any([share > 0.0 for _, share in shares], own, none=none)
        trials = [1 if self.trials is None else self.trials(case) for case, _ in shares]
        # A share is hits / trials, so that the product is whole but for rounding.
        hits = [round(share * n) for (_, share), n in zip(shares, trials, strict=True)]
        return estimate_share(hits, trials, own, none=none)

    def _no_value(self, n_asked: int) -> str:
        stratum = f"{self.stratum} " if self.stratum in ("positive", "negative") else ""
        if n_asked:
            return f"{self.name} is undefined in every {stratum}case"
        return "no lesion" if self.level == "object" else f"no {stratum}case"


def _of_counts(metric: Callable[[Counts], Value]) -> Callable[[CaseResult], Value]:
    return lambda case: metric(case.counts)


def _found(case: CaseResult) -> Value | None:
    return int(case.counts.tp > 0) if case.stratum == "positive" else None


def _false_alarm(case: CaseResult) -> Value | None:
    return int(case.counts.fp > 0) if case.stratum == "negative" else None


def _lesion_recall(case: CaseResult) -> Value | None:
    lesions = case.lesions
    return lesions.n_found / len(lesions.sizes) if lesions.sizes else None


_COUNTING = "rareseg.evaluation.metrics"
_LESIONS = "rareseg.evaluation.lesions"

CASE_MEASURES: tuple[Measure[CaseResult], ...] = (
    Measure(
        "dice",
        "Dice",
        "2·TP / (2·TP + FP + FN), mean",
        _COUNTING,
        _of_counts(metrics.dice),
        "positive",
        places=frozenset({"strata", "case table", "summary", "comparison", "contest"}),
        margin=0.02,
    ),
    Measure(
        "iou",
        "IoU",
        "TP / (TP + FP + FN), mean",
        _COUNTING,
        _of_counts(metrics.iou),
        "positive",
        places=frozenset({"strata", "case table"}),
    ),
    Measure(
        "precision",
        "Precision",
        "TP / (TP + FP), mean",
        _COUNTING,
        _of_counts(metrics.precision),
        "positive",
        places=frozenset({"strata", "case table", "comparison"}),
        margin=0.05,
    ),
    Measure(
        "recall",
        "Recall",
        "TP / (TP + FN), mean",
        _COUNTING,
        _of_counts(metrics.recall),
        "positive",
        places=frozenset({"strata", "case table", "comparison"}),
        margin=0.05,
    ),
    Measure(
        "specificity",
        "Specificity",
        "TN / (TN + FP)",
        _COUNTING,
        _of_counts(metrics.specificity),
        "all",
    ),
    Measure(
        "accuracy",
        "Accuracy",
        "(TP + TN) / all",
        _COUNTING,
        _of_counts(metrics.accuracy),
        "all",
    ),
    Measure(
        "false_negative_rate",
        "False-negative rate",
        "FN / (TP + FN) = 1 − recall, mean",
        _COUNTING,
        _of_counts(metrics.false_negative_rate),
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
        "lesion_recall",
        "Lesions found",
        "lesions touched at all",
        _LESIONS,
        _lesion_recall,
        "lesion",
        unit="share",
        level="object",
        interval="share",
        places=frozenset({"strata", "comparison", "contest"}),
        key="recall",
        trials=lambda case: len(case.lesions.sizes),
    ),
    Measure(
        "false_positive_components",
        "False components",
        "per case, touching no lesion",
        f"{_LESIONS}; as autoPET III",
        lambda case: len(case.lesions.false_positive_sizes),
        "lesion",
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
        "MONAI's definition; rareseg.evaluation.surfaces",
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
        "rareseg.evaluation.surfaces",
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
        "Σ dice of lesions / (lesions + false components)",
        "the challenge's scorer; rareseg.evaluation.lesionwise",
        lambda case: case.brats.dice,
        "all",
        volumes_only=True,
    ),
    Measure(
        "autopet_false_positive_ml",
        "False-positive volume, as autoPET",
        "predicted components that touch no lesion",
        "the challenge's scorer; rareseg.evaluation.lesionwise",
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
        "lesions that no prediction touches",
        "the challenge's scorer; rareseg.evaluation.lesionwise",
        lambda case: case.autopet.false_negative_ml,
        "all",
        unit="ml",
        higher_is_better=False,
        interval="mean count",
        volumes_only=True,
    ),
)
"""What is measured closely, on the masks at the chosen point alone."""

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


def cells(measures: Sequence[Measure[C]], case: C) -> tuple[dict[str, object], str]:
    """Return the cells of one case by column, and why those that are undefined are empty.

    A cell is "" also where the measure is not about such a case, which is no reason of its own.
    """
    values = {measure.name: measure.compute(case) for measure in measures}
    reasons = [
        f"{name}: {value.reason}" for name, value in values.items() if isinstance(value, Undefined)
    ]
    texts: dict[str, object] = {
        name: "" if value is None or isinstance(value, Undefined) else value
        for name, value in values.items()
    }
    return texts, "; ".join(reasons)


def read_cell(measure: Measure[C], line: Mapping[str, str]) -> Value | None:
    """Return a measure's value from a line of CSV that :func:`cells` wrote.

    None where the measure is not about the case; Undefined also where the file has no such column,
    as those of earlier versions may not.
    """
    text = line.get(measure.name)
    if text is None and measure.name == "lesion_recall":  # earlier files hold its counts alone
        lesions = int(line["lesions"])
        return ratio(int(line["lesions_found"]), lesions, undefined="") if lesions else None
    if text is None:
        return Undefined(f"{measure.name} was not measured by the version that wrote the file")
    if text:
        return float(text)
    reasons = dict(part.split(": ", 1) for part in line["undefined"].split("; ") if part)
    reason = reasons.get(measure.name)
    return None if reason is None else Undefined(reason)
