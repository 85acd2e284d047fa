"""Compute the confusion matrix of all classes from two label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from rareseg.errors import ScoreError
from rareseg.evaluation.metrics.overlap import Counts
from rareseg.evaluation.statistics.undefined import Value, ratio
from rareseg_runner.image_records import IGNORE


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often each class was taken for which: ``matrix[i, j]`` voxels of class i called j.

    ``matrix`` is (C, C) int64; voxels that the reference ignores are in none of its cells.
    Confusions of the same classes add up.
    """

    names: tuple[str, ...]
    matrix: NDArray[np.int64]

    def __add__(self, other: Confusion) -> Confusion:
        if self.names != other.names:
            raise ScoreError(
                f"Confusions of the classes {', '.join(self.names)} and {', '.join(other.names)} "
                "cannot be added."
            )
        return Confusion(self.names, self.matrix + other.matrix)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Confusion):
            return NotImplemented
        return self.names == other.names and np.array_equal(self.matrix, other.matrix)

    __hash__ = None  # type: ignore[assignment]

    def counts(self, indices: Sequence[int]) -> Counts:
        """Return the counts of a class, or of a region that unites several class indices."""
        own = np.zeros(len(self.names), np.bool_)
        own[list(indices)] = True
        tp = int(self.matrix[np.ix_(own, own)].sum())
        fp = int(self.matrix[np.ix_(~own, own)].sum())
        fn = int(self.matrix[np.ix_(own, ~own)].sum())
        return Counts(tp, fp, fn, int(self.matrix.sum()) - tp - fp - fn)

    def share(self, reference: int, predicted: int) -> Value:
        """Return the share of a class's voxels that were called another; undefined for none."""
        return ratio(
            float(self.matrix[reference, predicted]),
            float(self.matrix[reference].sum()),
            undefined=f"no voxel is {self.names[reference]}",
        )


def confuse(
    prediction: NDArray[np.uint8], reference: NDArray[np.uint8], names: Sequence[str]
) -> Confusion:
    """Return the confusion matrix of two maps of class indices of one shape, both uint8.

    ``names[i]`` is the name of class index i; the reference may hold IGNORE. Raises ScoreError
    where shapes or types differ, or an index is no class's.
    """
    if prediction.shape != reference.shape:
        raise ScoreError(
            f"The prediction has shape {prediction.shape} and the reference has shape "
            f"{reference.shape}; both must be on the case's original grid."
        )
    if prediction.dtype != np.uint8 or reference.dtype != np.uint8:
        raise ScoreError(
            f"Label maps are of type {prediction.dtype} and {reference.dtype}; both must be class "
            "indices in uint8."
        )
    cells = np.zeros(2**16, np.int64)
    ours, theirs = np.ravel(prediction), np.ravel(reference)
    words = len(ours) // 8 * 8
    _count_pairs(ours[:words].view(np.uint64), theirs[:words].view(np.uint64), ours, theirs, cells)
    table = cells.reshape(256, 256)
    classes = len(names)
    # Voxels that the reference ignores count nowhere, whatever is predicted there.
    table[IGNORE] = 0
    if table.sum() != (matrix := table[:classes, :classes]).sum():
        wrong = sorted(set(np.argwhere(table).max(axis=1).tolist()) - set(range(classes)))
        raise ScoreError(
            f"A label map holds the index {wrong[0]}, but there are {classes} classes "
            f"({', '.join(names)})."
        )
    return Confusion(tuple(names), matrix.copy())


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _count_pairs(
    our_words: NDArray[np.uint64],
    their_words: NDArray[np.uint64],
    ours: NDArray[np.uint8],
    theirs: NDArray[np.uint8],
    cells: NDArray[np.int64],
) -> None:
    """Add every pair to its cell, reference × 256 + prediction.

    Most voxels are background in both: eight of them at a time are one comparison.
    """
    background = 0
    for i in range(our_words.size):
        if our_words[i] | their_words[i] == 0:
            background += 8
            continue
        for k in range(8 * i, 8 * i + 8):
            cells[(np.int64(theirs[k]) << 8) | ours[k]] += 1
    # What is left behind the last whole word.
    for k in range(8 * our_words.size, ours.size):
        cells[(np.int64(theirs[k]) << 8) | ours[k]] += 1
    # Added at the end: the counter stays in a register in the loop.
    cells[0] += background
