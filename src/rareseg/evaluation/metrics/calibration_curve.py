"""Compute the calibration curve and its errors from score tables.

The tables keep the mean score of every bin exactly, so that nothing here knows binning errors:
the intervals of the curve begin and end at bin edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rareseg.errors import UsageError
from rareseg.evaluation.statistics.undefined import Value, ratio
from rareseg.evaluation.tables.score_steps import Weighting
from rareseg.evaluation.tables.score_table import CaseScores, ScoreTable
from rareseg.evaluation.tables.threshold_bins import N_BINS, bin_of

Floats = NDArray[np.float64]
Intervals = Literal["sixteenths", "octaves"]

_NONE = "no voxel counts"


@dataclass(frozen=True, eq=False)
class CalibrationCurve:
    """Mean score against the share of voxels in the region, per interval of the score.

    ``lows`` and ``highs`` (k,) bound the intervals that hold a voxel, ascending; ``confidence`` is
    the mean score there, ``frequency`` the share in the region, ``weight`` the share of all voxels
    (Σ = 1). Everything is empty where no voxel counts.
    """

    region: str
    lows: Floats
    highs: Floats
    confidence: Floats
    frequency: Floats
    weight: Floats
    n_cases: int
    n_voxels: int


def calibration_curve(
    table: ScoreTable,
    *,
    region: str,
    intervals: Intervals = "sixteenths",
    weighting: Weighting = "voxel",
) -> CalibrationCurve:
    """Return the calibration curve of one region.

    "sixteenths" are 16 intervals of equal width, as the expected calibration error wants them;
    "octaves" halve the score (above one half, the distance from 1) from interval to interval, down
    to 2⁻¹⁶, so that a rare class shows what it does where its scores lie. Up to one half an
    interval holds its lower end, above it its upper end. ``weighting`` "case" gives every case the
    same weight. Raises UsageError for unknown intervals.
    """
    if intervals not in ("sixteenths", "octaves"):
        raise UsageError(
            f"The intervals '{intervals}' are not known; allowed: sixteenths, octaves."
        )
    rows = [row for row in table.select(region=region).rows if row.n_voxels > 0]
    inside, total, scores = np.zeros(N_BINS), np.zeros(N_BINS), np.zeros(N_BINS)
    for row in rows:
        scale = 1.0 / row.n_voxels if weighting == "case" else 1.0
        inside[row.bins] += row.inside * scale
        total[row.bins] += (row.inside + row.outside) * scale
        scores[row.bins] += score_sums(row) * scale
    ends = _ends(intervals)
    starts = np.array([_first_bin(end) for end in ends[:-1]])
    n, hits, sums = (np.add.reduceat(column, starts) for column in (total, inside, scores))
    held = n > 0
    return CalibrationCurve(
        region=region,
        lows=ends[:-1][held],
        highs=ends[1:][held],
        confidence=sums[held] / n[held],
        frequency=hits[held] / n[held],
        weight=n[held] / n.sum() if held.any() else n[held],
        n_cases=len(rows),
        n_voxels=sum(row.n_voxels for row in rows),
    )


def _ends(intervals: Intervals) -> Floats:
    """Return the ends of the intervals, from 0 to 1."""
    if intervals == "sixteenths":
        return np.arange(17) / 16.0
    below = 2.0 ** np.arange(-16, 0)
    return np.concatenate([[0.0], below, 1.0 - below[-2::-1], [1.0]])


def _first_bin(end: float) -> int:
    """Return the first bin above an interval's end: the one after it, where the end is above ½."""
    return bin_of(end) + (1 if end > 0.5 else 0)


def score_sums(row: CaseScores) -> Floats:
    """Return the sum of the scores in each of a row's bins, (k,) float64, exact up to rounding.

    Within a bin the score is linear in its lower 16 bits, whose sums the row keeps.
    """
    half = bin_of(0.5)
    bins = row.bins.astype(np.int64)
    upper = bins > half
    key = np.where(upper, 2 * half - bins, bins).astype(np.uint32)
    start = (key << np.uint32(16)).view(np.float32).astype(np.float64)
    step = ((key + np.uint32(1)) << np.uint32(16)).view(np.float32).astype(np.float64) - start
    n = (row.inside + row.outside).astype(np.float64)
    distance = n * start + (row.inside_low + row.outside_low) * (step / 2**16)
    return np.where(upper, n - distance, distance)


def expected_calibration_error(curve: CalibrationCurve) -> Value:
    """Return ``Σ weight · |frequency − confidence|``, in [0, 1] (Guo et al. 2017, eq. 3).

    Undefined where no voxel counts. Where nearly all voxels are background with scores near 0 it is
    near 0 whatever the rest does: read it beside the curve in octaves.
    """
    gaps = np.abs(curve.frequency - curve.confidence)
    return ratio(float((curve.weight * gaps).sum()), float(len(gaps) > 0), undefined=_NONE)


def largest_calibration_error(curve: CalibrationCurve, *, least_weight: float = 0.0) -> Value:
    """Return the largest |frequency − confidence| (Guo et al. 2017, eq. 5).

    Only intervals with at least ``least_weight`` of the voxels count. Undefined where none does.
    """
    gaps = np.abs(curve.frequency - curve.confidence)[curve.weight >= least_weight]
    return ratio(float(gaps.max(initial=0.0)), float(len(gaps) > 0), undefined=_NONE)


def overconfidence(curve: CalibrationCurve) -> Value:
    """Return the mean of confidence − frequency over voxels scored above one half.

    Above 0 the scores are overconfident where they say "in the region". Undefined where no voxel is
    scored above one half.
    """
    high = curve.lows >= 0.5
    weight = curve.weight[high]
    gaps = curve.confidence[high] - curve.frequency[high]
    return ratio(
        float((weight * gaps).sum()),
        float(weight.sum()),
        undefined="no voxel is scored above one half",
    )
