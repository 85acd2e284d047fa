"""Two cases that show the same thing, laid over each other, to see whether their masks agree.

Each case is kept as a miniature, grey values and the share of every class in each of its voxels.
One is mirrored and turned in every way and shifted to where it fits the other best (by the
convolution theorem); where the images then correlate well, classes are compared voxel by voxel.
Otherwise nothing is said of outlines, only of which classes occur and how much of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from rareseg.quality.audit.finding import Move

Floats = NDArray[np.float32]

LONGEST = {2: 96, 3: 32}
"""Voxels of a miniature's longest side, in photographs and in volumes."""
ALIGNED = 0.6
"""From this correlation on, two miniatures lie over each other."""
PLAIN = 0.8
"""From this correlation on, no other mirror or turn is tried."""
SAME = 0.5
"""Below this overlap (dice), two masks of the same content differ."""
CLEAR = 3.0
"""Areas differ where one is more than so many times the other."""
LEAST = 8.0
"""Voxels of the original image below which a class is hardly drawn at all."""


@dataclass(frozen=True, eq=False)
class Miniature:
    """A case made small: ``grey`` (z, y, x) and ``shares`` (classes − 1, z, y, x) in [0, 1].

    ``factor`` is how many of the original's voxels lie under one of the miniature's.
    """

    grey: Floats
    shares: Floats
    factor: float

    @property
    def areas(self) -> Floats:
        """The share of the image that each class of foreground covers."""
        return np.asarray(self.shares.mean(axis=(1, 2, 3)), np.float32)


@dataclass(frozen=True)
class Compared:
    """Whether two masks of the same content differ, and what is seen ("" where they do not)."""

    differ: bool
    words: str


def shrink_case(image: NDArray[Any], labels: NDArray[np.uint8], n_classes: int) -> Miniature:
    """Return the miniature of an image (C, z, y, x) and its class indices (z, y, x)."""
    longest = LONGEST[2 if labels.shape[0] == 1 else 3]
    scale = longest / max(labels.shape)
    shape = [max(1, round(n * scale)) if n > 1 else 1 for n in labels.shape]
    grey = np.nan_to_num(image.mean(axis=0, dtype=np.float32), posinf=0.0, neginf=0.0)
    shares = [_resize((labels == k).astype(np.float32), shape) for k in range(1, n_classes)]
    stacked = np.stack(shares) if shares else np.zeros((0, *shape), np.float32)
    return Miniature(_resize(grey, shape), stacked, float(labels.size / np.prod(shape)))


def compare_masks(first: Miniature, second: Miniature, names: tuple[str, ...]) -> Compared:
    """Say whether two masks of the same content differ; ``names`` are those of the classes.

    The background comes first among ``names``.
    """
    a, whole = first.shares, second.shares
    drawn_a, drawn_whole = _voxels(a, first.factor), _voxels(whole, second.factor)
    for k, name in enumerate(names[1:]):
        own, other = float(drawn_a[k]), float(drawn_whole[k])
        if min(own, other) < 1.0 and max(own, other) >= LEAST:
            words = f"{name} is drawn in one ({max(own, other):,.0f} voxels) and not in the other"
            return Compared(True, words)
    if max(float(drawn_a.sum()), float(drawn_whole.sum())) < LEAST:
        return Compared(False, "")
    correlation, move = _align(first.grey, second.grey)
    b = np.stack([_fitted(part, a.shape[1:], move) for part in whole])
    drawn_b = _voxels(b, first.factor)
    worst, worst_name = 1.0, ""
    if correlation >= ALIGNED:
        # What lies beyond the common field of view cannot agree.
        if float(drawn_b.sum()) < 0.5 * float(drawn_whole.sum()):
            return Compared(False, "")
        for k, name in enumerate(names[1:]):
            if max(drawn_a[k], drawn_b[k]) >= LEAST:
                overlap = _overlap(a[k], b[k])
                if overlap < worst:
                    worst, worst_name = overlap, name
        if worst < SAME:
            return Compared(True, f"the masks of {worst_name} overlap by {worst:.2f}")
        return Compared(False, "")
    for k, name in enumerate(names[1:]):
        own, other = float(first.areas[k]), float(second.areas[k])
        if min(own, other) > 0 and max(own, other) > CLEAR * min(own, other):
            words = f"{name} covers {max(own, other) / min(own, other):.1f} times as much in one"
            return Compared(True, words)
    return Compared(False, "")


