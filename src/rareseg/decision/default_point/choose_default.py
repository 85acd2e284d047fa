"""Choose the default point of a region, with what it reaches on groups left out of the choice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.default_point.case_curves import case_curves, threshold_bins
from rareseg.decision.default_point.group_sums import GroupSums, GroupSurfaces, surfaces_of
from rareseg.decision.default_point.point_evidence import (
    FEW_ALARMS,
    PointEvidence,
    folds_of,
    judge_without,
    reached_at,
)
from rareseg.decision.default_point.smoothed_objective import (
    GridCell,
    alarm_weight,
    find_default,
    find_few_alarms,
)
from rareseg.decision.default_point.smoothing import log_odds, smoothing_width
from rareseg.decision.point_search.criteria import Grid
from rareseg.decision.point_search.grid_search import TIE, Best, PointSearch, find_best, runs_of
from rareseg.decision.point_search.limits import (
    LimitCounts,
    allowed_places,
    count_for_limit,
)
from rareseg.evaluation.metrics.image_auc import image_auc
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg.evaluation.tables.score_table import CaseScores
from rareseg.evaluation.tables.threshold_bins import bin_edges, bin_of


@dataclass(frozen=True)
class _DefaultSearch:
    """A problem's surfaces, the sums over all its groups, and what its limits count."""

    surfaces: GroupSurfaces
    total: GroupSums
    limits: tuple[LimitCounts, ...]

    def default(self, left_out: NDArray[np.bool_], rest: GroupSums) -> GridCell | None:
        """Return the default place of the groups that stay."""
        allowed = allowed_places(self.limits, self.surfaces.admits, ~left_out)
        return find_default(self.surfaces, rest, allowed=allowed)

    def few_alarms(self, left_out: NDArray[np.bool_], rest: GroupSums) -> GridCell | None:
        """Return the place with few alarms of the groups that stay."""
        return find_few_alarms(self.surfaces, rest, FEW_ALARMS)


def choose_default(problem: PointSearch) -> tuple[Best, PointEvidence | None] | None:
    """Return the default point with its evidence, or None where no point keeps the limits.

    Where the image scores do not tell positive cases from negative ones, and there are no limits,
    the point is 0.5 without a gate, if anything is found there. Where only thresholds between
    those that are tried keep the limits, the point is the best unsmoothed one of all, without
    evidence.
    """
    search = _search(problem)
    say_nothing = np.zeros(len(problem.rows), np.bool_)
    cell = search.default(say_nothing, search.total)
    if cell is None:
        best = find_best(problem) if problem.limits else None
        return None if best is None or best.value <= TIE else (best, None)
    half = _half(search.surfaces)
    evidence = _evidence(problem, search, cell, half)
    speaks = half is not None and search.total.dice[half.index] > TIE
    if half is not None and speaks and evidence.is_uninformative and not problem.limits:
        # Nobody chose it, so that nobody has to be left out.
        cell, evidence = half, replace(evidence, chosen=reached_at(search.surfaces, half))
    return _best(problem, search, cell), evidence


def _search(problem: PointSearch) -> _DefaultSearch:
    rows = problem.rows
    width = smoothing_width(
        log_odds([row.image_score for row in rows]), np.array([row.n_inside > 0 for row in rows])
    )
    scores = [row for row in rows if isinstance(row, CaseScores)]
    grid = Grid(threshold_bins(scores, width), problem.grid.sizes) if scores else problem.grid
    surfaces = surfaces_of(case_curves(rows, grid), width)
    everyone = np.ones(len(rows), np.bool_)
    limits = tuple(count_for_limit(limit, rows, grid) for limit in problem.limits)
    return _DefaultSearch(surfaces, surfaces.sums(everyone), limits)


def _half(surfaces: GroupSurfaces) -> GridCell | None:
    """Return the place of 0.5 without a gate, None where the tables do not count there."""
    at = np.flatnonzero(surfaces.curves.grid.bins == bin_of(0.5))
    return GridCell(len(surfaces.gates) - 1, int(at[0]), 0) if len(at) else None


def _evidence(
    problem: PointSearch, search: _DefaultSearch, cell: GridCell, half: GridCell | None
) -> PointEvidence:
    """Return what the place, few alarms and 0.5 reach, the first two on groups left out."""
    surfaces, total = search.surfaces, search.total
    few = None
    if total.n_negative:
        few = search.few_alarms(np.zeros(len(problem.rows), np.bool_), total)
    at_chosen, at_few = judge_without(surfaces, total, (search.default, search.few_alarms))
    no_few = "nothing is found with so few alarms" if total.n_negative else "no negative case"
    no_half = Undefined("the table does not count at 0.5")
    auc = image_auc(
        [row.image_score for row in problem.rows],
        surfaces.curves.positive,
        [row.group for row in problem.rows],
    )
    return PointEvidence(
        chosen=reached_at(surfaces, cell, at_chosen),
        few_alarms=Undefined(no_few) if few is None else reached_at(surfaces, few, at_few),
        half=no_half if half is None else reached_at(surfaces, half),
        n_positive_groups=total.n_positive,
        n_negative_groups=total.n_negative,
        n_folds=len(folds_of(surfaces)),
        auc=auc.value,
        auc_low=auc.low,
        auc_high=auc.high,
    )


def _best(problem: PointSearch, search: _DefaultSearch, cell: GridCell) -> Best:
    """Return the place as what a search finds: its value, and the thresholds that give the same."""
    surfaces, sums = search.surfaces, search.total
    grid = surfaces.curves.grid
    values = sums.value(alarm_weight(sums.n_negative), smooth=False)
    chosen = int(grid.bins[cell.threshold])
    occurring = problem.grid.bins
    if problem.grid.levels is None:
        # Every edge between two bins that occur gives the same masks.
        above = int(np.searchsorted(occurring, chosen))
        low = int(occurring[above - 1]) + 1 if above else 0
        high = int(occurring[min(above, len(occurring) - 1)])
        first, last = above, above
    else:
        equal = np.abs(values[cell.gate, :, cell.size] - values[cell.index]) <= TIE
        first, last = next(run for run in runs_of(equal) if run[0] <= cell.threshold <= run[1])
        low, high = int(occurring[first]), int(occurring[last])
    return Best(
        value=float(values[cell.index]),
        low=low,
        high=high,
        threshold=float(bin_edges()[chosen]),
        smallest_component=grid.sizes[cell.size],
        gate=float(surfaces.gates[cell.gate]),
        at_edge=first == 0 or last >= len(occurring) - 1,
    )
