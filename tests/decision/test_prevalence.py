"""Prevalence from unlabelled images, and what an alarm is worth at a prevalence."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from rareseg.decision.log_odds import log_odds
from rareseg.decision.operating_point import OperatingPoint, apply_point
from rareseg.decision.prevalence import (
    Call,
    Presence,
    _likeliest_share,
    calls_at,
    calls_of,
    estimate_prevalence,
    fit_presence,
    predictive_values,
    prevalence_interval,
    shifted_prior,
)
from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.bins import bin_edges
from rareseg.evaluation.cases import measure_case
from rareseg.evaluation.component_table import GRID, ComponentTable, components_of_case
from rareseg.evaluation.intervals import clopper_pearson
from rareseg.evaluation.scores import ScoreTable, score_case
from rareseg.evaluation.values import Undefined


def images(n, share, seed):
    """Positives whose top score has log-odds N(1.5, 1), negatives N(−1.5, 1); (labels, tops)."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < share
    return labels, expit(rng.normal(3.0 * labels - 1.5, 1.0))


def table_of(labels, tops):
    return ScoreTable(
        tuple(
            score_case(
                np.array([1e-4, top], np.float32),
                np.array([0, int(label)], np.uint8),
                case_id=f"c{i:04d}",
                region="r",
                group=f"g{i}",
                role="select",
            )
            for i, (label, top) in enumerate(zip(labels, tops, strict=True))
        )
    )


class TestPresence:
    def test_the_known_likelihood_ratio_is_found(self):
        labels, tops = images(2000, 0.4, 0)
        found = fit_presence(table_of(labels, tops), region="r")
        assert isinstance(found, Presence)
        # Two normals of equal spread: log-odds of presence = 3·x + logit of the share.
        assert found.slope == pytest.approx(3.0, abs=0.3)
        assert found.bias == pytest.approx(logit(0.4), abs=0.2)
        assert found.prevalence == pytest.approx(labels.mean())
        assert found.probabilities(tops).mean() == pytest.approx(labels.mean(), abs=2e-3)

    @pytest.mark.parametrize("label", [True, False])
    def test_without_both_kinds_it_is_undefined(self, label):
        found = fit_presence(table_of([label] * 3, [0.2, 0.5, 0.9]), region="r")
        assert found == Undefined("no negative case" if label else "no positive case")

    def test_tops_of_0_and_1(self):
        found = fit_presence(table_of([False, True] * 5, [0.0, 1.0] * 5), region="r")
        assert isinstance(found, Presence)
        assert np.isfinite(found.probabilities([0.0, 1.0])).all()


class TestPrevalence:
    @pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
    def test_a_known_shift_is_estimated(self, share):
        found = fit_presence(table_of(*images(2000, 0.4, 1)), region="r")
        assert isinstance(found, Presence)
        estimates = []
        for seed in range(20):
            labels, tops = images(500, share, 100 + seed)
            estimates.append(estimate_prevalence(tops, found) - labels.mean())
        assert abs(np.mean(estimates)) < 0.02
        assert np.std(estimates) < 0.05

    def test_its_interval_covers_the_truth_and_ends_where_em_does(self):
        covered = 0
        for seed in range(40):
            table = table_of(*images(150, 0.4, 500 + seed))
            _, tops = images(200, 0.15, 900 + seed)
            low, high = prevalence_interval(
                table, tops, region="r", generator=np.random.default_rng(seed), resamples=100
            )
            covered += low <= 0.15 <= high
            presence = fit_presence(table, region="r")
            odds = presence.slope * log_odds(tops) + presence.bias - logit(presence.prevalence)
            assert _likeliest_share(odds) == pytest.approx(
                estimate_prevalence(tops, presence), abs=1e-3
            )
        assert covered >= 34
        nothing = prevalence_interval(table, [], region="r", generator=np.random.default_rng(0))
        assert isinstance(nothing[0], Undefined)

    def test_counting_alarms_would_be_wrong_where_em_is_right(self):
        found = fit_presence(table_of(*images(2000, 0.5, 2)), region="r")
        assert isinstance(found, Presence)
        labels, tops = images(4000, 0.05, 3)
        counted = float((found.probabilities(tops) > 0.5).mean())
        estimated = estimate_prevalence(tops, found)
        assert abs(estimated - labels.mean()) < 0.01 < abs(counted - labels.mean())

    def test_scores_that_say_nothing_leave_the_prior(self):
        found = Presence("r", 2.0**-10, float(logit(0.3)), 30, 70)
        assert estimate_prevalence([0.5] * 50, found) == pytest.approx(0.3, abs=1e-6)

    def test_no_image_is_undefined(self):
        assert estimate_prevalence([], Presence("r", 1.0, 0.0, 1, 1)) == Undefined(
            "no unlabelled image"
        )


class TestSaerens:
    def test_the_answer_is_a_fixed_point_of_largest_likelihood(self):
        rng = np.random.default_rng(0)
        given = rng.dirichlet((1.0, 0.7, 0.4), size=300)
        prior = np.array([0.5, 0.3, 0.2])
        found = shifted_prior(given, prior)
        weighted = given * (found / prior)
        again = (weighted / weighted.sum(axis=1, keepdims=True)).mean(axis=0)
        np.testing.assert_allclose(again, found, atol=1e-8)

        def likelihood(now):
            return np.log((given * (now / prior)).sum(axis=1)).sum()

        best = likelihood(found)
        for _ in range(200):
            other = np.abs(found + rng.normal(0, 0.02, 3)) + 1e-9
            assert likelihood(other / other.sum()) <= best + 1e-9

    def test_certain_posteriors_are_counted(self):
        given = np.array([[1.0, 0.0]] * 3 + [[0.0, 1.0]])
        np.testing.assert_allclose(shifted_prior(given, [0.5, 0.5]), [0.75, 0.25])
        np.testing.assert_allclose(shifted_prior(given[:3], [0.5, 0.5]), [1.0, 0.0])

    @pytest.mark.parametrize(
        ("given", "prior", "said"),
        [
            (np.zeros((0, 2)), [0.5, 0.5], "do not fit"),
            ([[0.5, 0.5]], [1.0], "do not fit"),
            ([[0.5, 0.6]], [0.5, 0.5], "do not fit"),
            ([[1.5, -0.5]], [0.5, 0.5], "must not be negative"),
            ([[0.5, 0.5]], [1.0, 0.0], "must be above 0"),
        ],
    )
    def test_what_are_no_probabilities(self, given, prior, said):
        with pytest.raises(ScoreError, match=said):
            shifted_prior(given, prior)


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
            about = {"case_id": f"c{i:02d}", "region": "r", "group": f"g{i}"}
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
