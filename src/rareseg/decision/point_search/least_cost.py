"""Find the point of least cost, and the best masks among points that cannot be told apart.

Costs of images and objects count what is touched at all, so that ever larger masks find ever more
by one voxel: the very least cost lies at masks that nobody would draw. Of all points within one
standard error of it the one of most dice is taken, as the one-standard-error rule takes the
simplest of models (Breiman, Friedman, Olshen & Stone 1984, section 3.4.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from rareseg.decision.point_search.criteria import DICE, Floats, empty_counts, tally
from rareseg.decision.point_search.grid_search import (
    TIE,
    Best,
    PointSearch,
    at_bin,
    gates_between,
    over_gates,
    plateau_of,
)
from rareseg.evaluation.statistics.intervals import group_numbers
from rareseg.evaluation.statistics.jackknife import standard_error, without_each


def find_least_cost(problem: PointSearch) -> Best | None:
    """Return the point of most dice within one standard error of the least cost.

    The error is the jackknife's over groups, at the point of least cost; of one group it is 0. A
    point that costs as much as predicting nothing is not taken where one is cheaper. Limits are
    kept throughout. None where no point keeps them.
    """
    silent = -np.inf
    least, at = -np.inf, (0, 0, 0)
    for admitted, ratios in over_gates(problem, problem.grid, problem.measures):
        value = problem.value(ratios)
        if admitted == 0:
            silent = float(value[0, 0])
        elif value.max() > least + TIE:
            row, column = np.unravel_index(int(value.argmax()), value.shape)
            least, at = float(value.max()), (admitted, int(row), int(column))
    if least == -np.inf:
        return None
    floor = least - _error(problem, *at) - TIE
    if least >= silent + TIE:
        floor = max(floor, silent + TIE)
    best: tuple[float, int, int, Floats] | None = None
    for admitted, value, dice in _values(problem):
        near = np.where(value >= floor, dice, -np.inf)
        # More images admitted at equal dice: a gate only where it gains.
        if admitted and (best is None or near.max() >= best[0] - TIE):
            size = int(np.argmax(near.max(axis=0)))
            best = float(near.max()), admitted, size, near
    assert best is not None, "the point of least cost is within its own error"
    top, admitted, size, near = best
    first, last = plateau_of(problem.grid, near[:, size] >= top - TIE)
    low, high, threshold = at_bin(problem.grid, first, last)
    gate = 0.0
    if admitted < len(problem.rows):
        gate = gates_between(problem.rows, [admitted])[0].middle
    at_edge = first == 0 or last == len(problem.grid.bins) - 1
    return Best(least, low, high, threshold, problem.grid.sizes[size], gate, at_edge)


def _values(problem: PointSearch) -> Iterator[tuple[int, Floats, Floats]]:
    """Yield for every gate how many cases it admits, the objective and the mean dice (t, s)."""
    for admitted, ratios in over_gates(problem, problem.grid, (*problem.measures, DICE)):
        yield admitted, problem.value(ratios[:-1]), ratios[-1]


def _error(problem: PointSearch, admitted: int, level: int, size: int) -> float:
    """Return the standard error of the mean cost at one point, over groups."""
    (measure,) = problem.terms.measures
    grid = problem.grid
    cut = replace(grid.at(grid.bins[[level]]), sizes=(grid.sizes[size],))
    costs = [
        float(
            np.asarray(
                measure.of(tally(row, cut, share) if k < admitted else empty_counts(row, share))[0]
            ).item()
        )
        for k, (row, share) in enumerate(zip(problem.rows, problem.shares, strict=True))
    ]
    numbers = group_numbers([row.group for row in problem.rows])
    sizes = np.bincount(numbers).astype(np.float64)
    if len(sizes) < 2:
        return 0.0
    return standard_error(without_each(np.bincount(numbers, costs).astype(np.float64), sizes))
