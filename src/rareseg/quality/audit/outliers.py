"""Find outlying cases by robust distances, one feature at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.data.checks.fingerprint import CaseFacts
from rareseg.quality.audit.case_features import CaseFeatures
from rareseg.quality.audit.finding import Example, Finding, counted, some

Floats = NDArray[np.float64]

FROM = 20
"""Fewer cases have no usual."""
FAR = 6.0
"""Deviations from the median, the scale being 1.4826 · the median absolute deviation."""
ALONE = 0.02
"""Of a feature in which a larger share of the cases lies far out, nothing is odd."""


@dataclass(frozen=True)
class Feature:
    """One number of every case, and what it is called.

    ``floor`` is the smallest scale that counts: where all cases are equal but one, the median
    absolute deviation is 0.
    """

    words: str
    values: Mapping[str, float]
    floor: float


def find_outliers(
    facts: Sequence[CaseFacts], features: Mapping[str, CaseFeatures]
) -> list[Finding]:
    """Return the cases that lie far from the middle in any feature, in words.

    Sizes, spacings and counts are compared by their logarithms, so that half is as far as double.
    """
    if len(facts) < FROM:
        return []
    notes: dict[str, list[tuple[float, str]]] = {}
    for feature in features_of(facts, features):
        for name, distance, side in far_out(feature):
            words = f"{feature.words} is unusually {side} ({abs(distance):.0f} deviations)"
            notes.setdefault(name, []).append((-abs(distance), words))
    if not notes:
        return []
    ranked = sorted(notes, key=lambda name: min(notes[name]))
    examples = tuple(
        Example(name, "; ".join(w for _, w in sorted(notes[name])[:3])) for name in ranked
    )
    first = ranked[0]
    return [
        Finding(
            "outlying-cases",
            f"{counted(len(ranked), 'case')} of {len(facts):,} "
            f"{'lies' if len(ranked) == 1 else 'lie'} far from all others ({some(ranked)}; "
            f"{first}: {min(notes[first])[1]}): see whether they belong here and were "
            "exported as the others were.",
            examples,
        )
    ]


def features_of(facts: Sequence[CaseFacts], features: Mapping[str, CaseFeatures]) -> list[Feature]:
    """Return what is compared: extent, spacing, intensities of each channel, what is drawn."""
    found = []
    for axis, name in enumerate(("depth", "height", "width")):
        sizes = {fact.id: float(np.log2(max(1, fact.shape[axis]))) for fact in facts}
        found.append(Feature(f"its {name}", sizes, 0.3))
        spacings = {fact.id: float(np.log2(max(1e-9, fact.spacing[axis]))) for fact in facts}
        found.append(Feature(f"its spacing along the {name}", spacings, 0.1))
    channels = min((fact.channels for fact in facts), default=0)
    for k in range(channels):
        of = f" of channel {k + 1}" if channels > 1 else ""
        own = {fact.id: fact.intensities[k] for fact in facts}
        usual = float(np.median([facts.high - facts.low for facts in own.values()])) or 1.0
        brightness = {name: channel.median / usual for name, channel in own.items()}
        found.append(Feature(f"the brightness{of}", brightness, 0.05))
        contrast = {
            name: float(np.log2(max(channel.high - channel.low, 1e-3 * usual) / usual))
            for name, channel in own.items()
        }
        found.append(Feature(f"the contrast{of}", contrast, 0.15))
    positive = [fact for fact in facts if fact.is_positive]
    if len(positive) >= FROM:
        share = {
            fact.id: float(np.log2(sum(fact.voxels[1:]) / sum(fact.voxels))) for fact in positive
        }
        found.append(Feature("the share of foreground", share, 0.3))
        objects = {
            fact.id: float(np.log2(1 + features[fact.id].shapes.n_objects))
            for fact in positive
            if fact.id in features
        }
        found.append(Feature("the number of objects", objects, 0.4))
    return found


def far_out(feature: Feature) -> list[tuple[str, float, str]]:
    """Return (case, distance, "large" or "small") of the cases that lie far out.

    The distance is in deviations, the scale being at least the feature's floor. Nothing where too
    many do.
    """
    names = list(feature.values)
    if len(names) < FROM:
        return []
    values: Floats = np.array([feature.values[name] for name in names])
    middle = float(np.median(values))
    scale = max(1.4826 * float(np.median(np.abs(values - middle))), feature.floor)
    distance = (values - middle) / scale
    far = np.flatnonzero(np.abs(distance) > FAR)
    if len(far) > max(1, ALONE * len(names)):
        return []
    return [(names[k], float(distance[k]), "large" if distance[k] > 0 else "small") for k in far]
