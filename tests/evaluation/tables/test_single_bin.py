"""Scores that all lie in one bin."""

from __future__ import annotations

import numpy as np
import pytest

from rareseg.decision.operating_point import choose_with_frontier
from rareseg.errors import UsageError
from rareseg.evaluation.tables.score_table import ScoreTable, score_case
from rareseg.evaluation.tables.single_bin import find_one_bin
from rareseg.run.tune import describe_choice


def table_of(scores, labels):
    return ScoreTable((score_case(scores, labels, case_id="a", region="r", role="validation"),))


@pytest.fixture
def narrow():
    rng = np.random.default_rng(0)
    labels = rng.random(2000) < 0.1
    return (0.499 + 9e-4 * rng.random(2000)).astype(np.float32), labels


def test_it_is_noticed_in_words(narrow):
    found = find_one_bin(table_of(*narrow), region="r")
    assert (found.low, found.high, found.negatives) == (0.498046875, 0.5, 1.0)
    assert found.sentence.startswith(
        "all positive and all negative voxels score between 0.498047 and 0.5, in one bin"
    )


@pytest.mark.parametrize(("elsewhere", "noticed"), [(0.005, True), (0.03, False)])
def test_nearly_all_negatives_are_enough(narrow, elsewhere, noticed):
    scores, labels = narrow
    outside = np.flatnonzero(~labels)
    moved = outside[: int(elsewhere * len(outside))]
    scores[moved] = 0.1
    found = find_one_bin(table_of(scores, labels), region="r")
    assert (found is not None) == noticed
    if found is not None:
        assert found.negatives == pytest.approx(1 - len(moved) / len(outside))
        assert "99.6% of the negative voxels" in found.sentence


def test_one_positive_elsewhere_is_enough_to_tell(narrow):
    scores, labels = narrow
    scores[np.flatnonzero(labels)[0]] = 0.9
    assert find_one_bin(table_of(scores, labels), region="r") is None


@pytest.mark.parametrize("label", [0, 1])
def test_without_both_kinds_nothing_is_said(label):
    assert find_one_bin(table_of(np.zeros(9, np.float32), [label] * 9), region="r") is None
    assert find_one_bin(table_of(np.zeros(0, np.float32), []), region="r") is None


def test_the_end_of_the_scale():
    found = find_one_bin(table_of(np.ones(9, np.float32), [0, 1, 1] * 3), region="r")
    assert (found.low, found.high) == (1.0, 1.0)
    with pytest.raises(UsageError, match="no region"):
        find_one_bin(table_of([0.5], [1]), region="s")


def test_whoever_chooses_a_point_is_told(narrow):
    choice = choose_with_frontier(table_of(*narrow), region="r")
    assert choice.one_bin == find_one_bin(table_of(*narrow), region="r")
    assert any("every threshold takes all of them or none" in x for x in describe_choice(choice))
    scores, labels = narrow
    told = choose_with_frontier(table_of(np.where(labels, 0.9, scores), labels), region="r")
    assert told.one_bin is None
    assert not any("in one bin" in line for line in describe_choice(told))
