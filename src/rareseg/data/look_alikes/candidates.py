"""Find pairs of cases with close spectra, which are worth registering.

All spectra are brought to their principal components over the data set, so that what all images
have in common says nothing and what tells them apart counts, and compared by matrix products in
blocks: the time grows with the square of the number of cases, but at 10,000 it is seconds, and
the memory grows with their number alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rareseg.data.look_alikes.thumbnails import F32, Symmetry, Thumbnail, reorder, symmetries

NEIGHBOURS = 16
"""How many of the closest (case, symmetry) are looked at, for every case."""
COMPONENTS = 64
UNRELATED = 1 / 3
"""How many (case, symmetry) that have nothing to do with it are looked at for every case.

It gives the cosine of two spectra below which a pair is not looked at: that of unrelated spectra
has a deviation of 1/8 in 64 components. It is 0.40 among 150 cases and 0.56 among 20,000; copies
shifted by 10 % reach 0.58 and more.
"""
_SAMPLE = 2000
_ROWS, _COLUMNS = 256, 1024
_MOST_KEPT = 4 * _ROWS * NEIGHBOURS
"""Sorting is put off until so many are there, which of most data is the end."""
_NEIGHBOUR = np.dtype(
    [("row", np.int32), ("other", np.int32), ("which", np.int32), ("cosine", np.float32)]
)

Candidate = tuple[int, int, Symmetry]
"""Two positions, the first smaller, and how the second may have to be transformed."""


class Spectra:
    """The spectra of thumbnails of one dimension, in every symmetry, ready to be compared."""

    def __init__(self, thumbnails: Sequence[Thumbnail]) -> None:
        self.symmetries = symmetries(thumbnails[0].picture.ndim)
        orders = [reorder(thumbnails[0].picture.ndim, s) for s in self.symmetries]
        raw = np.stack([thumbnail.spectrum for thumbnail in thumbnails])
        sample = raw[:: -(-len(raw) // _SAMPLE)].astype(np.float32).reshape(-1, raw[0].size)
        mean = sample.mean(0)
        _, sizes, components = np.linalg.svd(sample - mean, full_matrices=False)
        kept = sizes[:COMPONENTS] > 1e-4 * max(float(sizes[0]), 1e-9)
        # Half-way to equal variance: strong components say more than weak ones, but not all.
        basis = (components[:COMPONENTS][kept] / np.sqrt(sizes[:COMPONENTS][kept])[:, None]).T
        self.variants: list[F32] = []
        for order in orders:
            along = np.concatenate(
                [
                    (block[:, :, order].reshape(len(block), -1).astype(np.float32) - mean) @ basis
                    for block in np.array_split(raw, -(-len(raw) // _SAMPLE))
                ]
            )
            length = np.linalg.norm(along, axis=1, keepdims=True)
            self.variants.append(np.asarray(along / np.maximum(length, 1e-12), np.float32))

    def candidates(self) -> list[Candidate]:
        """Return the pairs that are worth a look, in ascending order.

        Of few cases all pairs in all symmetries: nothing is known there of what they share.
        """
        n = len(self.variants[0])
        if n <= NEIGHBOURS:
            return [(i, j, s) for i, j in combinations(range(n), 2) for s in self.symmetries]
        share = UNRELATED / (n * len(self.variants))
        least = float(stats.norm.isf(share)) / np.sqrt(COMPONENTS)
        found: set[tuple[int, int, int]] = set()
        for start in range(0, n, _ROWS):
            close = self._closest(start, min(n, start + _ROWS), least)
            # Each symmetry undoes itself, but for a turn round all axes, which is not told.
            found.update((min(i, j), max(i, j), s) for i, j, s in close)
        return [(i, j, self.symmetries[s]) for i, j, s in sorted(found)]

    def _closest(self, start: int, stop: int, least: float) -> Iterator[tuple[int, int, int]]:
        """Yield of cases ``start`` to ``stop`` the closest others: (case, other, symmetry).

        Products are made and looked at in pieces that stay in a processor's own memory, which is
        four times as fast. What is not closer than the neighbours that a case already has is passed
        over.
        """
        n, rows = len(self.variants[0]), self.variants[0][start:stop]
        floor = np.full((len(rows), 1), np.nextafter(np.float32(least), np.float32(-1)))
        room = np.empty((len(rows), _COLUMNS), np.float32)
        kept = [np.zeros(0, _NEIGHBOUR)]
        for which, variant in enumerate(self.variants):
            for first in range(0, n, _COLUMNS):
                block = variant[first : first + _COLUMNS]
                close = np.matmul(rows, block.T, out=room[:, : len(block)])
                own = np.arange(max(start, first), min(stop, first + len(block)))
                close[own - start, own - first] = -1.0
                row, other = np.divmod(np.flatnonzero(close > floor), len(block))
                new = np.empty(len(row), _NEIGHBOUR)
                new["row"], new["other"], new["which"] = row, other + first, which
                new["cosine"] = close[row, other]
                kept.append(new)
                if sum(map(len, kept)) > _MOST_KEPT:
                    kept = [best := _best(np.concatenate(kept))]
                    full = np.bincount(best["row"], minlength=len(rows)) == NEIGHBOURS
                    # Of rows with all neighbours, the last of each is the farthest.
                    last = np.searchsorted(best["row"], np.flatnonzero(full), side="right") - 1
                    floor[full, 0] = best["cosine"][last]
        best = _best(np.concatenate(kept))
        yield from zip(
            (best["row"] + start).tolist(),
            best["other"].tolist(),
            best["which"].tolist(),
            strict=True,
        )

    def likeliest(self, i: int, j: int) -> Symmetry:
        """Return the symmetry in which the spectrum of ``j`` is closest to that of ``i``."""
        close: list[float] = [float(self.variants[0][i] @ v[j]) for v in self.variants]
        return self.symmetries[int(np.argmax(close))]


def _best(close: NDArray[np.void]) -> NDArray[np.void]:
    """Return the closest ``NEIGHBOURS`` of each row, in order; of equals those that stand first."""
    order = np.lexsort((close["other"], close["which"], -close["cosine"], close["row"]))
    close = close[order]
    return close[np.arange(len(close)) - np.searchsorted(close["row"], close["row"]) < NEIGHBOURS]
