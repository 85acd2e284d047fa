"""Maximise an objective over threshold, smallest component and gate jointly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.point_search.criteria import (
    Criterion,
    DefaultObjective,
    Floats,
    Grid,
    LinearObjective,
    Row,
    empty_counts,
    limit_measure,
    tally,
)
from rareseg.decision.point_search.objectives import Limit
from rareseg.evaluation.tables.threshold_bins import bin_edges, bin_of, middle_edge
from rareseg_runner.decision.component_size import Size

TIE = 1e-9
"""Objective values that differ by less are equal."""


@dataclass(frozen=True)
class PointSearch:
    """What is searched: the cases of one region, the objective and its limits, and the grid.

    ``rows`` stand in descending order of their image score, so that the gates between them admit
    the first one, the first two, … of them. ``shares`` (n,) are those of their tallies.
    """

    rows: tuple[Row, ...]
    terms: LinearObjective | DefaultObjective
    limits: tuple[Limit, ...]
    grid: Grid
    shares: Floats

    @property
    def measures(self) -> tuple[Criterion, ...]:
        """The measures of the objective, then those of the limits."""
        return (*self.terms.measures, *(limit_measure(limit) for limit in self.limits))

    def value(self, ratios: Sequence[Floats]) -> Floats:
        """Return the objective, -inf where a limit is not kept (or has no value)."""
        n = len(self.terms.measures)
        value = self.terms.value(ratios[:n])
        for limit, ratio in zip(self.limits, ratios[n:], strict=True):
            value[~keeps(limit, ratio)] = -np.inf
        return value


@dataclass(frozen=True)
class Best:
    """A point with the largest value: bins ``low`` to ``high`` are equally good thresholds."""

    value: float
    low: int
    high: int
    threshold: float
    smallest_component: Size
    gate: float
    at_edge: bool


def keeps(limit: Limit, ratio: Floats) -> NDArray[np.bool_]:
    """Tell where a limit is kept; an undefined ratio (NaN) does not keep it."""
    if limit.at_least:
        return np.asarray(ratio >= limit.bound - TIE)
    return np.asarray(ratio <= limit.bound + TIE)


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Return the ratio, NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(numerator / denominator, np.float64)


def over_gates(
    problem: PointSearch, grid: Grid, measures: Sequence[Criterion]
) -> Iterator[tuple[int, list[Floats]]]:
    """Yield, for every gate from none admitted to all, (how many are admitted, the ratios (t, s)).

    Admitting one more case adds its change to running totals, so that all gates pass by in as many
    steps as there are cases, in memory that does not grow with them.
    """
    rows = problem.rows
    numerators = np.zeros((len(measures), *grid.shape))
    denominators = np.zeros((len(measures), *grid.shape))
    for row, share in zip(rows, problem.shares, strict=True):
        silent = empty_counts(row, share)
        for m, measure in enumerate(measures):
            top, bottom = measure.of(silent)
            numerators[m] += top
            denominators[m] += bottom

    def ratios() -> list[Floats]:
        return list(divide(numerators, denominators))

    yield 0, ratios()
    for i, (row, share) in enumerate(zip(rows, problem.shares, strict=True)):
        shown, silent = tally(row, grid, share), empty_counts(row, share)
        for m, measure in enumerate(measures):
            (top, bottom), (top_before, bottom_before) = measure.of(shown), measure.of(silent)
            numerators[m] += top - top_before
            denominators[m] += bottom - bottom_before
        # No gate divides cases of one image score, so they are admitted together.
        if i + 1 == len(rows) or rows[i + 1].image_score != row.image_score:
            yield i + 1, ratios()


def find_best(problem: PointSearch) -> Best | None:
    """Return the point with the largest value, or None where none keeps the limits.

    Of sizes that tie the smallest is taken, of thresholds the middle of the widest plateau, counted
    in bins, as the choice that small changes of the scores move least; a gate only where it gains.
    """
    grid = problem.grid
    best = np.full(grid.shape, -np.inf)
    for admitted, ratios in over_gates(problem, grid, problem.measures):
        if admitted:
            np.maximum(best, problem.value(ratios), out=best)
    largest = float(best.max(initial=-np.inf))
    if largest == -np.inf:
        return None
    size = int(np.argmax(best.max(axis=0) >= largest - TIE))
    first, last = plateau_of(grid, best[:, size] >= largest - TIE)
    at_edge = first == 0 or last == len(grid.bins) - 1
    low, high, threshold = at_bin(grid, first, last)
    cut = Grid(np.array([bin_of(threshold)]), (grid.sizes[size],))
    if grid.levels is not None:
        cut = replace(
            grid, bins=cut.bins, sizes=cut.sizes, levels=grid.levels[[(first + last) // 2]]
        )
    gate = _best_gate(problem, cut)
    return Best(largest, low, high, threshold, grid.sizes[size], gate, at_edge)


def plateau_of(grid: Grid, good: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the first and the last of the widest run of good thresholds, counted in bins."""
    starts = _starts(grid)
    return max(runs_of(good), key=lambda run: grid.bins[run[1]] - starts[run[0]])


