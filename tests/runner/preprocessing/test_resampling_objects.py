"""Small objects survive resampling of labels; everything else is as it was."""

import numpy as np
import pytest

from rareseg_runner.image_records import IGNORE
from rareseg_runner.preprocessing.resampling import resample_labels


@pytest.mark.parametrize("target", [(20, 20, 20), (19, 16, 50), (50, 20, 7)])
def test_no_object_vanishes(target):
    rng = np.random.default_rng(3)
    for _ in range(10):
        labels = np.zeros((50, 50, 50), np.uint8)
        for at in rng.choice(np.arange(2, 50, 12), (5, 3)):
            labels[tuple(at)] = rng.integers(1, 3)
        count = len(np.argwhere(labels))
        out = resample_labels(labels, target)
        assert out.shape == target
        assert np.count_nonzero(out) >= count
        assert (np.bincount(out.ravel(), minlength=3)[1:] > 0).tolist() == [
            bool((labels == k).any()) for k in (1, 2)
        ]


def test_an_object_keeps_the_voxel_that_it_fills_most_of():
    labels = np.zeros((1, 1, 40), np.uint8)
    labels[0, 0, [9, 10, 11]] = 1  # 10, 11 … 19 are target voxel 1
    assert resample_labels(labels, (1, 1, 4)).ravel().tolist() == [0, 1, 0, 0]


def test_what_is_ignored_is_not_kept_for_its_own_sake():
    labels = np.zeros((1, 1, 40), np.uint8)
    labels[0, 0, 10] = IGNORE
    assert not resample_labels(labels, (1, 1, 4)).any()
