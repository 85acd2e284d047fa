"""Find the gates, thresholds and sizes at which limits can be kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.point_search.criteria import (
    Floats,
    Grid,
    Row,
    empty_counts,
    limit_measure,
    tally,
)
from rareseg.decision.point_search.grid_search import divide, keeps
from rareseg.decision.point_search.objectives import Limit


@dataclass(frozen=True, eq=False)
class LimitCounts:
    """What a limit counts in every case, behind a gate and before it.

    ``silent`` (2, n) are the numerators and denominators where the gate holds a case back,
    ``change`` (2, n, t, s) what is added where it passes.
    """

    limit: Limit
    silent: Floats
    change: Floats


def count_for_limit(limit: Limit, rows: Sequence[Row], grid: Grid) -> LimitCounts:
    """Return what a limit counts in ``rows`` at every point of a grid."""
    measure = limit_measure(limit)
    silent = np.zeros((2, len(rows)))
    change = np.zeros((2, len(rows), *grid.shape))
    for i, row in enumerate(rows):
        behind, shown = measure.of(empty_counts(row)), measure.of(tally(row, grid))
        for part in range(2):
            silent[part, i] = np.ravel(behind[part])[0]
            change[part, i] = shown[part] - silent[part, i]
    return LimitCounts(limit, silent, change)


def allowed_places(
    counts: Sequence[LimitCounts], admits: NDArray[np.bool_], cases: NDArray[np.bool_]
) -> NDArray[np.bool_] | None:
    """Return where all limits are kept by ``cases`` (n,), as (k, t, s); None without limits.

    ``admits`` (k, n) tells which cases each gate admits.
    """
    allowed: NDArray[np.bool_] | None = None
    passing = admits[:, cases].astype(np.float64)
    for counted in counts:
        change = counted.change[:, cases]
        top, bottom = (
            silent.sum() + np.tensordot(passing, part, axes=1)
            for silent, part in zip(counted.silent[:, cases], change, strict=True)
        )
        kept = keeps(counted.limit, divide(top, bottom))
        allowed = kept if allowed is None else allowed & kept
    return allowed
