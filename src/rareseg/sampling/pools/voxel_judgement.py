"""Judge predictions of labelled voxels: right, wrong, hard, suspected.

* **Wrong** is a voxel whose most probable class is not the true one (of equals the true one).
* **Hard** is what is wrong, or right with p(true class) below the confidence.
* **Suspected** is what is wrong with p(predicted class) at or above a confidence of its own. A
  voxel that is suspected for several rounds in a row is set aside: a network that has learnt much
  and still insists has more likely met a wrong label than a hard voxel (Northcutt, Jiang and
  Chuang 2021, Confident learning, JAIR 70, from whom the idea is, not the thresholds).
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from rareseg.recipe import MiningSection
from rareseg_runner.image_records import IGNORE

HARD, FALSE_POSITIVE, FALSE_NEGATIVE = 1, 2, 4
"""Bits of :attr:`Judged.flags`. A false positive is background that is taken for any other class, a
false negative the reverse; both are hard, and so are voxels that are taken for each other's class.
"""


@dataclass(frozen=True, eq=False)
class JudgedVoxels:
    """What is found about n voxels.

    ``flags`` uint8 (n,) are bits of what they are, ``rounds`` uint8 (n,) for how many rounds in a
    row each was suspected, this one included, ``predicted`` uint8 (n,) its most probable class.
    What is set aside has no flags; ``IGNORE`` voxels have neither flags nor rounds.
    """

    flags: NDArray[np.uint8]
    rounds: NDArray[np.uint8]
    predicted: NDArray[np.uint8]


def judge(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.uint8],
    before: NDArray[np.uint8],
    settings: MiningSection,
) -> JudgedVoxels:
    """Judge n voxels by class probabilities (class, n) against their class indices (n,).

    ``before`` (n,) are the rounds in a row, up to the last one, that each was suspected.
    """
    flags, rounds, predicted = (np.zeros(labels.shape, np.uint8) for _ in range(3))
    _judge(
        probabilities,
        labels,
        before,
        settings.confidence,
        settings.suspect_confidence,
        settings.suspect_rounds,
        flags,
        rounds,
        predicted,
    )
    return JudgedVoxels(flags, rounds, predicted)


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _judge(  # type: ignore[no-untyped-def]
    probabilities, labels, before, confidence, suspicious, most_rounds, flags, rounds, predicted
):
    """Fill ``flags``, ``rounds`` and ``predicted``, which arrive as zeros."""
    classes, n = probabilities.shape
    for i in range(n):
        true = labels[i]
        if true == IGNORE:
            continue
        # Begun with the true class, so that it wins where several are equally probable.
        best = true
        for index in range(classes):
            if probabilities[index, i] > probabilities[best, i]:
                best = index
        predicted[i] = best
        if best == true:
            if probabilities[true, i] < confidence:
                flags[i] = HARD
            continue
        flags[i] = HARD
        if true == 0:
            flags[i] |= FALSE_POSITIVE
        elif best == 0:
            flags[i] |= FALSE_NEGATIVE
        if most_rounds > 0 and probabilities[best, i] >= suspicious:
            rounds[i] = min(before[i] + 1, 255)
            # Wrong with confidence for several rounds: its label is suspected, and not mined.
            if rounds[i] >= most_rounds:
                flags[i] = 0
