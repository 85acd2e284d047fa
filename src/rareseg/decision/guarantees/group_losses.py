"""Compute the losses of groups along a path of operating points.

A path is made from validation cases alone (:mod:`rareseg.decision.guarantees.point_path`) and leads
from the safest point to the boldest; the losses are those of other cases. That is what
:mod:`rareseg.decision.guarantees.risk_control` needs to be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.guarantees.guarantee import Guarantee
from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.measures.case_result import Cut
from rareseg.evaluation.metrics.overlap import cumulative
from rareseg.evaluation.statistics.intervals import group_numbers
from rareseg.evaluation.tables.component_table import CaseComponents, ComponentTable
from rareseg.evaluation.tables.score_table import CaseScores, ScoreTable
from rareseg.evaluation.tables.threshold_bins import bin_edges
from rareseg_runner.decision.component_size import Size

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Row: TypeAlias = CaseScores | CaseComponents
Table: TypeAlias = ScoreTable | ComponentTable


@dataclass(frozen=True, eq=False)
class Path:
    """Operating points from the safest to the boldest.

    ``threshold_bins`` (k,) int64 are bins whose edge is the threshold; ``gates`` (k,) float64;
    ``smallest_component`` is the same for all. ``worth`` (k,) float64 says which point to prefer
    among those that the guarantee holds for. ``grid`` are the bins of the component table that the
    thresholds are taken from, None where score tables will do.
    """

    threshold_bins: Ints
    gates: Floats
    smallest_component: Size
    worth: Floats
    grid: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.threshold_bins)

    def threshold(self, index: int) -> float:
        """Return the threshold of a point."""
        return float(bin_edges()[self.threshold_bins[index]])

    def best(self, reach: int) -> int:
        """Return which of the first ``reach`` points is worth most; of equals the boldest."""
        return reach - 1 - int(np.argmax(self.worth[:reach][::-1]))


@dataclass(frozen=True, eq=False)
class GroupLosses:
    """The losses (groups, points) float64 in [0, 1] of all groups with an eligible case."""

    losses: Floats
    n_cases: int
    assumes_independent_images: bool

    @property
    def n_groups(self) -> int:
        """How many groups there are."""
        return len(self.losses)

    def with_lost(self, n: int) -> GroupLosses:
        """Return the losses with ``n`` more groups whose loss is 1 at every point."""
        lost = np.ones((n, self.losses.shape[1]))
        return GroupLosses(
            np.concatenate([self.losses, lost]), self.n_cases, self.assumes_independent_images
        )


@dataclass(frozen=True, eq=False)
class PathCounts:
    """What is counted in one case at every point of a path; each (k,) int64.

    Voxels in the region and outside that are on; objects that are touched; components that hold a
    voxel that counts, and those of them that touch no object. The last three are zeros where a
    score table cannot tell.
    """

    tp: Ints
    fp: Ints
    objects_found: Ints
    components: Ints
    false_components: Ints


def needs_components(guarantee: Guarantee, point: Cut | Path) -> bool:
    """Tell whether histograms of the score cannot see what the guarantee at a point is about."""
    return guarantee.level == "object" or point.smallest_component.removes


def losses_along(rows: Sequence[Row], path: Path, guarantee: Guarantee) -> GroupLosses:
    """Return the loss of every group at every point of a path.

    ``rows`` are of one region, of a score table or of a component table on the path's grid. Cases
    that the guarantee is not about (negatives of a false-negative rate, positives of a false-alarm
    rate), or in which no voxel counts, are left out: a loss of 0 for them would dilute the
    guarantee by the prevalence. No eligible case gives (0, points).
    """
    kept = [row for row in rows if is_eligible(row, guarantee)]
    groups = [row.group for row in kept]
    numbers = group_numbers(groups)
    totals = np.zeros((int(numbers.max(initial=-1)) + 1, len(path)))
    for row, number in zip(kept, numbers, strict=True):
        if guarantee.within == "any":
            np.maximum(totals[number], case_loss(row, path, guarantee), out=totals[number])
        else:
            totals[number] += case_loss(row, path, guarantee)
    if guarantee.within == "mean":
        totals /= np.bincount(numbers, minlength=len(totals))[:, None]
    return GroupLosses(totals, len(kept), None in groups)


def is_eligible(row: Row, guarantee: Guarantee) -> bool:
    """Tell whether the guarantee is about a case."""
    return row.n_voxels > 0 and guarantee.is_about(positive=row.n_inside > 0)


def case_loss(row: Row, path: Path, guarantee: Guarantee) -> Floats:
    """Return the loss of an eligible case at every point of a path; (k,) in [0, 1].

    False negative rate: 1 − TP/(TP+FN) (voxel), the share of objects that nothing touches (object),
    1 where TP = 0 (image). False alarm rate: 1 where FP > 0 (image), FP/(FP+TN) (voxel). False
    discovery proportion: FP/(TP+FP) (voxel), the share of components that touch no object (object),
    0 where nothing is on.

    Raises UsageError for what histograms cannot see: objects, and a smallest component.
    """
    if isinstance(row, CaseScores) and needs_components(guarantee, path):
        raise UsageError(
            "Score tables do not see components, which a guarantee about objects or with a "
            f"smallest component of {path.smallest_component} needs; give component tables, or "
            "guarantee voxels or images with a smallest component of 0."
        )
    seen = tally(row, path)
    if guarantee.kind == "false negative rate":
        if guarantee.level == "image":
            return np.asarray((seen.tp == 0) * 1.0)
        if isinstance(row, CaseComponents) and guarantee.level == "object":
            return np.asarray(1.0 - seen.objects_found / row.n_objects)
        return np.asarray(1.0 - seen.tp / row.n_inside)
    if guarantee.kind == "false alarm rate":
        if guarantee.level == "image":
            return np.asarray((seen.fp > 0) * 1.0)
        return np.asarray(seen.fp / row.n_voxels)
    if guarantee.level == "object":
        return np.asarray(seen.false_components / np.maximum(seen.components, 1))
    return np.asarray(seen.fp / np.maximum(seen.tp + seen.fp, 1))


def tally(row: Row, path: Path) -> PathCounts:
    """Return what is counted in one case at every point of a path."""
    passes = np.float32(row.image_score) >= path.gates.astype(np.float32)
    if isinstance(row, CaseComponents):
        counts = _count_components(row, path)
    else:
        tp, fp = cumulative(row, path.threshold_bins)
        nothing = np.zeros(len(path), np.int64)
        counts = (tp, fp, nothing, nothing, nothing)
    return PathCounts(*(count * passes for count in counts))


def _count_components(row: CaseComponents, path: Path) -> tuple[Ints, ...]:
    """Return the counts of a tally from the components that the smallest component leaves."""
    if path.grid is None:
        raise ScoreError(
            "A path made from score tables cannot be followed in a component table; make it from "
            "the component table of the validation cases."
        )
    kept = row.sizes >= path.smallest_component.voxels(row.spacing)
    counting = kept & (row.inside + row.outside > 0)
    n = len(path.grid)

    def per_level(which: NDArray[np.bool_], weights: NDArray[np.int32] | None = None) -> Ints:
        chosen = None if weights is None else weights[which]
        return np.bincount(row.levels[which], chosen, minlength=n).astype(np.int64)

    pairs = kept[row.touching]
    touches = np.stack([row.levels[row.touching[pairs]].astype(np.int64), row.touched[pairs]])
    found = np.bincount(np.unique(touches, axis=1)[0].astype(np.int64), minlength=n)
    at = np.searchsorted(path.grid, path.threshold_bins)
    return tuple(
        count[at]
        for count in (
            per_level(kept, row.inside),
            per_level(kept, row.outside),
            found,
            per_level(counting),
            per_level(kept & row.is_false),
        )
    )
