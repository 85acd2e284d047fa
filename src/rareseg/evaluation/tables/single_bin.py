"""Detect scores that all lie in one bin, which no threshold separates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg.evaluation.tables.threshold_bins import N_BINS, bin_edges

NEARLY_ALL = 0.99
"""The least share of negative voxels that lie in the bin of all positive ones."""


@dataclass(frozen=True)
class OneBin:
    """The bin that holds all positive voxels of a region, and nearly all negative ones.

    Its scores lie from ``low`` up to ``high``; ``negatives`` is the share of negative voxels in it.
    """

    low: float
    high: float
    negatives: float

    @property
    def sentence(self) -> str:
        """What it means, in words."""
        share = "all" if self.negatives == 1.0 else f"{self.negatives:.1%} of the"
        return (
            f"all positive and {share} negative voxels score between {self.low:.6g} and "
            f"{self.high:.6g}, in one bin of the score table, so that every threshold takes all of "
            "them or none; spread the scores (a temperature on the logits keeps their order) or "
            "train longer"
        )


def find_one_bin(table: ScoreTable, *, region: str) -> OneBin | None:
    """Return the bin that holds all positive and at least 99 % of the negative voxels.

    None where there is no such bin, and where no voxel is positive or none negative. Raises
    UsageError where the region is not in the table.
    """
    inside, outside = np.zeros((2, N_BINS), np.int64)
    for row in table.select(region=region).rows:
        inside[row.bins] += row.inside
        outside[row.bins] += row.outside
    holding = np.flatnonzero(inside)
    if len(holding) != 1 or not outside.any():
        return None
    only = int(holding[0])
    negatives = float(outside[only] / outside.sum())
    if negatives < NEARLY_ALL:
        return None
    edges = bin_edges()
    return OneBin(float(edges[only]), float(edges[min(only + 1, N_BINS - 1)]), negatives)
