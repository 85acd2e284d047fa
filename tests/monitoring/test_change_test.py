"""The test of a change: ranks by hand, false alarms in simulated years, and what is noticed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rareseg.monitoring.change_test import ALPHA, find_change, sequential_ranks, shares_of
from rareseg.monitoring.observed_features import ObservedFeature

REGION = tuple(
    ObservedFeature("speck", name) for name in ("image score", "area", "objects", "flagged")
)
IMAGE = tuple(ObservedFeature("", name) for name in ("size", "mean", "spread", "sharpness"))
FEATURES = (*IMAGE, *REGION)


def world(rng: np.random.Generator, n: int) -> np.ndarray:
    """Groups with a heavy tail, ties, a constant and features that depend on each other."""
    defect = rng.random(n) < 0.3
    light = rng.normal(size=n)
    score = rng.beta(1 + 3 * defect, 4)
    columns = [
        np.full(n, 4096.0),
        100 + 20 * light,
        30 + 5 * light + rng.standard_t(2, n),
        rng.lognormal(size=n),
        score,
        np.where(score > 0.4, rng.lognormal(-3, 1, n), 0.0),
        np.where(score > 0.4, rng.poisson(2, n), 0),
        (score > 0.4) * 1.0,
    ]
    return np.stack(columns, axis=1)


def test_a_rank_is_counted_among_reference_and_stream_so_far():
    reference, stream = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.5, 9.0, 2.5])
    theta = np.random.default_rng(3).random(3)
    ranks = sequential_ranks(reference, stream, np.random.default_rng(3))
    assert ranks == pytest.approx([(2 + theta[0]) / 5, (0 + theta[1]) / 6, (3 + 2 * theta[2]) / 7])


def test_ranks_of_an_unchanged_stream_are_uniform_and_independent_also_with_ties():
    firsts, thirds = [], []
    for seed in range(1500):
        rng = np.random.default_rng(seed)
        values = rng.integers(4, size=12).astype(float)
        ranks = sequential_ranks(values[:6], values[6:], rng)
        firsts.append(ranks[0])
        thirds.append(ranks[2])
    assert stats.kstest(firsts, "uniform").pvalue > 0.001
    assert stats.kstest(thirds, "uniform").pvalue > 0.001
    assert abs(stats.spearmanr(firsts, thirds).statistic) < 0.09


def test_shares_add_up_to_one_and_the_images_have_half():
    shares = shares_of((*FEATURES, ObservedFeature("other", "area")))
    assert shares.sum() == pytest.approx(1.0)
    assert shares[:4].sum() == pytest.approx(0.5)
    assert shares[4:8].sum() == pytest.approx(0.25)
    assert shares_of(REGION) == pytest.approx([0.25] * 4)


def alarms(trials: int, n_reference: int, groups: int) -> int:
    """Count unchanged streams that are ever called changed."""
    found = 0
    for seed in range(trials):
        rng = np.random.default_rng([seed, n_reference])
        drawn = world(rng, n_reference + groups)
        test = find_change(drawn[:n_reference], drawn[n_reference:], FEATURES, seed=seed)
        found += test.changed
    return found


def test_unchanged_streams_seldom_alarm():
    trials = 100
    assert alarms(trials, 40, 150) <= trials * ALPHA + 3 * np.sqrt(trials * ALPHA * (1 - ALPHA))


@pytest.mark.slow
@pytest.mark.parametrize("n_reference", [20, 100])
def test_unchanged_streams_seldom_alarm_in_a_year_of_days(n_reference):
    trials = 500
    most = trials * ALPHA + 3 * np.sqrt(trials * ALPHA * (1 - ALPHA))
    assert alarms(trials, n_reference, 365) <= most


def test_a_fixed_reference_would_alarm_falsely():
    """What the ranks among the stream so far are for: the same bets on ranks of a fixed one."""
    from rareseg.monitoring.betting import log_capital

    found = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        reference, stream = rng.normal(size=40), rng.normal(size=365)
        fixed = np.array([(np.sum(reference > x) + rng.random()) / 41 for x in stream])
        found += log_capital(fixed).max() >= -np.log(ALPHA)
    assert found > 20


@pytest.mark.parametrize(
    ("column", "shift", "within"), [(1, 100.0, 15), (1, 60.0, 30), (4, 0.6, 40), (3, 40.0, 15)]
)
def test_a_change_is_noticed_and_named(column, shift, within):
    noticed = []
    for seed in range(20):
        drawn = world(np.random.default_rng(seed), 160)
        drawn[100:, column] += shift
        test = find_change(drawn[:100], drawn[100:], FEATURES)
        noticed.append(test.noticed_at.get(FEATURES[column], 1000))
    assert np.median(noticed) <= within


def test_what_did_not_change_is_not_named():
    wrong = 0
    for seed in range(60):
        drawn = world(np.random.default_rng(seed), 160)
        drawn[100:, 3] += 40.0
        test = find_change(drawn[:100], drawn[100:], FEATURES)
        wrong += bool(set(test.noticed_at) - {FEATURES[3]})
    assert wrong <= 60 * ALPHA + 3 * np.sqrt(60 * ALPHA * (1 - ALPHA))


def test_a_longer_stream_says_the_same_of_its_beginning():
    drawn = world(np.random.default_rng(5), 90)
    short = find_change(drawn[:40], drawn[40:60], FEATURES)
    longer = find_change(drawn[:40], drawn[40:], FEATURES)
    assert longer.log_evidence[:20] == pytest.approx(short.log_evidence)


def test_what_has_changed_stays_changed():
    drawn = world(np.random.default_rng(6), 400)
    drawn[100:160, 1] += 200.0  # and back again
    assert find_change(drawn[:100], drawn[100:], FEATURES).changed


def test_an_empty_stream_and_no_reference_say_nothing():
    drawn = world(np.random.default_rng(7), 30)
    nothing = find_change(drawn, drawn[:0], FEATURES)
    assert (nothing.n_groups, nothing.changed) == (0, False)
    assert nothing.highest(FEATURES[0]) == pytest.approx(np.log(1 / 8))
    assert find_change(drawn[:0], drawn, FEATURES).n_reference == 0
