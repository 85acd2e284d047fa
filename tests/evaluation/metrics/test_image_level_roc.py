from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from rareseg.evaluation.metrics.image_auc import image_auc
from rareseg.evaluation.metrics.image_level_roc import image_level
from rareseg.evaluation.statistics.undefined import Undefined, is_defined
from rareseg.evaluation.tables.score_table import ScoreTable, score_case
from rareseg_runner.image_records import IGNORE


def table_of(tops, positive, groups=None):
    return ScoreTable(
        tuple(
            score_case(
                np.array([top, 0.0]),
                [int(is_positive), 0],
                case_id=str(i),
                region="r",
                group=None if groups is None else groups[i],
            )
            for i, (top, is_positive) in enumerate(zip(tops, positive, strict=True))
        )
    )


@given(
    cases=st.lists(
        st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.7, 0.9]), st.booleans()),
        min_size=1,
        max_size=30,
    )
)
def test_the_area_is_scikit_learns_and_that_of_the_curve(cases):
    tops, positive = zip(*cases, strict=True)
    found = image_level(table_of(tops, positive), region="r")
    assert (found.n_positive, found.n_negative) == (sum(positive), len(cases) - sum(positive))
    if all(positive) or not any(positive):
        missing = "no negative case" if all(positive) else "no positive case"
        assert found.auc.value == Undefined(missing)
        rates = found.false_positive_rate if all(positive) else found.true_positive_rate
        assert np.isnan(rates).all()
        return
    assert found.auc.value == pytest.approx(roc_auc_score(positive, tops))
    area = np.trapezoid(found.true_positive_rate, found.false_positive_rate)
    assert area == pytest.approx(found.auc.value)
    for gate, hit, alarm in zip(
        found.gates, found.true_positive_rate, found.false_positive_rate, strict=True
    ):
        passed = np.array(tops, np.float32) >= np.float32(gate)
        assert hit == pytest.approx(passed[np.array(positive)].mean())
        assert alarm == pytest.approx(passed[~np.array(positive)].mean())


def test_the_interval_counts_groups():
    rng = np.random.default_rng(0)
    positive = rng.random(120) < 0.4
    tops = np.clip(rng.normal(0.4 + 0.2 * positive, 0.15), 0.01, 0.99)
    alone = image_level(table_of(tops, positive, [f"p{i}" for i in range(120)]), region="r").auc
    grouped = image_level(
        table_of(tops, positive, [f"p{i % 6}" for i in range(120)]), region="r"
    ).auc
    assert (alone.n_groups, grouped.n_groups) == (120, 6)
    assert alone.low < alone.value < alone.high
    assert "independent" not in alone.method
    assert (
        "assumes independent images" in image_level(table_of(tops, positive), region="r").auc.method
    )
    assert grouped == image_auc(
        tops.astype(np.float32), positive, [f"p{i % 6}" for i in range(120)]
    )


def test_one_group_has_a_value_but_no_interval():
    found = image_level(table_of([0.1, 0.9], [False, True], ["p", "p"]), region="r").auc
    assert found.value == 1.0
    assert not is_defined(found.low)


def test_cases_without_a_voxel_that_counts_are_left_out():
    rows = (
        score_case([0.9], [IGNORE], case_id="i", region="r", ignores=True),
        score_case([0.2], [0], case_id="n", region="r"),
    )
    found = image_level(ScoreTable(rows), region="r")
    assert (found.n_positive, found.n_negative) == (0, 1)
    empty = image_level(ScoreTable(), region="r")
    assert empty.auc.value == Undefined("no positive case")
