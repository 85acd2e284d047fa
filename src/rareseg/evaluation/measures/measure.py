"""Record of one measure: how it is computed, named and summed up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

from rareseg.evaluation.statistics.intervals import (
    Estimate,
    estimate_groups_with_any,
    estimate_mean,
    estimate_share,
)
from rareseg.evaluation.statistics.jackknife import Scale
from rareseg.evaluation.statistics.undefined import Undefined, Value, is_defined, ratio

Unit: TypeAlias = Literal["score", "share", "size", "count", "mm", "ml"]
"""``score`` and ``share`` lie in [0, 1], and a share is printed in per cent; ``size`` is a volume
or area in the case's own unit; the others are 0 and more."""

Over: TypeAlias = Literal["positive", "negative", "object", "all"]
"""The cases that a measure sums up: those with the region, those without it, or every case whose
voxels count, for its objects and components or for itself."""

Level: TypeAlias = Literal["case", "object", "group"]
"""What has a value: every case, every object of all cases together, or every group."""

Interval: TypeAlias = Literal["mean share", "mean count", "share", "groups with any"]
"""``mean``: jackknife over groups, on the scale of a share or of a count; the others:
Clopper–Pearson of a share of cases or objects, or of the groups in which any case is above 0."""

Place: TypeAlias = Literal["strata", "case table", "summary", "comparison", "contest"]
"""Where a measure is shown beside the files: the report's tables of strata and of cases; the
summary, which is what the terminal prints and what verdicts always weigh; the comparison with
an earlier evaluation; and the one of ways of training."""

_SCALES: Mapping[Interval, Scale] = {"mean share": "share", "mean count": "count"}

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
        scale = _SCALES.get(self.interval)
        if scale is not None:
            values, own = [value for _, value, _ in found], [group for *_, group in found]
            return estimate_mean(values, own, none=none, scale=scale)
        shares = [(case, value, group) for case, value, group in found if is_defined(value)]
        own = [group for *_, group in shares]
        if self.interval == "groups with any":
            return estimate_groups_with_any([share > 0.0 for _, share, _ in shares], own, none=none)
        trials = [1 if self.trials is None else self.trials(case) for case, *_ in shares]
        # A share is hits / trials, so that the product is whole but for rounding.
        hits = [round(share * n) for (_, share, _), n in zip(shares, trials, strict=True)]
        return estimate_share(hits, trials, own, none=none)

    def _no_value(self, n_asked: int) -> str:
        stratum = f"{self.stratum} " if self.stratum in ("positive", "negative") else ""
        if n_asked:
            return f"{self.name} is undefined in every {stratum}case"
        return "no object" if self.level == "object" else f"no {stratum}case"


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
    if text is None and measure.name == "object_recall":  # earlier files hold its counts alone
        objects = int(line["objects"])
        return ratio(int(line["objects_found"]), objects, undefined="") if objects else None
    if text is None:
        return Undefined(f"{measure.name} was not measured by the version that wrote the file")
    if text:
        return float(text)
    reasons = dict(part.split(": ", 1) for part in line["undefined"].split("; ") if part)
    reason = reasons.get(measure.name)
    return None if reason is None else Undefined(reason)
