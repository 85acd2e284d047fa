"""Compute each case's curve over thresholds: dice of positives, alarms of negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.default_point.smoothing import log_odds
from rareseg.decision.point_search.criteria import Floats, Grid, Ints, Row, tally
from rareseg.evaluation.statistics.intervals import group_numbers
from rareseg.evaluation.tables.score_table import CaseScores
from rareseg.evaluation.tables.threshold_bins import N_BINS, bin_edges, bin_of, bins_of

_STEP, _MOST_STEPS = 1 / 8, 400
"""How far thresholds lie apart in log-odds, and the most steps between the lowest and highest."""

_REACH = 34.0
"""Thresholds lie at most so far below the highest score: from 1 − 2⁻²⁴ that leads to 2⁻²⁵."""


@dataclass(frozen=True, eq=False)
class CaseCurves:
    """n cases in descending order of their image score, at t thresholds and s smallest components.

    ``shown`` (n, t, s) is the dice of a positive case, of a negative one 1 where anything is on and
    0 where nothing is, both before any gate. ``image_scores`` (n,) float32 are what a gate cuts,
    ``groups`` (n,) int64 number the groups, ``share`` (n,) is 1 / how many cases of its stratum a
    case's group has, so that groups weigh equally in sums of share · shown.
    """

    grid: Grid
    image_scores: NDArray[np.float32]
    positive: NDArray[np.bool_]
    groups: Ints
    share: Floats
    shown: Floats

    def n_groups(self, *, positive: bool) -> int:
        """Return how many groups have a positive, or a negative, case."""
        return len(np.unique(self.groups[self.positive == positive]))


def case_curves(rows: Sequence[Row], grid: Grid) -> CaseCurves:
    """Return the curves of ``rows``, which must stand in descending order of their image score."""
    positive = np.array([row.n_inside > 0 for row in rows], np.bool_)
    groups = group_numbers([row.group for row in rows])
    shown = np.zeros((len(rows), *grid.shape))
    for i, row in enumerate(rows):
        seen = tally(row, grid)
        if positive[i]:
            shown[i] = 2.0 * seen.tp / (seen.tp + seen.fp + seen.n_inside)
        else:
            shown[i] = seen.fp > 0
    return CaseCurves(
        grid=grid,
        image_scores=np.array([row.image_score for row in rows], np.float32),
        positive=positive,
        groups=groups,
        share=np.array(group_shares(positive, groups)),
        shown=shown,
    )


def group_shares(positive: NDArray[np.bool_], groups: Ints) -> Floats:
    """Return 1 / the number of cases of the same stratum and group, (n,)."""
    _, place, count = np.unique(2 * groups + positive, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / count[place], np.float64)


def threshold_bins(rows: Sequence[CaseScores], width: float) -> Ints:
    """Return bins whose edges lie about evenly in log-odds, over all that thresholds can do.

    From four smoothing widths below the lowest score in the region to the highest score of any
    case, and the bin above that, at which nothing is on. They lie ⅛ apart, or a quarter of
    ``width`` where that is less. One half is among them.
    """
    highest = max(int(row.bins[-1]) for row in rows)
    inside = [int(row.bins[row.inside > 0][0]) for row in rows if row.n_inside > 0]
    edges = bin_edges()
    top = float(log_odds(edges[highest]))
    low = max(float(log_odds(edges[min(inside, default=0)])), top - _REACH)
    low = max(low - 4.0 * width, float(log_odds(0.0)))
    step = min(_STEP, width / 4.0) if width > 0.0 else _STEP
    n_steps = int(np.clip(np.ceil((top - low) / step), 1, _MOST_STEPS))
    even = 1.0 / (1.0 + np.exp(-np.linspace(low, top, n_steps + 1)))
    named = [min(inside, default=0), highest, min(highest + 1, N_BINS - 1), bin_of(0.5)]
    bins = np.unique([*bins_of(even.astype(np.float32)), *named])
    # Near 1 several bins share an edge.
    return np.asarray(bins[np.append(np.diff(edges[bins]) > 0, True)], np.int64)
