"""Evaluate an operating point that was set by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rareseg.decision.operating_point.choose import only_role
from rareseg.decision.operating_point.point import OperatingPoint
from rareseg.decision.point_search.component_sizes import fitting_sizes
from rareseg.decision.point_search.criteria import (
    CLEAN,
    DICE,
    Criterion,
    Grid,
    Row,
    empty_counts,
    tally,
)
from rareseg.errors import UsageError
from rareseg.evaluation.statistics.intervals import count_groups
from rareseg.evaluation.statistics.undefined import Undefined, Value, ratio
from rareseg.evaluation.tables.component_table import ComponentTable
from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg.evaluation.tables.threshold_bins import bin_edges, bin_of
from rareseg_runner.decision.component_size import ANY_SIZE, Size, SizeLike

BY_HAND = "set by hand"


def fixed_point(
    scores: ScoreTable,
    components: ComponentTable,
    *,
    region: str,
    threshold: float,
    smallest_component: SizeLike = ANY_SIZE,
    gate: float = 0.0,
) -> OperatingPoint:
    """Return the point as it is given, with the dice and the clean share that it reaches.

    Both are Undefined where the tables do not count at the threshold: a score table counts at the
    edges of its bins, a component table, which a smallest component needs, at those of its grid.
    Raises UsageError where threshold or gate lie outside [0, 1] or the size is none or does not fit
    the images, and as
    :func:`~rareseg.decision.operating_point.choose_operating_point` for the cases.
    """
    for name, value in (("threshold", threshold), ("gate", gate)):
        if not 0.0 <= value <= 1.0:
            raise UsageError(f"The {name} is {value:g}; it must lie between 0 and 1.")
    (size,) = fitting_sizes((smallest_component,), components)
    # The cut is made in the scores' own arithmetic.
    threshold, gate = float(np.float32(threshold)), float(np.float32(gate))
    table = components if size.removes else scores
    rows: list[Row] = [row for row in table.select(region=region).rows if row.n_voxels > 0]
    role = only_role(rows, region)
    grid = _grid(components, threshold, size)
    groups = [row.group for row in rows]
    n_positive = sum(row.n_inside > 0 for row in rows)
    return OperatingPoint(
        region=region,
        threshold=threshold,
        gate=gate,
        smallest_component=size,
        objective=BY_HAND,
        value=Undefined(BY_HAND),
        mean_dice=_mean(DICE, rows, grid, gate),
        share_clean=_mean(CLEAN, rows, grid, gate),
        role=role,
        n_positive=n_positive,
        n_negative=len(rows) - n_positive,
        n_groups=count_groups(groups),
        assumes_independent_images=None in groups,
    )


def _grid(components: ComponentTable, threshold: float, smallest: Size) -> Grid | None:
    """Return the one point as a grid, or None where nothing is counted there."""
    at = bin_of(threshold)
    if float(bin_edges()[at]) != threshold:
        return None
    bins = np.array([at], np.int64)
    if not smallest.removes:
        return Grid(bins, (ANY_SIZE,))
    level = np.flatnonzero(components.thresholds == np.float32(threshold))
    return Grid(bins, (smallest,), level, len(components.grid)) if len(level) else None


def _mean(measure: Criterion, rows: Sequence[Row], grid: Grid | None, gate: float) -> Value:
    if grid is None:
        return Undefined("the tables do not count at this threshold")
    total = cases = 0.0
    for row in rows:
        passes = np.float32(row.image_score) >= np.float32(gate)
        counted = tally(row, grid) if passes else empty_counts(row)
        above, below = measure.of(counted)
        total += float(np.ravel(above)[0])
        cases += float(np.ravel(below)[0])
    return ratio(total, cases, undefined="no such case")
