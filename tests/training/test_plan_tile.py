"""The windows of prediction that are planned for volumes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.data.utils import dense_patch_slices

from rareseg.training.plan.plan_tile import best_tile, windows_along

SHAPES = st.tuples(*[st.integers(1, 700)] * 3)


@given(SHAPES, st.sampled_from([8, 16, 32]))
def test_a_window_fits_and_is_a_multiple_of_the_stride(shape, multiple):
    tile = best_tile(shape, multiple, 0.25, 2_500_000)
    assert math.prod(tile) <= 2_500_000
    assert all(side % multiple == 0 for side in tile)
    assert all(side < whole + multiple for whole, side in zip(shape, tile, strict=True))


@given(st.integers(1, 600), st.integers(1, 40), st.sampled_from([0.0, 0.25, 0.5]))
def test_windows_are_counted_as_monai_lays_them(whole, steps, overlap):
    side = min(whole, 16 * steps)
    step = side if side == whole else max(1, int(side * (1.0 - overlap)))
    assert windows_along(whole, side, overlap) == len(dense_patch_slices([whole], [side], [step]))


@pytest.mark.parametrize(
    ("shape", "most", "windows"),
    [
        ((155, 240, 240), 10_000_000, 1),
        ((35, 50, 35), 2_500_000, 1),
        ((155, 240, 240), 2_500_000, 6),
    ],
)
def test_as_few_windows_as_memory_allows(shape, most, windows):
    tile = best_tile(shape, 16, 0.25, most)
    counts = [windows_along(whole, side, 0.25) for whole, side in zip(shape, tile, strict=True)]
    assert math.prod(counts) == windows
