"""What is on at every threshold and size, compared with cutting and removing one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from rareseg.decision.operating_point import OperatingPoint
from rareseg.errors import UsageError
from rareseg.evaluation.tables.area_openings import levels_of, open_levels
from rareseg_runner.decision.cut_point import apply_point

THRESHOLDS = np.array([0.1, 0.3, 0.5, 0.7, 0.9], np.float32)
SIZES = (0, 2, 3, 5, 9)


@pytest.mark.parametrize("shape", [(1, 23, 31), (7, 12, 9), (1, 1, 40), (5, 1, 1)])
@pytest.mark.parametrize("sigma", [0.0, 0.8, 2.0])
def test_it_is_what_cutting_and_removing_gives(shape, sigma):
    rng = np.random.default_rng(int(10 * sigma) + shape[0])
    scores = ndimage.gaussian_filter(rng.random(shape), sigma)
    scores = ((scores - scores.min()) / max(np.ptp(scores), 1e-9)).astype(np.float32)
    opened = open_levels(levels_of(scores, THRESHOLDS), SIZES)
    for k, threshold in enumerate(THRESHOLDS):
        for i, size in enumerate(SIZES):
            point = OperatingPoint("r", float(threshold), smallest_component=size)
            assert np.array_equal(opened[i] > k, apply_point(scores, point)), (threshold, size)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
def test_any_levels(seed, depth, height, width):
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 4, (depth, height, width)).astype(np.uint8)
    opened = open_levels(levels, SIZES)
    for k in range(3):
        for i, size in enumerate(SIZES):
            labels, n = ndimage.label(levels > k, np.ones((3, 3, 3)))
            sizes = np.bincount(labels.ravel(), minlength=n + 1)
            expected = (labels > 0) & (sizes[labels] >= size)
            assert np.array_equal(opened[i] > k, expected)


def test_nothing_and_empty_arrays():
    assert not open_levels(np.zeros((2, 3, 4), np.uint8), SIZES).any()
    assert open_levels(np.zeros((1, 0, 4), np.uint8), (0,)).shape == (1, 1, 0, 4)


def test_a_score_on_a_threshold_reaches_it():
    scores = np.array([[[0.0, 0.1, 0.2, 0.9, 1.0]]], np.float32)
    assert levels_of(scores, THRESHOLDS).ravel().tolist() == [0, 1, 1, 5, 5]
    with pytest.raises(UsageError, match="256 thresholds"):
        levels_of(scores, np.linspace(0, 1, 256, dtype=np.float32))
