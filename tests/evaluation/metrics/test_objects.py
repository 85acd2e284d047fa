from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from rareseg.errors import ScoreError
from rareseg.evaluation.metrics.objects import ObjectMatch, match_objects
from rareseg_runner.image_records import IGNORE


def drawn(*lines):
    """R reference only, P prediction only, B both, I ignored, i ignored and predicted, . none."""
    grid = np.array([list(line) for line in lines])
    reference = np.isin(grid, ["R", "B"]).astype(np.uint8)
    reference[np.isin(grid, ["I", "i"])] = IGNORE
    return reference, np.isin(grid, ["P", "B", "i"])


def test_found_missed_and_false_positive_by_hand():
    reference, prediction = drawn(
        "RB....PP",
        ".B....P.",
        "........",
        "...R....",
        "....R..P",
    )
    match = match_objects(reference, prediction)
    assert sorted(zip(match.sizes, match.found, strict=True)) == [(2, False), (3, True)]
    assert sorted(match.false_positive_sizes) == [1, 3]
    assert sorted(match.predicted_sizes) == [1, 2, 3]
    assert match.n_found == 1


def test_one_prediction_can_find_two_objects_and_two_can_find_one():
    reference, prediction = drawn("BPB..BRB")
    match = match_objects(reference, prediction)
    assert sorted(zip(match.sizes, match.overlaps, strict=True)) == [(1, 1), (1, 1), (3, 2)]
    assert match.false_positive_sizes == ()
    assert sorted(match.predicted_sizes) == [1, 1, 3]


def test_ignored_voxels_count_nowhere_but_join_what_is_predicted():
    reference, prediction = drawn("BiP..ii..Pi")
    match = match_objects(reference, prediction)
    assert match.sizes == (1,)
    # "BiP" is one component of two voxels that count, "ii" is none, "Pi" is a false positive of 1.
    assert sorted(match.predicted_sizes) == [1, 2]
    assert match.false_positive_sizes == (1,)


def test_empty_masks_have_no_objects():
    nothing = np.zeros((2, 3, 4), bool)
    assert match_objects(nothing, nothing) == ObjectMatch((), (), (), ())


@given(
    masks=hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6).flatmap(
        lambda shape: st.tuples(hnp.arrays(np.bool_, shape), hnp.arrays(np.bool_, shape))
    )
)
def test_matches_agree_with_scipy(masks):
    reference, prediction = masks
    match = match_objects(reference, prediction)
    structure = np.ones((3,) * reference.ndim)
    objects, n_objects = ndimage.label(reference, structure)
    predicted, n_predicted = ndimage.label(prediction, structure)
    assert sorted(zip(match.sizes, match.overlaps, strict=True)) == sorted(
        ((objects == i).sum(), ((objects == i) & prediction).sum()) for i in range(1, n_objects + 1)
    )
    assert sorted(match.false_positive_sizes) == sorted(
        (predicted == i).sum()
        for i in range(1, n_predicted + 1)
        if not (reference & (predicted == i)).any()
    )


def test_masks_of_unlike_shape_are_refused():
    with pytest.raises(ScoreError, match="original grid"):
        match_objects(np.zeros((2, 3), bool), np.zeros((3, 2), bool))
