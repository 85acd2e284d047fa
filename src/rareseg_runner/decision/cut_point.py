"""Record of where the scores of a region are cut, and the mask that it makes of them.

:func:`apply_point` is the one place in both packages where a score is compared with a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.components import remove_small
from rareseg_runner.decision.component_size import ANY_SIZE, Size, as_size
from rareseg_runner.decision.image_score import as_presence, image_score
from rareseg_runner.errors import ScoreError, UsageError


@dataclass(frozen=True)
class CutPoint:
    """How the scores of one region become a mask.

    A voxel is on where its score is at or above ``threshold``; components smaller than
    ``smallest_component`` are removed (a number of voxels or a text may be given, as
    :func:`~rareseg_runner.decision.component_size.as_size` reads it); nothing is on where the
    case's image score (:func:`~rareseg_runner.decision.image_score.image_score`) is below ``gate``.
    """

    region: str
    threshold: float
    gate: float = 0.0
    smallest_component: Size = ANY_SIZE

    def __post_init__(self) -> None:
        object.__setattr__(self, "smallest_component", as_size(self.smallest_component))


def apply_point(
    scores: NDArray[np.float32],
    point: CutPoint,
    presence: float | None = None,
    *,
    spacing: Sequence[float] | None = None,
) -> NDArray[np.bool_]:
    """Return the mask of a region's scores at an operating point.

    ``scores`` is (Z, Y, X) or (Y, X) float32 in [0, 1]; the mask is bool of the same shape.
    ``presence`` is the network's own probability that the case holds the region, None where it
    tells none: the gate cuts the image score, √(presence · largest score), or the largest score
    alone. ``spacing`` (z, y, x) in mm is needed where the smallest component is told in mm³ or mm².
    An empty array gives an empty mask. Raises ScoreError where a score is NaN or above 1, or the
    presence no probability, and UsageError where the spacing is missing.
    """
    scores = np.asarray(scores, np.float32)
    top = float(scores.max(initial=0.0))
    if not top <= 1.0:
        raise ScoreError(
            f"Scores of region '{point.region}' reach {top}; they must be probabilities in [0, 1]."
        )
    own = as_presence(presence, f"Region '{point.region}'")
    if np.float32(image_score(top, own)) < np.float32(point.gate):
        return np.zeros(scores.shape, np.bool_)
    size = point.smallest_component
    if spacing is None and size.is_physical:
        raise UsageError(
            f"The smallest component of region '{point.region}' is {size}; give the image's "
            "spacing (z, y, x) in mm."
        )
    return remove_small(scores >= np.float32(point.threshold), size.voxels(spacing or ()))
