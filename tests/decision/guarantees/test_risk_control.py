from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rareseg.decision.guarantees.risk_control import (
    best_alpha,
    control_expectation,
    control_with_confidence,
    needed_groups,
    p_values,
)
from rareseg.errors import ScoreError, UsageError

SHARES = st.floats(0, 1)
ALPHAS = st.sampled_from([0.05, 0.1, 0.2, 0.5])


def exact_tail(k, n, p):
    """P(Bin(n, p) ≤ k) in whole terms."""
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@pytest.mark.parametrize(
    ("alpha", "confidence", "needed"),
    [
        (0.05, None, 19),
        (0.01, None, 99),
        (0.05, 0.95, 59),
        (0.01, 0.95, 299),
        (0.1, 0.95, 29),
        (0.1, 0.9, 22),
    ],
)
def test_how_many_groups_without_a_loss_a_guarantee_needs(alpha, confidence, needed):
    assert needed_groups(alpha, confidence=confidence, binary=True) == needed
    losses = np.zeros((needed, 1))
    if confidence is None:
        assert control_expectation(losses, alpha=alpha) == 1
        assert control_expectation(losses[1:], alpha=alpha) == 0
    else:
        for binary in (True, False):
            control = {"alpha": alpha, "confidence": confidence, "binary": binary}
            assert control_with_confidence(losses, **control) == 1
            assert control_with_confidence(losses[1:], **control) == 0


def test_one_alarm_among_46_groups_guarantees_ten_percent_and_among_45_does_not():
    one = np.zeros((46, 1))
    one[0] = 1.0
    assert control_with_confidence(one, alpha=0.1, confidence=0.95, binary=True) == 1
    assert control_with_confidence(one[:45], alpha=0.1, confidence=0.95, binary=True) == 0
    assert exact_tail(1, 46, 0.1) < 0.05 < exact_tail(1, 45, 0.1)
    assert needed_groups(0.1, confidence=0.95, mean_loss=1 / 46, binary=True) == 46


@given(st.integers(1, 60), st.data(), ALPHAS)
def test_p_values_against_their_formulas(n, data, alpha):
    total = data.draw(st.floats(0, n))
    whole = data.draw(st.integers(0, n))
    assert p_values(whole, n, alpha=alpha, binary=True) == pytest.approx(
        exact_tail(whole, n, alpha), rel=1e-9
    )
    a = min(total / n, alpha)
    h1 = (a * math.log(a / alpha) if a else 0.0) + (1 - a) * math.log((1 - a) / (1 - alpha))
    ceiling = math.ceil(round(total, 9))
    expected = min(1.0, math.exp(-n * h1), math.e * exact_tail(ceiling, n, alpha))
    assert p_values(total, n, alpha=alpha, binary=False) == pytest.approx(expected, rel=1e-9)


def test_a_sum_that_rounding_lifts_above_a_whole_number_counts_as_that_number():
    lifted = 3 * 0.1 + 0.7  # 1.0000000000000002 or 1.0, as the order goes
    assert p_values(lifted + 1e-13, 40, alpha=0.3, binary=True) == p_values(
        1.0, 40, alpha=0.3, binary=True
    )


@given(
    hnp.arrays(
        np.float64, st.tuples(st.integers(1, 40), st.integers(1, 6)), elements=st.floats(0, 1)
    ),
    ALPHAS,
)
def test_risk_control_stops_at_its_formula(losses, alpha):
    growing = np.maximum.accumulate(losses, axis=1)
    reach = control_expectation(growing, alpha=alpha)
    n = len(growing)
    holds = [n / (n + 1) * column.mean() + 1 / (n + 1) <= alpha + 1e-9 for column in growing.T]
    assert holds == [True] * reach + [False] * (len(holds) - reach)


def test_testing_stops_at_the_first_failure_though_a_later_point_would_pass():
    losses = np.zeros((60, 3))
    losses[:30, 1] = 1.0
    assert control_with_confidence(losses, alpha=0.1, confidence=0.95) == 1


