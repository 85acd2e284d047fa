"""Correct label arrays as review answers say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.review.affected_voxels import AffectedVoxels
from rareseg.review.final_answer import FinalAnswer
from rareseg_runner.image_records import IGNORE, Classes

Labels = NDArray[np.uint8]

_CAUTION = {"accept prediction": 0, "accept label": 1, "ignore region": 2}
"""Of two verdicts on places of equal size, the later here wins where they overlap."""


@dataclass(frozen=True, eq=False)
class CorrectedLabels:
    """Class indices after the review, and by item the voxels that its verdict left changed."""

    labels: Labels
    changed: dict[str, int]


def correct_labels(
    labels: Labels, predicted: Labels, final: Sequence[FinalAnswer], classes: Classes
) -> CorrectedLabels:
    """Return a case's labels after its items' verdicts.

    "accept prediction" gives the affected voxels the predicted class, "ignore region" ``IGNORE``,
    "accept label" what was drawn. Larger places come first, so that a verdict on a smaller place
    inside them stands; of equal places ignoring wins over the label, and that over the prediction.
    """
    affected = AffectedVoxels(labels, predicted, classes)
    corrected = labels.copy()
    source = np.full(labels.shape, -1, np.int32)  # which verdict a voxel has its label from
    ordered = sorted(final, key=_largest_first)
    for number, one in enumerate(ordered):
        about = affected.of(one.item)
        if one.verdict == "accept prediction":
            corrected[about] = predicted[about]
        elif one.verdict == "ignore region":
            corrected[about] = IGNORE
        elif one.verdict == "accept label":
            corrected[about] = labels[about]
        source[about] = number
    by_verdict = source[(corrected != labels)]
    counts = np.bincount(by_verdict, minlength=len(ordered))
    return CorrectedLabels(
        corrected, {one.item.id: int(n) for one, n in zip(ordered, counts, strict=True)}
    )


def to_mask_values(
    original: NDArray[np.integer],
    before: Labels,
    after: Labels,
    classes: Classes,
    ignore_value: int,
) -> NDArray[np.int64]:
    """Return mask values (z, y, x): the original's, and new ones where the class index changed."""
    values = np.zeros(256, np.int64)
    values[: classes.count] = classes.values
    values[IGNORE] = ignore_value
    return np.where(before == after, original.astype(np.int64), values[after])


def choose_ignore_value(classes: Classes) -> int:
    """Return the mask value for ignored voxels: the declared one, else 255 or the largest free."""
    if classes.ignore_value is not None:
        return classes.ignore_value
    return next(value for value in range(255, 0, -1) if value not in classes.values)


def _largest_first(one: FinalAnswer) -> tuple[int, int, str]:
    volume = int(np.prod([high - low for low, high in one.item.box]))
    return -volume, _CAUTION.get(one.verdict or "", 0), one.item.id
