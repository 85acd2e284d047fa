"""Observations that are drawn, for what needs no model."""

from __future__ import annotations

import numpy as np
import pytest

from rareseg.monitoring.observed_features import Observation, ObservedFeature

IMAGE = tuple(ObservedFeature("", name) for name in ("size", "mean", "sharpness"))
REGION = (ObservedFeature("speck", "image score"), ObservedFeature("speck", "flagged"))


@pytest.fixture
def features() -> tuple[ObservedFeature, ...]:
    return (*IMAGE, *REGION)


@pytest.fixture
def observed(features):
    """Return an observation by its number; keywords replace what is drawn."""

    def make(number: int, group: str | None = None, **replaced: float) -> Observation:
        rng = np.random.default_rng(number)
        drawn = dict(zip(features, rng.normal(size=len(features)).tolist(), strict=True))
        values = {f: replaced.get(f.name.replace(" ", "_"), drawn[f]) for f in features}
        return Observation(
            f"digest-{number:04d}",
            f"n{number}",
            group,
            (f"/x/{number}.png",),
            values,
            {"speck": 0.5},
        )

    return make
