"""Whether one set of image scores can be a mixture of two others."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from rareseg.decision.calibration.image_sample import ImageSample, mixture_p_value
from rareseg_runner.scoring.log_odds import log_odds


def sample(odds, groups=None):
    return ImageSample.of(expit(odds), [None] * len(odds) if groups is None else groups)


def p_values(n_positive, n_negative, n, *, share, moved=0.0, trials=300):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(trials):
        holds = rng.random(n) < share
        odds = rng.normal(size=n) + np.where(holds, 2.5, moved)
        kinds = sample(rng.normal(2.5, 1, n_positive)), sample(rng.normal(0, 1, n_negative))
        found.append(mixture_p_value(sample(odds), *kinds))
    return np.array(found)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("sizes", [(10, 30, 60), (60, 200, 400)])
def test_mixtures_are_refused_in_at_most_5_percent(sizes, share):
    # 300 trials at 5 %: three standard errors are 3.8 points.
    assert np.mean(p_values(*sizes, share=share) < 0.05) <= 0.05 + 0.038


def test_what_is_no_mixture_is_told():
    assert np.mean(p_values(60, 200, 400, share=0.1, moved=0.7, trials=50) < 0.05) > 0.9
    assert np.mean(p_values(60, 200, 400, share=0.1, moved=-1.5, trials=50) < 0.05) > 0.9


def test_more_positives_are_no_drift_whatever_their_share():
    rng = np.random.default_rng(1)
    positive, negative = rng.normal(2, 1, 500), rng.normal(0, 1, 500)
    for share in (0.0, 0.3, 1.0):
        new = np.where(rng.random(500) < share, rng.normal(2, 1, 500), rng.normal(0, 1, 500))
        assert mixture_p_value(sample(new), sample(positive), sample(negative)) > 0.05


def test_images_of_one_group_count_once():
    rng = np.random.default_rng(2)
    kinds = sample(rng.normal(3, 1, 40)), sample(rng.normal(0, 1, 40))
    odds = rng.normal(1, 0.5, 40)
    names = [f"g{i}" for i in range(40)]
    once = mixture_p_value(sample(odds, names), *kinds)
    again = mixture_p_value(sample(np.tile(odds, 5), names * 5), *kinds)
    assert again == pytest.approx(once)
    assert mixture_p_value(sample(np.tile(odds, 5)), *kinds) < once


def test_ties_that_leave_two_cells_say_nothing():
    positive, negative = sample(np.full(9, 3.0)), sample(np.full(9, -3.0))
    assert mixture_p_value(sample(np.full(50, 3.0)), positive, negative) == 1.0


def test_a_part_of_a_sample():
    whole = ImageSample.of([0.1, 0.9, 0.5], ["a", "a", "b"])
    assert whole.effective == pytest.approx(9 / 5)
    part = whole.part(np.array([True, False, True]))
    np.testing.assert_array_equal(part.odds, log_odds([0.1, 0.5]))
    assert (part.groups, part.effective) == (["a", "b"], 2.0)
