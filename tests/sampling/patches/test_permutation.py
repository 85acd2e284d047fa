"""In turn: every rank once, in an order that chance decides, before any comes again."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from rareseg.sampling.patches.permutation import permuted_ranks


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**60))
def test_every_lap_is_a_permutation(size: int, seed: int) -> None:
    laps = permuted_ranks(np.arange(3 * size), size, [seed]).reshape(3, size)
    np.testing.assert_array_equal(np.sort(laps, axis=1), np.tile(np.arange(size), (3, 1)))
    if size > 20:
        assert not np.array_equal(laps[0], laps[1])


def test_any_draw_is_the_same_from_anywhere() -> None:
    whole = permuted_ranks(np.arange(5000), 777, [4, 2])
    some = np.array([4999, 0, 777, 776, 2500])
    np.testing.assert_array_equal(permuted_ranks(some, 777, [4, 2]), whole[some])
    assert not np.array_equal(permuted_ranks(np.arange(777), 777, [4, 3]), whole[:777])


def test_every_rank_is_as_likely_at_every_place() -> None:
    counts = np.zeros((7, 7), np.int64)
    for seed in range(3000):
        counts[np.arange(7), permuted_ranks(np.arange(7), 7, [seed])] += 1
    for place in counts:
        assert chisquare(place).pvalue > 1e-4


def test_neighbours_are_torn_apart() -> None:
    """Ranks of neighbouring draws are uncorrelated: |r| of 100,000 pairs is below 4 / √n."""
    ranks = permuted_ranks(np.arange(100_000), 100_000, [0])
    assert abs(np.corrcoef(ranks[1:], ranks[:-1])[0, 1]) < 0.013
