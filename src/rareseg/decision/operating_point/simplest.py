"""The simplest point that a standard error does not tell from the best one.

With few cases the largest value is often an accident: a threshold of 3e-18 behind a gate that one
case passes. Breiman et al.'s rule for trees (Classification and Regression Trees, 1984, section
3.4.3) takes the simplest of all candidates within one standard error of the best. Here the
threshold moves, at the best point's gate and size, as near to one half in log-odds as that allows.
Gate and size stay, for a gate stands midway between positives and negatives, and lowering it lost
up to 0.07 on few cases; they are dropped, where the error allows it, from a point that finds
something in one group at most, which is how accidents look. With many cases the standard error
shrinks, and with it what the rule can lose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.operating_point.measures import (
    Floats,
    Grid,
    Measure,
    silent_tally,
    tally,
)
from rareseg.decision.operating_point.search import (
    TIE,
    Best,
    Problem,
    divide,
    gates_between,
    runs_of,
)
from rareseg.evaluation.bins import bin_edges, bin_of
from rareseg.evaluation.component_table import GRID
from rareseg.evaluation.intervals import group_numbers

_HALF = bin_of(0.5)

_THRESHOLDS, _GATES, _SIZES = 64, 24, 8
"""At most so many of each are candidates, those of the best point and the usual ones aside.

The usual thresholds are those of the component tables: a quarter octave apart around one half.
"""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Every case's part in every measure at the points of a coarse grid of candidates.

    ``numerators`` and ``denominators`` (m, n, t, s) are those of shown cases, ``silent`` (2, m, n)
    both of gated ones; ``admitted`` (g, n) says which case passes which of ``gates`` (g,), and
    ``hits`` (n, t, s) where anything of the region is found.
    """

    grid: Grid
    gates: Floats
    admitted: NDArray[np.bool_]
    numerators: Floats
    denominators: Floats
    silent: Floats
    hits: NDArray[np.bool_]

    def place(self, best: Best) -> tuple[int, int, int]:
        """Return where the best point stands, (gate, threshold, size)."""
        return (
            int(np.flatnonzero(self.gates == best.gate)[0]),
            int(np.flatnonzero(self.grid.bins == bin_of(best.threshold))[0]),
            int(np.flatnonzero(self.grid.sizes == best.smallest_component)[0]),
        )

    def parts(self, measure: int, gate: int) -> tuple[Floats, Floats]:
        """Return a measure's (numerators, denominators), both (n, t, s), behind a gate."""
        shown = self.admitted[gate][:, None, None]
        gated = self.silent[:, measure, :, None, None]
        return (
            np.where(shown, self.numerators[measure], gated[0]),
            np.where(shown, self.denominators[measure], gated[1]),
        )

    def ratios(self, measure: int) -> Floats:
        """Return a measure at every point, (g, t, s)."""
        result = [
            divide(*(part.sum(axis=0) for part in self.parts(measure, gate)))
            for gate in range(len(self.gates))
        ]
        return np.stack(result)


@dataclass(frozen=True)
class Simplest:
    """What the rule chose: its value, and the standard error of its distance from the best.

    Thresholds of the bins ``low`` to ``high`` are as little told from the best, at this gate and
    size.
    """

    threshold: float
    smallest_component: int
    gate: float
    value: float
    standard_error: float
    low: int
    high: int
    at_edge: bool


def outcomes_near(problem: Problem, best: Best, extra: Sequence[Measure] = ()) -> Outcomes:
    """Return the outcomes at a coarse grid that holds the best point and the usual cut.

    Measures are those of the problem, then ``extra``.
    """
    rows, measures = problem.rows, (*problem.measures, *extra)
    grid = _coarse(problem.grid, bin_of(best.threshold), best.smallest_component)
    last_of_ties = [i + 1 for i in range(len(rows) - 1) if rows[i].top != rows[i + 1].top]
    between = np.unique([gate.middle for gate in gates_between(rows, last_of_ties)])
    gates = np.unique(np.append(_thin(between, _GATES), [0.0, best.gate]))
    tops = np.array([row.top for row in rows], np.float32)
    shape = (len(measures), len(rows), *grid.shape)
    numerators, denominators = np.zeros(shape), np.zeros(shape)
    silent = np.zeros((2, len(measures), len(rows)))
    hits = np.zeros((len(rows), *grid.shape), np.bool_)
    for i, row in enumerate(rows):
        shown, gated = tally(row, grid), silent_tally(row)
        hits[i] = shown.tp > 0
        for m, measure in enumerate(measures):
            numerators[m, i], denominators[m, i] = measure.of(shown)
            silent[:, m, i] = [np.asarray(part).item() for part in measure.of(gated)]
    return Outcomes(
        grid=grid,
        gates=gates,
        admitted=tops[None, :] >= gates.astype(np.float32)[:, None],
        numerators=numerators,
        denominators=denominators,
        silent=silent,
        hits=hits,
    )


