"""Outlines of masks and drawn polygons: what is traced and drawn again is the mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from rareseg.data.masks.polygons import (
    one_ring,
    rasterise,
    ring_area,
    trace,
    trace_polygons,
)
from rareseg.errors import DataError

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))


def drawn(*rows: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in row] for row in rows])


def test_one_pixel_is_a_square_round_its_centre() -> None:
    (ring,) = trace(drawn("...", "..#"))
    assert sorted(map(tuple, ring.tolist())) == [(2, 1), (2, 2), (3, 1), (3, 2)]
    assert ring_area(ring) == 1


def test_a_straight_side_has_no_corner_in_between() -> None:
    (ring,) = trace(drawn("####", "##.."))
    assert sorted(map(tuple, ring.tolist())) == [(0, 0), (0, 2), (2, 1), (2, 2), (4, 0), (4, 1)]


def test_a_hole_is_a_ring_the_other_way_round() -> None:
    (polygon,) = trace_polygons(drawn("###", "#.#", "###"))
    assert ring_area(polygon.shell) == 9
    assert [ring_area(hole) for hole in polygon.holes] == [-1]


def test_pixels_that_touch_at_a_corner_are_two_polygons_that_do_not_cross() -> None:
    polygons = trace_polygons(drawn("#.", ".#"))
    assert [ring_area(polygon.shell) for polygon in polygons] == [1, 1]


def test_no_ring_passes_a_corner_twice_where_a_hole_touches_the_outside() -> None:
    (polygon,) = trace_polygons(drawn("###.", "#.##", "####"))
    assert len(polygon.holes) == 1
    (polygon,) = trace_polygons(drawn("##.", "#.#", "###"))
    for ring in polygon.rings:
        assert len({tuple(corner) for corner in ring.tolist()}) == len(ring)


def test_an_island_in_a_hole_is_a_polygon_of_its_own() -> None:
    mask = drawn("#####", "#...#", "#.#.#", "#...#", "#####")
    assert [len(polygon.holes) for polygon in trace_polygons(mask)] == [1, 0]
    np.testing.assert_array_equal(rasterise(trace(mask), mask.shape), mask)


def test_an_empty_mask_has_no_ring_and_no_ring_is_an_empty_mask() -> None:
    assert trace(np.zeros((3, 4), np.bool_)) == []
    assert trace(np.zeros((0, 4), np.bool_)) == []
    assert not rasterise([], (3, 4)).any()
    assert rasterise([], (0, 4)).shape == (0, 4)
    assert one_ring([]).shape == (0, 2)


@settings(deadline=None, max_examples=300)
@given(mask=masks)
def test_what_is_traced_and_drawn_is_the_mask(mask: np.ndarray) -> None:
    polygons = trace_polygons(mask)
    np.testing.assert_array_equal(rasterise(trace(mask), mask.shape), mask)
    np.testing.assert_array_equal(rasterise([one_ring(polygons)], mask.shape), mask)
    parts, count = ndimage.label(mask)
    assert len(polygons) == count
    for number, polygon in enumerate(polygons, start=1):
        np.testing.assert_array_equal(rasterise(polygon.rings, mask.shape), parts == number)
        assert ring_area(polygon.shell) > 0
        assert all(ring_area(hole) < 0 for hole in polygon.holes)
        for ring in polygon.rings:
            assert len({tuple(corner) for corner in ring.tolist()}) == len(ring)


def test_a_large_random_mask_comes_back() -> None:
    mask = np.random.default_rng(0).random((200, 310)) < 0.6
    np.testing.assert_array_equal(rasterise(trace(mask), mask.shape), mask)


def inside(x: float, y: float, ring: np.ndarray) -> bool:
    """Even-odd, one edge at a time, as in textbooks."""
    odd = False
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if (y0 > y) != (y1 > y) and x < (x1 - x0) * (y - y0) / (y1 - y0) + x0:
            odd = not odd
    return odd


@settings(deadline=None)
@given(
    ring=hnp.arrays(
        np.float64,
        st.tuples(st.integers(3, 7), st.just(2)),
        elements=st.floats(-3, 12, allow_nan=False, width=16),
    )
)
def test_a_pixel_is_inside_where_its_centre_is(ring: np.ndarray) -> None:
    # Sixths of an odd offset keep centres off the lines, where rounding would decide.
    ring = ring + np.array([0.0137, 0.0071])
    mask = rasterise([ring], (8, 9))
    expected = [[inside(c + 0.5, r + 0.5, ring) for c in range(9)] for r in range(8)]
    np.testing.assert_array_equal(mask, expected)


def test_polygons_with_a_common_side_through_centres_share_no_pixel_and_leave_none() -> None:
    left = [(0, 0), (2.5, 0), (2.5, 4), (0, 4)]
    right = [(2.5, 0), (5, 0), (5, 4), (2.5, 4)]
    first, second = rasterise([left], (4, 5)), rasterise([right], (4, 5))
    assert not (first & second).any()
    assert (first | second).all()


def test_what_lies_outside_of_the_image_is_cut_off() -> None:
    assert rasterise([[(-5, -5), (50, -5), (50, 50), (-5, 50)]], (3, 4)).all()
    assert not rasterise([[(-5, -5), (-1, -5), (-1, 50), (-5, 50)]], (3, 4)).any()
    assert not rasterise([[(4, 0), (9, 0), (9, 3), (4, 3)]], (3, 4)).any()


@pytest.mark.parametrize("ring", [[(0, 0), (1, np.nan)], [1, 2, 3], [["a", "b"]], [[1, 2, 3]]])
def test_corners_that_are_no_pairs_of_numbers_are_refused(ring: object) -> None:
    with pytest.raises(DataError, match="pairs"):
        rasterise([ring], (3, 3))


def test_a_mask_of_three_axes_is_refused() -> None:
    with pytest.raises(ValueError, match="two axes"):
        trace(np.zeros((1, 2, 3), np.bool_))
