from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sklearn_metrics

from rareseg.errors import ScoreError
from rareseg.evaluation.metrics import overlap
from rareseg.evaluation.metrics.overlap import Counts
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg.evaluation.tables.highest_scores import UNKNOWN
from rareseg.evaluation.tables.score_table import ScoreTable, score_case
from rareseg.evaluation.tables.threshold_bins import bins_of
from rareseg_runner.image_records import IGNORE

bits = st.integers(1, 40).flatmap(
    lambda n: st.tuples(hnp.arrays(np.bool_, n), hnp.arrays(np.bool_, n))
)


def test_every_metric_by_hand():
    counts = Counts(tp=3, fp=1, fn=2, tn=4)
    expected = {
        overlap.dice: 6 / 9,
        overlap.iou: 3 / 6,
        overlap.precision: 3 / 4,
        overlap.recall: 3 / 5,
        overlap.specificity: 4 / 5,
        overlap.accuracy: 7 / 10,
        overlap.false_negative_rate: 2 / 5,
    }
    assert {metric: metric(counts) for metric in expected} == pytest.approx(expected)
    assert overlap.background_accuracy(counts) == 5 / 10


@given(masks=bits)
def test_counts_and_metrics_agree_with_scikit_learn(masks):
    prediction, reference = masks
    counts = overlap.count_masks(prediction, reference)
    tn, fp, fn, tp = sklearn_metrics.confusion_matrix(
        reference, prediction, labels=[False, True]
    ).ravel()
    assert counts == Counts(tp, fp, fn, tn)
    for metric, oracle in {
        overlap.dice: sklearn_metrics.f1_score,
        overlap.precision: sklearn_metrics.precision_score,
        overlap.recall: sklearn_metrics.recall_score,
    }.items():
        value = metric(counts)
        expected = oracle(reference, prediction, zero_division=np.nan)
        if isinstance(value, Undefined):
            # scikit-learn's recall and precision are 0/0 in exactly these cases.
            assert np.isnan(expected)
        else:
            assert value == pytest.approx(expected)
    if reference.any() or prediction.any():
        expected = sklearn_metrics.jaccard_score(reference, prediction)
        assert overlap.iou(counts) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("metric", "counts", "reason"),
    [
        (overlap.dice, Counts(0, 0, 0, 9), "reference and prediction are empty"),
        (overlap.iou, Counts(0, 0, 0, 9), "reference and prediction are empty"),
        (overlap.precision, Counts(0, 0, 5, 9), "nothing is predicted"),
        (overlap.recall, Counts(0, 5, 0, 9), "no positive voxel"),
        (overlap.false_negative_rate, Counts(0, 5, 0, 9), "no positive voxel"),
        (overlap.specificity, Counts(5, 0, 1, 0), "no negative voxel"),
        (overlap.accuracy, Counts(0, 0, 0, 0), "no voxel counts"),
    ],
)
def test_zero_by_zero_is_undefined_with_its_reason(metric, counts, reason):
    assert metric(counts) == Undefined(reason)


def test_a_false_alarm_on_an_empty_reference_has_dice_zero():
    assert overlap.dice(Counts(0, 3, 0, 9)) == 0.0


def test_ignored_voxels_count_nowhere():
    prediction = np.array([True, True, False, True])
    reference = np.array([1, IGNORE, IGNORE, 0], np.uint8)
    assert overlap.count_masks(prediction, reference) == Counts(tp=1, fp=1, fn=0, tn=0)


def test_masks_of_unlike_shape_and_label_maps_are_refused():
    with pytest.raises(ScoreError, match=r"shape \(3,\).*shape \(2,\)"):
        overlap.count_masks(np.zeros(3, bool), np.zeros(2, bool))
    with pytest.raises(ScoreError, match="labels == 2"):
        overlap.count_masks(np.zeros(3, bool), np.array([0, 1, 2], np.uint8))


def table_of(*cases, region="r"):
    return ScoreTable(
        tuple(
            score_case(scores, reference, case_id=str(i), region=region)
            for i, (scores, reference) in enumerate(cases)
        )
    )


