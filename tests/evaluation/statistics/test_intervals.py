from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from rareseg.errors import UsageError
from rareseg.evaluation.statistics.intervals import (
    INDEPENDENT_IMAGES,
    clopper_pearson,
    count_groups,
    estimate_groups_with_any,
    estimate_mean,
    estimate_share,
)
from rareseg.evaluation.statistics.jackknife import mean_interval
from rareseg.evaluation.statistics.undefined import Undefined


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (0, 59), (1, 46), (7, 20), (20, 20)])
def test_clopper_pearson_agrees_with_scipys_exact_interval(successes, n):
    exact = binomtest(successes, n).proportion_ci(method="exact")
    assert clopper_pearson(successes, n) == pytest.approx((exact.low, exact.high))


def test_clopper_pearson_covers_at_least_its_confidence():
    n = 23
    intervals = np.array([clopper_pearson(x, n) for x in range(n + 1)])
    for p in np.linspace(0.01, 0.99, 40):
        covers = (intervals[:, 0] <= p) & (p <= intervals[:, 1])
        assert binom.pmf(np.arange(n + 1), n, p)[covers].sum() >= 0.95


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_proportions_that_do_not_exist_are_refused(successes, n):
    with pytest.raises(UsageError, match="does not exist"):
        clopper_pearson(successes, n)


def test_cases_without_a_group_are_their_own():
    assert count_groups(["a", "a", None, None, "b"]) == 4
    assert count_groups([]) == 0


def test_share_with_one_case_per_group_is_clopper_pearson():
    estimate = estimate_share([1, 0, 0, 0], [1] * 4, list("abcd"), none="no case")
    assert (estimate.value, estimate.low, estimate.high) == (0.25, *clopper_pearson(1, 4))
    assert (estimate.n_cases, estimate.n_groups) == (4, 4)
    assert INDEPENDENT_IMAGES not in estimate.method


def test_cases_of_one_group_do_not_narrow_the_interval():
    few = estimate_share([0] * 5, [1] * 5, list("abcde"), none="")
    many = estimate_share([0] * 50, [1] * 50, list("abcde") * 10, none="")
    assert (few.low, few.high) == pytest.approx((many.low, many.high))
    assert few.high == pytest.approx(1 - 0.025 ** (1 / 5))


def test_unequal_groups_say_less_than_equal_ones():
    groups = ["giant"] * 96 + list("abcd")
    estimate = estimate_share([0] * 100, [1] * 100, groups, none="")
    assert estimate.n_groups == 5
    assert estimate.high > 0.9


def test_share_interval_covers_where_groups_agree_within():
    rng = np.random.default_rng(0)
    covered = 0
    trials = 400
    sizes = rng.integers(1, 9, 30)
    groups = [str(g) for g, size in enumerate(sizes) for _ in range(size)]
    for _ in range(trials):
        alarms = np.repeat(rng.random(30) < 0.1, sizes)
        estimate = estimate_share(alarms, [1] * len(alarms), groups, none="")
        covered += estimate.low <= 0.1 <= estimate.high
    assert covered / trials >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials)


def test_any_alarm_makes_a_group_an_alarm():
    estimate = estimate_groups_with_any(
        [True, False, False, True, False], ["a", "a", "b", "c", None], none=""
    )
    assert estimate.value == 0.5
    assert estimate.n_groups == 4
    assert INDEPENDENT_IMAGES in estimate.method


def test_a_mean_counts_undefined_values_and_groups():
    values = [0.9, 0.7, 0.2, 0.4, 0.5, 0.8, 0.6, Undefined("nothing is predicted")]
    estimate = estimate_mean(values, list("aabcdefg"), none="", scale="share")
    assert estimate.value == pytest.approx(4.1 / 7)
    assert (estimate.n_cases, estimate.n_groups, estimate.n_undefined) == (7, 6, 1)
    expected = mean_interval(
        np.array([1.6, 0.2, 0.4, 0.5, 0.8, 0.6]), np.array([2.0, 1, 1, 1, 1, 1]), scale="share"
    )
    assert (estimate.low, estimate.high) == expected
    assert estimate.method == "jackknife over groups, log-odds"


def test_many_independent_images_have_the_normal_interval():
    values = np.random.default_rng(1).random(400)
    estimate = estimate_mean(values.tolist(), [None] * 400, none="", scale="plain")
    half = 1.96 * values.std() / 20
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.001)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.001)
    assert INDEPENDENT_IMAGES in estimate.method


def test_few_groups_have_a_mean_but_no_interval():
    estimate = estimate_mean([0.2, 0.4] * 10, list("abcd") * 5, none="", scale="share")
    assert estimate.value == pytest.approx(0.3)
    assert estimate.low == estimate.high == Undefined("fewer than 5 groups")


def test_nothing_at_all_is_undefined_with_the_reason_given():
    nothing = Undefined("no negative case")
    assert estimate_share([], [], [], none=nothing.reason).value == nothing
    assert estimate_groups_with_any([], [], none=nothing.reason).low == nothing
    assert estimate_mean([], [], none=nothing.reason, scale="share").high == nothing
