"""Placing windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rareseg.errors import UsageError
from rareseg.sampling.pools.windows import BORDERS, Border, as_zyx, corners


def test_two_axes_are_one_plane() -> None:
    assert as_zyx((4, 5)) == (1, 4, 5)
    assert as_zyx((3, 4, 5)) == (3, 4, 5)
    for wrong in ((3,), (1, 2, 3, 4), (0, 4)):
        with pytest.raises(UsageError, match="patch size"):
            as_zyx(wrong)


def test_shifted_windows_lie_inside_or_in_the_middle() -> None:
    centre = np.arange(10)[:, None]
    shifted = corners(centre, np.array([10]), (4,), "shift")[:, 0]
    np.testing.assert_array_equal(shifted, [0, 0, 0, 1, 2, 3, 4, 5, 6, 6])
    short = corners(centre, np.array([10]), (13,), "shift")[:, 0]
    np.testing.assert_array_equal(short, np.full(10, -2))  # 2 voxels before, 1 after


@settings(deadline=None)
@given(
    n=st.integers(1, 12),
    size=st.integers(1, 15),
    border=st.sampled_from(BORDERS),
)
def test_every_window_contains_its_centre(n: int, size: int, border: Border) -> None:
    centre = np.arange(n)[:, None]
    first = corners(centre, np.array([n]), (size,), border)
    assert (first <= centre).all()
    assert (centre < first + size).all()
