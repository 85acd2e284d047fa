"""Bin scores by the spacing of floats, in one pass over the voxels.

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

from dataclasses import dataclass
from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray

from rareseg_runner.image_records import IGNORE

_HALF = 0x3F00
"""u(½): the bin of the score one half."""

_LAST = 2 * _HALF
"""The bin of the score 1: bins above one half mirror those below."""

N_BINS = _LAST + 1
"""How many bins there are."""

_SHIFT = 40
"""Where the count begins in a packed cell; the sum of 16-bit remainders lies below it."""

_BLOCK = 2 ** (_SHIFT - 16)
"""How many voxels a packed cell can take before either part could overflow."""

_LABEL_SHIFT = 15
"""A cell is the label's lowest two bits, then the bin: neighbouring scores share a cache line."""

_N_CELLS = 4 << _LABEL_SHIFT

_STRIP = 2048
"""How many voxels are prepared at a time."""


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

    The formula of this module's head, in numpy; :func:`histogram` does the same, compiled.
    """
    scores = np.asarray(scores, np.float32) + np.float32(0.0)  # turns -0.0 into 0.0
    key = (_near(scores) >> np.uint32(16)).astype(np.int32)
    return np.where(scores > 0.5, _LAST - key, key).astype(np.int32)


def low_bits(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return what the bins cut off scores in [0, 1]: the lower 16 bits of p, of 1 − p above ½."""
    return (_near(scores) & np.uint32(0xFFFF)).astype(np.int64)


def _near(scores: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return the bits of the smaller of p and 1 − p."""
    return np.where(scores > 0.5, np.float32(1.0) - scores, scores).view(np.uint32)


def bin_of(score: float) -> int:
    """Return the bin of one score in [0, 1]."""
    return int(bins_of(np.array([score], np.float32))[0])


def middle_edge(low_bin: int, high_bin: int) -> float:
    """Return the edge halfway between two bins, counted in bins (inclusive on both sides)."""
    return float(bin_edges()[(low_bin + high_bin) // 2])


@dataclass(frozen=True)
class Histogram:
    """What one pass over the voxels of a case has seen.

    ``bins`` (k,) uint16, ascending, are the bins that hold a voxel that counts; ``inside`` and
    ``outside`` (k,) int64 count them. ``inside_low`` and ``outside_low`` (k,) int64 are the sums of
    what the bins cut off, the lower 16 bits of p (of 1 − p above ½): p is linear in them within a
    bin, so they keep the mean score exactly, and tell true ties from binning. ``top`` is the
    largest score, ignored voxels included. ``wrong_scores`` voxels had a score that is NaN or
    outside [0, 1], ``wrong_labels`` a label other than 0, 1 and IGNORE; where either is not 0, the
    rest is worthless.
    """

    bins: NDArray[np.uint16]
    inside: NDArray[np.int64]
    outside: NDArray[np.int64]
    inside_low: NDArray[np.int64]
    outside_low: NDArray[np.int64]
    top: float
    wrong_scores: int
    wrong_labels: int


def histogram(scores: NDArray[np.float32], labels: NDArray[np.uint8]) -> Histogram:
    """Return the histogram of flat ``scores`` (n,) float32 under ``labels`` (n,) uint8.

    One pass, in 3 MB whatever n is. n = 0 gives no bins and top 0.
    """
    totals = np.zeros((2, _N_CELLS), np.uint64)  # per cell: the count, the sum of low bits
    wrong_scores, wrong_labels, top_bits = 0, 0, 0
    for start in range(0, scores.size, _BLOCK):
        block = scores[start : start + _BLOCK]
        # Anew for each block: its two sums share 64 bits, which more voxels would overflow.
        packed = np.zeros(_N_CELLS, np.uint64)
        seen = _fill(block, block.view(np.uint32), labels[start : start + _BLOCK], packed)
        totals[0] += packed >> np.uint64(_SHIFT)
        totals[1] += packed & np.uint64(2**_SHIFT - 1)
        wrong_scores, wrong_labels = wrong_scores + seen[0], wrong_labels + seen[1]
        top_bits = max(top_bits, seen[2])
    cells = totals.view(np.int64).reshape(2, 4, -1)  # outside, inside, –, ignored
    (outside, inside), (outside_low, inside_low) = cells[:, :2, :N_BINS]
    bins = np.flatnonzero(inside + outside)
    return Histogram(
        bins=bins.astype(np.uint16),
        inside=inside[bins],
        outside=outside[bins],
        inside_low=inside_low[bins],
        outside_low=outside_low[bins],
        top=float(np.uint32(top_bits).view(np.float32)),
        wrong_scores=wrong_scores,
        wrong_labels=wrong_labels,
    )


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fill(
    scores: NDArray[np.float32],
    bits: NDArray[np.uint32],
    labels: NDArray[np.uint8],
    packed: NDArray[np.uint64],
) -> tuple[int, int, int]:
    """Add count and low bits of every voxel to its cell.

    Returns (wrong scores, wrong labels, bits of the top score). ``bits`` are the scores' own. A
    cell is label × bin, so that nothing branches on the label: one addition per voxel does it all.
    Short strips stay in the cache between simple loops, most of which the compiler turns into
    vector instructions.
    """
    one, half = np.float32(1.0), np.float32(0.5)
    # The smaller of p and 1 − p is the one whose bits are the key: that is p up to one half.
    near = np.empty(_STRIP, np.float32)
    near_bits = near.view(np.uint32)
    cells = np.empty(_STRIP, np.uint32)
    too_large = np.uint32((_HALF + 1) << 16)
    wrong_scores, wrong_labels = 0, 0
    top = np.uint32(0)
    for start in range(0, scores.size, _STRIP):
        strip = scores[start : start + _STRIP]
        own = bits[start : start + _STRIP]
        label = labels[start : start + _STRIP]
        for i in range(strip.size):
            p = strip[i]
            mirrored = one - p
            near[i] = p if p < mirrored else mirrored
        largest = np.uint32(0)
        for i in range(strip.size):
            largest = max(largest, near_bits[i])
        if largest >= too_large:  # NaN, and negative scores and distances: their sign bit is set
            for i in range(strip.size):
                wrong_scores += near_bits[i] >= too_large
            continue
        for i in range(strip.size):
            top = max(top, own[i])
        for i in range(strip.size):
            wrong_labels += (label[i] > 1) & (label[i] != IGNORE)
        for i in range(strip.size):
            key = near_bits[i] >> np.uint32(16)
            row = np.uint32(_LAST) - key if strip[i] > half else key
            cells[i] = (np.uint32(label[i] & np.uint8(3)) << np.uint32(_LABEL_SHIFT)) | row
        for i in range(strip.size):
            low = np.uint64(near_bits[i] & np.uint32(0xFFFF))
            packed[cells[i]] += np.uint64(1 << _SHIFT) + low
    return wrong_scores, wrong_labels, int(top)
