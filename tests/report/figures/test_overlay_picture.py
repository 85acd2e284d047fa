"""Overlays: where the outline lies, which slice is shown, that the drawing has the right size."""

import numpy as np
import pytest

from rareseg.report.figures.overlay_picture import (
    COLOURS,
    LONGEST,
    SHORTEST,
    OutlinedObject,
    draw_overlay,
    slice_of_largest_mask,
)


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (np.abs(picture.astype(int) - colour).max(-1)) < 40


def test_the_outline_runs_along_the_object_in_the_colour_of_its_region():
    plane = np.full((1, 100, 120), 120, np.uint8)
    plane[0, 80:] = 0
    mask = np.ones((30, 20), np.bool_)
    drawn = np.asarray(draw_overlay(plane, [OutlinedObject(mask, (40, 50), "crack 0.91", 1)]))
    factor = drawn.shape[1] // 120
    rows, columns = np.nonzero(near(drawn, COLOURS[1]))
    # Below its first row only the outline has the colour: the text stands above.
    at = rows > 45 * factor
    assert abs(columns[at].min() - 50 * factor) <= 3
    assert abs(columns[at].max() - 70 * factor) <= 3
    assert abs(rows.max() - 70 * factor) <= 3
    assert rows.min() < 40 * factor - 4, "the name and score stand above"
    inside = drawn[46 * factor : 64 * factor, 55 * factor : 65 * factor]
    assert (inside == 120).all()


def test_a_small_picture_is_enlarged_by_a_whole_number_and_a_large_one_reduced():
    small = draw_overlay(np.zeros((3, 60, 90), np.uint8), [])
    assert small.size == (630, 420)
    assert max(small.size) >= SHORTEST
    assert max(draw_overlay(np.zeros((1, 20, 5000), np.uint8), []).size) == LONGEST


def test_pixels_that_are_not_square_give_the_drawing_its_shape():
    width, height = draw_overlay(np.zeros((1, 100, 100), np.uint8), [], pixel=(2.0, 0.5)).size
    assert height == 4 * width


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1)])
def test_pictures_of_any_shape_are_drawn(shape):
    outlined = [
        OutlinedObject(np.ones(shape, np.bool_), (0, 0), "a very long name 0.50", k) for k in (0, 9)
    ]
    assert draw_overlay(np.zeros((1, *shape), np.float32), outlined, title="slice 1 of 2").size


def test_the_slice_that_is_shown_has_the_largest_area():
    one, other = np.zeros((5, 4, 4), np.bool_), np.zeros((5, 4, 4), np.bool_)
    assert slice_of_largest_mask({"one": one}) == 2
    one[1, :2] = True
    other[3, :3] = True
    assert slice_of_largest_mask({"one": one, "other": other}) == 3
