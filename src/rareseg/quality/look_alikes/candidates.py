"""Which pairs are worth laying on each other: those whose spectra are close.

All spectra are brought to their principal components over the data set, so that what all images
have in common says nothing and what tells them apart counts, and compared by matrix products in
blocks: the time grows with the square of the number of cases, but at 10,000 it is seconds, and
the memory grows with their number alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from rareseg.quality.look_alikes.portraits import F32, Portrait, Symmetry, reorder, symmetries

NEIGHBOURS = 16
"""How many of the closest (case, symmetry) are looked at, for every case."""
COMPONENTS = 64
LEAST_CLOSE = 0.35
"""Cosine of two spectra below which a pair is not looked at."""
_SAMPLE = 2000
_BLOCK = 256

Candidate = tuple[int, int, Symmetry]
"""Two positions, the first smaller, and how the second may have to be transformed."""


class Spectra:
    """The spectra of portraits of one dimension, in every symmetry, ready to be compared."""

    def __init__(self, portraits: Sequence[Portrait]) -> None:
        self.symmetries = symmetries(portraits[0].picture.ndim)
        orders = [reorder(portraits[0].picture.ndim, s) for s in self.symmetries]
        raw = np.stack([portrait.spectrum for portrait in portraits])
        sample = raw[:: -(-len(raw) // _SAMPLE)].astype(np.float32).reshape(-1, raw[0].size)
        mean = sample.mean(0)
        _, sizes, components = np.linalg.svd(sample - mean, full_matrices=False)
        kept = sizes[:COMPONENTS] > 1e-4 * max(float(sizes[0]), 1e-9)
        # Half-way to equal variance: strong components say more than weak ones, but not all.
        basis = (components[:COMPONENTS][kept] / np.sqrt(sizes[:COMPONENTS][kept])[:, None]).T
        self.variants: list[F32] = []
        for order in orders:
            rows = raw[:, :, order].reshape(len(raw), -1).astype(np.float32)
            along = (rows - mean) @ basis
            length = np.linalg.norm(along, axis=1, keepdims=True)
            self.variants.append(np.asarray(along / np.maximum(length, 1e-12), np.float32))

    def candidates(self) -> list[Candidate]:
        """Return the pairs that are worth a look, in ascending order.

        Of few cases all pairs in all symmetries: nothing is known there of what they share.
        """
        n = len(self.variants[0])
        if n <= NEIGHBOURS:
            return [(i, j, s) for i, j in combinations(range(n), 2) for s in self.symmetries]
        found: set[tuple[int, int, int]] = set()
        for start in range(0, n, _BLOCK):
            rows = np.arange(start, min(n, start + _BLOCK))
            close = np.stack([self.variants[0][rows] @ v.T for v in self.variants], 1)
            close[np.arange(len(rows)), :, rows] = -1.0
            close = close.reshape(len(rows), -1)
            best = np.argpartition(-close, NEIGHBOURS, 1)[:, :NEIGHBOURS]
            near = np.take_along_axis(close, best, 1) >= LEAST_CLOSE
            which, other = np.divmod(best, n)
            for i, j, s in zip(
                np.repeat(rows, near.sum(1)).tolist(),
                other[near].tolist(),
                which[near].tolist(),
                strict=True,
            ):
                # Each symmetry undoes itself, but for a turn round all axes, which is not told.
                found.add((min(i, j), max(i, j), s))
        return [(i, j, self.symmetries[s]) for i, j, s in sorted(found)]

    def likeliest(self, i: int, j: int) -> Symmetry:
        """Return the symmetry in which the spectrum of ``j`` is closest to that of ``i``."""
        close: list[float] = [float(self.variants[0][i] @ v[j]) for v in self.variants]
        return self.symmetries[int(np.argmax(close))]


def clusters(count: int, pairs: Sequence[tuple[int, int]]) -> NDArray[np.int_]:
    """Return for each of ``count`` members the smallest member that pairs link it with."""
    parent = list(range(count))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    for i, j in pairs:
        a, b = sorted((root(i), root(j)))
        parent[b] = a
    return np.array([root(k) for k in range(count)], np.int_)
