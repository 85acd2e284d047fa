"""The default point and its evidence, against masks, quadrature and tables made by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from rareseg.decision.default_point.case_curves import case_curves, threshold_bins
from rareseg.decision.default_point.group_sums import gates_between, surfaces_of
from rareseg.decision.default_point.point_evidence import folds_of, judge_without, shown_at
from rareseg.decision.default_point.smoothed_objective import (
    alarm_weight,
    find_default,
    find_few_alarms,
    find_non_empty,
)
from rareseg.decision.default_point.smoothing import log_odds
from rareseg.decision.operating_point import (
    Goal,
    Infeasible,
    OperatingPoint,
    PointEvidence,
    choose_operating_point,
    make_goal,
)
from rareseg.decision.point_search.criteria import Grid
from rareseg.evaluation.statistics.intervals import estimate_mean
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg.evaluation.tables.component_table import components_of_cases
from rareseg.evaluation.tables.score_table import ScoreTable, score_case, score_cases
from rareseg.evaluation.tables.threshold_bins import bin_edges, bin_of
from rareseg_runner.decision.component_size import ANY_SIZE, Size
from rareseg_runner.decision.cut_point import apply_point

NONE = np.zeros(1, np.int64)


def table_of(cases, groups=None):
    """A table of (scores, reference) pairs."""
    return ScoreTable(
        tuple(
            score_case(
                np.asarray(scores, np.float32),
                np.asarray(reference, np.uint8),
                case_id=f"{i:04}",
                region="r",
                group=None if groups is None else groups[i],
                role="validation",
            )
            for i, (scores, reference) in enumerate(cases)
        )
    )


def default_of(table, **options):
    point = choose_operating_point(table, region="r", **options)
    assert isinstance(point, OperatingPoint)
    return point


def two_voxels(top, *, positive):
    """A case of two voxels; the higher one is in the region where the case is positive."""
    return [top, 0.001], [int(positive), 0]


def surfaces_for(table, width):
    rows = sorted(table.rows, key=lambda row: -row.image_score)
    return surfaces_of(case_curves(rows, Grid(threshold_bins(rows, width), NONE)), width)


def everyone(surfaces):
    return np.ones(len(surfaces.curves.positive), np.bool_)


def noisy(rng, n, *, separation=3.0, groups=None):
    cases = []
    for i in range(n):
        reference = np.zeros(60, np.uint8)
        odds = rng.normal(-5, 1, 60)
        if i % 2:
            reference[:12] = 1
            odds[:12] = rng.normal(separation - 3.0, 1.5) + rng.normal(0, 1, 12)
        else:
            odds[:5] = rng.normal(-3.0, 1.5) + rng.normal(0, 0.5, 5)
        cases.append((1 / (1 + np.exp(-odds)), reference))
    names = [f"g{groups(i)}" for i in range(n)] if groups else None
    return table_of(cases, names)


class TestTheObjective:
    @settings(max_examples=15)
    @given(seed=st.integers(0, 10**6), width=st.sampled_from([0.3, 1.0]))
    def test_no_threshold_and_gate_reaches_more_where_all_is_read_off_finely(self, seed, width):
        """The definition by quadrature over thresholds and gates that are drawn around a point."""
        rng = np.random.default_rng(seed)
        table = noisy(rng, 12, groups=lambda i: i // 2)
        surfaces = surfaces_for(table, width)
        sums = surfaces.sums(everyone(surfaces))
        cell = find_default(surfaces, sums)
        quantiles = norm.ppf((np.arange(60) + 0.5) / 60) * width

        def smoothed(threshold_odds, gate_odds):
            thresholds = threshold_odds + quantiles
            dice, alarms = [], []
            for row in table.rows:
                edges = log_odds(bin_edges()[row.bins])
                on = edges >= thresholds[:, np.newaxis]
                tp, fp = on @ row.inside, on @ row.outside
                passes = np.mean(log_odds(row.image_score) >= gate_odds + quantiles)
                passes = 1.0 if gate_odds == -np.inf else passes
                if row.n_inside:
                    dice.append(passes * np.mean(2 * tp / (tp + fp + row.n_inside)))
                else:
                    alarms.append(passes * np.mean(fp > 0))
            # Every group has one case of each kind.
            w = alarm_weight(sums.n_negative)
            return np.mean(dice) * (1 - w * np.mean(alarms))

        gates = np.append(surfaces.gate_odds[:-1], -np.inf)
        own = smoothed(surfaces.threshold_odds[cell.threshold], gates[cell.gate])
        assert sums.value(alarm_weight(6), smooth=True)[cell.index] == pytest.approx(own, abs=0.02)
        for _ in range(20):
            other = smoothed(rng.uniform(-6, 4), rng.choice([rng.uniform(-6, 4), -np.inf]))
            assert own >= other - 0.03

    def test_groups_weigh_equally(self):
        easy = two_voxels(0.9, positive=True)
        hard = ([0.9, 0.9], [1, 0])  # dice 2/3
        point = default_of(table_of([easy] * 9 + [hard], ["a"] * 9 + ["b"]))
        assert point.value == pytest.approx((1.0 + 2 / 3) / 2)
        assert point.mean_dice == pytest.approx(0.9 + 0.1 * 2 / 3)  # a mean over cases

    @pytest.mark.parametrize(("n", "weight"), [(0, 0.0), (1, 0.8), (20, 20 / 20.25)])
    def test_alarms_weigh_more_the_more_groups_they_are_seen_in(self, n, weight):
        assert alarm_weight(n) == pytest.approx(weight)

    def test_negative_cases_of_one_group_are_one_group(self):
        cases = [two_voxels(0.9, positive=True)] + [two_voxels(0.95, positive=False)] * 6
        point = default_of(table_of(cases, ["a", *["b"] * 6]))
        assert point.value == pytest.approx(1.0 * (1 - alarm_weight(1)))
        assert point.mean_dice == 1.0

    def test_one_lonely_gain_does_not_win(self):
        """Nine groups agree on a low threshold; a tenth is cut best where a spike lies."""
        broad = [([0.30] * 10 + [0.01] * 10, [1] * 10 + [0] * 10)] * 4
        spike = [([0.97] * 10 + [0.969] * 10, [1] * 10 + [0] * 10)]
        point = default_of(table_of(broad + spike))
        assert 0.01 < point.threshold <= 0.30

    def test_a_gate_may_lie_below_the_threshold(self):
        """Presence makes image scores lower than the largest pixel score, and tells more."""
        rng = np.random.default_rng(0)
        table = noisy(rng, 40)
        rows = tuple(
            replace(row, presence=0.02 if row.n_inside else 1e-6 / (row.top + 1e-3))
            for row in table.rows
        )
        point = default_of(ScoreTable(rows))
        assert 0 < point.gate < point.threshold
        assert point.share_clean == 1.0
        without = default_of(table)
        assert point.value > without.value

    def test_without_gate_nothing_is_smoothed_over_the_gate(self):
        surfaces = surfaces_for(noisy(np.random.default_rng(1), 20), 1.0)
        assert surfaces.gates[-1] == 0.0
        assert surfaces.passes[-1].tolist() == [1.0] * 20
        assert surfaces.admits[-1].all()


class TestFinding:
    def test_if_nothing_is_found_at_the_smoothed_point_the_best_unsmoothed_one_is_taken(self):
        table = noisy(np.random.default_rng(2), 12)
        surfaces = surfaces_for(table, 1.0)
        sums = surfaces.sums(everyone(surfaces))
        silent = np.zeros_like(sums.dice)
        silent[0, -1, 0] = 1.0  # the highest threshold, at which nothing is on
        assert sums.dice[0, -1, 0] == 0.0
        plain = sums.value(1.0, smooth=False)
        cell = find_non_empty(surfaces, sums, silent, plain, None)
        assert plain[cell.index] == pytest.approx(plain.max())

    def test_nothing_is_offered_where_only_silence_is_allowed(self):
        surfaces = surfaces_for(noisy(np.random.default_rng(2), 12), 1.0)
        sums = surfaces.sums(everyone(surfaces))
        assert find_default(surfaces, sums, allowed=sums.dice == 0.0) is None
        assert find_default(surfaces, sums, allowed=np.zeros(sums.dice.shape, bool)) is None

    @settings(max_examples=30)
    @given(
        tops=st.lists(
            st.tuples(st.sampled_from([1e-30, 1e-6, 0.01, 0.5, 0.9999, 1.0]), st.booleans()),
            min_size=1,
            max_size=8,
        )
    )
    def test_it_always_speaks(self, tops):
        table = table_of([two_voxels(top, positive=positive) for top, positive in tops])
        point = choose_operating_point(table, region="r")
        if not any(positive for _, positive in tops):
            assert isinstance(point, Infeasible)
            return
        assert point.mean_dice > 0
        assert point.evidence is not None

    def test_thresholds_reach_all_scores(self):
        rows = table_of([([1e-9, 2e-9, 0.0], [1, 1, 0]), ([0.7, 0.0, 0.0], [0, 0, 0])]).rows
        bins = threshold_bins(rows, 0.5)
        assert bins[0] <= bin_of(1e-9)
        assert {bin_of(1e-9), bin_of(0.5), bin_of(0.7), bin_of(0.7) + 1} <= set(bins.tolist())
        steps = np.diff(log_odds(bin_edges()[bins]))
        assert steps.max() < 1 / 8 + 2 / 128  # a step, and a bin's width
        assert steps.min() > 0

    def test_gates_lie_between_neighbouring_image_scores(self):
        scores = np.array([0.9, 0.9, 0.5, np.nextafter(np.float32(0.5), np.float32(0)), 0.1])
        scores = scores.astype(np.float32)
        gates = gates_between(scores)
        admitted = [(scores >= np.float32(gate)).sum() for gate in gates]
        assert admitted == [2, 3, 4, 5]
        assert gates[-1] == 0.0
        many = np.linspace(0.9, 0.1, 3000).astype(np.float32)
        assert len(gates_between(many)) == 513


class TestLimits:
    def test_limits_are_kept_unsmoothed(self):
        table = noisy(np.random.default_rng(3), 60)
        goal = make_goal(recall=0.7)
        point = default_of(table, maximize=goal)
        recalls = [
            row.inside[row.bins >= bin_of(point.threshold)].sum() / row.n_inside
            if np.float32(row.image_score) >= np.float32(point.gate)
            else 0.0
            for row in table.rows
            if row.n_inside
        ]
        assert np.mean(recalls) >= 0.7
        assert point.value <= default_of(table).value + 0.05
        assert point.objective == "dice, recall at least 0.7"

    def test_a_limit_between_the_tried_thresholds_is_found_all_the_same(self):
        # 0.5000 and 0.5005 lie in neighbouring bins, far closer than thresholds are tried.
        inside = [0.5 + 0.004 * k for k in range(8)]
        table = table_of([([*inside, 0.5021], [1] * 8 + [0])])
        point = default_of(table, maximize=make_goal(precision=1.0, recall=0.8))
        assert isinstance(choose_operating_point(table, region="r"), OperatingPoint)
        assert 0.5021 < point.threshold <= 0.508


class TestEvidence:
    def test_each_group_is_judged_at_the_point_chosen_without_it(self):
        table = noisy(np.random.default_rng(4), 30, groups=lambda i: i // 2)
        surfaces = surfaces_for(table, 0.7)
        total = surfaces.sums(everyone(surfaces))
        curves = surfaces.curves
        shown = np.empty(30)
        for group in range(15):
            own = curves.groups == group
            rest = surfaces.sums(~own)  # summed anew, not subtracted
            shown[own] = shown_at(surfaces, find_default(surfaces, rest))[own]
        [(dice, found, alarms)] = judge_without(
            surfaces, total, [lambda _, rest: find_default(surfaces, rest)]
        )
        assert dice.value == pytest.approx(shown[curves.positive].mean())
        assert found.value == pytest.approx((shown[curves.positive] > 0).mean())
        assert alarms.value == pytest.approx(shown[~curves.positive].mean())
        groups = curves.groups[curves.positive].astype(str).tolist()
        assert dice == estimate_mean(
            shown[curves.positive].tolist(), groups, none="", scale="share"
        )
        assert alarms.low < alarms.value < alarms.high
        assert len(folds_of(surfaces)) == 15

    def test_what_a_group_alone_says_does_not_count_for_it(self):
        """A gate that only one negative group asks for is not there when that group is judged."""
        positives = [two_voxels(0.6 + 0.01 * k, positive=True) for k in range(8)]
        negatives = [two_voxels(0.1, positive=False)] * 7 + [two_voxels(0.55, positive=False)]
        point = default_of(table_of(positives + negatives, [f"g{i}" for i in range(16)]))
        assert point.share_clean == 1.0
        assert point.evidence.chosen.alarms == pytest.approx(1 / 8)
        assert point.evidence.chosen.found == 1.0

    def test_the_point_with_few_alarms_and_the_usual_cut_stand_beside_it(self):
        table = noisy(np.random.default_rng(5), 80)
        evidence = default_of(table).evidence
        few, half = evidence.few_alarms, evidence.half
        masks = {
            name: [
                (row.bins >= bin_of(point.threshold))
                & (np.float32(row.image_score) >= np.float32(point.gate))
                for row in table.rows
            ]
            for name, point in (("few", few), ("half", half))
        }
        alarmed = [
            row.outside[on].any()
            for row, on in zip(table.rows, masks["few"], strict=True)
            if not row.n_inside
        ]
        assert np.mean(alarmed) <= 0.1
        found = [
            row.inside[on].any()
            for row, on in zip(table.rows, masks["half"], strict=True)
            if row.n_inside
        ]
        assert half.found == pytest.approx(np.mean(found))
        assert (half.threshold, half.gate, half.smallest_component) == (0.5, 0.0, ANY_SIZE)
        assert (evidence.n_positive_groups, evidence.n_negative_groups) == (40, 40)
        assert evidence.n_folds == 50

    def test_few_alarms_take_the_best_dice_among_such(self):
        surfaces = surfaces_for(noisy(np.random.default_rng(6), 60), 0.5)
        sums = surfaces.sums(everyone(surfaces))
        cell = find_few_alarms(surfaces, sums, 0.1)
        kept = sums.alarms <= 0.1 * sums.n_negative + 1e-9
        assert kept[cell.index]
        assert sums.smooth_dice[cell.index] == pytest.approx(sums.smooth_dice[kept].max())

    def test_without_negative_cases_there_are_no_alarms(self):
        point = default_of(table_of([two_voxels(0.8, positive=True)] * 6))
        assert point.value == 1.0
        assert point.evidence.few_alarms == Undefined("no negative case")
        assert point.evidence.chosen.alarms == Undefined("no negative case")
        assert not point.evidence.is_uninformative

    def test_few_groups_are_said_to_be_too_few(self):
        four = table_of([two_voxels(0.8, positive=True)] * 4)
        assert default_of(four).evidence.too_few
        five = table_of([two_voxels(0.8, positive=True)] * 5)
        assert not default_of(five).evidence.too_few

    def test_of_one_group_nothing_is_known_without_it(self):
        cases = [two_voxels(0.8, positive=True), two_voxels(0.1, positive=False)]
        evidence = default_of(table_of(cases)).evidence
        assert "without its one group" in str(evidence.chosen.dice)
        assert evidence.chosen.alarms == 0.0
        assert evidence.half.dice == 1.0

    def test_folds_hold_whole_groups_and_deal_out_the_positive_ones(self):
        table = noisy(np.random.default_rng(7), 240, groups=lambda i: i // 2 if i < 120 else i)
        surfaces = surfaces_for(table, 0.5)
        folds = folds_of(surfaces)
        assert len(folds) == 50
        assert np.sum(folds, axis=0).tolist() == [1] * 240
        curves = surfaces.curves
        for group in range(curves.groups.max() + 1):
            assert len({k for k in range(50) if (folds[k] & (curves.groups == group)).any()}) == 1
        counts = [len(np.unique(curves.groups[fold & curves.positive])) for fold in folds]
        assert max(counts) - min(counts) <= 1

    def test_scores_that_do_not_tell_are_cut_at_one_half(self):
        rng = np.random.default_rng(8)
        cases = []
        for i in range(120):  # negatives score a little higher than positives
            odds, reference = rng.normal(-5, 1, 40), np.zeros(40, np.uint8)
            reference[:8] = i % 2
            odds[:8] = rng.normal(1.0 if i % 2 else 1.5, 1.0) + rng.normal(0, 0.3, 8)
            cases.append((1 / (1 + np.exp(-odds)), reference))
        table = table_of(cases)
        point = default_of(table)
        evidence = point.evidence
        assert evidence.is_uninformative
        assert evidence.auc < evidence.auc_high < 0.6
        assert (point.threshold, point.gate) == (0.5, 0.0)
        assert evidence.chosen == evidence.half
        assert (point.mean_dice, 1 - point.share_clean) == pytest.approx(
            (evidence.half.dice, evidence.half.alarms)
        )
        # Limits are kept all the same, and with too few cases nothing is claimed.
        asked = default_of(table, maximize=make_goal(false_alarm_rate=0.3))
        assert asked.share_clean >= 0.7
        assert not default_of(table_of(cases[:8])).evidence.is_uninformative

    def test_where_one_half_would_be_silent_it_is_not_taken(self):
        rng = np.random.default_rng(9)
        cases = []
        for i in range(120):
            top = 0.2 * rng.random() + (0.0 if i % 2 else 0.05)
            cases.append(two_voxels(top + 0.01, positive=bool(i % 2)))
        point = default_of(table_of(cases))
        assert point.evidence.is_uninformative
        assert point.mean_dice > 0

    def test_evidence_survives_json_and_older_points_are_read(self):
        point = default_of(noisy(np.random.default_rng(10), 20))
        record = json.loads(json.dumps(point.to_dict()))
        assert OperatingPoint.from_dict(record) == point
        assert PointEvidence.from_dict(record["evidence"]) == point.evidence
        del record["evidence"]
        assert OperatingPoint.from_dict(record) == replace(point, evidence=None)

    def test_damaged_evidence_is_refused(self):
        record = default_of(noisy(np.random.default_rng(10), 20)).to_dict()
        record["evidence"] = {"chosen": {}}
        with pytest.raises(Exception, match="damaged"):
            OperatingPoint.from_dict(record)

    def test_other_objectives_have_none(self):
        table = noisy(np.random.default_rng(10), 20)
        assert default_of(table, maximize=Goal("youden")).evidence is None


class TestComponents:
    def arrays(self):
        rng = np.random.default_rng(11)
        scores, references = {}, {}
        for k in range(16):
            odds = rng.normal(-6, 0.5, (1, 24, 24))
            reference = np.zeros((1, 24, 24), np.uint8)
            if k % 2:
                reference[0, 4:9, 4:9] = 1
                odds[0, 4:9, 4:9] = rng.normal(1.0, 1.0)
            odds[0, 20, 20] = rng.normal(0.5, 1.0)  # a speck in every case
            scores[f"c{k}"], references[f"c{k}"] = 1 / (1 + np.exp(-odds)), reference
        return scores, references

    def test_sizes_are_searched_with_threshold_and_gate(self):
        scores, references = self.arrays()
        table = components_of_cases(scores, references, region="r")
        point = default_of(table, smallest=(0, 2, 4, 60))
        assert point.smallest_component in (Size(2, "pixels"), Size(4, "pixels"))
        assert point.value > 0.9
        assert point.evidence.half.smallest_component == ANY_SIZE
        assert default_of(table).smallest_component == ANY_SIZE
        for name, values in scores.items():
            mask = apply_point(values.astype(np.float32), point)
            assert mask.any() == references[name].any()

    def test_both_tables_say_the_same_at_the_same_point(self):
        scores, references = self.arrays()
        one = default_of(score_cases(scores, references, region="r")).evidence
        other = default_of(components_of_cases(scores, references, region="r")).evidence
        assert one.half == other.half
        assert (one.auc, one.auc_high) == (other.auc, other.auc_high)


def test_few_cases_of_a_weak_model_are_neither_silent_nor_far_from_the_best():
    """A quick look; the many settings are benchmarks/operating_points.py."""
    rng = np.random.default_rng(12)

    def group(name, positive):
        rows = []
        for k in range(2):
            reference, odds = np.zeros(120, np.uint8), rng.normal(-6, 1, 120)
            reference[:20] = positive
            odds[:20] = rng.normal(-1.6 if positive else -1.2, 1.6) + rng.uniform(-2, 1, 20)
            scores = (1 / (1 + np.exp(-odds))).astype(np.float32)
            rows.append(score_case(scores, reference, case_id=f"{name}{k}", region="r", group=name))
        return rows

    world = ScoreTable(tuple(row for i in range(200) for row in group(f"w{i:03}", i % 2 == 0)))
    surfaces = surfaces_for(world, 0.0)
    truth = surfaces.sums(everyone(surfaces))
    best = truth.value(1.0, smooth=False).max()

    def reached(point):
        dice, found, alarms = [], [], []
        for row in world.rows:
            passes = np.float32(row.image_score) >= np.float32(point.gate)
            on = (row.bins >= bin_of(point.threshold)) & passes
            if row.n_inside:
                tp, fp = row.inside[on].sum(), row.outside[on].sum()
                dice.append(2 * tp / (tp + fp + row.n_inside))
                found.append(tp > 0)
            else:
                alarms.append(row.outside[on].any())
        return np.mean(dice) * (1 - np.mean(alarms)), np.mean(found)

    default, former = [], []
    for run in range(16):
        rows = [
            row
            for i in range(20)
            for row in group(f"r{run:02}-{i:02}", i < 5)  # five positive groups
        ]
        drawn = ScoreTable(tuple(rows))
        default.append(reached(choose_operating_point(drawn, region="r")))
        # With a beta of 1 that is ½·(D + 1 − A), the objective before.
        former.append(reached(choose_operating_point(drawn, region="r", maximize=Goal("f-beta"))))
    value, found = np.array(default).T
    assert found.min() > 0.02
    assert (np.array(former)[:, 1] < 0.02).any()
    assert (best - value).mean() <= (best - np.array(former)[:, 0]).mean() + 0.005
