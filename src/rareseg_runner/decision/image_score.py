"""Compute the image score of a region, which the image-level gate cuts.

It is what the image-level gate cuts, and what image-level ROC, gate searches and certificates read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from rareseg_runner.errors import ScoreError


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


def as_presence(presence: float | None, where: str) -> float | None:
    """Return the presence rounded to float32, as tables and files keep it; None stays None.

    ``where`` begins the sentence of the ScoreError that anything but a probability raises.
    """
    if presence is None:
        return None
    rounded = float(np.float32(presence))
    if not 0.0 <= rounded <= 1.0:
        raise ScoreError(
            f"{where}: the presence is {presence}; it must be a probability in [0, 1], or None "
            "where the network tells none."
        )
    return rounded


def require_one_kind(presences: Iterable[float | None], where: str) -> None:
    """Raise ScoreError, begun by ``where``, where only some of the cases have a presence.

    √(q·m) and m are different scores: no gate can be chosen or judged on both at once.
    """
    known = {presence is not None for presence in presences}
    if len(known) > 1:
        raise ScoreError(
            f"{where}: some image scores hold the presence of the region (√(q·m)) and others do "
            "not (m alone), so that no gate means the same in both; score all cases with one "
            "model, or give image_scores.csv for all."
        )
