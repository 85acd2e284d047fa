"""Observe an image and what a model says of it: a number a feature, without any label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.operating_point import OperatingPoint
from rareseg_runner.components import label_components
from rareseg_runner.decision.detection import Detection
from rareseg_runner.image_records import Image

Floats = NDArray[np.float64]

_MOST_VALUES = 1_000_000
"""Values of a channel that mean, spread and percentiles are taken of."""
_MOST_SLICES = 32
"""Slices of a volume that the sharpness is taken of."""

IMAGE = ("mean", "spread", "dark end", "bright end", "sharpness")
"""What is observed of a channel: the ends are its percentiles 5 and 95."""
SIZE = "size"
REGION = ("image score", "mean score", "area", "objects", "flagged")
"""What is observed of a region."""
PRESENCE = "top score"
"""Observed too where the image score is not the top score already."""


@dataclass(frozen=True, order=True)
class ObservedFeature:
    """One thing that is observed; ``region`` is "" for what the image itself shows."""

    region: str
    name: str

    @property
    def words(self) -> str:
        """The feature in a sentence."""
        return f"{self.name} of {self.region}" if self.region else f"{self.name} of the images"


def features_of(
    regions: Sequence[str], channels: int, *, tells_presence: bool
) -> tuple[ObservedFeature, ...]:
    """Return the features that are observed by a model, in a fixed order."""
    own = (*REGION, PRESENCE) if tells_presence else REGION
    of_image = [SIZE] + [
        _channel_name(name, k, channels) for k in range(channels) for name in IMAGE
    ]
    return (
        *(ObservedFeature("", name) for name in of_image),
        *(ObservedFeature(region, name) for region in regions for name in own),
    )


@dataclass(frozen=True)
class Observation:
    """What was observed of one image.

    ``digest`` is that of its files, ``group`` the one that it belongs to, None where none is known.
    ``values`` leads from each feature to a finite number; ``doubt``, by region, in [0, 1], orders
    images for review and is no probability. ``files`` is where its channels lay.
    """

    digest: str
    id: str
    group: str | None
    files: tuple[str, ...]
    values: Mapping[ObservedFeature, float]
    doubt: Mapping[str, float]


def observe_image(image: Image) -> dict[ObservedFeature, float]:
    """Return what an image (channel, z, y, x) shows by itself.

    ``size`` is its number of pixels or voxels; ``sharpness`` the mean absolute Laplacian within
    slices over the spread, 0 where all values are one. Values that are not finite count nowhere.
    """
    array = image.array
    channels = len(array)
    values = {ObservedFeature("", SIZE): float(array[0].size)}
    for k, channel in enumerate(array):
        flat = channel.ravel()[:: -(-channel.size // _MOST_VALUES) or 1].astype(np.float64)
        finite = flat[np.isfinite(flat)]
        if finite.size == 0:
            finite = np.zeros(1)
        low, high = np.percentile(finite, (5, 95)).tolist()
        spread = float(finite.std())
        found = (float(finite.mean()), spread, low, high, _sharpness(channel, spread))
        for name, value in zip(IMAGE, found, strict=True):
            values[ObservedFeature("", _channel_name(name, k, channels))] = value
    return values


def observe(
    found: Detection, points: Mapping[str, OperatingPoint]
) -> tuple[dict[ObservedFeature, float], dict[str, float]]:
    """Return the values of all features of an image, and the doubt of each region.

    ``area`` and ``mean score`` are shares of the image, so that a larger image is no larger find.
    """
    values, doubt = observe_image(found.image), {}
    for region, mask in found.masks.items():
        scores = found.scores[region]
        _, objects = label_components(mask.reshape(found.image.array.shape[1:]))
        own = {
            "image score": found.image_scores[region],
            "mean score": float(scores.mean()),
            "area": float(mask.mean()),
            "objects": float(objects),
            "flagged": float(mask.any()),
        }
        if found.presence is not None:
            own[PRESENCE] = float(scores.max(initial=0.0))
        values.update({ObservedFeature(region, name): value for name, value in own.items()})
        point = points[region]
        doubt[region] = _doubt(
            scores, mask, found.image_scores[region], max(point.threshold, point.gate)
        )
    return values, doubt


def disagreement(found: Sequence[Detection]) -> dict[str, float]:
    """Return by region how far the masks of several networks disagree on one image, in [0, 1].

    One less the mean dice over all pairs (Zenk et al., MedIA 2025); two empty masks agree. One
    network alone agrees with itself.
    """
    apart: dict[str, float] = {}
    for region in found[0].masks:
        pairs = [
            _dice(one.masks[region], other.masks[region]) for one, other in combinations(found, 2)
        ]
        apart[region] = 1.0 - float(np.mean(pairs)) if pairs else 0.0
    return apart


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    total = int(one.sum()) + int(other.sum())
    return 1.0 if total == 0 else 2.0 * int((one & other).sum()) / total


def by_group(
    observations: Sequence[Observation], features: Sequence[ObservedFeature]
) -> tuple[list[str], Floats]:
    """Return the groups in the order of their first images, and their means (groups, features).

    An image without a group is one of its own, named by its digest.
    """
    members: dict[str, list[Observation]] = {}
    for one in observations:
        members.setdefault(group_key(one.group, one.digest), []).append(one)
    rows = [
        np.mean([[own.values[feature] for feature in features] for own in group], axis=0)
        for group in members.values()
    ]
    return list(members), np.array(rows, np.float64).reshape(len(members), len(features))


def group_key(group: str | None, digest: str) -> str:
    """Return the name that tells a group from others: its own, or that of its one image."""
    return f"image {digest}" if group is None else f"group {group}"


def _channel_name(name: str, channel: int, channels: int) -> str:
    return name if channels == 1 else f"{name} of channel {channel + 1}"


def _sharpness(channel: NDArray[np.generic], spread: float) -> float:
    step = -(-len(channel) // _MOST_SLICES)
    slices = channel[::step].astype(np.float64)
    if spread <= 0.0 or slices.shape[1] < 3 or slices.shape[2] < 3:
        return 0.0
    middle = slices[:, 1:-1, 1:-1]
    around = slices[:, :-2, 1:-1] + slices[:, 2:, 1:-1] + slices[:, 1:-1, :-2] + slices[:, 1:-1, 2:]
    edges = np.abs(around - 4.0 * middle)
    finite = edges[np.isfinite(edges)]
    return float(finite.mean()) / spread if finite.size else 0.0


def _doubt(
    scores: NDArray[np.float32], mask: NDArray[np.bool_], image_score: float, cut: float
) -> float:
    """Return how doubtful a region's mask is: one less the soft dice, or how near nothing was on.

    Soft dice confidence (Borges et al., arXiv 2402.10665): 2·Σ p·m / (Σ p + Σ m). Of an image in
    which nothing is on it is 0, and the image score over the cut takes its place.
    """
    if not mask.any():
        return min(1.0, image_score / cut) if cut > 0.0 else 1.0
    total = float(scores.sum(dtype=np.float64))
    inside = float(scores[mask].sum(dtype=np.float64))
    return 1.0 - 2.0 * inside / (total + float(mask.sum()))
