"""Compute the Pareto frontier of operating points beside the chosen one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.operating_point.point import OperatingPoint
from rareseg.decision.point_search.candidate_grid import Candidates
from rareseg.decision.point_search.criteria import (
    ALARMS,
    DICE,
    FALSE_PER_CASE,
    Criterion,
    Floats,
    precision,
    recall,
)
from rareseg.decision.point_search.grid_search import PointSearch
from rareseg.evaluation.statistics.undefined import Undefined, Value, value_from_json, value_to_json
from rareseg.evaluation.tables.component_table import ComponentTable
from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg.evaluation.tables.threshold_bins import bin_edges, bin_of
from rareseg_runner.decision.component_size import ANY_SIZE, Size, as_size

_POINTS = 9
"""How many points a frontier shows, beside those that are named."""

_UNDEFINED = {
    "false_alarm_rate": "no negative case",
    "precision": "nothing is predicted",
    "false_positives_per_case": "score tables do not see components",
    "cost": "no costs were asked for",
}


_NAMES = (
    "mean_dice",
    "recall",
    "precision",
    "false_alarm_rate",
    "found",
    "false_positives_per_case",
)
"""What :meth:`Frontier.measures` measure, in their order; the last of component tables alone."""


@dataclass(frozen=True)
class FrontierPoint:
    """A point and what it reaches on the cases that were chosen on.

    ``value`` is the objective, undefined where a limit is not kept; ``recall`` is the mean over
    positive cases, ``found`` the share of them with a hit, ``precision`` that of all voxels
    together, ``cost`` the mean cost of a case where costs were asked for. ``notes`` say what it is:
    "chosen" (or "refused") and "usual".
    """

    threshold: float
    smallest_component: Size
    gate: float
    value: Value
    mean_dice: Value
    recall: Value
    precision: Value
    false_alarm_rate: Value
    false_positives_per_case: Value
    found: Value
    cost: Value
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the point as plain JSON values."""
        values = {
            name: value_to_json(getattr(self, name))
            for name in ("value", "mean_dice", "recall", "found", *_UNDEFINED)
        }
        return {
            "threshold": self.threshold,
            "smallest_component": self.smallest_component.plain,
            "gate": self.gate,
            **values,
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> FrontierPoint:
        """Return what :meth:`to_dict` wrote; TypeError, KeyError or ValueError for another."""
        values: dict[str, Any] = {
            name: value_from_json(own) if name in _UNDEFINED or isinstance(own, dict) else own
            for name, own in record.items()
        }
        smallest = as_size(record["smallest_component"])
        return cls(**{**values, "smallest_component": smallest, "notes": tuple(record["notes"])})


@dataclass(frozen=True)
class Frontier:
    """Points in ascending order of what they falsely show."""

    points: tuple[FrontierPoint, ...] = ()

    @classmethod
    def from_dicts(cls, records: Iterable[Mapping[str, Any]]) -> Frontier:
        """Return the frontier of points that were written as plain JSON values."""
        return cls(tuple(FrontierPoint.from_dict(record) for record in records))

    @staticmethod
    def measures(table: ScoreTable | ComponentTable) -> tuple[Criterion, ...]:
        """Return what is told of each point."""
        own = (DICE, recall("voxel"), precision("voxel"), ALARMS, recall("image"))
        return (*own, FALSE_PER_CASE) if isinstance(table, ComponentTable) else own


def frontier_of(
    problem: PointSearch,
    candidates: Candidates,
    point: OperatingPoint,
    *,
    name: Literal["chosen", "refused"] = "chosen",
    by_cost: bool = False,
) -> Frontier:
    """Return the points that no other beats in both the recall and what is falsely shown.

    That is the share of negative cases with an alarm; where there is none, 1 − precision. Of the
    candidates at most nine are kept, evenly; ``point``, under its ``name``, and the usual cut are
    always among them where they are candidates. ``by_cost``: the objective is a cost.
    """
    first = len(problem.measures)
    told = candidates.ratios[first:]
    values = problem.value(candidates.ratios[:first])
    _, recalled, right, alarms = told[:4]
    shown = 1.0 - right if np.isnan(alarms).all() else alarms
    named = {
        name: _place(candidates, point.threshold, point.smallest_component, point.gate),
        "usual": _place(candidates, 0.5, ANY_SIZE, 0.0),
    }
    kept = _unbeaten(recalled.ravel(), shown.ravel(), values.ravel())
    if len(kept) > _POINTS:
        kept = kept[np.unique(np.linspace(0, len(kept) - 1, _POINTS).round().astype(np.int64))]
    places = {int(place): () for place in kept}
    names: dict[int, tuple[str, ...]] = {**places}
    for note, place in named.items():
        if place is not None:
            names[place] = (*names.get(place, ()), note)
    falsely = np.nan_to_num(shown.ravel(), nan=0.0)
    order = sorted(names, key=lambda place: (falsely[place], recalled.ravel()[place]))
    numbers = dict(zip(_NAMES, told, strict=False))
    if by_cost:
        numbers["cost"] = candidates.ratios[0]
    return Frontier(
        tuple(_frontier_point(candidates, place, values, numbers, names[place]) for place in order)
    )


def _unbeaten(gain: Floats, harm: Floats, value: Floats) -> NDArray[np.int64]:
    """Return the places, by ascending harm, whose gain is larger than that of any with less harm.

    Of equals the one of the largest value is taken, then the first.
    """
    places = np.flatnonzero(np.isfinite(gain) & np.isfinite(harm))
    order = places[np.lexsort((places, -value[places], -gain[places], harm[places]))]
    if len(order) == 0:
        return order
    before = np.append(-np.inf, np.maximum.accumulate(gain[order])[:-1])
    return order[gain[order] > before]


def _place(candidates: Candidates, threshold: float, size: Size, gate: float) -> int | None:
    """Return a point's place in the flat grid (g, t, s), None where it is no candidate."""
    grid = candidates.grid
    found = [
        np.flatnonzero(candidates.gates == gate),
        np.flatnonzero(grid.bins == bin_of(threshold)),
        np.flatnonzero([one == size for one in grid.sizes]),
    ]
    if any(len(places) == 0 for places in found):
        return None
    shape = (len(candidates.gates), *grid.shape)
    return int(np.ravel_multi_index([int(places[0]) for places in found], shape))


def _frontier_point(
    candidates: Candidates,
    place: int,
    values: Floats,
    told: Mapping[str, Floats],
    notes: tuple[str, ...],
) -> FrontierPoint:
    g, t, s = np.unravel_index(place, values.shape)
    numbers: dict[str, Value] = {name: Undefined(reason) for name, reason in _UNDEFINED.items()}
    for name, measure in told.items():
        number = float(measure[g, t, s])
        numbers[name] = number if np.isfinite(number) else Undefined(_UNDEFINED.get(name, "0 / 0"))
    value = float(values[g, t, s])
    return FrontierPoint(
        threshold=float(bin_edges()[candidates.grid.bins[t]]),
        smallest_component=candidates.grid.sizes[s],
        gate=float(candidates.gates[g]),
        value=value if np.isfinite(value) else Undefined("a limit is not kept"),
        notes=notes,
        **numbers,
    )
