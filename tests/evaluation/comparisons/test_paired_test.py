from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import permutation_test

from rareseg.errors import ScoreError
from rareseg.evaluation.comparisons.paired_test import compare_paired, compare_results
from rareseg.evaluation.measures.case_result import measure_case
from rareseg.evaluation.measures.measure_table import shown_in
from rareseg.evaluation.statistics.undefined import Undefined, is_defined
from rareseg_runner.decision.component_size import ANY_SIZE


class Point:
    region, threshold, gate, smallest_component = "r", 0.5, 0.0, ANY_SIZE


def by_id(values):
    return {f"c{i}": value for i, value in enumerate(values)}


def test_differences_by_hand():
    found = compare_paired(
        by_id([0.1, 0.2, 0.3, Undefined("x")]), by_id([0.5, 0.6, 0.7, 0.9]), {}, measure="dice"
    )
    assert found.first == pytest.approx(0.2)
    assert found.second == pytest.approx(0.6)
    assert found.difference.value == pytest.approx(0.4)
    assert (found.difference.n_cases, found.difference.n_groups) == (3, 3)
    assert found.difference.n_undefined == 1
    assert "assumes independent images" in found.difference.method
    assert found.p_value == 2 / 8  # only all-plus and all-minus are as extreme
    assert found.test == "all 8 sign patterns of 3 groups"
    assert not found.differs


def test_a_difference_is_claimed_where_interval_and_test_agree_of_six_groups():
    first = by_id(np.linspace(0.3, 0.6, 6))
    more = by_id(np.linspace(0.4, 0.75, 6))
    found = compare_paired(first, more, {}, measure="dice")
    assert found.p_value == 2 / 64
    assert found.difference.low > 0
    assert found.differs
    # Of five groups the interval excludes 0 as well, and the test cannot be below 1 / 16.
    five = compare_paired(
        {k: first[k] for k in list(first)[:5]},
        {k: more[k] for k in list(more)[:5]},
        {},
        measure="dice",
    )
    assert five.difference.low > 0
    assert not five.differs
    assert not compare_paired(first, more, {}, measure="dice", confidence=0.98).differs


@pytest.mark.parametrize("n", [6, 12])
def test_differences_are_claimed_by_chance_alone_in_five_per_cent_at_most(n):
    rng = np.random.default_rng(n)
    claimed = sum(
        compare_paired(
            by_id(rng.normal(0.7, 0.1, n)), by_id(rng.normal(0.7, 0.1, n)), {}, measure="d"
        ).differs
        for _ in range(300)
    )
    assert claimed / 300 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_all_patterns_agree_with_scipy():
    rng = np.random.default_rng(0)
    first, second = rng.random(9), rng.random(9) + 0.2
    expected = permutation_test(
        (second - first,),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    ).pvalue
    assert compare_paired(by_id(first), by_id(second), {}, measure="d").p_value == pytest.approx(
        expected
    )


def test_random_patterns_come_close_to_all_of_them():
    rng = np.random.default_rng(1)
    first, second = rng.normal(0, 1, 18), rng.normal(0.5, 1, 18)
    exact = permutation_test(
        (second - first,),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    ).pvalue
    found = compare_paired(by_id(first), by_id(second), {}, measure="d")
    assert found.test == "10000 random sign patterns of 18 groups"
    assert found.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 10_000))


def test_a_group_flips_as_one():
    first, second = by_id([0.0] * 8), by_id([1.0] * 8)
    groups = {case: f"g{i // 4}" for i, case in enumerate(first)}
    together = compare_paired(first, second, groups, measure="d")
    assert (together.difference.n_groups, together.p_value) == (2, 0.5)
    assert compare_paired(first, second, {}, measure="d").p_value == 2 / 2**8


def test_equal_runs_do_not_differ():
    same = by_id([0.1, 0.5, 0.9])
    found = compare_paired(same, same, {}, measure="d")
    assert (found.difference.value, found.p_value, found.differs) == (0.0, 1.0, False)


def test_the_test_keeps_its_level_where_groups_are_large():
    rng = np.random.default_rng(2)
    numbers = np.repeat(np.arange(10), 6)
    low = 0
    for seed in range(300):
        shared = rng.normal(0, 1, 10)[numbers] + rng.normal(0, 0.2, 60)
        found = compare_paired(
            by_id(np.zeros(60)),
            by_id(shared),
            {f"c{i}": str(number) for i, number in enumerate(numbers)},
            measure="d",
            seed=seed,
        )
        low += found.p_value <= 0.05
    assert low / 300 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_one_group_or_no_value_has_no_interval():
    one = compare_paired(by_id([0.1, 0.2]), by_id([0.3, 0.3]), {"c0": "g", "c1": "g"}, measure="d")
    assert not is_defined(one.difference.low)
    assert (one.p_value, one.differs) == (1.0, False)
    none = compare_paired(by_id([Undefined("x")]), by_id([0.5]), {}, measure="dice")
    assert none.p_value == none.first == Undefined("dice is defined in both runs for no case")
    assert not none.differs


def test_runs_on_other_cases_are_refused():
    with pytest.raises(ScoreError, match=r"'c2' stands in one of them only \(1 such"):
        compare_paired(by_id([1, 2]), by_id([1, 2, 3]), {}, measure="d")


def test_results_are_compared_stratum_by_stratum():
    def run(*predictions):
        references = ([1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1])
        return [
            measure_case(
                np.array([prediction], bool),
                np.array([reference], bool),
                case_id=f"c{i}",
                point=Point(),
                top_score=1.0,
                group=f"g{i}",
            )
            for i, (prediction, reference) in enumerate(zip(predictions, references, strict=True))
        ]

    first = run([1, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0])
    second = run([1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1])
    found = {part.measure: part for part in compare_results(first, second, region="r")}
    assert list(found) == [measure.words for measure in shown_in("comparison")]
    assert found["dice"].first == pytest.approx((0.5 + 2 / 3) / 2)
    assert found["dice"].second == 1.0
    assert found["dice"].difference.n_cases == 2
    assert (found["false alarm"].first, found["false alarm"].second) == (1.0, 0.0)
    assert found["object recall"].difference.value == pytest.approx(0.25)
    assert found["false positive components"].first == pytest.approx(2 / 3)
    with pytest.raises(ScoreError, match="same cases"):
        compare_results(first[:2], second, region="r")
