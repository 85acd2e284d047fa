"""Prevalence from unlabelled images, and what an alarm is worth at a prevalence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from rareseg.decision.calibration.prevalence import (
    Call,
    _rates,
    calls_at,
    calls_of,
    estimate_prevalence,
    predictive_values,
)
from rareseg.decision.operating_point import OperatingPoint
from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.measures.case_result import measure_case
from rareseg.evaluation.statistics.intervals import clopper_pearson
from rareseg.evaluation.statistics.undefined import Undefined, is_defined
from rareseg.evaluation.tables.component_table import GRID, ComponentTable, components_of_case
from rareseg.evaluation.tables.score_table import ScoreTable, score_case
from rareseg.evaluation.tables.threshold_bins import bin_edges
from rareseg_runner.decision.cut_point import apply_point


def images(n, share, seed):
    """Positives whose top score has log-odds N(1.5, 1), negatives N(−1.5, 1); (labels, tops)."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < share
    return labels, expit(rng.normal(3.0 * labels - 1.5, 1.0))


KINDS = [
    score_case([1e-4], [inside], case_id="c", region="r", role="validation") for inside in (0, 1)
]


def table_of(labels, tops):
    return ScoreTable(
        tuple(
            replace(KINDS[int(label)], case_id=f"c{i:04d}", group=f"g{i}", top=float(top))
            for i, (label, top) in enumerate(zip(labels, tops, strict=True))
        )
    )


def estimated(table, tops, *, seed=0, groups=None):
    return estimate_prevalence(
        table, list(tops), region="r", groups=groups, generator=np.random.default_rng(seed)
    )


