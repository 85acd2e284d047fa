"""Estimate what a chosen point reaches on groups left out of its choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.default_point.group_sums import GroupSums, GroupSurfaces
from rareseg.decision.default_point.smoothed_objective import GridCell
from rareseg.decision.point_search.criteria import Floats
from rareseg.evaluation.statistics.intervals import Estimate, estimate_mean, estimate_share
from rareseg.evaluation.statistics.undefined import (
    Undefined,
    Value,
    is_defined,
    value_from_json,
    value_to_json,
)
from rareseg.evaluation.tables.threshold_bins import bin_edges
from rareseg_runner.decision.component_size import Size, as_size

FEW_ALARMS = 0.1
"""The share of alarms of the point with few alarms, at most."""

FEWEST_GROUPS = 5
"""Below so many groups with a positive case there are too few to tell."""

LEAST_AUC = 0.6
"""Scores whose area's upper limit lies below this do not tell positive from negative cases."""

_MOST_FOLDS = 50
"""At most so many times the point is chosen anew; beyond, several groups leave together."""

Finder = Callable[[NDArray[np.bool_], GroupSums], GridCell | None]
"""Chooses a place without the cases that leave, (n,) bool, from the sums over the rest."""


@dataclass(frozen=True)
class ReachedPoint:
    """A point, and what it reaches.

    ``dice`` is the mean over positive cases, ``found`` the share of them in which the final mask
    touches the reference, ``alarms`` the share of negative cases with anything on. Where the point
    was chosen, every case is judged at the point that is chosen without its group. ``intervals``
    are their 95 % bounds over groups, by name; none in points that an earlier version chose.
    """

    threshold: float
    smallest_component: Size
    gate: float
    dice: Value
    found: Value
    alarms: Value
    intervals: Mapping[str, tuple[Value, Value]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        intervals = {
            name: [value_to_json(end) for end in ends] for name, ends in self.intervals.items()
        }
        values = {name: value_to_json(getattr(self, name)) for name in _VALUES}
        size = self.smallest_component.plain
        return asdict(self) | values | {"smallest_component": size, "intervals": intervals}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ReachedPoint:
        """Return what :meth:`to_dict` wrote; KeyError, TypeError or ValueError where it cannot."""
        return cls(
            threshold=float(record["threshold"]),
            smallest_component=as_size(record["smallest_component"]),
            gate=float(record["gate"]),
            **{name: value_from_json(record[name]) for name in _VALUES},
            intervals={
                name: (value_from_json(low), value_from_json(high))
                for name, (low, high) in record.get("intervals", {}).items()
            },
        )


_VALUES = ("dice", "found", "alarms")


@dataclass(frozen=True)
class PointEvidence:
    """What the default point reaches on groups left out, beside two other points.

    ``chosen`` is the point itself, ``few_alarms`` the one of best dice where at most a share
    :data:`FEW_ALARMS` of the negative cases is alarmed (Undefined where there is none), ``half``
    the cut at 0.5 without a gate (Undefined where the tables do not count there).
    ``n_positive_groups`` and ``n_negative_groups`` have a positive, or a negative, case;
    ``n_folds`` is how often the point was chosen without some of them, a group at a time where
    that equals the number of groups.
    ``auc`` is the area under the image-level ROC curve, with ``auc_low`` and ``auc_high`` its 95 %
    interval.
    """

    chosen: ReachedPoint
    few_alarms: ReachedPoint | Undefined
    half: ReachedPoint | Undefined
    n_positive_groups: int
    n_negative_groups: int
    n_folds: int
    auc: Value
    auc_low: Value
    auc_high: Value

    @property
    def too_few(self) -> bool:
        """Whether there are too few groups with a positive case to tell how good the point is."""
        return self.n_positive_groups < FEWEST_GROUPS

    @property
    def is_uninformative(self) -> bool:
        """Whether the image scores do not tell positive cases from negative ones."""
        return is_defined(self.auc_high) and self.auc_high < LEAST_AUC

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        record: dict[str, Any] = {}
        for own in fields(self):
            value = getattr(self, own.name)
            record[own.name] = (
                value.to_dict() if isinstance(value, ReachedPoint) else value_to_json(value)
            )
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> PointEvidence:
        """Return what :meth:`to_dict` wrote; KeyError, TypeError or ValueError where it cannot."""

        def reached(name: str) -> ReachedPoint | Undefined:
            part = record[name]
            if "undefined" in part:
                return Undefined(part["undefined"])
            return ReachedPoint.from_dict(part)

        return cls(
            chosen=ReachedPoint.from_dict(record["chosen"]),
            few_alarms=reached("few_alarms"),
            half=reached("half"),
            n_positive_groups=int(record["n_positive_groups"]),
            n_negative_groups=int(record["n_negative_groups"]),
            n_folds=int(record["n_folds"]),
            auc=value_from_json(record["auc"]),
            auc_low=value_from_json(record["auc_low"]),
            auc_high=value_from_json(record["auc_high"]),
        )


def folds_of(surfaces: GroupSurfaces) -> tuple[NDArray[np.bool_], ...]:
    """Return which cases leave together, at most fifty times: one group each where they suffice.

    Groups with a positive case are dealt out first, so that folds hold about equally many of them.
    """
    curves = surfaces.curves
    with_positive = np.unique(curves.groups[curves.positive])
    others = np.setdiff1d(np.unique(curves.groups), with_positive)
    ordered = np.concatenate([with_positive, others])
    fold = np.empty(len(ordered), np.int64)
    fold[ordered] = np.arange(len(ordered)) % _MOST_FOLDS
    of_case = fold[curves.groups]
    return tuple(of_case == k for k in range(min(len(ordered), _MOST_FOLDS)))


Means = tuple[Estimate, Estimate, Estimate]
"""Dice, found and alarms, with their intervals over groups."""


def judge_without(
    surfaces: GroupSurfaces, total: GroupSums, finders: Sequence[Finder]
) -> list[Means]:
    """Return (dice, found, alarms) for every finder, each case judged without its fold.

    ``total`` are the sums over all groups. A case is judged at the point that is chosen without its
    fold; where there is none, nothing is on. Cases without which no positive case is left are not
    judged.
    """
    positive = surfaces.curves.positive
    shown = np.full((len(finders), len(positive)), np.nan)
    for fold in folds_of(surfaces):
        if not (positive & ~fold).any():
            continue
        rest = total.without(surfaces.sums(fold))
        for k, find in enumerate(finders):
            cell = find(fold, rest)
            shown[k, fold] = 0.0 if cell is None else shown_at(surfaces, cell)[fold]
    return [means_of(surfaces, judged, left_out=True) for judged in shown]


def shown_at(surfaces: GroupSurfaces, cell: GridCell) -> Floats:
    """Return every case's dice, or whether it is alarmed, at a place, behind its gate; (n,)."""
    shown = surfaces.curves.shown[:, cell.threshold, cell.size]
    return np.asarray(shown * surfaces.admits[cell.gate])


def means_of(surfaces: GroupSurfaces, shown: Floats, *, left_out: bool) -> Means:
    """Return (dice, found, alarms) of what cases show (n,); NaN where a case is not judged."""
    positive = surfaces.curves.positive
    groups = np.array([str(number) for number in surfaces.curves.groups])
    judged = ~np.isnan(shown)
    ours, theirs = positive & judged, ~positive & judged
    none = "no positive case"
    if left_out and positive.any():
        none = "without its one group there is no positive case to choose on"
    no_alarm = "no negative case"
    if left_out and (~positive).any():
        no_alarm = "without their group there is no positive case to choose on"

    def share(hits: NDArray[np.bool_], of: NDArray[np.bool_], missing: str) -> Estimate:
        return estimate_share(hits.tolist(), [1] * len(hits), groups[of].tolist(), none=missing)

    return (
        estimate_mean(shown[ours].tolist(), groups[ours].tolist(), none=none, scale="share"),
        share(shown[ours] > 0, ours, none),
        share(shown[theirs] > 0, theirs, no_alarm),
    )


def reached_at(surfaces: GroupSurfaces, cell: GridCell, means: Means | None = None) -> ReachedPoint:
    """Return a place with what it reaches: ``means``, or what its cases show there."""
    if means is None:
        means = means_of(surfaces, shown_at(surfaces, cell), left_out=False)
    grid = surfaces.curves.grid
    dice, found, alarms = (estimate.value for estimate in means)
    return ReachedPoint(
        threshold=float(bin_edges()[grid.bins[cell.threshold]]),
        smallest_component=grid.sizes[cell.size],
        gate=float(surfaces.gates[cell.gate]),
        dice=dice,
        found=found,
        alarms=alarms,
        intervals={
            name: (estimate.low, estimate.high)
            for name, estimate in zip(_VALUES, means, strict=True)
        },
    )
