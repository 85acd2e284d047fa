"""Objectives to maximise and limits to keep when a point is chosen.

Objectives and limits are read off :class:`~rareseg.decision.point_search.criteria.Criterion`s,
each a ratio of sums over cases. A :class:`Goal` only names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from rareseg.errors import UsageError, nearest

Objective = Literal["dice", "f-beta", "youden", "cost"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
"""What can be maximised."""

Level = Literal["voxel", "object", "image"]
LEVELS: tuple[Level, ...] = get_args(Level)

LimitKind = Literal["recall", "precision", "false positives per case", "false alarm rate"]
LIMITS: tuple[LimitKind, ...] = get_args(LimitKind)

_AT_LEAST: tuple[LimitKind, ...] = ("recall", "precision")

_USUAL: Mapping[LimitKind, Level] = {
    "recall": "voxel",
    "precision": "voxel",
    "false positives per case": "object",
    "false alarm rate": "image",
}


@dataclass(frozen=True)
class Limit:
    """A number that must be reached (recall, precision) or not exceeded, on the cases at hand.

    Recall is the mean over positive cases ("voxel"), the share of all objects that are touched
    ("object"), or that of positive cases in which anything is ("image"). Precision is that of all
    cases together: TP / (TP + FP) in voxels, found objects to those and false components, or found
    positive cases to those and alarmed negative ones. False positives per case are components that
    touch no object; the false alarm rate is the share of negative cases in which anything is on.
    """

    kind: LimitKind
    bound: float
    level: Level

    def __post_init__(self) -> None:
        if self.kind not in LIMITS:
            raise UsageError(
                f"A limit on '{self.kind}' is not known{nearest(self.kind, LIMITS)}; allowed: "
                f"{', '.join(LIMITS)}."
            )
        _require_level(self.level)
        if self.kind not in _AT_LEAST and self.level != _USUAL[self.kind]:
            raise UsageError(
                f"'{self.kind}' is counted at the level '{_USUAL[self.kind]}', not at "
                f"'{self.level}'."
            )
        highest = float("inf") if self.kind == "false positives per case" else 1.0
        if not 0.0 <= self.bound <= highest:
            raise UsageError(
                f"A {self.kind} of {self.bound:g} cannot be asked for; give a number from 0"
                + (" up." if highest > 1 else " to 1.")
            )

    @property
    def at_least(self) -> bool:
        """Whether the bound is to be reached; otherwise it is not to be exceeded."""
        return self.kind in _AT_LEAST

    @property
    def sentence(self) -> str:
        """The limit in words: "object recall at least 0.9"."""
        level = f"{self.level} " if self.at_least and self.level != "voxel" else ""
        side = "at least" if self.at_least else "at most"
        return f"{level}{self.kind} {side} {self.bound:g}"


@dataclass(frozen=True)
class Goal:
    """An objective and the limits within which it is maximised.

    *dice*: D̃·(1 − w·Ã), smoothed dice on positive and alarms on negative groups: the default point
    of :func:`~rareseg.decision.operating_point.choose.choose_operating_point`. *f-beta*: ½·(mean
    over positive cases of F_β = (1+β²)·TP / ((1+β²)·TP + β²·FN + FP), and the share of negative
    cases without a false alarm); the first mean alone where there is no negative case. *youden*:
    sensitivity +
    specificity − 1 (Youden 1950), by voxels in each case, or by images. *cost*: minus the mean cost
    of a case, ``cost_false_positive`` for every voxel, component or negative image that is wrongly
    on, ``cost_false_negative`` for every voxel or object missed, or positive image without a hit;
    of the points within one standard error of the least, the one of most dice. Objects and
    components are matched one to one, at an intersection over union of 0.1 or more. ``level`` is
    that of youden and cost. ``prevalence`` is the share of positive images where the costs will be
    paid; None: that of the cases at hand.
    """

    maximize: Objective = "dice"
    beta: float = 1.0
    cost_false_positive: float = 1.0
    cost_false_negative: float = 1.0
    level: Level = "voxel"
    limits: tuple[Limit, ...] = ()
    prevalence: float | None = None

    def __post_init__(self) -> None:
        if self.maximize not in OBJECTIVES:
            raise UsageError(
                f"The objective '{self.maximize}' is not known"
                f"{nearest(self.maximize, OBJECTIVES)}; allowed: {', '.join(OBJECTIVES)}."
            )
        _require_level(self.level)
        if self.maximize == "youden" and self.level == "object":
            raise UsageError(
                "Youden's J needs true negatives, which objects do not have; ask for the level "
                "voxel or image."
            )
        if not 0.0 < self.beta < float("inf"):
            raise UsageError(f"A beta of {self.beta:g} does not exist; give a number above 0.")
        costs = (self.cost_false_positive, self.cost_false_negative)
        if not all(0.0 <= cost < float("inf") for cost in costs) or not any(costs):
            raise UsageError(
                f"Costs of {costs[0]:g} and {costs[1]:g} say nothing; give numbers from 0 up, not "
                "both 0."
            )
        if self.prevalence is not None and not 0.0 < self.prevalence < 1.0:
            raise UsageError(
                f"A prevalence of {self.prevalence:g} leaves nothing to weigh; give the share of "
                "positive images, above 0 and below 1."
            )
        if self.prevalence is not None and self.maximize != "cost":
            raise UsageError(
                f"A prevalence changes nothing under the objective '{self.maximize}'; give costs."
            )

    @property
    def name(self) -> str:
        """The goal in words, as an operating point states it."""
        words = str(self.maximize)
        if self.maximize == "f-beta":
            words = f"F{self.beta:g}"
        elif self.maximize == "youden":
            words = "Youden's J" + (" of images" if self.level == "image" else "")
        elif self.maximize == "cost":
            words = (
                f"least cost ({self.cost_false_positive:g} per false positive, "
                f"{self.cost_false_negative:g} per false negative {self.level})"
            )
            if self.prevalence is not None:
                words += f", where {self.prevalence:.3g} of the images are positive"
        limits = " and ".join(limit.sentence for limit in self.limits)
        return f"{words}, {limits}" if limits else words

    @property
    def needs_components(self) -> bool:
        """Whether histograms of the score cannot see what it speaks of."""
        by_object = self.maximize == "cost" and self.level == "object"
        return by_object or any(limit.level == "object" for limit in self.limits)


def make_goal(
    maximize: str = "dice",
    *,
    beta: float = 1.0,
    cost_false_positive: float | None = None,
    cost_false_negative: float | None = None,
    level: str = "voxel",
    recall: float | None = None,
    precision: float | None = None,
    false_positives_per_case: float | None = None,
    false_alarm_rate: float | None = None,
    prevalence: float | None = None,
) -> Goal:
    """Return the goal that some options name; a cost that is given makes the objective "cost".

    ``level`` is that of costs, of Youden's J, of recall and of precision. Raises UsageError for
    what does not exist, and for options that contradict or do nothing.
    """
    costs = (cost_false_positive, cost_false_negative)
    if any(cost is not None for cost in costs):
        if maximize not in ("dice", "cost"):
            raise UsageError(
                f"Costs and the objective '{maximize}' contradict each other; leave one out."
            )
        maximize = "cost"
    if beta != 1.0 and maximize != "f-beta":
        raise UsageError(
            f"A beta of {beta:g} changes nothing under the objective '{maximize}'; ask for "
            "'f-beta'."
        )
    _require_level(level)
    asked: list[tuple[LimitKind, float | None]] = [
        ("recall", recall),
        ("precision", precision),
        ("false positives per case", false_positives_per_case),
        ("false alarm rate", false_alarm_rate),
    ]
    limits = tuple(
        Limit(kind, float(bound), level if kind in _AT_LEAST else _USUAL[kind])  # type: ignore[arg-type]
        for kind, bound in asked
        if bound is not None
    )
    return Goal(
        maximize=maximize,  # type: ignore[arg-type]
        beta=beta,
        cost_false_positive=1.0 if costs[0] is None else costs[0],
        cost_false_negative=1.0 if costs[1] is None else costs[1],
        level=level,  # type: ignore[arg-type]
        limits=limits,
        prevalence=prevalence,
    )


def _require_level(level: str) -> None:
    """Raise UsageError for an unknown level."""
    if level not in LEVELS:
        raise UsageError(
            f"The level '{level}' is not known{nearest(level, LEVELS)}; allowed: "
            f"{', '.join(LEVELS)}."
        )
