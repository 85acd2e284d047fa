"""Slope and bias against scikit-learn, the sampler's prior undone, and what cannot be fitted."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as sklearn_log_loss

from rareseg.decision.calibration.calibration import Calibration, calibrate, prior_shift
from rareseg.decision.calibration.platt_scaling import FLATTEST, fit_log_odds, log_loss
from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.metrics.calibration_curve import (
    calibration_curve,
    expected_calibration_error,
)
from rareseg.evaluation.tables.score_table import ScoreTable, score_case
from rareseg_runner.image_records import IGNORE
from rareseg_runner.scoring.log_odds import log_odds


def draw(n, seed, *, share=0.1, slope=1.0, bias=0.0, voxels=4000, region="r"):
    """Cases whose calibrated log-odds are slope · (log-odds of the score) + bias."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        true = rng.normal(logit(share), 1.5, voxels)
        reference = (rng.random(voxels) < expit(true)).astype(np.uint8)
        scores = expit((true - bias) / slope).astype(np.float32)
        rows.append((f"c{i}", f"g{i}", scores, reference))
    return rows


def table_of(rows, region="r"):
    return ScoreTable(
        tuple(
            score_case(
                scores,
                reference,
                case_id=name,
                region=region,
                group=group,
                role="validation",
                ignores=True,
            )
            for name, group, scores, reference in rows
        )
    )


class TestFit:
    @pytest.mark.parametrize("seed", range(4))
    def test_as_scikit_learns_unpenalised_logistic_regression(self, seed):
        rng = np.random.default_rng(seed)
        odds = rng.normal(-2, 2, 500)
        labels = rng.random(500) < expit(0.6 * odds + rng.normal())
        weights = rng.random(500)
        weights /= weights.sum()
        # So many examples that Platt's targets are 0 and 1.
        found = fit_log_odds(odds, weights * labels, weights * ~labels, counts=(10**12, 10**12))
        model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
        model.fit(odds[:, None], labels, sample_weight=weights * 1000)
        assert found == pytest.approx((model.coef_[0, 0], model.intercept_[0]), rel=1e-4)

    def test_platts_targets_keep_a_perfect_separation_finite(self):
        odds, labels = np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True])
        slope, bias = fit_log_odds(odds, labels / 4, ~labels / 4, counts=(2, 2))
        targets = np.where(labels, 3 / 4, 1 / 4)
        # At the optimum the residuals are orthogonal to 1 and to the odds.
        residual = expit(slope * odds + bias) - targets
        assert residual.sum() == pytest.approx(0, abs=1e-6)
        assert residual @ odds == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize("sign", [0.0, -1.0])
    def test_scores_that_say_nothing_or_the_reverse_keep_their_order(self, sign):
        rng = np.random.default_rng(0)
        odds = rng.normal(size=2000)
        labels = rng.random(2000) < expit(sign * 2 * odds - 1 - 1e-3 * odds)
        slope, bias = fit_log_odds(odds, labels / 2000, ~labels / 2000, counts=(10**9, 10**9))
        if sign:
            assert slope == FLATTEST
            assert expit(slope * odds + bias).mean() == pytest.approx(labels.mean(), abs=1e-9)
        assert slope >= FLATTEST

    def test_equal_scores_get_the_share(self):
        slope, bias = fit_log_odds(
            np.full(2, -3.0), np.array([0.1, 0.1]), np.array([0.4, 0.4]), counts=(10**9, 10**9)
        )
        assert expit(slope * -3.0 + bias) == pytest.approx(0.2)

    def test_log_odds_are_finite_and_the_loss_is_scikit_learns(self):
        scores = np.array([0.0, 1e-30, 0.3, 1.0])
        assert np.isfinite(log_odds(scores)).all()
        assert log_odds(scores)[2] == pytest.approx(logit(0.3))
        labels = np.array([0.0, 1.0, 1.0])
        p = np.array([0.2, 0.7, 0.4])
        assert log_loss(logit(p), labels / 3, (1 - labels) / 3) == pytest.approx(
            sklearn_log_loss(labels, p)
        )
        assert log_loss(np.zeros(0), np.zeros(0), np.zeros(0)) == 0.0


