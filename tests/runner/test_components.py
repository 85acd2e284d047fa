from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from rareseg_runner.components import (
    bounding_box,
    component_sizes,
    label_components,
    remove_small,
)

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=7))


def scipy_components(mask):
    return ndimage.label(mask, structure=np.ones((3,) * mask.ndim))


@given(mask=masks)
def test_components_agree_with_scipy(mask):
    labels, count = label_components(mask)
    expected, expected_count = scipy_components(mask)
    assert count == expected_count
    np.testing.assert_array_equal(labels > 0, mask)
    # The same partition, whatever the numbers are.
    assert len(set(zip(labels.flat, expected.flat, strict=True))) == count + (not mask.all())
    assert sorted(component_sizes(labels, count)) == sorted(np.bincount(expected.flat)[1:])


@given(mask=masks, smallest=st.integers(0, 6))
def test_remove_small_keeps_components_of_that_size(mask, smallest):
    expected, count = scipy_components(mask)
    sizes = np.bincount(expected.ravel(), minlength=count + 1)
    keep = sizes >= smallest
    keep[0] = False
    np.testing.assert_array_equal(remove_small(mask, smallest), keep[expected])


def test_diagonal_neighbours_are_one_component_in_2d_and_3d():
    assert label_components(np.eye(4, dtype=bool))[1] == 1
    assert label_components(np.eye(4, dtype=bool)[None])[1] == 1
    cube = np.zeros((2, 2, 2), bool)
    cube[0, 0, 0] = cube[1, 1, 1] = True
    assert label_components(cube)[1] == 1


@pytest.mark.parametrize("shape", [(5, 6), (3, 5, 6)])
def test_bounding_box_is_the_smallest(shape):
    mask = np.zeros(shape, bool)
    assert bounding_box(mask) is None
    mask[..., 2, 3] = mask[..., 4, 1] = True
    assert bounding_box(mask)[-2:] == (slice(2, 5), slice(1, 4))
