from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.metrics.froc import (
    RATES,
    candidate_froc,
    challenge_sensitivities,
    froc,
    recall_by_size,
    sensitivity_at,
)
from rareseg.evaluation.statistics.undefined import Undefined, is_defined
from rareseg.evaluation.tables.component_table import ComponentTable, components_of_case
from rareseg.evaluation.tables.threshold_bins import bin_of

GRID = tuple(bin_of(p) for p in (0.25, 0.5, 0.75))


def table_of(*cases):
    """A table of one row of pixels per case: "scores|reference", digits are tenths, # is object."""
    rows = []
    for i, case in enumerate(cases):
        scores, reference = case.split("|")
        rows.append(
            components_of_case(
                np.array([[0.0 if c == "." else int(c) / 10 for c in scores]], np.float32),
                np.array([[c == "#" for c in reference]]),
                case_id=str(i),
                region="r",
                group=f"g{i}",
                grid=GRID,
            )
        )
    return ComponentTable(tuple(rows), GRID)


BOTH = (
    "8.4.6..33|#.#......",  # found at 0.8 and at 0.4; false positives of 0.6 and 0.3
    "9........|.........",  # a negative case with a false positive at 0.9
)


def test_the_curve_of_operating_points_by_hand():
    curve = froc(table_of(*BOTH), region="r")
    np.testing.assert_allclose(curve.thresholds, [0.75, 0.5, 0.25], atol=0.004)
    assert curve.recall.tolist() == [0.5, 0.5, 1.0]
    assert curve.false_positives.tolist() == [0.5, 1.0, 1.5]
    assert (curve.n_cases, curve.n_objects) == (2, 2)
    assert [sensitivity_at(curve, rate) for rate in (0.25, 0.5, 1, 2)] == [0, 0.5, 0.5, 1]


def test_a_smallest_component_and_a_gate_leave_less():
    table = table_of(*BOTH)
    two = froc(table, region="r", smallest=2)
    assert two.recall.tolist() == [0.0, 0.0, 0.0]
    assert two.false_positives.tolist() == [0.0, 0.0, 0.5]
    gated = froc(table, region="r", gate=0.85)
    assert gated.recall.tolist() == [0.0, 0.0, 0.0]
    assert gated.false_positives.tolist() == [0.5, 0.5, 0.5]


def test_the_curve_of_candidates_by_hand():
    curve = candidate_froc(table_of(*BOTH), region="r", threshold=0.25)
    np.testing.assert_allclose(curve.thresholds, [0.9, 0.8, 0.6, 0.4, 0.3], atol=1e-6)
    assert curve.recall.tolist() == [0.0, 0.5, 0.5, 1.0, 1.0]
    assert curve.false_positives.tolist() == [0.5, 0.5, 1.0, 1.0, 1.5]
    found = challenge_sensitivities(curve, "CAMELYON16")
    # Between (0, 0) and (½, ½) linear; at rate 1 the upper of two points; then constant.
    assert found == {0.25: 0.25, 0.5: 0.5, 1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0}
    assert challenge_sensitivities(curve, "LUNA16")[1 / 8] == pytest.approx(0.125)
    with pytest.raises(ScoreError, match="not in the component table's grid"):
        candidate_froc(table_of(*BOTH), region="r", threshold=0.3)


@given(seed=st.integers(0, 10_000))
def test_candidates_at_every_score_are_what_counting_them_gives(seed):
    rng = np.random.default_rng(seed)
    rows, hits, misses, objects = [], [], [], 0
    for i in range(3):
        scores = np.zeros((1, 24), np.float32)
        reference = np.zeros((1, 24), bool)
        for place in range(0, 24, 3):  # single pixels: a candidate each
            scores[0, place] = rng.choice([0.0, 0.3, 0.5, 0.7, 0.9])
            reference[0, place] = rng.random() < 0.3
        on = scores >= 0.25
        hits += scores[on & reference].tolist()
        misses += scores[on & ~reference].tolist()
        objects += int(reference.sum())
        rows.append(components_of_case(scores, reference, case_id=str(i), region="r", grid=GRID))
    curve = candidate_froc(ComponentTable(tuple(rows), GRID), region="r", threshold=0.25)
    assert sorted(set(hits + misses), reverse=True) == curve.thresholds.tolist()
    for k, score in enumerate(curve.thresholds):
        assert curve.false_positives[k] == pytest.approx(sum(s >= score for s in misses) / 3)
        if objects:
            assert curve.recall[k] == pytest.approx(sum(s >= score for s in hits) / objects)
    values = list(challenge_sensitivities(curve, "LUNA16").values())
    assert values == sorted(values) if objects else not any(map(is_defined, values))


def test_without_a_object_recall_is_undefined_and_false_positives_are_not():
    curve = froc(table_of("9.9|..."), region="r")
    assert np.isnan(curve.recall).all()
    assert curve.false_positives.tolist() == [2.0, 2.0, 2.0]
    assert sensitivity_at(curve, 8) == Undefined("no object in any case")
    assert set(challenge_sensitivities(curve, "LUNA16")) == set(RATES["LUNA16"])
    assert np.isnan(froc(ComponentTable(), region="r").false_positives).all()
    with pytest.raises(UsageError, match="LUNA16, CAMELYON16"):
        challenge_sensitivities(curve, "LUNA")


def test_recall_by_size_by_hand():
    table = table_of("9.99.....9|#.##.###.#", "........99|####.##.##")
    bands = recall_by_size(table, region="r", threshold=0.5, bands=2)
    # Sizes 1 1 2 2 2 3 4: half of seven is three, and all of size 2 share a band.
    assert [(band.low, band.high, band.n_objects) for band in bands] == [(1, 2, 5), (3, 4, 2)]
    assert [band.recall.value for band in bands] == [0.8, 0.0]
    assert [band.recall.n_groups for band in bands] == [2, 2]
    quarters = recall_by_size(table, region="r", threshold=0.5)
    assert [(band.low, band.high) for band in quarters] == [(1, 1), (2, 2), (3, 4)]
    assert [band.recall.value for band in quarters] == [1.0, pytest.approx(2 / 3), 0.0]
    kept = recall_by_size(table, region="r", threshold=0.5, smallest=2, bands=2)
    assert kept[0].recall.value == 0.4
    assert recall_by_size(table, region="r", threshold=0.5, gate=0.95)[0].recall.value == 0.0
    assert recall_by_size(table_of("9|."), region="r", threshold=0.5) == ()