class TestPrevalence:
    @pytest.mark.parametrize("share", [0.02, 0.2, 0.9])
    @pytest.mark.parametrize("n", [60, 300])
    def test_the_interval_covers_the_truth(self, share, n):
        """A small version of `benchmarks/intervals.py --only prevalence`."""
        found = [
            estimated(table_of(*images(n, 0.4, 2 * seed)), images(2 * n, share, 2 * seed + 1)[1])
            for seed in range(50)
        ]
        found = [one for one in found if is_defined(one.value)]
        assert len(found) > 42
        assert all(one.low <= one.value <= one.high for one in found)
        # Of 43 intervals that cover 95 %, fewer than 85 % do in one of 200 such samples.
        assert np.mean([one.low <= share <= one.high for one in found]) >= 0.85
        assert np.mean([one.high - one.low for one in found]) < (0.4 if n == 60 else 0.2)

    def test_by_hand(self):
        """8 of 10 positives and 1 of 10 negatives are called, and 24 of 100 unlabelled images."""
        labels = np.repeat([True, False], 10)
        tops = [0.9] * 8 + [0.1] * 2 + [0.9] + [0.1] * 9
        found = estimated(table_of(labels, tops), [0.9] * 24 + [0.1] * 76)
        assert found.value == pytest.approx((0.24 - 0.1) / (0.8 - 0.1))
        rng = np.random.default_rng(5)
        s, f, q = (
            rng.beta(k + 0.5, n - k + 0.5, 200_000) for k, n in ((8, 10), (1, 10), (24, 100))
        )
        expected = np.clip(np.quantile((q - f) / (s - f), [0.025, 0.975]), 0, 1)
        assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.03)
        assert (found.n_cases, found.n_groups) == (100, 100)
        assert found.method.endswith("assumes independent images")

    def test_counting_alarms_would_be_wrong(self):
        table = table_of(*images(2000, 0.5, 2))
        labels, tops = images(4000, 0.05, 3)
        assert abs(estimated(table, tops).value - labels.mean()) < 0.02
        assert abs((tops > 0.5).mean() - labels.mean()) > 0.05

    def test_images_of_one_group_count_once(self):
        labels, tops = images(40, 0.5, 0)
        new = images(50, 0.3, 1)[1]
        once = estimated(table_of(labels, tops), new, groups=[f"u{i}" for i in range(50)])
        known = [f"u{i}" for i in np.repeat(range(50), 6)]
        again = estimated(table_of(labels, tops), np.repeat(new, 6), groups=known)
        assert (again.value, again.n_groups) == (pytest.approx(once.value), 50)
        assert (again.low, again.high) == pytest.approx((once.low, once.high))
        blind = estimated(table_of(labels, tops), np.repeat(new, 6))
        assert blind.high - blind.low < once.high - once.low - 0.02
        # And so do labelled images: six alike in each group say what one says.
        rows = table_of(labels, tops).rows
        copies = (replace(row, case_id=f"{row.case_id}-{k}") for row in rows for k in range(6))
        copied = estimated(ScoreTable(tuple(copies)), new)
        alone = estimated(table_of(labels, tops), new)
        assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high))

    def test_the_cut_is_judged_on_groups_without_a_say_in_it(self):
        """In the sample itself the best cut of scores that say nothing seems to tell."""
        apart = []
        for seed in range(40):
            rng = np.random.default_rng(seed)
            labels = rng.random(60) < 0.3
            tops = rng.random(60).tolist()
            found, alarmed, _ = _rates(table_of(labels, tops).rows, tops, [None] * 60)
            apart.append(found.share - alarmed.share)
        assert abs(np.mean(apart)) < 0.1

    def test_scores_that_hardly_tell_give_no_number(self):
        rng = np.random.default_rng(0)
        found = estimated(table_of(np.arange(60) % 3 == 0, rng.random(60)), rng.random(100))
        assert isinstance(found.value, Undefined)
        assert "hardly tell positive images from negative ones" in found.value.reason
        assert found.low == found.high == found.value

    def test_a_drift_of_more_than_the_prevalence_is_told(self):
        told = {0.0: 0, 1.0: 0}
        for seed in range(40):
            table = table_of(*images(200, 0.3, 100 + seed))
            labels, tops = images(400, 0.1, 900 + seed)
            for shift in told:
                found = estimated(table, expit(logit(tops) + shift * ~labels))
                drifted = isinstance(found.value, Undefined)
                assert not drifted or "more than the prevalence has changed" in found.value.reason
                told[shift] += drifted
        assert told[0.0] <= 5
        assert told[1.0] >= 38

    @pytest.mark.parametrize(
        ("labels", "tops", "new", "reason"),
        [
            ([0, 1] * 3, [0.1, 0.9] * 3, [], "there is no unlabelled image"),
            ([0] * 6, [0.1] * 6, [0.5], "there is no positive case"),
            ([1] * 6, [0.9] * 6, [0.5], "there is no negative case"),
            ([0] * 6 + [1], [0.1] * 6 + [0.9], [0.5], "there is no positive case to cut by"),
            ([1] * 6 + [0], [0.9] * 6 + [0.1], [0.5], "there is no negative case to cut by"),
        ],
    )
    def test_without_one_of_the_kinds_there_is_none(self, labels, tops, new, reason):
        found = estimated(table_of(np.array(labels, bool), tops), new)
        assert isinstance(found.value, Undefined)
        assert reason in found.value.reason

    def test_scores_of_0_and_1(self):
        table = table_of(np.array([False, True] * 20), [0.0, 1.0] * 20)
        found = estimated(table, [0.0] * 80 + [1.0] * 20)
        assert found.value == pytest.approx(0.2)
        assert 0.05 < found.low < 0.2 < found.high < 0.3


def calls(found, missed, alarms, clean):
    kinds = [(True, True)] * found + [(True, False)] * missed
    kinds += [(False, True)] * alarms + [(False, False)] * clean
    return [Call(f"g{i}", holds, on) for i, (holds, on) in enumerate(kinds)]


