from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.calibration import calibration_curve as sklearn_curve

from rareseg.errors import UsageError
from rareseg.evaluation.metrics.calibration_curve import (
    calibration_curve,
    expected_calibration_error,
    largest_calibration_error,
    overconfidence,
    score_sums,
)
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg.evaluation.tables.score_table import ScoreTable, score_case


def table_of(*cases):
    return ScoreTable(
        tuple(score_case(*case, case_id=str(i), region="r") for i, case in enumerate(cases))
    )


@pytest.mark.parametrize("kind", ["smooth", "saturated"])
def test_the_curve_is_scikit_learns(kind, draw_scores):
    scores, reference = draw_scores(kind, 30_000, rarity=0.2)
    curve = calibration_curve(table_of((scores, reference)), region="r")
    frequency, confidence = sklearn_curve(reference, scores, n_bins=16, strategy="uniform")
    np.testing.assert_allclose(curve.frequency, frequency, atol=1e-12)
    np.testing.assert_allclose(curve.confidence, confidence, rtol=1e-6)
    assert curve.weight.sum() == pytest.approx(1.0)


@given(
    scores=hnp.arrays(np.float32, st.integers(1, 80), elements=st.floats(0, 1, width=32)),
    seed=st.integers(0, 99),
)
def test_errors_are_those_of_the_scores_themselves(scores, seed):
    labels = np.random.default_rng(seed).random(len(scores)) < 0.5
    curve = calibration_curve(table_of((scores, labels)), region="r")
    exact = scores.astype(np.float64)
    # [a, b) up to one half, (a, b] above it.
    interval = np.where(exact > 0.5, np.ceil(exact * 16) - 1, np.floor(exact * 16))
    gaps = [
        (abs(labels[own].mean() - exact[own].mean()), own.mean())
        for own in (interval == k for k in np.unique(interval))
    ]
    expected = sum(gap * weight for gap, weight in gaps)
    assert expected_calibration_error(curve) == pytest.approx(expected, abs=1e-9)
    assert largest_calibration_error(curve) == pytest.approx(max(g for g, _ in gaps), abs=1e-9)
    above = exact > 0.5
    at_half = exact == 0.5
    if above.any() and not at_half.any():
        assert overconfidence(curve) == pytest.approx((exact - labels)[above].mean(), abs=1e-9)


@given(scores=hnp.arrays(np.float32, st.integers(1, 80), elements=st.floats(0, 1, width=32)))
def test_score_sums_are_exact(scores):
    row = score_case(scores, np.zeros(len(scores)), case_id="a", region="r")
    assert score_sums(row).sum() == pytest.approx(
        scores.sum(dtype=np.float64), rel=1e-12, abs=1e-12
    )


def test_octaves_show_where_a_rare_class_lies():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.01, 0.1, 200_000).astype(np.float32)
    labels = rng.random(200_000) < scores / 4  # guarantees four times too much
    table = table_of((scores, labels))
    assert expected_calibration_error(calibration_curve(table, region="r")) < 0.05
    curve = calibration_curve(table, region="r", intervals="octaves")
    assert len(curve.lows) == 4  # from 2^-7 to 2^-3
    np.testing.assert_allclose(curve.confidence / curve.frequency, 4, rtol=0.5)
    assert np.all(np.log2(curve.highs / curve.lows) == 1)
    every = calibration_curve(
        table_of((np.linspace(0, 1, 1 << 18, dtype=np.float32), np.zeros(1 << 18))),
        region="r",
        intervals="octaves",
    )
    assert len(every.lows) == 32
    np.testing.assert_array_equal(every.lows, 1 - every.highs[::-1])
    assert np.all((every.confidence >= every.lows) & (every.confidence <= every.highs))


def test_cases_can_weigh_the_same():
    large = (np.full(300, 0.25), np.zeros(300))
    small = (np.full(1, 0.75), np.ones(1))
    by_voxel = calibration_curve(table_of(large, small), region="r")
    by_case = calibration_curve(table_of(large, small), region="r", weighting="case")
    assert by_voxel.weight.tolist() == [300 / 301, 1 / 301]
    assert by_case.weight.tolist() == [0.5, 0.5]
    assert expected_calibration_error(by_case) == pytest.approx(0.25)


def test_without_voxels_or_with_unknown_intervals():
    curve = calibration_curve(ScoreTable(), region="r")
    assert expected_calibration_error(curve) == Undefined("no voxel counts")
    assert largest_calibration_error(curve) == Undefined("no voxel counts")
    assert overconfidence(curve) == Undefined("no voxel is scored above one half")
    with pytest.raises(UsageError, match="sixteenths, octaves"):
        calibration_curve(ScoreTable(), region="r", intervals="tenths")
