"""Measure how far a prediction moves the outline of a labelled object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rareseg.evaluation.tables.region_rows import Spacing

Bools = NDArray[np.bool_]

NARROWEST = 2.0
"""The least reach of a band to either side of an outline, in voxels of the finest axis."""

SHARE = 1.0 / 3.0
"""The reach of a band as a share of the object's radius, where that is more."""


LEAST = 1e-12
"""No cut is taken to lie nearer to 0 or 1 than this."""


@dataclass(frozen=True)
class OutlineShift:
    """``share`` in [0, 1] of a band about the outline lies on the other side of the prediction's.

    0: the outlines are one. 1: the prediction's lies a whole band off, all along, to one side.
    Of what does, ``among`` lies where label and prediction both hold some foreground, so that they
    differ about the class; 0 where nothing does.
    """

    share: float
    among: float


def band_reach(voxels: int, spacing: Spacing, *, flat: bool) -> float:
    """Return the reach in mm of the band of an object of so many voxels.

    A third of the radius of the circle (``flat``) or ball of its size, so that the same shape
    drawn twice as large, and moved twice as far, is as suspect as before; and at least
    :data:`NARROWEST` voxels, since nobody draws more exactly.
    """
    if flat:
        radius = np.sqrt(voxels * spacing[1] * spacing[2] / np.pi)
    else:
        radius = np.cbrt(3.0 * voxels * np.prod(spacing) / (4.0 * np.pi))
    finest = min(spacing[1:]) if flat else min(spacing)
    return float(max(NARROWEST * finest, SHARE * radius))


def measure_moved(
    component: Bools,
    scores: NDArray[np.float32],
    theirs: Bools,
    counts: Bools,
    foreground: Bools,
    *,
    cut: float,
    reach_mm: float,
    spacing: Spacing,
) -> OutlineShift:
    """Return how much of the band about an object's outline the prediction has on the other side.

    All arrays are (Z, Y, X), of a box that reaches at least ``reach_mm`` beyond the object or to
    the image's edge. ``theirs`` are the voxels of predicted components that touch the object;
    where ``counts`` is False (ignored, or of another object) nothing is said; ``foreground`` is
    what label and prediction both hold to be some class. A voxel on the wrong
    side counts by how far its score is from the cut, 0 at it and 1 at 0 or 1. The sum is held
    against half of the band, which is what lies on one side of an outline. Without a band voxel
    that counts the share is 0.
    """
    outside = ndimage.distance_transform_edt(~component, sampling=spacing)
    inside = ndimage.distance_transform_edt(component, sampling=spacing)
    band = counts & (np.where(component, inside, outside) <= reach_mm)
    p = scores[band].astype(np.float64)
    drawn, shown = component[band], theirs[band]
    lacking = np.clip((cut - p[drawn]) / max(cut, LEAST), 0.0, 1.0)
    beyond = np.clip((p[shown & ~drawn] - cut) / max(1.0 - cut, LEAST), 0.0, 1.0)
    wrong = np.zeros(len(p))
    wrong[drawn] = lacking
    wrong[shown & ~drawn] = beyond
    total = float(wrong.sum())
    if total == 0.0:
        return OutlineShift(0.0, 0.0)
    return OutlineShift(
        min(1.0, 2.0 * total / len(p)), float(wrong[foreground[band]].sum()) / total
    )