def _voxels(shares: Floats, factor: float) -> Floats:
    return np.asarray(shares.sum(axis=(1, 2, 3)) * factor, np.float32)


def _overlap(a: Floats, b: Floats) -> float:
    """Return the dice of two shares, at the best of the shifts by one voxel."""
    total = float(a.sum() + b.sum())
    steps = [(-1, 0, 1) if size > 1 else (0,) for size in a.shape]
    shifted = (np.roll(b, step, (0, 1, 2)) for step in product(*steps))
    return max(2.0 * float(np.minimum(a, other).sum()) / total for other in shifted)


def _align(first: Floats, second: Floats) -> tuple[float, Move]:
    """Return the correlation at the best mirror, turn and shift, and that movement of the second.

    Both are freed of slow changes of light; shifts go up to a quarter of each side.
    """
    best = (-1.0, Move())
    reach = [n // 4 for n in first.shape]
    shape = [fft.next_fast_len(n + r, True) for n, r in zip(first.shape, reach, strict=True)]
    near = np.ix_(*[np.arange(-r, r + 1) for r in reach])
    spectrum = fft.rfftn(_structure(first), shape)
    for move in _orientations(first.shape[0] == 1):
        other = _structure(_fitted(second, first.shape, move))
        score = fft.irfftn(spectrum * np.conj(fft.rfftn(other, shape)), shape)[near] / first.size
        place = np.unravel_index(int(score.argmax()), score.shape)
        if score[place] > best[0]:
            z, y, x = (int(p) - r for p, r in zip(place, reach, strict=True))
            best = (float(score[place]), Move((z, y, x), move.flips, move.transposed))
        if best[0] >= PLAIN:
            break
    return best


def _orientations(flat: bool) -> tuple[Move, ...]:
    axes = (1, 2) if flat else (0, 1, 2)
    choices = product((False, True), repeat=len(axes))
    flips = [tuple(axis for axis, on in zip(axes, chosen, strict=True) if on) for chosen in choices]
    turned = (False, True) if flat else (False,)
    return tuple(Move(flips=flip, transposed=turn) for turn in turned for flip in flips)


def _fitted(array: Floats, shape: tuple[int, ...], move: Move) -> Floats:
    """Return an array (z, y, x) moved, at another shape."""
    turned = np.swapaxes(array, 1, 2) if move.transposed else array
    resized = _resize(turned, list(shape))
    return np.asarray(Move(move.shift, move.flips).apply(resized), np.float32)


def _structure(grey: Floats) -> Floats:
    """Return grey values without slow changes, mean 0 and deviation 1 (0 where flat)."""
    sigma = [n / 8 if n > 1 else 0.0 for n in grey.shape]
    rest = grey - ndimage.gaussian_filter(grey, sigma)
    spread = float(rest.std())
    return np.asarray((rest - rest.mean()) / (spread if spread > 0 else 1.0), np.float32)


def _resize(array: Floats, shape: list[int]) -> Floats:
    """Return the array at another shape: every axis by the means of what lies under a voxel."""
    for axis, size in enumerate(shape):
        if array.shape[axis] != size:
            array = _resize_axis(array, axis, size)
    return array


def _resize_axis(array: Floats, axis: int, size: int) -> Floats:
    edges = np.linspace(0.0, array.shape[axis], size + 1)
    total = np.concatenate(
        [np.zeros_like(array.take([0], axis)), np.cumsum(array, axis, dtype=np.float64)], axis
    )
    low = np.floor(edges).astype(int).clip(0, array.shape[axis] - 1)
    part = (edges - low).reshape([-1 if k == axis else 1 for k in range(array.ndim)])
    at_edges = total.take(low, axis) * (1 - part) + total.take(low + 1, axis) * part
    widths = np.diff(edges).reshape([-1 if k == axis else 1 for k in range(array.ndim)])
    return np.asarray(np.diff(at_edges, axis=axis) / widths, np.float32)
