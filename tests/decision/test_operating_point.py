from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rareseg.decision.operating_point import (
    Infeasible,
    OperatingPoint,
    choose_operating_point,
    default_point,
)
from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.metrics.overlap import count_masks, counts_at, dice
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg.evaluation.tables.score_table import ScoreTable, score_case
from rareseg.evaluation.tables.threshold_bins import bin_edges, bin_of
from rareseg_runner.decision.cut_point import apply_point
from rareseg_runner.image_records import IGNORE

SIXTEENTHS = st.integers(0, 16).map(lambda n: n / 16)

cases = st.lists(
    st.integers(1, 6).flatmap(
        lambda n: st.tuples(
            hnp.arrays(np.float32, n, elements=SIXTEENTHS),
            hnp.arrays(np.uint8, n, elements=st.sampled_from([0, 0, 1, IGNORE])),
        )
    ),
    min_size=1,
    max_size=7,
)


def table_of(cases, role=None, group=None):
    return ScoreTable(
        tuple(
            score_case(
                scores,
                reference,
                case_id=f"{i:03}",
                region="r",
                role=role,
                group=group,
                ignores=True,
            )
            for i, (scores, reference) in enumerate(cases)
        )
    )


def largest(table):
    return choose_operating_point(table, region="r")


def objective(cases, point):
    """D·(1 − w·A) from the masks themselves; every case is its own group."""
    dices, alarms = [], []
    for scores, reference in cases:
        counts = count_masks(apply_point(scores, point), reference, ignores=True)
        if counts.tp + counts.fn:
            dices.append(dice(counts))
        elif counts.total:
            alarms.append(counts.fp > 0)
    weight = len(alarms) / (len(alarms) + 0.25)
    return np.mean(dices) * (1 - weight * np.mean(alarms)) if alarms else np.mean(dices)


@given(cases=cases)
def test_something_is_found_wherever_a_case_holds_the_region(cases):
    point = largest(table_of(cases))
    if isinstance(point, Infeasible):
        assert not any((reference == 1).any() for _, reference in cases)
        return
    assert point.value == pytest.approx(objective(cases, point))
    assert point.value > 0
    assert point.mean_dice > 0
    assert any(apply_point(s, point)[r == 1].any() for s, r in cases)


def test_a_weak_model_speaks():
    # The negatives score as high as the positive: ½·(D + 1 − A) would be largest in silence.
    cases = [
        (np.full(100, 0.3, np.float32), np.arange(100) == 0),
        (np.full(100, 0.3, np.float32), np.zeros(100, bool)),
        (np.full(100, 0.29, np.float32), np.zeros(100, bool)),
    ]
    point = largest(table_of(cases))
    assert apply_point(cases[0][0], point)[0]
    assert point.mean_dice == pytest.approx(2 / 101)


def test_well_separated_scores_are_cut_in_the_middle():
    cases = [(np.array([0.01, 0.99], np.float32), [0, 1]), (np.array([0.01, 0.01]), [0, 0])]
    point = largest(table_of(cases, role="validation", group="p1"))
    assert point.value == 1.0
    assert point.threshold == pytest.approx(0.5, abs=0.05)
    assert point.gate == 0.0
    assert point.plateau[0] < point.threshold < point.plateau[1]
    assert (point.n_positive, point.n_negative, point.n_groups) == (1, 1, 1)
    assert point.role == "validation"
    assert not point.assumes_independent_images


def test_a_gate_is_set_where_only_it_can_keep_negatives_clean():
    # The object's rim scores no higher than the false alarm, its core does.
    positive = np.array([0.95, 0.4, 0.4, 0.4, 0.0], np.float32), [1, 1, 1, 1, 0]
    negative = np.array([0.6, 0.0, 0.0, 0.0, 0.0], np.float32), [0, 0, 0, 0, 0]
    point = largest(table_of([positive, negative]))
    assert point.value == 1.0
    assert point.threshold <= 0.4
    assert 0.6 < point.gate <= 0.95
    assert point.gate == pytest.approx(0.84, abs=0.05)
    assert apply_point(positive[0], point).sum() == 4
    assert not apply_point(negative[0], point).any()
    assert (point.mean_dice, point.share_clean) == (1.0, 1.0)


def test_without_negatives_the_objective_is_the_mean_dice():
    cases = [(np.array([0.9, 0.1], np.float32), [1, 0]), (np.array([0.4, 0.1]), [1, 1])]
    point = largest(table_of(cases))
    assert point.share_clean == Undefined("no negative case to choose on")
    assert point.value == point.mean_dice == pytest.approx((1 + 2 / 3) / 2)
    assert point.assumes_independent_images


