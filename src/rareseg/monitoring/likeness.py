"""Find images that are unlike all known ones, and the known image that each is nearest to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from rareseg.monitoring.observed_features import SIZE, Observation, ObservedFeature, group_key

Floats = NDArray[np.float64]

_BLOCK = 500
"""Images that are held against all known ones at a time."""


@dataclass(frozen=True)
class NearestImage:
    """An image of the stream with the known image that it is nearest to.

    ``distance`` is the root mean square of the differences of what both show by themselves, in
    interquartile ranges of the known images. ``unlike`` says that it is larger than that of any
    known image to the nearest one of another group; ``most`` names what differs most.
    """

    image: Observation
    nearest: Observation
    distance: float
    unlike: bool
    most: ObservedFeature


def nearest_images(
    known: Sequence[Observation], stream: Sequence[Observation]
) -> tuple[NearestImage, ...]:
    """Return every image of a stream with its nearest known one, the most unlike first.

    The size of an image counts for nothing here. Empty where either is empty. Known images of a
    single group say nothing of how far others may lie, and then nothing is called unlike.
    """
    if not known or not stream:
        return ()
    features = [one for one in known[0].values if not one.region and one.name != SIZE]
    ours, theirs = (
        np.array([[one.values[feature] for feature in features] for one in images])
        for images in (known, stream)
    )
    middle, scale = np.median(ours, axis=0), _scale(ours)
    ours, theirs = (ours - middle) / scale, (theirs - middle) / scale
    limit = _largest_between_groups(ours, [group_key(one.group, one.digest) for one in known])
    found = []
    for start in range(0, len(stream), _BLOCK):
        block = theirs[start : start + _BLOCK]
        distances = cdist(block, ours)
        best = distances.argmin(axis=1)
        for row, k in enumerate(best.tolist()):
            distance = float(distances[row, k]) / np.sqrt(len(features))
            apart = np.abs(block[row] - ours[k])
            found.append(
                NearestImage(
                    stream[start + row],
                    known[k],
                    distance,
                    distance > limit,
                    features[int(apart.argmax())],
                )
            )
    return tuple(sorted(found, key=lambda one: (-one.distance, one.image.id)))


def _scale(values: Floats) -> Floats:
    """Return the interquartile range of each column; where it is 0 the spread, or 1 without any."""
    low, high = np.percentile(values, (25, 75), axis=0)
    spread = values.std(axis=0)
    scale = np.where(high > low, high - low, spread)
    return np.asarray(np.where(scale > 0.0, scale, 1.0), np.float64)


def _largest_between_groups(values: Floats, groups: Sequence[str]) -> float:
    """Return the largest distance of a row to the nearest one of another group; inf for none."""
    numbers = np.unique(np.array(groups), return_inverse=True)[1]
    if numbers.max(initial=0) == 0:
        return float("inf")
    largest = 0.0
    for start in range(0, len(values), _BLOCK):
        distances = cdist(values[start : start + _BLOCK], values)
        own = numbers[start : start + _BLOCK, np.newaxis] == numbers
        distances[own] = np.inf
        largest = max(largest, float(distances.min(axis=1).max()))
    return largest / float(np.sqrt(values.shape[1]))