def at_bin(grid: Grid, first: int, last: int) -> tuple[int, int, float]:
    """Return the lowest and the highest bin of a plateau, and the threshold in its middle."""
    low, high = int(_starts(grid)[first]), int(grid.bins[last])
    if grid.levels is None:
        return low, high, middle_edge(low, high)
    return low, high, float(bin_edges()[grid.bins[(first + last) // 2]])


def _starts(grid: Grid) -> NDArray[np.int64]:
    """Return where each threshold's plateau begins.

    Without components every edge between two bins that occur gives the same masks, so that a
    plateau begins just above the occurring bin below it.
    """
    if grid.levels is not None:
        return grid.bins
    return np.append(0, grid.bins[:-1] + 1)


def _best_gate(problem: PointSearch, cut: Grid) -> float:
    """Return the best gate at one threshold and size: 0 where none gains, else mid-plateau."""
    admitted, values = [], []
    for n, ratios in over_gates(problem, cut, problem.measures):
        if n:
            admitted.append(n)
            values.append(float(problem.value(ratios)[0, 0]))
    good = np.array(values) >= max(values) - TIE
    # The last entry admits every case: where it is as good as any, no gate is needed.
    if good[-1]:
        return 0.0
    gates = gates_between(problem.rows, admitted)

    def width(run: tuple[int, int]) -> int:
        highest, lowest = gates[run[0]], gates[run[1]]
        return bin_of(highest.reached) - bin_of(lowest.above)

    first, last = max(runs_of(good), key=width)
    return GateRange(gates[last].above, gates[first].reached).middle


@dataclass(frozen=True)
class GateRange:
    """The gates above one image score and up to the next higher one: they admit the same cases."""

    above: float
    reached: float

    @property
    def middle(self) -> float:
        """The gate halfway, counted in bins."""
        low, high = bin_of(self.above), bin_of(self.reached)
        return self.reached if low == high else middle_edge(low + 1, high)


def gates_between(rows: Sequence[Row], admitted: Sequence[int]) -> list[GateRange]:
    """Return the gates that admit so many of the rows, which descend by image score."""
    return [
        GateRange(rows[n].image_score if n < len(rows) else 0.0, rows[n - 1].image_score)
        for n in admitted
        if n > 0
    ]


def gates_of(rows: Sequence[Row]) -> tuple[float, ...]:
    """Return the gates halfway between neighbouring image scores, descending: all that differ.

    Cases without a voxel that counts are left out. One image score gives none.
    """
    ordered = sorted((row for row in rows if row.n_voxels > 0), key=lambda row: -row.image_score)
    scores = [row.image_score for row in ordered]
    last_of_ties = [i for i in range(1, len(scores)) if scores[i - 1] != scores[i]]
    return tuple(gate.middle for gate in gates_between(ordered, last_of_ties))


def runs_of(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (first, last) of every run of True."""
    padded = np.concatenate([[False], flags, [False]])
    changes = np.flatnonzero(padded[1:] != padded[:-1])
    return [(int(a), int(b) - 1) for a, b in zip(changes[::2], changes[1::2], strict=True)]