class TestPredictiveValues:
    def test_by_hand(self):
        found = predictive_values(calls(8, 2, 3, 7), region="r", prevalence=0.1)
        assert found.positive == pytest.approx(0.8 * 0.1 / (0.8 * 0.1 + 0.3 * 0.9))
        assert found.negative == pytest.approx(0.7 * 0.9 / (0.7 * 0.9 + 0.2 * 0.1))
        low_s, high_s = clopper_pearson(8, 10, confidence=0.975)
        low_f, high_f = clopper_pearson(3, 10, confidence=0.975)
        assert found.positive_interval == pytest.approx(
            (
                low_s * 0.1 / (low_s * 0.1 + high_f * 0.9),
                high_s * 0.1 / (high_s * 0.1 + low_f * 0.9),
            )
        )
        assert found.negative_interval == pytest.approx(
            (
                (1 - high_f) * 0.9 / ((1 - high_f) * 0.9 + (1 - low_s) * 0.1),
                (1 - low_f) * 0.9 / ((1 - low_f) * 0.9 + (1 - high_s) * 0.1),
            )
        )

    def test_at_the_samples_own_share_it_is_the_precision_of_the_sample(self):
        found = predictive_values(calls(8, 2, 3, 27), region="r", prevalence=10 / 40)
        assert found.positive == pytest.approx(8 / 11)
        assert found.negative == pytest.approx(27 / 29)

    def test_the_interval_covers_the_truth(self):
        rng = np.random.default_rng(0)
        s, f, share = 0.8, 0.1, 0.02
        truth = s * share / (s * share + f * (1 - share))
        covered = 0
        for _ in range(300):
            hits, alarms = rng.binomial(30, s), rng.binomial(60, f)
            found = predictive_values(
                calls(hits, 30 - hits, alarms, 60 - alarms), region="r", prevalence=share
            )
            low, high = found.positive_interval
            covered += low <= truth <= high
        assert covered / 300 > 0.95

    def test_what_is_undefined(self):
        only = predictive_values(calls(3, 1, 0, 0), region="r", prevalence=0.1)
        assert only.positive == Undefined("no negative case")
        silent = predictive_values(calls(0, 3, 0, 5), region="r", prevalence=0.1)
        assert silent.positive == Undefined("nothing is ever on")
        assert silent.negative == pytest.approx(0.9)
        loud = predictive_values(calls(3, 0, 5, 0), region="r", prevalence=0.1)
        assert loud.negative == Undefined("something is always on")
        assert loud.positive == pytest.approx(0.1)

    def test_the_ends(self):
        assert predictive_values(calls(3, 1, 1, 5), region="r", prevalence=0).positive == 0
        assert predictive_values(calls(3, 1, 1, 5), region="r", prevalence=1).positive == 1
        with pytest.raises(UsageError, match=r"prevalence of 1\.5"):
            predictive_values(calls(3, 1, 1, 5), region="r", prevalence=1.5)


class TestCalls:
    @pytest.mark.parametrize("smallest", [0, 3])
    @pytest.mark.parametrize("gate", [0.0, 0.6])
    def test_tables_call_as_the_masks_do(self, smallest, gate):
        rng = np.random.default_rng(0)
        edges = bin_edges()[list(GRID)]
        threshold = float(edges[np.abs(edges - 0.2).argmin()])
        point = OperatingPoint("r", threshold, gate=gate, smallest_component=smallest)
        scores, parts, results = [], [], []
        for i in range(40):
            p = expit(rng.normal(-2.5, 1.3, (1, 6, 6))).astype(np.float32)
            reference = (rng.random(p.shape) < 0.02).astype(np.uint8)
            if i % 7 == 0:
                reference[:] = 255
            about = {"case_id": f"c{i:02d}", "region": "r", "group": f"g{i}", "ignores": True}
            scores.append(score_case(p, reference, **about))
            parts.append(components_of_case(p, reference, **about))
            results.append(
                measure_case(
                    apply_point(p, point),
                    reference,
                    case_id=f"c{i:02d}",
                    group=f"g{i}",
                    point=point,
                    top_score=float(p.max()),
                    ignores=True,
                )
            )
        expected = calls_of(results, region="r")
        assert {call.on for call in expected} == {True, False}
        assert {call.holds for call in expected} == {True, False, None}
        assert calls_at(ComponentTable(tuple(parts)), point) == expected
        if smallest == 0:
            assert calls_at(ScoreTable(tuple(scores)), point) == expected
        else:
            with pytest.raises(UsageError, match="Score tables do not see components"):
                calls_at(ScoreTable(tuple(scores)), point)

    def test_a_threshold_off_the_grid(self):
        p = np.full((1, 2, 2), 0.5, np.float32)
        row = components_of_case(p, p > 0.4, case_id="c", region="r")
        off = next(k for k in range(GRID[0], GRID[-1]) if k not in GRID)
        with pytest.raises(ScoreError, match="not on the component table's grid"):
            calls_at(ComponentTable((row,)), OperatingPoint("r", float(bin_edges()[off])))
