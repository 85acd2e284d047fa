"""Every pool has had its share to within one patch, at any moment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rareseg.sampling.strategies.pool_schedule import Schedule


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=12).filter(any))
def test_no_pool_is_ever_a_patch_from_its_share(weights: list[int]) -> None:
    shares = np.array(weights) / sum(weights)
    pools = Schedule(shares).pools(0, 3000)
    counts = np.cumsum(pools[:, None] == np.arange(len(shares)), axis=0)
    expected = np.arange(1, 3001)[:, None] * shares
    assert np.abs(counts - expected).max() < 1.0


@pytest.mark.parametrize("first", [0, 1, 119, 120, 5000, 123])
def test_any_part_is_the_same_from_anywhere(first: int) -> None:
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    whole = Schedule(shares).pools(0, 6000)
    used = Schedule(shares)
    used.pools(500, 40)
    np.testing.assert_array_equal(used.pools(first, 77), whole[first : first + 77])


@pytest.mark.parametrize("first", [0, 1, 119, 500])
def test_how_often_each_pool_came_before(first: int) -> None:
    shares = np.array([0.5, 0.0, 0.3, 0.2])
    whole = Schedule(shares).pools(0, 700)
    pools, nth = Schedule(shares).draws(first, 90)
    np.testing.assert_array_equal(pools, whole[first : first + 90])
    before = [(whole[: first + i] == pool).sum() for i, pool in enumerate(pools)]
    np.testing.assert_array_equal(nth, before)


def test_one_pool_takes_all() -> None:
    np.testing.assert_array_equal(Schedule(np.array([0.0, 1.0])).pools(3, 4), np.full(4, 1))
