"""Image-level ROC: cases with and without the region, ranked by image score.

The image score is what an image-level gate cuts: at every point of the curve stands a gate that
reaches it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.evaluation.metrics.image_auc import image_auc
from rareseg.evaluation.statistics.intervals import Estimate
from rareseg.evaluation.tables.score_table import ScoreTable

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ImageLevel:
    """How well the image score tells positive cases from negative ones.

    ``gates``, ``true_positive_rate`` and ``false_positive_rate`` (k,) from the highest gate down,
    beginning at 0 with a gate of infinity; a rate without cases behind it is NaN, and ``auc``
    Undefined. ``auc`` carries its interval over groups.
    """

    region: str
    gates: Floats
    true_positive_rate: Floats
    false_positive_rate: Floats
    auc: Estimate
    n_positive: int
    n_negative: int


def image_level(
    table: ScoreTable,
    *,
    region: str,
    confidence: float = 0.95,
) -> ImageLevel:
    """Return the image-level ROC curve of one region, with the area under it.

    The area, which the trapezoids of scikit-learn's `roc_curve` give too, and its interval are
    those of :func:`~rareseg.evaluation.metrics.image_auc.image_auc`. Cases without a voxel that
    counts are left out.
    """
    rows = [row for row in table.select(region=region).rows if row.n_voxels > 0]
    image_scores = np.array([row.image_score for row in rows], np.float64)
    positive = np.array([row.n_inside > 0 for row in rows], np.bool_)
    gates = np.unique(image_scores)[::-1]
    reached = image_scores[:, np.newaxis] >= gates
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    return ImageLevel(
        region=region,
        gates=np.concatenate([[np.inf], gates]),
        true_positive_rate=_rates(reached[positive]),
        false_positive_rate=_rates(reached[~positive]),
        auc=image_auc(image_scores, positive, [row.group for row in rows], confidence=confidence),
        n_positive=n_positive,
        n_negative=n_negative,
    )


def _rates(reached: NDArray[np.bool_]) -> Floats:
    """Return the share of cases (rows) that reach each gate, behind 0 for a gate of infinity."""
    return np.concatenate([[0], reached.sum(axis=0)]) / (len(reached) or np.nan)
