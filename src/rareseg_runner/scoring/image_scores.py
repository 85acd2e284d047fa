"""Records of what a model says of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ImageScores:
    """What a model says of an image, on the image's own grid.

    ``probabilities`` (class, z, y, x) float32. ``presence`` leads from each region to the
    probability in [0, 1], of float32, that the case holds it; None where the model tells none.
    """

    probabilities: NDArray[np.float32]
    presence: Mapping[str, float] | None

    def presence_of(self, region: str) -> float | None:
        """Return the presence of one region."""
        return None if self.presence is None else self.presence[region]


@dataclass(frozen=True, eq=False)
class ArrayScores:
    """What a network says of an array: (class, z, y, x) float32, and (regions,) float32 or None."""

    probabilities: NDArray[np.float32]
    presence: NDArray[np.float32] | None

    def presence_of(self, regions: Sequence[str]) -> dict[str, float] | None:
        """Return the presence by region, in the order that the network learned them."""
        if self.presence is None:
            return None
        return dict(zip(regions, self.presence.tolist(), strict=True))
