"""Count what every operating point of a grid does: thresholds, component sizes, gates.

Read from component tables alone, in memory of cases × thresholds × sizes; the images are not
touched again. The counts equal those of the masks that the point writes, exactly. A gate needs no
axis: a case whose image score is below it shows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.data.records import Role
from rareseg.evaluation.metrics.overlap import Counts
from rareseg.evaluation.tables.component_table import (
    CaseComponents,
    ComponentTable,
    largest_per_object,
)
from rareseg_runner.decision.component_size import Size, SizeLike, as_sizes

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PointGrid:
    """Counts of one region at every threshold and smallest component, before any gate.

    ``thresholds`` (t,) float32 and ``smallest`` (s,) ascend. Per case (n,): ``image_scores``
    (what a gate cuts), ``n_inside``, ``n_voxels`` (those that count) and ``n_objects``. Per
    case, threshold and size (n, t, s) int64: true and false positive voxels ``tp`` and ``fp``,
    the objects touched ``found`` and the components that touch none ``false_components``.
    """

    region: str
    case_ids: tuple[str, ...]
    groups: tuple[str | None, ...]
    roles: tuple[Role | None, ...]
    thresholds: NDArray[np.float32]
    smallest: tuple[Size, ...]
    image_scores: NDArray[np.float64]
    n_inside: Integers
    n_voxels: Integers
    n_objects: Integers
    tp: Integers
    fp: Integers
    found: Integers
    false_components: Integers

    @property
    def is_positive(self) -> NDArray[np.bool_]:
        """Which cases hold the region, (n,)."""
        return np.asarray(self.n_inside > 0)

    @property
    def is_negative(self) -> NDArray[np.bool_]:
        """Which cases have voxels that count, none of them in the region, (n,)."""
        return np.asarray((self.n_inside == 0) & (self.n_voxels > 0))

    def admitted(self, gate: float) -> NDArray[np.bool_]:
        """Return which cases reach a gate, (n,)."""
        return np.asarray(self.image_scores.astype(np.float32) >= np.float32(gate))

    def counts(self, case: int, level: int, size: int, gate: float = 0.0) -> Counts:
        """Return one case's confusion counts at one point."""
        shown = bool(self.admitted(gate)[case])
        tp = int(self.tp[case, level, size]) if shown else 0
        fp = int(self.fp[case, level, size]) if shown else 0
        positives = int(self.n_inside[case])
        return Counts(tp, fp, positives - tp, int(self.n_voxels[case]) - positives - fp)


def point_grid(
    table: ComponentTable, *, region: str, smallest: Sequence[SizeLike] = (0,)
) -> PointGrid:
    """Return the counts of one region's cases at every threshold of the table and every size.

    ``smallest`` ascend, as an operating point's smallest component. Raises UsageError where they
    are none, negative, not ascending or of several units, or the region is not in the table.
    """
    sizes = as_sizes(smallest)
    rows = table.select(region=region).rows
    shape = (len(rows), len(table.grid), len(sizes))
    tp, fp, found, false = (np.zeros(shape, np.int64) for _ in range(4))
    for i, row in enumerate(rows):
        voxels = np.array([size.voxels(row.spacing) for size in sizes], np.int64)
        tp[i], fp[i], found[i], false[i] = counts_over_sizes(row, len(table.grid), voxels)
    return PointGrid(
        region=region,
        case_ids=tuple(row.case_id for row in rows),
        groups=tuple(row.group for row in rows),
        roles=tuple(row.role for row in rows),
        thresholds=table.thresholds,
        smallest=sizes,
        image_scores=np.array([row.image_score for row in rows], np.float64),
        n_inside=np.array([row.n_inside for row in rows], np.int64),
        n_voxels=np.array([row.n_voxels for row in rows], np.int64),
        n_objects=np.array([row.n_objects for row in rows], np.int64),
        tp=tp,
        fp=fp,
        found=found,
        false_components=false,
    )


def counts_over_sizes(
    row: CaseComponents, n_levels: int, smallest: Integers
) -> tuple[Integers, Integers, Integers, Integers]:
    """Return one case's (tp, fp, objects found, false components), each (t, s) int64.

    A component is kept at size s where it has at least ``smallest[s]`` voxels, an object is found
    where the largest component that touches it is kept.
    """
    kept_at = np.searchsorted(smallest, row.sizes, side="right")  # kept at so many sizes
    cells = row.levels.astype(np.int64) * (len(smallest) + 1) + kept_at

    def total(weights: NDArray[np.generic], where: Integers = cells) -> Integers:
        """Sum weights over all entries that are kept at a size, for every size."""
        flat = np.bincount(where, weights, minlength=n_levels * (len(smallest) + 1))
        # What is kept at s sizes is kept at the first s: summed from the last size to the first,
        # without the column of components that no size keeps.
        sums = flat.reshape(n_levels, len(smallest) + 1)[:, ::-1].cumsum(axis=1)[:, -2::-1]
        return np.asarray(np.rint(sums), np.int64)

    largest = largest_per_object(row, n_levels)
    levels, _ = np.nonzero(largest)
    object_cells = levels * (len(smallest) + 1) + np.searchsorted(
        smallest, largest[largest > 0], side="right"
    )
    return (
        total(row.inside),
        total(row.outside),
        total(np.ones(len(object_cells)), object_cells),
        total(row.is_false.astype(np.float64)),
    )
