"""Smoothing over log-odds, against quadrature of the step functions that it smooths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter1d
from scipy.stats import norm

from rareseg.decision.default_point.smoothing import (
    log_odds,
    passing_share,
    smoothing_width,
    threshold_kernel,
)

END = float(log_odds(1.0))
NODES = (np.arange(1000) + 0.5) / 1000
"""Quantiles at which a mean over a Gaussian is taken."""

odds = hnp.arrays(np.int64, 6, elements=st.integers(-80, 80), unique=True).map(
    lambda tenths: np.sort(tenths) / 10
)


@given(
    odds=odds, values=hnp.arrays(np.float64, 6, elements=st.floats(0, 1)), width=st.floats(0.2, 2)
)
def test_the_kernel_smooths_the_nearest_value(odds, values, width):
    smooth = threshold_kernel(odds, width) @ values
    around = odds[:, np.newaxis] + width * norm.ppf(NODES)
    nearest = np.abs(around[..., np.newaxis] - odds).argmin(axis=-1)
    assert smooth == pytest.approx(values[nearest].mean(axis=1), abs=3e-3)


def test_on_an_even_grid_it_is_scipys_filter_with_edges_repeated():
    values = np.random.default_rng(0).random(80)
    even = np.arange(80) / 8
    assert threshold_kernel(even, 1.0) @ values == pytest.approx(
        gaussian_filter1d(values, 8.0, mode="nearest", truncate=8), abs=1e-3
    )


def test_without_width_nothing_is_smoothed():
    assert np.array_equal(threshold_kernel(np.arange(3.0), 0.0), np.eye(3))


@given(image=odds, gates=odds, width=st.floats(0.2, 2))
def test_a_smoothed_gate_lets_a_share_pass(image, gates, width):
    around = gates[:, np.newaxis] + width * norm.ppf(NODES)
    passing = (image[:, np.newaxis] >= around[:, np.newaxis]).mean(axis=-1)
    assert passing_share(image, gates, width) == pytest.approx(passing, abs=3e-3)


def test_a_score_at_the_upper_end_passes_every_gate():
    # Beyond the last bin the gates repeat it, and there is nothing above a score of 1.
    assert passing_share(log_odds([1.0, 0.5]), np.array([END]), 1.0)[0, 0] == 1.0


def test_log_odds_are_clipped_to_the_bins():
    assert log_odds([0.0, 0.5, 1.0]) == pytest.approx([-126 * np.log(2), 0.0, 24 * np.log(2)])


def test_the_width_follows_how_much_scores_of_one_kind_vary():
    rng = np.random.default_rng(0)
    near, far = rng.normal(0.0, 0.5, 400), rng.normal(9.0, 0.5, 400)
    both = np.concatenate([near, far])
    positive = np.arange(800) >= 400
    quartile = 0.5 * 0.6745
    assert smoothing_width(both, positive) == pytest.approx(quartile, rel=0.1)
    assert smoothing_width(near, np.zeros(400, bool)) == pytest.approx(quartile, rel=0.1)
    assert smoothing_width(10 * both, positive) == 1.0
    assert smoothing_width(np.ones(4), np.ones(4, bool)) == 0.0
    assert smoothing_width(np.empty(0), np.empty(0, bool)) == 0.0
