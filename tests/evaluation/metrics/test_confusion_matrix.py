from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import confusion_matrix

from rareseg.errors import ScoreError
from rareseg.evaluation.metrics.confusion_matrix import Confusion, confuse
from rareseg.evaluation.metrics.overlap import Counts, count_masks
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg_runner.image_records import IGNORE

NAMES = ("background", "a", "b", "c")

maps = st.integers(0, 70).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.uint8, n, elements=st.sampled_from([0, 0, 0, 1, 2, 3])),
        hnp.arrays(np.uint8, n, elements=st.sampled_from([0, 0, 0, 1, 2, 3, IGNORE])),
    )
)


@given(labels=maps, cut=st.integers(0, 70))
def test_the_matrix_is_scikit_learns_and_halves_add_up(labels, cut):
    prediction, reference = labels
    found = confuse(prediction, reference, NAMES)
    counted = reference != IGNORE
    if counted.any():
        expected = confusion_matrix(reference[counted], prediction[counted], labels=range(4))
        np.testing.assert_array_equal(found.matrix, expected)
    else:
        assert found.matrix.sum() == 0
    halves = [
        confuse(prediction[part], reference[part], NAMES) for part in (slice(cut), slice(cut, None))
    ]
    assert halves[0] + halves[1] == found


@given(labels=maps, region=st.sampled_from([(1,), (1, 3), (1, 2, 3)]))
def test_counts_of_a_region_are_those_of_its_mask(labels, region):
    prediction, reference = labels
    mask = np.isin(reference, region).astype(np.uint8)
    mask[reference == IGNORE] = IGNORE
    expected = count_masks(np.isin(prediction, region), mask, ignores=True)
    assert confuse(prediction, reference, NAMES).counts(region) == expected


def test_shares_name_what_a_class_was_taken_for():
    reference = np.array([[1, 1, 1, 1, 0]], np.uint8)
    prediction = np.array([[1, 2, 2, 0, 0]], np.uint8)
    found = confuse(prediction, reference, NAMES)
    assert found.share(1, 2) == 0.5
    assert found.share(3, 1) == Undefined("no voxel is c")
    assert found.counts([1]) == Counts(tp=1, fp=0, fn=3, tn=1)


def test_impossible_label_maps_are_refused():
    zeros = np.zeros((3, 4), np.uint8)
    with pytest.raises(ScoreError, match="original grid"):
        confuse(zeros, zeros[:2], NAMES)
    with pytest.raises(ScoreError, match="int64"):
        confuse(zeros.astype(np.int64), zeros, NAMES)
    with pytest.raises(ScoreError, match="index 7, but there are 4 classes"):
        confuse(zeros + np.uint8(7), zeros, NAMES)
    with pytest.raises(ScoreError, match="index 255"):
        confuse(zeros + np.uint8(IGNORE), zeros, NAMES)
    with pytest.raises(ScoreError, match="cannot be added"):
        confuse(zeros, zeros, NAMES) + Confusion(("x",), np.zeros((1, 1), np.int64))