def test_a_bound_scales_losses_and_guarantee_alike():
    losses = np.maximum.accumulate(np.random.default_rng(0).random((50, 20)), axis=1) * 0.3
    for factor in (1.0, 10.0):
        scaled = {"alpha": 0.2 * factor, "bound": factor}
        assert control_expectation(losses * factor, **scaled) == control_expectation(
            losses, alpha=0.2
        )
        assert control_with_confidence(
            losses * factor, confidence=0.9, **scaled
        ) == control_with_confidence(losses, alpha=0.2, confidence=0.9)


@given(
    st.integers(1, 80),
    st.floats(0, 0.5),
    st.sampled_from([None, 0.8, 0.95]),
    st.booleans(),
)
def test_the_best_reachable_guarantee_is_reached_and_nothing_better(
    n, mean_loss, confidence, binary
):
    if binary:
        mean_loss = round(mean_loss * n) / n
    best = best_alpha(mean_loss, n, confidence=confidence, binary=binary)
    losses = np.full((n, 1), mean_loss)

    def holds(alpha):
        if confidence is None:
            return control_expectation(losses, alpha=alpha) == 1
        return float(p_values(n * mean_loss, n, alpha=alpha, binary=binary)) <= 1 - confidence

    if best < 0.999:
        assert holds(best + 1e-6)
    if best - 1e-4 > 1e-6 and best < 1.0 and best - 1e-4 > mean_loss:
        assert not holds(best - 1e-4)


def test_no_number_of_groups_helps_where_the_loss_itself_is_too_large():
    assert needed_groups(0.1, confidence=0.95, mean_loss=0.1) is None
    assert needed_groups(0.1, confidence=None, mean_loss=0.2) is None
    assert needed_groups(1e-7, confidence=None) is None


def test_no_group_guarantees_nothing():
    nothing = np.zeros((0, 4))
    assert control_expectation(nothing, alpha=0.5) == 0
    assert control_with_confidence(nothing, alpha=0.5, confidence=0.5) == 0
    assert best_alpha(0.0, 0, confidence=None) == 1.0
    assert best_alpha(0.0, 0, confidence=0.95) == 1.0


def test_losses_that_cannot_be_are_refused():
    good = np.zeros((30, 2))
    with pytest.raises(ScoreError, match="fall somewhere"):
        control_expectation(np.array([[0.5, 0.4]] * 30), alpha=0.2)
    with pytest.raises(ScoreError, match="one row a group"):
        control_expectation(np.zeros(30), alpha=0.2)
    for bad in (np.nan, -0.1, 1.1):
        with pytest.raises(ScoreError, match=r"\[0, 1\]"):
            control_with_confidence(np.full((30, 1), bad), alpha=0.2, confidence=0.9)
    for alpha in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(UsageError, match="guarantee of"):
            control_expectation(good, alpha=alpha)
    for confidence in (0.0, 1.0, 95.0):
        with pytest.raises(UsageError, match="confidence of"):
            control_with_confidence(good, alpha=0.1, confidence=confidence)


def test_guarantees_keep_in_a_thousand_draws():
    """A quick look; the proof with its many settings is benchmarks/guarantees.py."""
    rng = np.random.default_rng(7)
    alpha, delta, trials = 0.2, 0.2, 1000
    grid = np.linspace(0, 1, 101)
    risks, above = [], 0
    for _ in range(trials):
        # The loss at λ is max(0, λ − U): its expectation is λ²/2.
        losses = np.maximum(0.0, grid - rng.random((25, 1)))
        reach = control_expectation(losses, alpha=alpha)
        risks.append(grid[reach - 1] ** 2 / 2)
        alarms = (grid >= rng.random((25, 1))) * 1.0  # at λ the risk is λ
        reach = control_with_confidence(alarms, alpha=alpha, confidence=1 - delta, binary=True)
        above += reach > 0 and grid[reach - 1] > alpha
    mean = float(np.mean(risks))
    assert 0.8 * alpha < mean <= alpha + 3 * float(np.std(risks)) / math.sqrt(trials)
    assert 0.02 < above / trials <= delta + 3 * math.sqrt(delta * (1 - delta) / trials)
