from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from rareseg.evaluation.metrics.image_auc import image_auc
from rareseg.evaluation.statistics.undefined import Undefined, is_defined


def drawn(rng, n_groups, *, effect=0.5, gain=1.0):
    """Groups of one to four images, with an effect of their own and of both kinds."""
    scores, positive, groups = [], [], []
    for g in range(n_groups):
        own = rng.normal(0, effect)
        for _ in range(int(rng.integers(1, 5))):
            kind = bool(rng.random() < 0.5)
            scores.append(1 / (1 + np.exp(-(rng.normal(own + gain * kind, 1.0)))))
            positive.append(kind)
            groups.append(f"g{g}")
    return np.array(scores), np.array(positive), groups


@settings(max_examples=40)
@given(
    cases=st.lists(
        st.tuples(
            st.sampled_from([0.1, 0.2, 0.5, 0.7, 0.9]), st.booleans(), st.sampled_from("abcdefgh")
        ),
        min_size=16,
        max_size=40,
    )
)
def test_value_and_interval_are_those_of_the_definition(cases):
    scores, positive, groups = (np.array(part) for part in zip(*cases, strict=True))
    found = image_auc(scores, positive, groups.tolist())
    if positive.all() or not positive.any():
        assert isinstance(found.value, Undefined)
        return
    assert found.value == pytest.approx(roc_auc_score(positive, scores))
    assert (found.n_cases, found.n_groups) == (len(cases), len(set(groups)))
    kish = min(
        np.sum(m := np.unique(groups[side], return_counts=True)[1]) ** 2 / np.sum(m**2)
        for side in (positive, ~positive)
    )
    if kish < 5:
        assert not is_defined(found.low)
        assert not is_defined(found.high)
        return
    left = np.array(
        [roc_auc_score(positive[groups != g], scores[groups != g]) for g in np.unique(groups)]
    )
    if min(found.value, left.min()) == 0.0 or max(found.value, left.max()) == 1.0:
        assert "0 or 1" in str(found.high)
        return
    odds = np.log(left / (1 - left))
    n = len(left)
    error = np.sqrt((n - 1) / n * np.sum((odds - odds.mean()) ** 2))
    middle = np.log(found.value / (1 - found.value))
    reach = student.ppf(0.975, kish - 1) * error
    bounds = 1 / (1 + np.exp(-(middle + np.array([-reach, reach]))))
    assert [found.low, found.high] == pytest.approx(bounds)


def test_the_interval_covers_where_images_of_a_group_are_alike():
    rng = np.random.default_rng(0)
    everyone = drawn(rng, 4000)
    truth = roc_auc_score(everyone[1], everyone[0])
    covered = []
    for _ in range(300):
        found = image_auc(*drawn(rng, 15))
        if is_defined(found.low):
            covered.append(found.low <= truth <= found.high)
    assert len(covered) > 250
    assert np.mean(covered) > 0.9


def test_few_groups_or_a_perfect_order_have_no_interval():
    few = image_auc([0.1, 0.9] * 8, [False, True] * 8, ["a", "b", "c", "d"] * 4)
    assert "5 groups" in str(few.high)
    perfect = image_auc([0.1, 0.9] * 8, [False, True] * 8, [f"g{i}" for i in range(16)])
    assert perfect.value == 1.0
    assert "0 or 1" in str(perfect.low)


def test_images_without_group_are_their_own():
    found = image_auc([0.1, 0.9, 0.5, 0.4] * 8, [False, True, False, True] * 8, [None] * 32)
    assert found.n_groups == 32
    assert found.method.endswith("assumes independent images")
    assert found.low < found.value < found.high
