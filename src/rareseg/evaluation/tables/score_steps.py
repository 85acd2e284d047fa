"""Rank the voxels of several cases by score, as finely as their tables keep it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rareseg.evaluation.tables.score_table import COLUMNS, CaseScores
from rareseg.evaluation.tables.threshold_bins import N_BINS, bins_of, low_bits

Floats = NDArray[np.float64]
Weighting = Literal["voxel", "case"]


@dataclass(frozen=True, eq=False)
class ScoreSteps:
    """Positive and negative voxels in steps of falling score.

    ``positive`` and ``negative`` (k,) float64 are the weights of each step, ``hits`` (k,) int64 the
    number of positive voxels, whatever their weight. ``exact`` (k,) says which steps are single
    scores, ``tied`` (k,) where all voxels of a bin seem to have one score as well; elsewhere their
    order within the step is not known.
    """

    positive: Floats
    negative: Floats
    hits: NDArray[np.int64]
    exact: NDArray[np.bool_]
    tied: NDArray[np.bool_]


def score_steps(rows: Sequence[CaseScores], *, weighting: Weighting = "voxel") -> ScoreSteps:
    """Return the steps of all rows together, "case" with the voxels of each case weighing 1.

    Down to the highest floor of any row
    (:class:`~rareseg.evaluation.tables.highest_scores.HighestScores`) every score is a step; below,
    every bin. Rows without a voxel that counts add nothing.
    """
    rows = [row for row in rows if row.n_voxels > 0]
    floor = max((row.highest.floor for row in rows), default=0.0)
    exact = [row.highest.above(floor) for row in rows]
    weights = [1.0 / row.n_voxels if weighting == "case" else 1.0 for row in rows]
    scores, place = np.unique(
        np.concatenate([np.empty(0, np.float32), *(own.scores for own in exact)]),
        return_inverse=True,
    )
    lengths = [len(own.scores) for own in exact]
    weight = np.repeat(weights, lengths)
    inside = np.concatenate([np.empty(0, np.int64), *(own.inside for own in exact)])
    outside = np.concatenate([np.empty(0, np.int64), *(own.outside for own in exact)])
    n = len(scores)
    positive, negative = (np.bincount(place, weight * own, n) for own in (inside, outside))
    hits = np.bincount(place, inside, n).astype(np.int64)

    rest = {name: np.zeros(N_BINS, np.int64) for name in COLUMNS}
    below = np.zeros((2, N_BINS))
    for row, own, scale in zip(rows, exact, weights, strict=True):
        left = _left(row, own.scores, own.inside, own.outside)
        for name, total in rest.items():
            total[row.bins] += left[name]
        below[0, row.bins] += left["inside"] * scale
        below[1, row.bins] += left["outside"] * scale
    bins = np.flatnonzero(rest["inside"] + rest["outside"])[::-1]
    tied = _tied(**{name: total[bins] for name, total in rest.items()})
    return ScoreSteps(
        np.concatenate([positive[::-1], below[0, bins]]),
        np.concatenate([negative[::-1], below[1, bins]]),
        np.concatenate([hits[::-1], rest["inside"][bins]]),
        np.arange(n + len(bins)) < n,
        np.concatenate([np.ones(n, np.bool_), tied]),
    )


def _left(
    row: CaseScores,
    scores: NDArray[np.float32],
    inside: NDArray[np.int64],
    outside: NDArray[np.int64],
) -> dict[str, NDArray[np.int64]]:
    """Return the columns of a row without the voxels at ``scores``."""
    at = np.searchsorted(row.bins, bins_of(scores))
    low = low_bits(scores)
    left = {name: getattr(row, name).copy() for name in COLUMNS}
    for name, gone in (
        ("inside", inside),
        ("outside", outside),
        ("inside_low", inside * low),
        ("outside_low", outside * low),
    ):
        # Unbuffered, since several scores may lie in one bin.
        np.subtract.at(left[name], at, gone)
    return left


def _tied(
    inside: NDArray[np.int64],
    outside: NDArray[np.int64],
    inside_low: NDArray[np.int64],
    outside_low: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Tell where all voxels of a bin have one score: both means of the low bits are it.

    Means that are whole numbers, and equal, without a tie are rare and only in small bins.
    """
    mean_inside, rest_inside = np.divmod(inside_low, np.maximum(inside, 1))
    mean_outside, rest_outside = np.divmod(outside_low, np.maximum(outside, 1))
    one_sided = (inside == 0) | (outside == 0)
    whole = (rest_inside == 0) & (rest_outside == 0)
    return np.asarray(whole & (one_sided | (mean_inside == mean_outside)))