class TestCalibrate:
    def test_a_known_slope_and_bias_are_found(self):
        found = calibrate(table_of(draw(10, 0, slope=0.6, bias=-1.2)), region="r")
        assert found.method == "temperature and bias"
        assert found.slope == pytest.approx(0.6, abs=0.03)
        assert found.bias == pytest.approx(-1.2, abs=0.05)
        assert found.log_loss < found.log_loss_before
        assert found.error < 0.01 < found.error_before
        assert (found.n_cases, found.n_groups) == (10, 10)

    def test_the_fit_is_scikit_learns_on_the_voxels_themselves(self):
        rows = draw(6, 1, slope=0.8, bias=-0.5)
        found = calibrate(table_of(rows), region="r")
        odds = np.concatenate([log_odds(scores) for _, _, scores, _ in rows])
        labels = np.concatenate([reference for *_, reference in rows])
        model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(odds[:, None], labels)
        assert (found.slope, found.bias) == pytest.approx(
            (model.coef_[0, 0], model.intercept_[0]), rel=2e-3
        )
        assert found.log_loss_before == pytest.approx(
            sklearn_log_loss(labels, expit(odds)), rel=1e-4
        )

    def test_every_case_weighs_the_same(self):
        rows = draw(6, 2, slope=0.8, bias=-0.5)
        wider = [
            (n, g, np.tile(s, 9), np.tile(r, 9)) if n == "c0" else (n, g, s, r)
            for n, g, s, r in rows
        ]
        a, b = (calibrate(table_of(r), region="r") for r in (rows, wider))
        # What is left is Platt's targets, which count voxels.
        assert (a.slope, a.bias) == pytest.approx((b.slope, b.bias), rel=1e-3)

    def test_calibrated_scores_are_left_alone_or_hardly_moved(self):
        found = calibrate(table_of(draw(10, 3)), region="r")
        assert found.slope == pytest.approx(1, abs=0.05)
        assert found.bias == pytest.approx(0, abs=0.1)

    def test_the_error_before_is_that_of_the_calibration_curve(self):
        table = table_of(draw(5, 4, slope=0.7))
        found = calibrate(table, region="r")
        curve = calibration_curve(table, region="r", weighting="case")
        assert found.error_before == pytest.approx(expected_calibration_error(curve), abs=1e-9)

    def test_a_pure_shift_of_the_prior_is_undone(self):
        # Few voxels: that slope and bias must be fitted costs more than the known shift.
        share, sampled = 0.05, 0.5
        rng = np.random.default_rng(1)
        rows = []
        for i in range(4):
            reference = (rng.random(200) < share).astype(np.uint8)
            x = rng.normal(2.0 * reference, 1.0)
            scores = expit(2.0 * x - 2.0 + logit(sampled)).astype(np.float32)
            rows.append((f"c{i}", f"g{i}", scores, reference))
        measured = np.mean([reference.mean() for *_, reference in rows])
        found = calibrate(table_of(rows), region="r", sampled_prior=sampled)
        assert found.method == "prior undone"
        assert found.slope == 1.0
        assert found.bias == pytest.approx(logit(measured) - logit(sampled))
        assert "temperature and bias" in found.reason

    def test_a_shift_that_is_none_is_not_undone(self):
        rows = draw(8, 6, share=0.05, slope=0.5)
        found = calibrate(table_of(rows), region="r", sampled_prior=0.5)
        assert found.method == "temperature and bias"
        assert "prior undone" in found.reason

    def test_ignored_voxels_count_nowhere(self):
        rows = draw(5, 7, bias=-1.0)
        more = [
            (n, g, np.append(s, np.float32(0.99)), np.append(r, np.uint8(IGNORE)))
            for n, g, s, r in rows
        ]
        a, b = (calibrate(table_of(r), region="r") for r in (rows, more))
        assert a == b

    @pytest.mark.parametrize(
        ("references", "groups", "said"),
        [
            ([0, 0], ["a", "b"], "none of the 2 cases holds the region"),
            ([1, 1], ["a", "b"], "no voxel lies outside"),
            ([[0, 1], [0, 1]], ["a", "a"], "one group cannot tell"),
            ([[0, 1], [0, 0]], ["a", "b"], "one group alone holds the region"),
        ],
    )
    def test_what_cannot_be_fitted_is_left_as_it_is(self, references, groups, said):
        rows = [
            (
                f"c{i}",
                group,
                np.array([0.2, 0.7], np.float32),
                np.broadcast_to(r, 2).astype(np.uint8),
            )
            for i, (r, group) in enumerate(zip(references, groups, strict=True))
        ]
        found = calibrate(table_of(rows), region="r")
        assert (found.method, found.slope, found.bias) == ("none", 1.0, 0.0)
        assert said in found.reason
        assert said in found.sentence
        assert math.isnan(found.log_loss)

    def test_scores_of_exactly_0_and_1(self):
        rows = [
            (
                f"c{i}",
                f"g{i}",
                np.array([0, 0, 1, 1], np.float32),
                np.array([0, 0, 1, i % 2], np.uint8),
            )
            for i in range(6)
        ]
        found = calibrate(table_of(rows), region="r")
        assert np.isfinite([found.slope, found.bias, found.log_loss]).all()
        # Of the voxels scored 1, three quarters are inside; 9 and 15 voxels make Platt's targets.
        assert found.apply([1.0])[0] == pytest.approx(0.75 * 10 / 11 + 0.25 / 17, abs=1e-4)

    def test_two_holding_groups_among_many_are_left_out_apart(self):
        # In one fold they would leave a fit without any foreground.
        rows = draw(11, 8, share=0.2, bias=-1.0)
        for i, (_, _, _, reference) in enumerate(rows):
            if i not in (0, 5):
                reference[:] = 0
        found = calibrate(table_of(rows), region="r")
        assert found.method == "temperature and bias"

    def test_impossible_priors_and_regions(self):
        table = table_of(draw(3, 9))
        for prior in (0.0, 1.0, math.nan):
            with pytest.raises(UsageError, match="sampled prior"):
                calibrate(table, region="r", sampled_prior=prior)
        with pytest.raises(UsageError, match="no region 'q'"):
            calibrate(table, region="q")
        with pytest.raises(UsageError, match="true prior is 1"):
            prior_shift(0.5, 1.0)


