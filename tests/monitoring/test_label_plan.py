"""How many groups to label: the known numbers, chances against the binomial, and the draw."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from rareseg.decision.guarantees.group_losses import GroupLosses
from rareseg.decision.guarantees.guarantee import make_guarantee
from rareseg.decision.guarantees.risk_control import control_with_confidence
from rareseg.errors import DataError, UsageError
from rareseg.monitoring.label_plan import draw_groups, plan_labels

ALARMS = make_guarantee("false alarm rate", 0.05)


def test_fifty_nine_negative_groups_without_an_error():
    plan = plan_labels(ALARMS, share=1.0, expected_loss=0.0)
    assert (plan.without_errors, plan.needed, plan.drawn) == (59, 59, 59)
    one_percent = make_guarantee("false alarm rate", 0.01)
    assert plan_labels(one_percent, share=1.0, expected_loss=0.0).without_errors == 299


def test_at_two_percent_prevalence_positives_take_thousands():
    missed = make_guarantee("false negative rate", 0.05, level="image", within="any")
    plan = plan_labels(missed, share=0.02, expected_loss=0.0)
    assert plan.without_errors == 59
    assert 2950 < plan.drawn < 3600
    assert binom.sf(58, plan.drawn, 0.02) >= 0.9 > binom.sf(58, plan.drawn - 1, 0.02)


def test_errors_that_are_expected_take_more_groups():
    plan = plan_labels(ALARMS, share=0.9, expected_loss=0.01)
    assert plan.needed > plan.without_errors == 59
    assert binom.cdf(round(0.01 * plan.needed), plan.needed, 0.05) <= 0.06


def test_what_no_number_reaches_is_refused():
    with pytest.raises(UsageError, match="is not to be had at this point"):
        plan_labels(ALARMS, share=1.0, expected_loss=0.05)
    with pytest.raises(UsageError, match="ask for less"):
        plan_labels(ALARMS, share=0.0, expected_loss=0.0)


def test_groups_are_drawn_without_replacement_and_evenly():
    plan = plan_labels(ALARMS, share=1.0, expected_loss=0.0)
    groups = [f"g{k}" for k in range(118)]
    counts = np.zeros(118)
    for seed in range(400):
        drawn = draw_groups(plan, groups, np.random.default_rng(seed))
        assert len(set(drawn)) == 59
        counts[[int(name[1:]) for name in drawn]] += 1
    assert abs(counts - 200).max() < 5 * np.sqrt(400 * 0.25)


def test_too_few_groups_say_what_they_could_stand_for():
    plan = plan_labels(ALARMS, share=1.0, expected_loss=0.0)
    with pytest.raises(
        DataError, match=r"59 groups are to be drawn, and the stream has 29.*0\.098"
    ):
        draw_groups(plan, [str(k) for k in range(29)], np.random.default_rng(0))


@pytest.mark.parametrize("unlabelled", [0.0, 0.03])
def test_what_the_draw_certifies_holds_in_two_thousand_deployments(unlabelled):
    """A stream of which the truth is known; drawn, answered, certified, held against the truth."""
    guarantee = make_guarantee("false alarm rate", 0.1)
    plan = plan_labels(guarantee, share=0.8, expected_loss=0.02)
    kept = broken = answered = 0
    groups = 600
    names = [str(k) for k in range(groups)]
    for deployment in range(2000):
        rng = np.random.default_rng([deployment, int(100 * unlabelled)])
        negative = rng.random(groups) < 0.8
        # Alarms of each group along a path from a safe gate to a bold one.
        alarmed = rng.random(groups)[:, np.newaxis] < np.linspace(0.0, 0.3, 40)
        drawn = draw_groups(plan, names, rng)
        picked = np.array([int(name) for name in drawn])
        lost = rng.random(len(picked)) < unlabelled
        own = picked[~lost & negative[picked]]
        found = GroupLosses(alarmed[own] * 1.0, len(own), assumes_independent_images=False)
        losses = found.with_lost(int(lost.sum())).losses
        assert losses.shape == (len(own) + lost.sum(), 40)
        reach = control_with_confidence(losses, alpha=0.1, confidence=0.95, binary=True)
        truth = alarmed[negative].mean(axis=0)  # of the whole stream that was drawn from
        answered += reach > 0
        broken += reach > 0 and truth[reach - 1] > 0.1
        kept += 1
    assert answered > (0.1 if unlabelled else 0.5) * kept
    assert broken <= kept * 0.05 + 3 * np.sqrt(kept * 0.05 * 0.95)
