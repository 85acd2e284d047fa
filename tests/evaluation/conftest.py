from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings

# The first example of a test may compile a kernel.
settings.register_profile("compiled kernels", deadline=None, max_examples=40)
settings.load_profile("compiled kernels")


def _sigmoid(logits):
    return (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)


@pytest.fixture
def draw_scores():
    """Scores and a rare reference: "smooth", or "saturated" as a confident softmax is."""

    def draw(kind: str, n: int, seed: int = 0, rarity: float = 0.02):
        rng = np.random.default_rng(seed)
        reference = rng.random(n) < rarity
        if kind == "smooth":
            logits = rng.normal(-3.0, 2.0, n) + 4.0 * reference
        else:
            logits = rng.normal(-14.0, 7.0, n) + 26.0 * reference
        return _sigmoid(logits), reference

    return draw
