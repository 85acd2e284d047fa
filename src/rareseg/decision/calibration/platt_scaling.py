"""Fit a slope and a bias on log-odds by the log-loss: temperature and Platt scaling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, log_expit

Floats = NDArray[np.float64]


FLATTEST = 2.0**-10
"""The least slope, so that the order of scores stays."""

_FURTHEST = 64.0
"""No bias is beyond: the log-odds of one in 10²⁷."""


def log_loss(odds: Floats, inside: Floats, outside: Floats) -> float:
    """Return Σ −inside·log σ(odds) − outside·log σ(−odds), in nats; all (k,), 0 where k is 0."""
    return -float((inside * log_expit(odds) + outside * log_expit(-odds)).sum())


def fit_log_odds(
    odds: Floats, inside: Floats, outside: Floats, *, counts: tuple[int, int]
) -> tuple[float, float]:
    """Return (slope, bias) with the lowest log-loss of σ(slope·odds + bias).

    ``odds``, ``inside`` and ``outside`` are (k,), the latter two weights ≥ 0 whose sum is 1;
    ``counts`` are the numbers of examples (inside, outside) behind them. Platt's targets (1999,
    section 2.2), (N₊+1)/(N₊+2) and 1/(N₋+2) in place of 1 and 0, keep the answer finite where the
    scores separate perfectly. Newton's method with step halving (Lin, Lin & Weng 2007), from slope
    1 and bias 0. Where scores say nothing, or the reverse, the slope is :data:`FLATTEST` and the
    bias the best beside it.
    """
    flip_inside, flip_outside = 1.0 / (counts[0] + 2.0), 1.0 / (counts[1] + 2.0)
    yes = inside * (1.0 - flip_inside) + outside * flip_outside
    no = outside * (1.0 - flip_outside) + inside * flip_inside
    at = np.array([1.0, 0.0])
    for _ in range(100):
        p = expit(at[0] * odds + at[1])
        pull = (yes + no) * p - yes
        gradient = np.array([(pull * odds).sum(), pull.sum()])
        bend = (yes + no) * p * (1.0 - p)
        mixed = (bend * odds).sum()
        hessian = np.array([[(bend * odds**2).sum(), mixed], [mixed, bend.sum()]])
        hessian += np.eye(2) * 1e-12
        step = np.linalg.solve(hessian, gradient)
        decrease = float(gradient @ step)
        if decrease < 1e-12:
            break
        here, share = log_loss(at[0] * odds + at[1], yes, no), 1.0
        while share > 1e-10:
            nearer = at - share * step
            if log_loss(nearer[0] * odds + nearer[1], yes, no) <= here - 1e-4 * share * decrease:
                break
            share /= 2.0
        at = at - share * step
    if at[0] >= FLATTEST:
        return float(at[0]), float(at[1])

    def excess(bias: float) -> float:
        return float(((yes + no) * expit(FLATTEST * odds + bias) - yes).sum())

    # The loss is convex, so that with the slope held at its least the best bias lies where Σ p is
    # the share inside.
    return FLATTEST, float(brentq(excess, -_FURTHEST, _FURTHEST))
