"""Counting what patches hold."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rareseg.sampling.pools.class_counts import count_classes
from rareseg_runner.image_records import IGNORE


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(1, 150)),
    values=st.sampled_from([(0,), (0, IGNORE), (0, 1), (3, 7, IGNORE), (254,)]),
    run=st.integers(1, 90),
    seed=st.integers(0, 100),
)
def test_counts_are_those_of_numpy(
    shape: tuple[int, int, int], values: tuple[int, ...], run: int, seed: int
) -> None:
    total = int(np.prod(shape))
    drawn = np.random.default_rng(seed).choice(values, -(-total // run))
    labels = np.repeat(drawn, run)[:total].reshape(shape).astype(np.uint8)
    voxels, positive = count_classes(labels)
    np.testing.assert_array_equal(voxels, np.bincount(labels.reshape(-1), minlength=256))
    expected = sum(bool(set(np.unique(patch)) - {0, IGNORE}) for patch in labels)
    assert positive == expected
