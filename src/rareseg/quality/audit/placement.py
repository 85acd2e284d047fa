"""Check whether a mask lies where its image has edges, or fits shifted or mirrored.

A mask's outline is compared with the image with the correlation of the image and the Laplacian of
the smoothed mask, which is the sum of the image's slope across the outline: large where the image
changes there in the same direction everywhere, whatever the contrast. It is computed at once for
every small shift (by the convolution theorem) and expressed in standard deviations over these
shifts. The same for the mirrored mask. What a data set's outlines are worth is judged over all of
its cases, so that nothing is said where outlines follow no edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from rareseg.quality.audit.finding import Move
from rareseg_runner.image_records import IGNORE

Floats = NDArray[np.float32]

MOST_VOXELS = 600_000
"""Larger images are reduced by averaging blocks."""
MOST_PARTS = 3
"""How many classes and how many channels are looked at."""
LEAST_VOXELS = 12
"""A class needs so many voxels to have an outline."""
SIGMA = 1.5
"""Voxels by which the mask is smoothed."""
REACH = 24
"""Largest shift that is looked at, in (reduced) voxels; never more than a quarter of the image."""
NEAR = 3
"""A mask lies right within so many (reduced) voxels: annotators are not more exact."""
LEAST_CASES = 8
"""Fewer cases with an outline say nothing of what outlines are worth."""
LEAST_ALIGNED = 0.4
"""So large a share of the outlines must lie right before any can be said to lie wrong."""
BETTER = 1.6
"""A mask fits elsewhere where it fits so many times as well as where it is drawn."""
MOST = 0.8
"""So large a share must need the same movement before the whole data set is said to need it."""


@dataclass(frozen=True)
class MaskFit:
    """How well a mask fits, in standard deviations over shifts, and where."""

    score: float
    move: Move = field(default=Move())


@dataclass(frozen=True)
class Alignment:
    """How well one case's mask fits as it is drawn, ``away`` from there, and ``mirrored``."""

    drawn: MaskFit
    away: MaskFit
    mirrored: tuple[MaskFit, ...]

    @property
    def best_other(self) -> MaskFit:
        """The best fit that is not the drawn one."""
        return max((self.away, *self.mirrored), key=lambda fit: fit.score)


@dataclass(frozen=True)
class MisplacedMasks:
    """Which masks fit better elsewhere.

    ``moves`` leads from case id to where its mask fits. ``whole`` is a movement that most of the
    data set needs. ``silent`` says why nothing could be judged, and is "" where it could.
    ``n_judged`` cases had an outline, ``aligned`` is the share of them whose mask lies right.
    """

    moves: Mapping[str, MaskFit]
    whole: Move | None = None
    silent: str = ""
    n_judged: int = 0
    aligned: float = 0.0


