"""Make a coarse grid of candidate points around the best one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.point_search.criteria import Criterion, Floats, Grid
from rareseg.decision.point_search.grid_search import Best, PointSearch, gates_between, over_gates
from rareseg.evaluation.tables.component_table import GRID
from rareseg.evaluation.tables.threshold_bins import bin_of
from rareseg_runner.decision.component_size import Size

_THRESHOLDS, _GATES, _SIZES = 64, 24, 8
"""At most so many of each are candidates, those of the best point and the usual ones aside.

The usual thresholds are those of the component tables: a quarter octave apart around one half.
"""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Every measure, (g, t, s), at gates (g,), descending, × thresholds × sizes.

    ``ratios`` stand in the order of the problem's measures, then the extra ones.
    """

    grid: Grid
    gates: Floats
    ratios: tuple[Floats, ...]


def candidates_near(
    problem: PointSearch, best: Best, extra: Sequence[Criterion] = ()
) -> Candidates:
    """Return a grid that holds the best point and the usual cut, and what is reached there."""
    rows = problem.rows
    grid = _coarse(problem.grid, bin_of(best.threshold), best.smallest_component)
    scores = [row.image_score for row in rows]
    last_of_ties = [i for i in range(1, len(rows)) if scores[i - 1] != scores[i]]
    between = [(n, gates_between(rows, [n])[0].middle) for n in last_of_ties]
    gates = dict(between[int(at)] for at in _thin(np.arange(len(between)), _GATES))
    if best.gate > 0.0:
        reached = np.array(scores, np.float32) >= np.float32(best.gate)
        gates[int(reached.sum())] = best.gate
    gates[len(rows)] = 0.0
    passing = over_gates(problem, grid, (*problem.measures, *extra))
    kept = [(gates[n], ratios) for n, ratios in passing if n in gates]
    return Candidates(
        grid=grid,
        gates=np.array([gate for gate, _ in kept]),
        ratios=tuple(
            np.stack(parts) for parts in zip(*(ratios for _, ratios in kept), strict=True)
        ),
    )


def _coarse(grid: Grid, best_bin: int, best_size: Size) -> Grid:
    """Return a part of the grid, with the best point's and the usual threshold and size."""
    places = _thin(np.arange(len(grid.sizes)), _SIZES)
    kept = {*(grid.sizes[int(at)] for at in places), best_size}
    sizes = tuple(sorted(kept, key=lambda size: size.amount))
    if grid.levels is not None:
        return replace(grid, sizes=sizes)
    usual = np.array(GRID)
    usual = usual[(usual >= grid.bins[0]) & (usual <= grid.bins[-1])]
    far = _thin(grid.bins, _THRESHOLDS)
    bins = np.unique(np.concatenate([usual, far, [bin_of(0.5), best_bin]]))
    return Grid(bins.astype(np.int64), sizes)


def _thin(values: NDArray[np.generic], most: int) -> NDArray[np.generic]:
    """Return at most so many of ascending values, evenly spread, both ends among them."""
    if len(values) <= most:
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, most).round().astype(np.int64))]
