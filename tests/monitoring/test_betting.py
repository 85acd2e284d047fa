"""The capital: by hand, fair against uniform p-values, and large where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from rareseg.monitoring.betting import log_capital


def by_hand(p_values):
    """The capital in plain Python: three bettors, nine densities, a share moved before each bet."""
    shapes = [(1, 1), (0.15, 1), (0.4, 1), (0.7, 1), (1, 0.15), (1, 0.4), (1, 0.7), (0.5, 0.5)]
    shapes.append((2, 2))
    accounts = {moved: [1 / 3] + [0.0] * 8 for moved in (0.1, 0.01, 0.001)}
    found = []
    for p in p_values:
        for moved, held in accounts.items():
            total = sum(held)
            accounts[moved] = [
                ((1 - moved) * own + moved * total / 9) * beta.pdf(p, a, b)
                for own, (a, b) in zip(held, shapes, strict=True)
            ]
        found.append(sum(sum(held) for held in accounts.values()))
    return found


def test_the_capital_is_what_is_won_by_hand():
    p_values = np.array([0.3, 0.01, 0.9, 0.002, 0.5, 0.04])
    assert np.exp(log_capital(p_values)) == pytest.approx(by_hand(p_values.tolist()), rel=1e-9)


@pytest.mark.parametrize("history", [[], [0.5], [0.01, 0.02, 0.01], [0.9, 0.1, 0.99, 0.97]])
def test_the_next_bet_is_fair(history):
    """∫ capital(next p) dp is the capital before: a martingale of uniform p-values."""
    before = by_hand(history)[-1] if history else 1.0

    # p = x²⁰ near each end, where densities rise without bound.
    x = np.linspace(0.0, 0.5**0.05, 20_001)
    p, dp = x**20, 20 * x**19
    won = 0.0
    for side in (p, 1.0 - p):
        series = np.column_stack([np.tile(np.array(history), (len(p), 1)), side])
        won += float(np.trapezoid(np.exp(log_capital(series)[:, -1]) * dp, x))
    assert before * 0.99 <= won <= before * 1.0001


def test_each_series_is_bet_on_by_itself():
    p_values = np.random.default_rng(0).random((3, 4, 20))
    together = log_capital(p_values)
    assert together.shape == p_values.shape
    assert together[1, 2] == pytest.approx(log_capital(p_values[1, 2]))


def test_no_p_value_gives_no_capital():
    assert log_capital(np.zeros((2, 0))).shape == (2, 0)


def test_p_values_of_nought_and_one_win_a_finite_amount():
    assert np.isfinite(log_capital(np.array([0.0, 1.0, 0.0]))).all()


def test_a_change_after_long_quiet_is_still_won_from():
    rng = np.random.default_rng(1)
    quiet, loud = rng.random(1000), rng.random(40) * 0.05
    capital = log_capital(np.concatenate([quiet, loud]))
    assert capital[999] < 1.0
    assert capital[-1] > np.log(10_000)
