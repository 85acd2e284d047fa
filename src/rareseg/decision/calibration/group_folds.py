"""Divide cases into folds that keep groups whole and spread those that hold the region."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rareseg.evaluation.statistics.intervals import group_numbers
from rareseg.evaluation.tables.score_table import CaseScores

N_FOLDS = 5


def group_folds(rows: Sequence[CaseScores]) -> NDArray[np.int64]:
    """Return the fold of every case, 0 to :data:`N_FOLDS` − 1; (n,).

    Groups with a positive case are dealt out first, then the others.
    """
    numbers = group_numbers([row.group for row in rows]).tolist()
    holding = {number for number, row in zip(numbers, rows, strict=True) if row.n_inside}
    ordered = sorted(set(numbers), key=lambda number: (number not in holding, number))
    fold_of = {number: place % N_FOLDS for place, number in enumerate(ordered)}
    return np.array([fold_of[number] for number in numbers], np.int64)
