"""Bet against uniform p-values: a mixture of densities whose capital is a test martingale.

The Simple Jumper (Vovk et al. 2021, "Retrain or not retrain: conformal test martingales for
change-point detection", Algorithm 1) holds shares of its capital in a few bets and moves a small
part of it to all of them alike before each p-value, so that it notices a change that begins late.
Its three bets are linear; those here are beta densities, which win more where ranks crowd at one
end, at both, or in the middle. The share that is moved is not known beforehand, so that the capital
begins in equal parts at three of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

Floats = NDArray[np.float64]

_SHAPES = (
    (1.0, 1.0),  # no bet at all: where all capital begins
    (0.15, 1.0),
    (0.4, 1.0),
    (0.7, 1.0),
    (1.0, 0.15),
    (1.0, 0.4),
    (1.0, 0.7),
    (0.5, 0.5),
    (2.0, 2.0),
)
"""The beta densities; each is 1 on average over [0, 1]."""

_MOVED = (0.1, 0.01, 0.001)
"""The shares of capital that are moved before each p-value."""

_NEAREST = 1e-15
"""No p-value is taken to lie nearer to 0 or 1: a bet wins no more beyond."""


def log_capital(p_values: Floats) -> Floats:
    """Return the natural logarithm of the capital after each p-value; (..., n) as they are.

    It begins with 1 before the first. Where p-values are independent and uniform, the capital is
    a non-negative martingale, and P(it ever reaches c) ≤ 1/c (Ville). Each series on the last axis
    is bet on by itself. No p-value gives none.
    """
    shapes = np.array(_SHAPES)
    inside = np.clip(p_values, _NEAREST, 1.0 - _NEAREST)[..., np.newaxis]
    densities = np.exp(
        (shapes[:, 0] - 1.0) * np.log(inside)
        + (shapes[:, 1] - 1.0) * np.log1p(-inside)
        - betaln(shapes[:, 0], shapes[:, 1])
    )
    moved = np.array(_MOVED)[:, np.newaxis]
    start = np.zeros((len(_MOVED), len(_SHAPES)))
    start[:, 0] = 1.0
    shares = np.broadcast_to(start, (*p_values.shape[:-1], *start.shape)).copy()
    logs = np.zeros((*p_values.shape[:-1], len(_MOVED)))
    found = np.empty(p_values.shape)
    for k in range(p_values.shape[-1]):
        shares = (1.0 - moved) * shares + moved / len(_SHAPES)
        shares *= densities[..., k, np.newaxis, :]
        won = shares.sum(-1)
        shares /= won[..., np.newaxis]
        logs += np.log(won)
        found[..., k] = np.logaddexp.reduce(logs, axis=-1) - np.log(len(_MOVED))
    return found
