"""Scores of regions: sums of the probabilities of their classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.errors import ScoreError
from rareseg_runner.image_records import Classes

_ROUNDING = 1e-3
"""How far a float32 sum of softmax values may leave [0, 1] and still be called rounding."""


def region_scores(
    probabilities: NDArray[np.float32], classes: Classes
) -> dict[str, NDArray[np.float32]]:
    """Return every region's score: the sum of the softmax over its classes, in float32.

    ``probabilities`` is (C, Z, Y, X) with C = ``classes.count``; each score is (Z, Y, X). Sums that
    leave [0, 1] by rounding (up to 10⁻³) are clamped; anything further out stays, so that
    :func:`score_case` refuses it. Raises ScoreError where C is not the number of classes.
    """
    if len(probabilities) != classes.count:
        raise ScoreError(
            f"Probabilities have {len(probabilities)} channels, but there are {classes.count} "
            f"classes ({', '.join(classes.names)}); the first axis must be the class."
        )
    result = {}
    for region, indices in classes.regions.items():
        score = probabilities[list(indices)].astype(np.float32).sum(axis=0, dtype=np.float32)
        result[region] = clamped(score)
    return result


def clamped(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return scores within [0, 1] where they leave it by rounding (up to 10⁻³), as sums do.

    What lies further out stays, and is refused by whoever reads it.
    """
    low, high = float(scores.min(initial=0.0)), float(scores.max(initial=0.0))
    if 1.0 < high <= 1.0 + _ROUNDING or -_ROUNDING <= low < 0.0:
        scores = scores.copy()
        np.copyto(scores, np.float32(1.0), where=(scores > 1.0) & (scores <= 1.0 + _ROUNDING))
        np.copyto(scores, np.float32(0.0), where=(scores < 0.0) & (scores >= -_ROUNDING))
    return scores
