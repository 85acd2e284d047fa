"""Several networks as one: by hand, and at the ends of what float32 holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit, softmax

from rareseg_runner.scoring.network_mean import as_terms, from_terms, mean_presence


def mean(parts, *, of_log_odds):
    total = sum(as_terms(np.asarray(p, np.float32), of_log_odds=of_log_odds) for p in parts)
    return from_terms(total, len(parts), of_log_odds=of_log_odds)


@given(seed=st.integers(0, 2**31), networks=st.integers(2, 5), classes=st.integers(2, 4))
def test_it_is_the_mean_by_hand(seed, networks, classes):
    rng = np.random.default_rng(seed)
    parts = [softmax(rng.normal(0, 4, (classes, 3, 5)), axis=0) for _ in range(networks)]
    plain, odds = mean(parts, of_log_odds=False), mean(parts, of_log_odds=True)
    assert plain.dtype == odds.dtype == np.float32
    np.testing.assert_allclose(plain, np.mean(parts, axis=0), atol=1e-6)
    np.testing.assert_allclose(odds, softmax(np.mean(np.log(parts), axis=0), axis=0), atol=1e-5)
    np.testing.assert_allclose(odds.sum(axis=0), 1.0, atol=1e-5)
    if classes == 2:
        by_odds = expit(np.mean([logit(p[1]) for p in parts], axis=0))
        np.testing.assert_allclose(odds[1], by_odds, atol=1e-5)


def test_networks_that_agree_are_their_mean():
    scores = np.array([[0.75, 0.999, 1e-12], [0.25, 0.001, 1.0]], np.float32)
    for of_log_odds in (False, True):
        np.testing.assert_allclose(
            mean([scores] * 3, of_log_odds=of_log_odds), scores, rtol=1e-5, atol=1e-13
        )


def test_a_probability_of_0_leaves_numbers():
    sure = [
        np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]),
        np.array([[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]]),
    ]
    found = mean(sure, of_log_odds=True)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, [[0.5, 0.0, 1.0], [0.5, 1.0, 0.0]], atol=1e-6)


def test_presences_are_averaged_alike():
    said = [np.array([0.9, 0.0], np.float32), np.array([0.2, 1.0], np.float32)]
    plain, odds = (mean_presence(said, of_log_odds=kind) for kind in (False, True))
    np.testing.assert_allclose(plain, [0.55, 0.5], atol=1e-6)
    assert odds[0] == pytest.approx(expit((logit(0.9) + logit(0.2)) / 2), abs=1e-6)
    assert 0.0 < odds[1] < 1.0
    assert plain.dtype == odds.dtype == np.float32
