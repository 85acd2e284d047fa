"""Bins that follow the float's own spacing, and the one pass over the voxels that fills them.

The best threshold of a rare class can lie at 0.02 or at 0.9999, so bins of equal width lose it.
Here the bin of a score p is

    b(p) = u(p)                  for p ≤ ½
    b(p) = N − 1 − u(1 − p)      for p > ½

where u(x) is the upper 16 bits of the float32 x: sign, exponent and 7 bits of the mantissa. Bins
are thus at most 2⁻⁷ of their own distance from 0 (or from 1) wide, and 1 − p is exact in float32
for p > ½ (Sterbenz' lemma), so that b is a monotone function of p. There are N = 32,257 bins;
½ itself is a bin edge.
"""

from __future__ import annotations

from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray

from rareseg.data.records import IGNORE

_HALF = 0x3F00
"""u(½): the bin of the score one half."""

_LAST = 2 * _HALF

N_BINS = _LAST + 1
"""How many bins there are."""

_COLUMNS = 4
"""Histogram columns: outside, inside, (unused), ignored. A label's column is its lowest 2 bits."""


@cache
def bin_edges() -> NDArray[np.float32]:
    """Return the smallest float32 score of every bin: shape (N_BINS,), non-decreasing, read-only.

    ``score >= bin_edges()[k]`` holds exactly where the score's bin is ≥ k. Very near 1 the float
    grid (2⁻²⁴) is coarser than the bins of 1 − p: there several bins hold no score and share the
    edge of the next one that does.
    """
    lower = (np.arange(_HALF + 1, dtype=np.uint32) << 16).view(np.float32)
    # Bin N-1-j holds 1-p in [f(j), f(j+1)); p is a multiple of 2^-24, hence its largest 1-p is
    # the largest multiple below f(j+1).
    j = np.arange(_HALF - 1, -1, -1, dtype=np.uint32)
    bound = ((j + 1) << 16).view(np.float32).astype(np.float64)
    largest = (np.ceil(bound * 2.0**24) - 1.0) * 2.0**-24
    edges = np.concatenate([lower, (1.0 - largest).astype(np.float32)])
    edges.flags.writeable = False
    return edges


def bins_of(scores: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the bin of every score in [0, 1]; same shape.

    The formula of this module's head, in numpy; :func:`histogram` is its compiled twin.
    """
    scores = np.asarray(scores, np.float32) + np.float32(0.0)  # turns -0.0 into 0.0
    upper = scores > 0.5
    distance = np.where(upper, np.float32(1.0) - scores, scores)
    key = (distance.view(np.uint32) >> np.uint32(16)).astype(np.int32)
    return np.where(upper, _LAST - key, key).astype(np.int32)


def bin_of(score: float) -> int:
    """Return the bin of one score in [0, 1]."""
    return int(bins_of(np.array([score], np.float32))[0])


def middle_edge(low_bin: int, high_bin: int) -> float:
    """Return the edge halfway between two bins, counted in bins (inclusive on both sides)."""
    return float(bin_edges()[(low_bin + high_bin) // 2])


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def histogram(
    scores: NDArray[np.float32], labels: NDArray[np.uint8], counts: NDArray[np.int64]
) -> tuple[int, int, float]:
    """Add every voxel to ``counts`` in one pass, without any allocation.

    ``scores`` (n,) float32; ``labels`` (n,) uint8: 0 outside, 1 inside, IGNORE; ``counts``
    (N_BINS × 4,) int64, column = lowest two bits of the label. Returns the number of scores that
    are NaN or outside [0, 1], the number of labels that are none of the three, and the largest
    score, ignored voxels included. Counts are worthless where either number is not 0.
    """
    one = np.float32(1.0)
    zero = np.float32(0.0)
    wrong_scores = 0
    wrong_labels = 0
    top = np.uint32(0)
    for i in range(scores.size):
        score = scores[i] + zero  # turns -0.0 into 0.0
        bits = np.float32(score).view(np.uint32)
        mirrored = np.float32(one - score).view(np.uint32)
        # Above one half, and also NaN and negative scores: their mirrored key exceeds _HALF.
        upper = bits > np.uint32(_HALF << 16)
        key = np.int64((mirrored if upper else bits) >> np.uint32(16))
        if key > _HALF:
            wrong_scores += 1
            continue
        top = max(top, bits)
        label = labels[i]
        wrong_labels += (label > 1) & (label != IGNORE)
        row = _LAST - key if upper else key
        counts[row * _COLUMNS + (label & 3)] += 1
    return wrong_scores, wrong_labels, float(np.uint32(top).view(np.float32))


def new_counts() -> NDArray[np.int64]:
    """Return zeros for :func:`histogram` to add to."""
    return np.zeros(N_BINS * _COLUMNS, np.int64)


def columns(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the (inside, outside) histograms, each (N_BINS,), as views."""
    table = counts.reshape(N_BINS, _COLUMNS)
    return table[:, 1], table[:, 0]