def find_simplest(problem: Problem, best: Best, outcomes: Outcomes) -> Simplest:
    """Return the simplest point within one standard error of the best.

    Limits hold for every candidate. See :func:`standard_errors` for the error.
    """
    values = problem.value([outcomes.ratios(m) for m in range(len(problem.measures))])
    errors = standard_errors(problem, best, outcomes)
    within = (values > -np.inf) & (best.value - values <= errors + TIE)
    grid, gates = outcomes.grid, outcomes.gates
    at = outcomes.place(best)
    thresholds = np.flatnonzero(within[at[0], :, at[2]])
    away = np.abs(grid.bins[thresholds] - _HALF)
    t0 = int(thresholds[np.lexsort((-values[at[0], thresholds, at[2]], away))[0]])
    g0, _, s0 = at
    if finds_too_little(problem, best, outcomes) and within[0, t0, 0]:
        g0 = s0 = 0
    runs = runs_of(within[g0, :, s0])
    first, last = next(run for run in runs if run[0] <= t0 <= run[1])
    occurring = problem.grid.bins
    return Simplest(
        threshold=float(bin_edges()[grid.bins[t0]]),
        smallest_component=int(grid.sizes[s0]),
        gate=float(gates[g0]),
        value=float(values[g0, t0, s0]),
        standard_error=float(errors[g0, t0, s0]),
        low=int(grid.bins[first]),
        high=int(grid.bins[last]),
        at_edge=not occurring[0] < grid.bins[t0] < occurring[-1],
    )


def finds_too_little(problem: Problem, best: Best, outcomes: Outcomes) -> bool:
    """Tell whether the best point finds anything in none, or in one of several positive groups."""
    gate, threshold, size = outcomes.place(best)
    found = outcomes.hits[:, threshold, size] & outcomes.admitted[gate]
    positive = np.array([row.n_inside > 0 for row in problem.rows])
    numbers = group_numbers([row.group for row in problem.rows])
    n_positive = len(np.unique(numbers[positive]))
    return len(np.unique(numbers[found])) <= min(1, n_positive - 1)


def standard_errors(problem: Problem, best: Best, outcomes: Outcomes) -> Floats:
    """Return the standard error of each point's distance from the best one, (g, t, s).

    That is of the paired difference of the two objectives over groups, by the infinitesimal
    jackknife (Efron 1982, chapter 6): to first order what a bootstrap over groups gives, without
    its chance. Where one group alone speaks of a term of the objective, its cases are taken for
    groups. Where the best point finds too little (:func:`finds_too_little`), the positive cases
    hardly say anything of other points, and show no variance: one more group, of which nothing is
    known, is then added to them.
    """
    grid, gates = outcomes.grid, outcomes.gates
    numbers = group_numbers([row.group for row in problem.rows])
    members = (np.arange(numbers.max() + 1)[:, None] == numbers).astype(np.float64)
    positive = np.array([row.n_inside > 0 for row in problem.rows])
    at = outcomes.place(best)
    weights = problem.terms.weights
    of_best = [outcomes.parts(m, at[0])[0][:, at[1], at[2]] for m in range(len(weights))]
    eligible = outcomes.silent[1, : len(weights)] > 0
    too_little = finds_too_little(problem, best, outcomes)
    result = np.empty((len(gates), *grid.shape))
    for g in range(len(gates)):
        influence = np.zeros((len(members), *grid.shape))
        apart_variance = np.zeros(grid.shape)
        for m, weight in enumerate(weights):
            about = eligible[m]
            of_points = outcomes.parts(m, g)[0][about]
            apart = of_best[m][about, None, None] - of_points
            n_groups = len(np.unique(numbers[about]))
            scale = weight / about.sum()
            centred = apart - apart.mean(axis=0)
            if n_groups > 1:
                scale *= np.sqrt(n_groups / (n_groups - 1))
                influence += scale * np.tensordot(members[:, about], centred, axes=1)
            elif about.sum() > 1:
                scale *= np.sqrt(about.sum() / (about.sum() - 1))
                apart_variance += ((scale * centred) ** 2).sum(axis=0)
            if too_little and not np.any(about & ~positive):
                apart_variance += (weight / (n_groups + 1)) ** 2
        result[g] = np.sqrt((influence**2).sum(axis=0) + apart_variance)
    return result


def _coarse(grid: Grid, best_bin: int, best_size: int) -> Grid:
    """Return a part of the grid, with the best point's and the usual threshold and size."""
    sizes = np.unique(np.append(_thin(grid.sizes, _SIZES), [grid.sizes[0], best_size]))
    if grid.levels is not None:
        return Grid(grid.bins, sizes, grid.levels, grid.n_levels)
    usual = np.array(GRID)
    usual = usual[(usual >= grid.bins[0]) & (usual <= grid.bins[-1])]
    far = _thin(grid.bins, _THRESHOLDS)
    bins = np.unique(np.concatenate([usual, far, [_HALF, best_bin]]))
    return Grid(bins.astype(np.int64), sizes)


def _thin(values: NDArray[np.generic], most: int) -> NDArray[np.generic]:
    """Return at most so many of ascending values, evenly spread, both ends among them."""
    if len(values) <= most:
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, most).round().astype(np.int64))]
