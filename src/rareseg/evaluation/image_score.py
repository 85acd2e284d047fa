"""The image score of a region: how strongly a whole case says that it holds the region.

It is what the image-level gate cuts, and what image-level ROC, gate searches and certificates read.
"""

from __future__ import annotations

import math

import numpy as np


def image_score(top: float, presence: float | None = None) -> float:
    """Return the image score in [0, 1], rounded to float32: √(q·m), or m alone.

    ``top`` is m, the largest score of the region in the case (0 in an empty case). ``presence`` is
    q, the network's own probability that the case holds the region, where it says one. The
    geometric mean needs both: a single bright pixel in an image that looks empty counts for little,
    and so does a suspicious image in which no pixel is pointed at.
    """
    if presence is None:
        return float(np.float32(top))
    return float(np.float32(math.sqrt(float(np.float32(top)) * float(np.float32(presence)))))