def measure_alignment(
    image: NDArray[Any], labels: NDArray[np.uint8], spacing: tuple[float, float, float]
) -> Alignment | None:
    """Return how a case's outline fits; ``None`` where too little is drawn or the image is flat.

    ``image`` is (C, z, y, x), ``labels`` (z, y, x) class indices, ``spacing`` (z, y, x) in mm.
    Along axes whose voxels are more than twice as long as the shortest, slopes are not looked at.
    """
    factor = _reduction(labels.shape)
    fine = [spacing[axis] <= 2.0 * min(spacing[1:]) for axis in range(3)]
    fine[0] = fine[0] and labels.shape[0] > 1
    channels = [_shrink(channel, factor) for channel in image[:MOST_PARTS]]
    reach = [min(REACH, size // 4) for size in channels[0].shape]
    shape = [
        fft.next_fast_len(n + 2 * r, True) for n, r in zip(channels[0].shape, reach, strict=True)
    ]
    spectra = [fft.rfftn(channel - channel.mean(), shape) for channel in channels if channel.std()]
    counts = np.bincount(labels.ravel(), minlength=IGNORE + 1)[1:IGNORE]
    classes = [int(k) + 1 for k in np.argsort(-counts)[:MOST_PARTS] if counts[k] >= LEAST_VOXELS]
    if not spectra or not classes or min(reach[1:]) <= NEAR:
        return None
    slopes = [_slope(_shrink(labels == k, factor), fine) for k in classes]

    def scores(move: Move) -> Floats:
        return _scores([move.apply(slope) for slope in slopes], spectra, shape, reach)

    window = scores(Move())
    middle = tuple(slice(max(0, r - NEAR), r + NEAR + 1) for r in reach)
    drawn = MaskFit(float(window[middle].max()))
    window[middle] = 0.0
    place = np.unravel_index(int(window.argmax()), window.shape)
    z, y, x = ((int(p) - r) * f for p, r, f in zip(place, reach, factor, strict=True))
    away = MaskFit(float(window.max()), Move((z, y, x)))
    mirrored = tuple(
        MaskFit(float(scores(move)[middle].max()), move) for move in _mirrors(slopes[0].shape)
    )
    return Alignment(drawn, away, mirrored)


def find_misplaced(alignments: Mapping[str, Alignment]) -> MisplacedMasks:
    """Judge every mask against the distribution over the data set.

    A mask is misplaced where it fits elsewhere as well as right ones do where they are, better
    than 95 % of the right ones do anywhere else, and more than 1.6 times as well as where it is
    drawn.
    """
    found = list(alignments.items())
    if len(found) < LEAST_CASES:
        return MisplacedMasks({}, silent="too few cases have an outline", n_judged=len(found))
    right = [(a.drawn.score, a.best_other.score) for _, a in found if _lies_right(a)]
    share = len(right) / len(found)
    if share < LEAST_ALIGNED:
        whole = _needed_by_most(alignments)
        silent = "" if whole else "outlines follow no edges that are plain enough"
        return MisplacedMasks({}, whole, silent, len(found), share)
    usual, elsewhere = np.array(right).T
    least = max(float(np.percentile(elsewhere, 95)), 0.7 * float(np.median(usual)))
    moves = {
        name: fit.best_other
        for name, fit in found
        if fit.best_other.score >= max(least, BETTER * fit.drawn.score)
    }
    return MisplacedMasks(moves, None, "", len(found), share)


def _lies_right(alignment: Alignment) -> bool:
    return alignment.drawn.score > alignment.best_other.score


def _needed_by_most(alignments: Mapping[str, Alignment]) -> Move | None:
    """Return the movement that most cases need, the same for all, or ``None``."""
    best = [
        found.best_other.move
        for found in alignments.values()
        if found.best_other.score >= BETTER * found.drawn.score
    ]
    if len(best) < MOST * len(alignments):
        return None
    flips = [(move.flips, move.transposed) for move in best]
    common = max(flips, key=flips.count)
    own = [move for move, flip in zip(best, flips, strict=True) if flip == common]
    z, y, x = (round(float(value)) for value in np.median([move.shift for move in own], axis=0))
    agreed = sum(
        max(abs(a - b) for a, b in zip(move.shift, (z, y, x), strict=True)) <= NEAR for move in own
    )
    return Move((z, y, x), *common) if agreed >= MOST * len(alignments) else None


def _scores(slopes: list[Floats], spectra: list[Any], shape: list[int], reach: list[int]) -> Floats:
    """Return the fit at every shift within ``reach``, (2·rz+1, 2·ry+1, 2·rx+1)."""
    near = np.ix_(*[np.arange(-r, r + 1) for r in reach])
    energy = np.zeros([2 * r + 1 for r in reach], np.float32)
    for slope in slopes:
        spectrum = np.conj(fft.rfftn(slope, shape))
        for own in spectra:
            window = fft.irfftn(own * spectrum, shape)[near]
            spread = float(window.std())
            if spread > 0:
                energy += ((window - window.mean()) / spread) ** 2
    return np.asarray(np.sqrt(energy / (len(slopes) * len(spectra))), np.float32)


def _slope(part: Floats, fine: list[bool]) -> Floats:
    """Return the Laplacian of the smoothed mask along the axes that are fine enough.

    A mask that the image's border cuts has no outline there.
    """
    sigma = [SIGMA * is_fine for is_fine in fine]
    return np.asarray(
        sum(
            ndimage.gaussian_filter(
                part, sigma, [2 * (k == axis) for k in range(3)], mode="nearest"
            )
            for axis in range(3)
            if fine[axis]
        ),
        np.float32,
    )


def _mirrors(shape: tuple[int, ...]) -> tuple[Move, ...]:
    """Return the ways in which masks are commonly exported wrongly, as far as the shape allows."""
    axes = (1, 2) if shape[0] == 1 else (0, 1, 2)
    flips = [flip for n in (1, 2) for flip in combinations(axes, n) if n == 1 or flip == (1, 2)]
    moves = [Move(flips=flip) for flip in flips]
    if shape[1] == shape[2]:
        moves += [Move(flips=flip, transposed=True) for flip in ((), (1,), (2,), (1, 2))]
    return tuple(moves)


def _reduction(shape: tuple[int, ...]) -> list[int]:
    """Return by how much each axis is reduced: y and x first, z where that is not enough."""
    factor = [1, 1, 1]
    while np.prod([n / f for n, f in zip(shape, factor, strict=True)]) > MOST_VOXELS:
        longest = max(range(3), key=lambda axis: shape[axis] / factor[axis])
        for axis in (1, 2) if longest else (0,):
            factor[axis] *= 2
    return factor


def _shrink(array: NDArray[Any], factor: list[int]) -> Floats:
    """Return the means of blocks, float32; what fills no block at the end is left out."""
    values = np.nan_to_num(array.astype(np.float32), posinf=0.0, neginf=0.0)
    if factor == [1, 1, 1]:
        return values
    z, y, x = (n // f for n, f in zip(values.shape, factor, strict=True))
    cut = values[: z * factor[0], : y * factor[1], : x * factor[2]]
    blocks = cut.reshape(z, factor[0], y, factor[1], x, factor[2])
    return np.asarray(blocks.mean(axis=(1, 3, 5)), np.float32)