class TestRecord:
    def test_apply_is_monotone_within_0_and_1_and_keeps_the_shape(self):
        found = Calibration("r", slope=0.4, bias=-2.0, method="temperature and bias")
        scores = np.linspace(0, 1, 1001, dtype=np.float32).reshape(7, 11, 13)
        p = found.apply(scores)
        assert p.shape == scores.shape
        assert p.dtype == np.float32
        assert (np.diff(p.ravel()) >= 0).all()
        assert p.min() >= 0
        assert p.max() <= 1
        assert p[0, 5, 0] == pytest.approx(expit(0.4 * logit(scores[0, 5, 0]) - 2), rel=1e-5)

    def test_the_identity_changes_nothing(self):
        scores = np.array([0.0, 1e-20, 0.5, 1.0], np.float32)
        np.testing.assert_array_equal(Calibration("r").apply(scores), scores)

    def test_json_and_back(self):
        for found in (calibrate(table_of(draw(4, 0, bias=-1)), region="r"), Calibration("q")):
            text = json.dumps(found.to_dict(), allow_nan=False)
            again = Calibration.from_dict(json.loads(text))
            assert again.to_dict() == found.to_dict()

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"slope": 0.0}, "slope 0.0"),
            ({"slope": "x"}, "damaged"),
            ({"bias": math.inf}, "bias inf"),
            ({"extra": 1}, "unknown fields: extra"),
        ],
    )
    def test_damage(self, change, said):
        with pytest.raises(ScoreError, match=said):
            Calibration.from_dict({**Calibration("r").to_dict(), **change})


class TestPrevalence:
    """Positive images hold spots that score 0.6, and so do half of the negative ones."""

    @staticmethod
    def world(n, share, seed):
        rng = np.random.default_rng(seed)
        rows = []
        for i in range(n):
            scores = np.full(400, 0.01, np.float32)
            labels = np.zeros(400, np.uint8)
            positive = rng.random() < share
            if positive or rng.random() < 0.5:
                scores[:20] = 0.6 + 0.2 * rng.random()
                labels[:20] = positive
            rows.append((f"c{i}", f"g{i}", scores, labels))
        return rows

    @staticmethod
    def said_and_so(calibration, rows):
        """Mean probability and frequency above 0.1, by voxel."""
        scores = np.concatenate([row[2] for row in rows])
        labels = np.concatenate([row[3] for row in rows])
        shown = scores > 0.1
        return calibration.apply(scores[shown]).mean(), labels[shown].mean()

    def test_scores_mean_what_is_so_at_that_prevalence(self):
        validation = table_of(self.world(300, 0.5, 0))
        rare = self.world(3000, 0.02, 1)
        said, true = self.said_and_so(calibrate(validation, region="r"), rare)
        assert said > 5 * true
        found = calibrate(validation, region="r", prevalence=0.02)
        said, true = self.said_and_so(found, rare)
        assert said == pytest.approx(true, abs=0.02)
        assert found.prevalence == 0.02
        assert "weighed to a prevalence of 0.02" in found.sentence

    def test_the_prevalence_at_hand_changes_nothing(self):
        rows = self.world(200, 0.5, 2)
        share = np.mean([row[3].any() for row in rows])
        plain = calibrate(table_of(rows), region="r")
        same = calibrate(table_of(rows), region="r", prevalence=float(share))
        assert (same.slope, same.bias) == pytest.approx((plain.slope, plain.bias), rel=1e-6)

    def test_it_needs_negatives_and_a_share(self):
        positives = table_of([row for row in self.world(50, 0.5, 3) if row[3].any()])
        found = calibrate(positives, region="r", prevalence=0.1)
        assert "needs a case without the region" in found.reason
        with pytest.raises(UsageError, match="above 0 and below 1"):
            calibrate(positives, region="r", prevalence=1.0)

    def test_it_is_kept_and_earlier_records_are_read(self):
        found = calibrate(table_of(self.world(100, 0.5, 4)), region="r", prevalence=0.1)
        assert Calibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found
        earlier = {k: v for k, v in found.to_dict().items() if k != "prevalence"}
        assert Calibration.from_dict(earlier).prevalence is None