def test_a_gated_positive_has_dice_zero():
    weak = np.array([0.3, 0.1], np.float32), [1, 0]
    strong = np.array([0.9, 0.1], np.float32), [1, 0]
    alarms = [(np.array([0.5, 0.1], np.float32), [0, 0])] * 3
    point = largest(table_of([weak, strong, *alarms]))
    assert point.mean_dice == 0.5
    assert point.share_clean == 1.0


def test_the_edge_of_the_grid_is_said():
    cases = [(np.array([0.2, 0.9], np.float32), [1, 1])]
    assert largest(table_of(cases)).edge_of_grid


def test_a_region_without_positive_case_is_infeasible():
    answer = choose_operating_point(table_of([([0.5], [0]), ([0.1], [0])]), region="r")
    assert isinstance(answer, Infeasible)
    assert "none of the 2 cases holds the region 'r'" in answer.reason
    assert isinstance(choose_operating_point(ScoreTable(), region="r"), Infeasible)


def test_wrong_calls_are_refused_with_the_remedy():
    table = table_of([([0.5], [1])])
    with pytest.raises(UsageError, match="did you mean 'dice'"):
        choose_operating_point(table, region="r", maximize="dcie")
    with pytest.raises(UsageError, match="no region 'q'"):
        choose_operating_point(table, region="q")
    mixed = ScoreTable(
        tuple(
            score_case([0.5], [1], case_id=role, region="r", role=role)
            for role in ("validation", "test")
        )
    )
    with pytest.raises(UsageError, match=r"roles test, validation; .*table\.select"):
        choose_operating_point(mixed, region="r")


def test_five_hundred_cases_are_searched_whole():
    rng = np.random.default_rng(0)
    rows = []
    for i in range(500):
        reference = rng.random(256) < (0.05 if i % 2 else 0.0)
        reference[0] = bool(i % 2)
        scores = np.where(reference, 0.8, 0.2).astype(np.float32)
        rows.append(score_case(scores, reference, case_id=f"{i:03}", region="r"))
    point = largest(ScoreTable(tuple(rows)))
    assert (point.n_positive, point.n_negative, point.value) == (250, 250, 1.0)
    assert 0.2 < point.threshold <= 0.8


@given(
    scores=hnp.arrays(np.float32, 12, elements=st.floats(0, 1, width=32)),
    threshold=st.integers(0, len(bin_edges()) - 1),
    gate=st.floats(0, 1, width=32),
)
def test_masks_have_exactly_the_counts_of_the_table(scores, threshold, gate):
    reference = np.arange(12) % 3 == 0
    row = score_case(scores, reference, case_id="a", region="r", ignores=True)
    point = OperatingPoint("r", threshold=float(bin_edges()[threshold]), gate=gate)
    mask = apply_point(scores, point)
    if row.top < gate:
        assert not mask.any()
    else:
        assert count_masks(mask, reference, ignores=True) == counts_at(row, point.threshold)


def test_small_components_are_removed():
    scores = np.array([[0.9, 0.9, 0.0, 0.0, 0.9], [0.0, 0.0, 0.9, 0.0, 0.0]], np.float32)
    kept = apply_point(scores, OperatingPoint("r", threshold=0.5, smallest_component=2))
    assert kept.tolist() == [[True, True, False, False, False], [False, False, True, False, False]]


def test_default_point_is_one_half():
    point = default_point("r")
    scores = np.array([0.5, np.nextafter(np.float32(0.5), np.float32(0))], np.float32)
    assert apply_point(scores, point).tolist() == [True, False]
    assert bin_edges()[bin_of(0.5)] == 0.5


def test_impossible_scores_are_refused_and_empty_ones_give_empty_masks():
    for bad in (np.nan, 1.5):
        with pytest.raises(ScoreError, match=r"region 'r'.*probabilities"):
            apply_point(np.array([0.1, bad], np.float32), default_point("r"))
    assert apply_point(np.zeros((0, 3), np.float32), default_point("r")).shape == (0, 3)


def test_a_point_survives_json_exactly():
    cases = [(np.array([0.21, 0.93], np.float32), [0, 1])]
    for point in (largest(table_of(cases)), default_point("r")):
        assert OperatingPoint.from_dict(json.loads(json.dumps(point.to_dict()))) == point


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 1.5}, "threshold 1.5"),
        ({"threshold": "high"}, "damaged"),
        ({"value": {"oops": 1}}, "damaged"),
        ({"colour": "red"}, "colour"),
        ({"smallest_component": -1}, "smallest component of -1"),
        ({"smallest_component": "5 mm⁴"}, "no size"),
    ],
)
def test_a_damaged_point_is_refused(change, message):
    record = default_point("r").to_dict() | change
    with pytest.raises(ScoreError, match=message):
        OperatingPoint.from_dict(record)
