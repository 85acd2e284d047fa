"""The jackknife over groups: by hand, at the ends of its scales, and its coverage in simulation."""

import math

import numpy as np
import pytest
from scipy.stats import t as student

from rareseg.evaluation.statistics.jackknife import (
    ALL_ALIKE,
    TOO_FEW,
    jackknife_interval,
    mean_interval,
    standard_error,
    without_each,
)
from rareseg.evaluation.statistics.undefined import Undefined, is_defined


def arrays(*numbers):
    return [np.array(n, np.float64) for n in numbers]


def test_the_error_of_a_mean_is_the_usual_one():
    values = np.random.default_rng(0).random(9)
    left_out = without_each(values, np.ones(9))
    assert standard_error(left_out) == pytest.approx(values.std(ddof=1) / 3)


def test_a_plain_interval_is_students():
    values = np.array([0.1, -0.2, 0.3, 0.4, 0.0, 0.2])
    low, high = mean_interval(values, np.ones(6), scale="plain")
    reach = student.ppf(0.975, 5) * values.std(ddof=1) / math.sqrt(6)
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach))


def test_a_share_by_hand_on_the_log_odds_scale():
    sums, sizes = arrays([0.5, 1.2, 0.9, 0.2, 0.8, 1.9], [1, 2, 1, 1, 1, 3])
    odds = np.log([(5.5 - s) / (9 - m - 5.5 + s) for s, m in zip(sums, sizes, strict=True)])
    error = math.sqrt(5 / 6 * ((odds - odds.mean()) ** 2).sum())
    reach = student.ppf(0.975, 81 / 17 - 1) * error
    # Kish's number is 81 / 17 = 4.8: too few, until the largest group is smaller.
    assert mean_interval(sums, sizes, scale="share") == (TOO_FEW, TOO_FEW)
    sums, sizes = arrays([0.5, 1.2, 0.9, 0.2, 0.8, 1.4], [1, 2, 1, 1, 1, 2])
    odds = np.log([(5 - s) / (8 - m - 5 + s) for s, m in zip(sums, sizes, strict=True)])
    error = math.sqrt(5 / 6 * ((odds - odds.mean()) ** 2).sum())
    reach = student.ppf(0.975, 64 / 12 - 1) * error
    middle = math.log(5 / 3)
    expected = [1 / (1 + math.exp(-bound)) for bound in (middle - reach, middle + reach)]
    assert mean_interval(sums, sizes, scale="share") == pytest.approx(tuple(expected))


def test_nothing_but_zeros_or_ones_leaves_one_side_open():
    zeros, ones = np.zeros(8), np.ones(8)
    assert mean_interval(zeros, ones, scale="share") == (0.0, pytest.approx(1 - 0.025 ** (1 / 8)))
    assert mean_interval(ones, ones, scale="share") == (pytest.approx(0.025 ** (1 / 8)), 1.0)
    low, high = mean_interval(zeros, ones, scale="count")
    assert low == 0.0
    assert isinstance(high, Undefined)
    assert "no upper limit" in high.reason


def test_groups_that_agree_otherwise_say_nothing_of_others():
    assert mean_interval(np.full(8, 0.4), np.ones(8), scale="share") == (ALL_ALIKE, ALL_ALIKE)
    assert mean_interval(np.zeros(8), np.ones(8), scale="plain") == (ALL_ALIKE, ALL_ALIKE)


@pytest.mark.parametrize("scale", ["share", "count", "plain"])
def test_four_groups_are_too_few(scale):
    assert mean_interval(np.array([0.1, 0.2, 0.3, 0.4]), np.ones(4), scale=scale) == (
        TOO_FEW,
        TOO_FEW,
    )


@pytest.mark.parametrize("scale", ["share", "count"])
def test_where_one_group_holds_everything_the_bounds_stay_on_the_scale(scale):
    low, high = mean_interval(np.array([0.6, 0, 0, 0, 0, 0, 0]), np.ones(7), scale=scale)
    assert is_defined(low)
    assert is_defined(high)
    assert 0.0 < low < 0.6 / 7 < high
    assert scale == "count" or high < 1.0


def test_a_value_at_the_end_of_its_scale_has_no_interval():
    low, high = jackknife_interval(1.0, np.array([1, 1, 0.9, 1, 1.0]), np.ones(5), scale="share")
    assert not is_defined(low)
    assert not is_defined(high)


def dice(rng, n):
    """Like dice where some objects are missed altogether."""
    return np.where(rng.random(n) < 0.3, 0.0, rng.beta(5, 3, n))


@pytest.mark.parametrize("n_groups", [6, 12, 20])
@pytest.mark.parametrize(
    ("draw", "truth", "scale"),
    [
        (lambda rng, n: rng.beta(8, 3, n), 8 / 11, "share"),
        (dice, 0.7 * 5 / 8, "share"),
        (lambda rng, n: rng.exponential(1.5, n), 1.5, "count"),
    ],
    ids=["whole", "missed", "counts"],
)
def test_intervals_cover(draw, truth, scale, n_groups):
    rng = np.random.default_rng(n_groups)
    hits = []
    for _ in range(400):
        sizes = rng.integers(2, 5, n_groups).astype(np.float64)
        low, high = mean_interval(draw(rng, n_groups) * sizes, sizes, scale=scale)
        hits.append(low <= truth <= high)
    # 93 % at least, less three standard errors of a simulation of 400.
    assert np.mean(hits) >= 0.93 - 3 * math.sqrt(0.93 * 0.07 / 400)
