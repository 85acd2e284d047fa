"""From what a network says of an image to a probability: exact, monotone, and never extreme."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit

from rareseg.decision.calibration.fit_presence import FEWEST_GROUPS, fit_presence_scaling
from rareseg.errors import ScoreError
from rareseg.evaluation.tables.score_table import ScoreTable, score_case
from rareseg_runner.scoring.presence_scaling import PresenceScaling


def table_of(said, positive, groups=None):
    return ScoreTable(
        tuple(
            score_case(
                np.array([0.5, 0.0]), [int(holds), 0], case_id=f"{i:04}", region="r", presence=q,
                group=None if groups is None else groups[i],
            )
            for i, (q, holds) in enumerate(zip(said, positive, strict=True))
        )
    )  # fmt: skip


def images(n, seed, *, slope=0.5, bias=-2.0, share=0.4):
    """Images whose truth is σ(slope · logit(said) + bias)."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 4, n)
    return expit(odds), rng.random(n) < expit(slope * odds + bias)


def test_many_images_find_the_truth():
    found = fit_presence_scaling(table_of(*images(4000, 1)), region="r")
    assert found.reason == ""
    assert found.slope == pytest.approx(0.5, abs=0.05)
    assert found.bias == pytest.approx(-2.0, abs=0.15)
    assert found.n_positive + found.n_negative == 4000


def test_a_scaled_presence_is_a_probability():
    said, positive = images(4000, 2)
    scaling = fit_presence_scaling(table_of(*images(4000, 1)), region="r")
    scaled = np.array([scaling.apply(q) for q in said])
    for low in np.arange(0, 1, 0.2):
        own = (scaled >= low) & (scaled < low + 0.2)
        assert scaled[own].mean() == pytest.approx(positive[own].mean(), abs=0.06)
    assert np.all(np.diff(scaled[np.argsort(said)]) >= 0), "images keep their order"


@pytest.mark.parametrize(("n_positive", "n_negative"), [(4, 40), (40, 4), (0, 40), (4, 4)])
def test_few_groups_leave_everything_as_it_is(n_positive, n_negative):
    positive = np.arange(n_positive + n_negative) < n_positive
    said = np.where(positive, 0.9, 0.2)
    found = fit_presence_scaling(table_of(said, positive), region="r")
    assert (found.slope, found.bias) == (1.0, 0.0)
    assert (found.n_positive, found.n_negative) == (n_positive, n_negative)
    assert f"of {FEWEST_GROUPS} that it takes" in found.reason
    assert found.apply(0.123) == np.float32(0.123)
    assert found.reason in found.sentence("r")


def test_groups_are_counted_and_not_their_images():
    # 40 images of 4 patients: too few, however many images they are.
    positive = np.arange(40) % 2 == 0
    found = fit_presence_scaling(
        table_of(np.full(40, 0.5), positive, [f"g{i // 10}" for i in range(40)]), region="r"
    )
    assert (found.n_positive, found.n_negative) == (4, 4)
    assert found.reason


def test_a_group_weighs_as_one_however_many_images_it_has():
    said, positive = images(60, 3)
    groups = [f"g{i}" for i in range(60)]
    once = fit_presence_scaling(table_of(said, positive, groups), region="r")
    more = 50
    said, positive = np.append(said, [said[0]] * more), np.append(positive, [positive[0]] * more)
    often = fit_presence_scaling(table_of(said, positive, [*groups, *["g0"] * more]), region="r")
    assert (often.slope, often.bias) == pytest.approx((once.slope, once.bias), abs=1e-4)


@pytest.mark.parametrize("far", [0.02, 0.5, 5.0, 15.0])
def test_five_groups_of_each_that_separate_make_nothing_extreme(far):
    positive = np.arange(10) < 5
    said = expit(np.where(positive, far, -far))
    found = fit_presence_scaling(table_of(said, positive), region="r")
    assert 0.0 < found.slope < 3.0
    assert abs(found.bias) < 1.0
    assert 0.02 < found.apply(float(said[-1])) < 0.5 < found.apply(float(said[0])) < 0.98


def test_what_says_the_reverse_says_nothing():
    positive = np.arange(60) < 30
    found = fit_presence_scaling(table_of(np.where(positive, 0.1, 0.9), positive), region="r")
    assert 0.0 <= found.slope < 1e-6
    assert found.apply(0.1) == pytest.approx(found.apply(0.9), abs=1e-6)


def test_the_least_loss_is_found():
    said, positive = images(50, 4)
    found = fit_presence_scaling(table_of(said, positive), region="r")
    odds, n = logit(np.float32(said).astype(np.float64)), (positive.sum(), (~positive).sum())
    target = np.where(positive, (n[0] + 1) / (n[0] + 2), 1 / (n[1] + 2))

    def loss(slope, bias):
        p = expit(slope * odds + bias)
        fit = -(target * np.log(p) + (1 - target) * np.log1p(-p)).sum()
        return fit + (slope - 1) ** 2 / 2 + bias**2 / 8

    here = loss(found.slope, found.bias)
    around = [
        loss(found.slope + a, found.bias + b) for a in (-0.01, 0, 0.01) for b in (-0.05, 0, 0.05)
    ]
    assert here <= min(around) + 1e-9


def test_certain_answers_stay_finite():
    positive = np.arange(20) < 10
    found = fit_presence_scaling(table_of(positive.astype(float), positive), region="r")
    assert math.isfinite(found.slope)
    assert 0.0 < found.apply(0.0) < 0.2 < 0.8 < found.apply(1.0) < 1.0


def test_scores_without_a_presence_cannot_be_scaled():
    with pytest.raises(ScoreError, match="Region 'r' has no presence"):
        fit_presence_scaling(table_of([None] * 4, [True, False] * 2), region="r")


def test_a_scaling_comes_back_as_it_was_and_damage_is_refused():
    scaling = PresenceScaling(0.25, -1.5, 7, 9, "")
    assert PresenceScaling.from_dict(scaling.to_dict()) == scaling
    for change in ({"slope": -1.0}, {"bias": None}, {"bias": math.inf}, {"more": 1}):
        with pytest.raises(ScoreError, match="presence scaling"):
            PresenceScaling.from_dict(scaling.to_dict() | change)
