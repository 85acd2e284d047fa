"""Placing windows, and counting what lies in them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rareseg.errors import UsageError
from rareseg.sampling.windows import BORDERS, Border, as_zyx, corners, window_counts


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


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 9)),
    patch=st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 12)),
    border=st.sampled_from(BORDERS),
    seed=st.integers(0, 100),
)
def test_counts_are_those_of_every_window(
    shape: tuple[int, int, int], patch: tuple[int, int, int], border: Border, seed: int
) -> None:
    mask = np.random.default_rng(seed).random(shape) < 0.3
    counts = window_counts(mask, patch, border)
    for centre in np.ndindex(shape):
        first = corners(np.array(centre), np.array(shape), patch, border)
        window = mask[tuple(slice(max(c, 0), c + n) for c, n in zip(first, patch, strict=True))]
        assert counts[centre] == window.sum()
        assert (first <= centre).all()
        assert (np.array(centre) < first + patch).all()
