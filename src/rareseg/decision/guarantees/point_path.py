"""Make the path of operating points from the safest to the chosen one.

It is made from validation cases alone, so that whatever stands for a guarantee along it has no say
in it.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.guarantees.group_losses import (
    Floats,
    Ints,
    Path,
    Table,
    losses_along,
    needs_components,
    tally,
)
from rareseg.decision.guarantees.guarantee import Guarantee
from rareseg.errors import UsageError
from rareseg.evaluation.measures.case_result import Cut
from rareseg.evaluation.metrics.overlap import occurring_bins
from rareseg.evaluation.tables.component_table import ComponentTable
from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg.evaluation.tables.threshold_bins import bin_edges, bin_of
from rareseg_runner.decision.component_size import ANY_SIZE, Size

Number = TypeVar("Number", bound=np.generic)

STEPS = 512
"""At most so many points on a path along which losses only grow, ends and tops aside."""

_THRESHOLDS, _GATES, _FRONTIER = 48, 24, 128
"""The grid that a path of a loss without an order is drawn from, and the most points on it."""


def path_to(point: Cut, validation: Table, guarantee: Guarantee) -> Path:
    """Return the path that ends at a point chosen on validation cases, or passes by it.

    ``validation`` is all that the path depends on: a score table, or a component table, whose grid
    then holds the thresholds (a point between two of them counts as the safer one). Both of the
    point's region.

    *False negative rate*: from the lowest threshold up to the point's, gate and size as they are;
    but without them where on validation cases they alone cost more than half of α. *False alarm
    rate*:
    a gate that falls to the point's own, threshold and size as they are, from the highest that any
    positive validation case passes; it goes below the threshold only where images have a presence,
    since an image whose largest score is below the threshold shows nothing anyway. *False discovery
    proportion*: of a grid of thresholds and gates those that no other beats in both the loss and
    the worth (mean dice + specificity), in the order of their loss (Pareto
    testing, Laufer-Goldshtein et al., arXiv 2210.07913).

    The point itself is worth most: what validation cases chose stands wherever the guarantee does.
    Raises UsageError where the guarantee needs a component table and ``validation`` is none.
    """
    if needs_components(guarantee, point) and not isinstance(validation, ComponentTable):
        raise UsageError(
            "Score tables do not see components, which a guarantee about objects or with a "
            f"smallest component of {point.smallest_component} needs; give component tables, or "
            "guarantee voxels or images with a smallest component of 0."
        )
    if guarantee.kind == "false negative rate":
        return _rising_thresholds(point, validation, guarantee)
    if guarantee.kind == "false alarm rate":
        return _falling_gates(point, validation)
    return _frontier(point, validation, guarantee)


def validation_terms(
    validation: Table, path: Path
) -> tuple[Floats | None, Floats | None, NDArray[np.bool_]]:
    """Return (mean dice of positives, specificity, whether anything is found).

    Each is (points,), at every point of a path; None where there is no positive, or no negative.
    """
    dice, clean = np.zeros(len(path)), np.zeros(len(path))
    n_positive = n_negative = 0
    finds = np.zeros(len(path), np.bool_)
    for row in validation.rows:
        seen = tally(row, path)
        if row.n_inside:
            n_positive += 1
            dice += 2.0 * seen.tp / (seen.tp + seen.fp + row.n_inside)
            finds |= seen.tp > 0
        elif row.n_voxels:
            n_negative += 1
            clean += seen.fp == 0
    return (
        dice / n_positive if n_positive else None,
        clean / n_negative if n_negative else None,
        finds,
    )


def _rising_thresholds(point: Cut, validation: Table, guarantee: Guarantee) -> Path:
    last = _threshold_bin(point, validation, safer="lower")
    if isinstance(validation, ComponentTable):
        below = np.array([k for k in validation.grid if k < last], np.int64)
    else:
        inside = [row.bins[row.inside > 0].astype(np.int64) for row in validation.rows]
        seen = np.unique(np.concatenate([np.zeros(1, np.int64), *inside]))
        below = _thin(seen[seen < last], STEPS)
    bins = np.append(below, last)
    path = _path(bins, np.full(len(bins), point.gate), point.smallest_component, validation)
    if point.gate > 0.0 or point.smallest_component.removes:
        floor = losses_along(validation.rows, path, guarantee).losses[:, 0]
        if floor.size and float(floor.mean()) > guarantee.alpha / 2:
            return _path(bins, np.zeros(len(bins)), ANY_SIZE, validation)
    return path


def _falling_gates(point: Cut, validation: Table) -> Path:
    threshold = _threshold_bin(point, validation, safer="higher")
    last = bin_of(point.gate)
    if not validation.has_presence(point.region):
        last = max(last, threshold)
    passed = max(
        (bin_of(row.image_score) for row in validation.rows if row.n_inside > 0), default=last
    )
    reached = np.unique([bin_of(row.image_score) for row in validation.rows]).astype(np.int64)
    # Most bins lie far below the lowest image score, where a few gates will do.
    lowest = max(last + 1, int(reached[0])) if len(reached) else last + 1
    below = _thin(np.arange(last + 1, lowest), STEPS // 8)
    above = _thin(np.arange(lowest, passed + 1), STEPS)
    above = np.concatenate([below, above, _thin(reached, STEPS)])
    falling = np.unique(above[(above > last) & (above <= passed)])[::-1]
    gates = np.append(bin_edges()[falling].astype(np.float64), point.gate)
    return _path(np.full(len(gates), threshold), gates, point.smallest_component, validation)


def _frontier(point: Cut, validation: Table, guarantee: Guarantee) -> Path:
    own = _threshold_bin(point, validation, safer="higher")
    occurring = (
        np.array(validation.grid)
        if isinstance(validation, ComponentTable)
        else _thin(occurring_bins(validation.rows), _THRESHOLDS)
    )
    thresholds = np.unique(np.append(occurring, own))
    tops = np.unique([row.image_score for row in validation.rows])
    gates = np.unique(np.append(_thin(tops, _GATES), [0.0, point.gate]))
    # Without a presence a gate below the threshold does what no gate does.
    low_gates = validation.has_presence(point.region)
    pairs = np.array(
        [
            (k, gate)
            for k in thresholds
            for gate in gates
            if low_gates or gate == 0.0 or bin_of(gate) >= k
        ]
        + [(own, point.gate)]
    )
    grid = _path(pairs[:, 0].astype(np.int64), pairs[:, 1], point.smallest_component, validation)
    losses = losses_along(validation.rows, grid, guarantee).losses.mean(axis=0)
    dice, clean, finds = validation_terms(validation, grid)
    worth = np.sum([term for term in (dice, clean) if term is not None], axis=0)
    is_point = np.arange(len(grid)) == len(grid) - 1
    # Ascending loss; of equal losses the one that predicts least first.
    order = np.lexsort((-grid.threshold_bins, -grid.gates, worth, losses))
    best_before = np.maximum.accumulate(worth[order])
    first_of_loss = np.searchsorted(losses[order], losses[order], side="left")
    beaten = (first_of_loss > 0) & (best_before[first_of_loss - 1] >= worth[order])
    kept = order[(~beaten & finds[order]) | is_point[order]]
    place = int(np.flatnonzero(is_point[kept])[0])
    chosen = kept[np.union1d(_thin(np.arange(len(kept)), _FRONTIER), [place])]
    return Path(
        grid.threshold_bins[chosen],
        grid.gates[chosen],
        grid.smallest_component,
        np.where(is_point[chosen], np.inf, worth[chosen]),
        grid.grid,
    )


def _path(bins: Ints, gates: Floats, smallest_component: Size, validation: Table) -> Path:
    """Return a path on which the boldest point is worth most."""
    return Path(
        np.asarray(bins, np.int64),
        np.asarray(gates, np.float64),
        smallest_component,
        np.arange(len(bins), dtype=np.float64),
        validation.grid if isinstance(validation, ComponentTable) else None,
    )


def _threshold_bin(point: Cut, validation: Table, *, safer: str) -> int:
    """Return the bin of the point's threshold, or of the safer neighbour in a table's grid."""
    own = bin_of(point.threshold)
    if isinstance(validation, ScoreTable):
        return own
    grid = np.array(validation.grid)
    if safer == "lower":
        return int(grid[max(0, int(np.searchsorted(grid, own, side="right")) - 1)])
    return int(grid[min(len(grid) - 1, int(np.searchsorted(grid, own)))])


def _thin(values: NDArray[Number], most: int) -> NDArray[Number]:
    """Return at most so many of ascending values, evenly spread, both ends among them."""
    if len(values) <= most:
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, most).round().astype(np.int64))]