@pytest.mark.parametrize("kind", ["smooth", "saturated"])
@pytest.mark.parametrize("rarity", [0.2, 0.02, 0.002])
def test_curves_agree_with_the_exact_ones(kind, rarity, draw_scores):
    scores, reference = draw_scores(kind, 300_000, rarity=rarity)
    curve = overlap.pooled_curve(table_of((scores, reference)).rows)
    auc = sklearn_metrics.roc_auc_score(reference, scores)
    assert overlap.roc_auc(curve) == pytest.approx(auc, abs=1e-4)
    ap = sklearn_metrics.average_precision_score(reference, scores)
    assert overlap.average_precision(curve) == pytest.approx(ap, abs=3e-5)
    low, high = overlap.average_precision_bounds(curve)
    assert low - 1e-12 <= ap <= high + 1e-12
    precision, recall, _ = sklearn_metrics.precision_recall_curve(reference, scores)
    exact = np.nanmax(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    dice, threshold = overlap.best_dice(curve)
    assert dice == pytest.approx(exact, abs=1e-4 if reference.sum() > 5000 else 1e-3)
    assert sklearn_metrics.f1_score(reference, scores >= np.float32(threshold)) == pytest.approx(
        dice, abs=1e-12
    )


def exact_average_precision(scores, reference, weights=None):
    """Σ (Rₖ − Rₖ₋₁)·Pₖ by a sort of all voxels."""
    scores, reference = np.ravel(scores), np.ravel(reference)
    weights = np.ones(len(scores)) if weights is None else weights
    order = np.argsort(-scores, kind="stable")
    steps = np.append(np.diff(scores[order]) != 0, True)
    tp = np.cumsum((weights * reference)[order])[steps]
    return np.sum(np.diff(tp, prepend=0.0) * tp / np.cumsum(weights[order])[steps]) / tp[-1]


@pytest.mark.parametrize("apart", [2.0, 4.0, 6.0])
@pytest.mark.parametrize("n_cases", [1, 6])
def test_few_positives_are_sorted(apart, n_cases):
    """67 positive voxels of 300,000, where the order within the top bins decides."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        reference = np.zeros(300_000, bool)
        reference[rng.choice(300_000, 67, replace=False)] = True
        odds = rng.normal(-4, 2, 300_000) + apart * reference
        scores = (1 / (1 + np.exp(-odds))).astype(np.float32)
        parts = zip(np.split(scores, n_cases), np.split(reference, n_cases), strict=True)
        table = table_of(*parts)
        curve = overlap.pooled_curve(table.rows)
        exact = exact_average_precision(scores, reference)
        assert exact == pytest.approx(sklearn_metrics.average_precision_score(reference, scores))
        assert overlap.average_precision(curve) == pytest.approx(exact, abs=1e-5)
        low, high = overlap.average_precision_bounds(curve)
        assert low <= exact <= high < low + 1e-4
        blind = ScoreTable(tuple(replace(row, highest=UNKNOWN) for row in table))
        low, high = overlap.average_precision_bounds(overlap.pooled_curve(blind.rows))
        assert low <= exact <= high


def test_small_cases_are_exact_whatever_their_weight():
    rng = np.random.default_rng(0)
    cases = []
    for n in (500, 3000, 4000):
        reference = rng.random(n) < 0.02
        odds = rng.normal(-3, 2, n) + 4 * reference
        cases.append(((1 / (1 + np.exp(-odds))).astype(np.float32), reference))
    scores, reference = (np.concatenate(part) for part in zip(*cases, strict=True))
    for weighting in ("voxel", "case"):
        curve = overlap.pooled_curve(table_of(*cases).rows, weighting=weighting)
        sizes = [len(s) for s, _ in cases]
        own = np.repeat(1 / np.array(sizes), sizes) if weighting == "case" else None
        exact = exact_average_precision(scores, reference, own)
        assert overlap.average_precision(curve) == pytest.approx(exact, abs=1e-12)
        assert overlap.average_precision_bounds(curve) == pytest.approx((exact, exact), abs=1e-12)
        area = sklearn_metrics.roc_auc_score(reference, scores, sample_weight=own)
        assert overlap.roc_auc(curve) == pytest.approx(area, abs=1e-12)


@pytest.mark.parametrize("weighting", ["voxel", "case"])
@given(
    cases=st.lists(
        st.integers(1, 40).flatmap(
            lambda n: st.tuples(
                hnp.arrays(np.float32, n, elements=st.floats(0, 1, width=32)),
                hnp.arrays(np.bool_, n),
            )
        ),
        min_size=1,
        max_size=3,
    ),
    known=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_the_bounds_hold_the_exact_value(weighting, cases, known):
    scores, reference = (np.concatenate(part) for part in zip(*cases, strict=True))
    rows = [
        row if own else replace(row, highest=UNKNOWN)
        for row, own in zip(table_of(*cases).rows, known, strict=False)
    ]
    low, high = overlap.average_precision_bounds(overlap.pooled_curve(rows, weighting=weighting))
    if not reference.any():
        assert low == high == Undefined("no positive voxel in any case")
        return
    sizes = [len(s) for s, _ in cases]
    own = np.repeat(1 / np.array(sizes), sizes) if weighting == "case" else None
    exact = exact_average_precision(scores, reference, own)
    assert low - 1e-9 <= exact <= high + 1e-9


@given(
    case=st.integers(2, 50).flatmap(
        lambda n: st.tuples(
            # Eighths each have a bin of their own, so that binning loses nothing.
            hnp.arrays(np.int64, n, elements=st.integers(0, 8)).map(
                lambda eighths: (eighths / 8).astype(np.float32)
            ),
            hnp.arrays(np.bool_, n),
        )
    )
)
def test_curves_are_exact_where_scores_have_bins_of_their_own(case):
    scores, reference = case
    curve = overlap.pooled_curve(table_of(case).rows)
    if not reference.any():
        assert overlap.average_precision(curve) == Undefined("no positive voxel in any case")
        return
    assert overlap.average_precision(curve) == pytest.approx(
        sklearn_metrics.average_precision_score(reference, scores)
    )
    precision, recall, thresholds = sklearn_metrics.precision_recall_curve(reference, scores)
    ours = overlap.precision_recall(curve)
    np.testing.assert_allclose(ours[0], precision[:-1][::-1])
    np.testing.assert_allclose(ours[1], recall[:-1][::-1])
    np.testing.assert_array_equal(bins_of(curve.thresholds), bins_of(thresholds[::-1]))
    assert overlap.best_dice(curve)[0] == pytest.approx(
        np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    )
    if reference.all():
        assert overlap.roc_auc(curve) == Undefined("no negative voxel")
        return
    fpr, tpr, _ = sklearn_metrics.roc_curve(reference, scores, drop_intermediate=False)
    np.testing.assert_allclose(overlap.roc(curve), (fpr, tpr))


def test_equal_weight_divides_each_case_by_its_voxels():
    rng = np.random.default_rng(0)

    def eighths(n):
        return (rng.integers(0, 9, n) / 8).astype(np.float32)

    small = eighths(100), rng.random(100) < 0.3
    large = eighths(5000), rng.random(5000) < 0.1
    empty = eighths(700) / 2, np.zeros(700, bool)
    curve = overlap.pooled_curve(table_of(small, large, empty).rows, weighting="case")
    cases = [small, large, empty]
    exact = sklearn_metrics.average_precision_score(
        np.concatenate([reference for _, reference in cases]),
        np.concatenate([scores for scores, _ in cases]),
        sample_weight=np.concatenate([np.full(len(s), 1 / len(s)) for s, _ in cases]),
    )
    assert overlap.average_precision(curve) == pytest.approx(exact)
    assert curve.positives + curve.negatives == pytest.approx(3.0)


def test_checkpoint_score_is_the_mean_over_regions_that_occur():
    scores = np.array([0.1, 0.2, 0.3, 0.9], np.float32)
    good = score_case(scores, [0, 0, 0, 1], case_id="a", region="good")
    half = score_case(scores, [0, 0, 1, 0], case_id="a", region="half")
    never = score_case(scores, [0, 0, 0, 0], case_id="a", region="never")
    assert overlap.checkpoint_score(ScoreTable((good, half, never))) == pytest.approx(0.75)
    assert isinstance(overlap.checkpoint_score(ScoreTable((never,))), Undefined)
    assert isinstance(overlap.checkpoint_score(ScoreTable()), Undefined)
    by_region = overlap.case_average_precisions(ScoreTable((good, half, never)))
    assert by_region["half"] == 0.5
    assert by_region["never"] == Undefined("no positive voxel in any case")


def test_negative_cases_with_high_scores_lower_the_checkpoint_score():
    positive = np.array([0.1, 0.8], np.float32), [0, 1]
    quiet = np.array([0.1, 0.2], np.float32), [0, 0]
    loud = np.array([0.1, 0.9], np.float32), [0, 0]
    assert overlap.checkpoint_score(table_of(positive, quiet)) == 1.0
    assert overlap.checkpoint_score(table_of(positive, loud)) == 0.5


def test_curves_without_positives_raise_where_an_array_is_asked_for():
    curve = overlap.pooled_curve(table_of(([0.5], [0])).rows)
    with pytest.raises(ScoreError, match="needs positive"):
        overlap.precision_recall(curve)
    with pytest.raises(ScoreError, match="needs positive"):
        overlap.roc(curve)
    assert overlap.best_dice(curve)[0] == Undefined("no positive voxel in any case")
    assert len(overlap.pooled_curve([]).thresholds) == 0
