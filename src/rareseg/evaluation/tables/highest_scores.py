"""Keep the highest scores of a case exactly, for ranking among few positives.

Bins lose the order of the voxels within them. That matters where a bin holds a good part of all
voxels at or above it: at the top. So the voxels of the highest scores are counted once more, score
by score, as many as are cheap to keep; like histograms these counts add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from rareseg.evaluation.tables.threshold_bins import N_BINS, Histogram, bin_edges
from rareseg_runner.image_records import IGNORE

MOST_SCORES = 4096
"""So many different scores are kept of a case."""

MOST_VOXELS = 65_536
"""Whole bins are kept, from the highest down, while they hold so many voxels that score below 1."""


@dataclass(frozen=True, eq=False)
class HighestScores:
    """The voxels at the highest scores of a case.

    ``scores`` (m,) float32, ascending, with the voxels ``inside`` and ``outside`` the region at
    each, (m,) int64. They are all voxels that count with a score of ``floor`` or more: 0 where none
    is left out, infinite where none is known.
    """

    scores: NDArray[np.float32]
    inside: NDArray[np.int64]
    outside: NDArray[np.int64]
    floor: float

    def above(self, floor: float) -> HighestScores:
        """Return those at or above ``floor``, which is not below one's own."""
        kept = self.scores >= np.float32(floor)
        return HighestScores(self.scores[kept], self.inside[kept], self.outside[kept], floor)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HighestScores):
            return NotImplemented
        return (
            self.floor == other.floor
            and np.array_equal(self.scores, other.scores)
            and np.array_equal(self.inside, other.inside)
            and np.array_equal(self.outside, other.outside)
        )

    __hash__ = None  # type: ignore[assignment]


UNKNOWN = HighestScores(
    np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64), float("inf")
)
"""What is known of tables of earlier versions."""


def highest_scores(
    scores: NDArray[np.float32], labels: NDArray[np.uint8], seen: Histogram
) -> HighestScores:
    """Return the highest of flat ``scores`` (n,) under ``labels`` (n,), whose histogram is known.

    Kept are all voxels of the highest bins that together hold at most :data:`MOST_VOXELS` (those of
    score 1, which may be many, not counted), and of these the :data:`MOST_SCORES` highest scores.
    """
    counts = seen.inside + seen.outside
    lowest = _floor(seen.bins, counts)
    # Ties apart, twice as many voxels as scores are wanted hold them all.
    enough = np.flatnonzero(np.cumsum(_below_one(seen.bins, counts)[::-1]) >= 2 * MOST_SCORES)
    if len(enough):
        first = float(bin_edges()[seen.bins[::-1][enough[0]]])
        if first > lowest:
            found = _distinct(scores, labels, first)
            if len(found.scores) > MOST_SCORES:
                return _trimmed(found)
    return _trimmed(_distinct(scores, labels, lowest))


def add_highest(
    parts: Sequence[HighestScores], bins: NDArray[np.integer], counts: NDArray[np.int64]
) -> HighestScores:
    """Return the highest scores of a whole, from those of its parts and its histogram.

    ``counts`` (k,) are all voxels in the whole's ``bins`` (k,). It is what :func:`highest_scores`
    returns for the whole, since no part leaves out a score that the whole keeps.
    """
    floor = max(_floor(bins, counts), *(part.floor for part in parts))
    kept = [part.above(floor) for part in parts]
    scores, place = np.unique(np.concatenate([p.scores for p in kept]), return_inverse=True)
    inside, outside = np.zeros((2, len(scores)), np.int64)
    np.add.at(inside, place, np.concatenate([part.inside for part in kept]))
    np.add.at(outside, place, np.concatenate([part.outside for part in kept]))
    return _trimmed(HighestScores(scores, inside, outside, floor))


def _below_one(bins: NDArray[np.integer], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the counts without those of the last bin, which holds the score 1 alone."""
    return np.where(bins == N_BINS - 1, 0, counts)


def _floor(bins: NDArray[np.integer], counts: NDArray[np.int64]) -> float:
    """Return the edge above the highest bin that does not fit, 0 where all bins do."""
    too_many = np.flatnonzero(np.cumsum(_below_one(bins, counts)[::-1]) > MOST_VOXELS)
    if not len(too_many):
        return 0.0
    return float(bin_edges()[int(bins[::-1][too_many[0]]) + 1])


def _trimmed(found: HighestScores) -> HighestScores:
    """Return the :data:`MOST_SCORES` highest, with the floor above the first that is left out."""
    if len(found.scores) <= MOST_SCORES:
        return found
    # Scores at or above the floor are complete, so that it lies just above what is left out.
    left_out = found.scores[-MOST_SCORES - 1]
    return found.above(float(np.nextafter(left_out, np.float32(2.0))))


def _distinct(
    scores: NDArray[np.float32], labels: NDArray[np.uint8], floor: float
) -> HighestScores:
    """Return every score at or above ``floor`` with its voxels."""
    keys, ones = _gather(scores, labels, np.float32(floor), MOST_VOXELS)
    keys.sort()
    bits, side = keys >> np.uint32(1), keys & np.uint32(1)
    # No score has these bits, so that the first entry always begins a new score.
    first = np.flatnonzero(np.diff(bits, prepend=np.uint32(2**32 - 1)) != 0)
    n_both = np.diff(first, append=len(keys))
    inside = np.add.reduceat(side, first, dtype=np.int64) if len(first) else n_both
    by_side = np.stack([n_both - inside, inside])
    found = bits[first].view(np.float32)
    if ones.any():
        found = np.append(found, np.float32(1.0))
        by_side = np.concatenate([by_side, ones[:, None]], axis=1)
    return HighestScores(found, by_side[1], by_side[0], floor)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _gather(
    scores: NDArray[np.float32], labels: NDArray[np.uint8], floor: np.float32, most: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return bits · 2 + label of every voxel with ``floor`` ≤ score < 1, and the (2,) voxels at 1.

    A score's bits are ordered as scores are, and leave their highest bit free. ``most`` voxels at
    most lie between.
    """
    keys = np.empty(most, np.uint32)
    bits = scores.view(np.uint32)
    ones = np.zeros(2, np.int64)
    n = 0
    for i in range(scores.size):
        if scores[i] >= floor and labels[i] != IGNORE:
            if scores[i] < np.float32(1.0):
                keys[n] = (bits[i] << np.uint32(1)) | np.uint32(labels[i])
                n += 1
            else:
                ones[labels[i]] += 1
    return keys[:n], ones
