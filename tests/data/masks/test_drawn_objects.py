"""Objects become pixels: by hand on small images, and what does not fit is refused in words."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rareseg.data.masks.drawn_objects import DrawnObjects, draw
from rareseg.data.masks.drawn_shapes import (
    Bitmap,
    BoxRuns,
    BrushRuns,
    ColumnRuns,
    Ellipse,
    KagglePairs,
    outline,
    rectangle,
    whole_numbers,
)
from rareseg.errors import DataError, ReadError
from rareseg_runner.geometry import upright
from rareseg_runner.image_records import Geometry, Image


def shown(shape, size):
    return ["".join("#" if on else "." for on in row) for row in draw([(1, shape)], size)[0]]


def image(height, width, exif=1, slices=1):
    return Image(np.zeros((3, slices, height, width), np.uint8), Geometry(exif=exif))


def objects(*shapes, size=None, values=None):
    values = values or tuple(range(1, len(shapes) + 1))
    return DrawnObjects(Path("a.json"), "photo.png", size, values, shapes)


class TestShapes:
    def test_a_pixel_belongs_where_its_centre_lies_inside(self):
        assert shown(outline([[(1, 0), (3, 0), (3, 2), (1, 2)]]), (3, 4)) == [
            ".##.",
            ".##.",
            "....",
        ]
        assert shown(rectangle(0.6, 0, 2.6, 1), (1, 4)) == [".##."]

    def test_rings_are_united_and_each_is_even_odd(self):
        twice = outline([[(0, 0), (2, 0), (2, 1), (0, 1)], [(1, 0), (3, 0), (3, 1), (1, 1)]])
        assert shown(twice, (1, 4)) == ["###."]
        # A ring that goes to a hole and back.
        hole = [(0, 0), (3, 0), (3, 3), (0, 3), (0, 0), (1, 1), (1, 2), (2, 2), (2, 1), (1, 1)]
        assert shown(outline([hole]), (3, 3)) == ["###", "#.#", "###"]

    @pytest.mark.parametrize(
        "shape",
        [
            outline([[(1.1, 1.1), (1.3, 1.1), (1.3, 1.3)]]),
            outline([[(1.7, 1.2), (1.7, 1.2), (1.7, 1.2)]]),
            Ellipse(1.2, 1.8, 0.1, 0.1),
        ],
    )
    def test_an_object_between_the_centres_is_one_pixel(self, shape):
        assert shown(shape, (3, 3)) == ["...", ".#.", "..."]

    def test_what_leaves_the_image_is_cut_and_what_lies_beside_it_refused(self):
        assert shown(rectangle(-5, -5, 1, 1), (2, 2)) == ["#.", ".."]
        assert shown(Ellipse(0, 0, 1.6, 1.6), (2, 3)) == ["##.", "#.."]
        for shape in (rectangle(9, 0, 12, 2), rectangle(-9, 0, -3, 2), Ellipse(0, 30, 2, 2)):
            with pytest.raises(DataError, match="beside the image of 4 x 3"):
                draw([(1, shape)], (3, 4))

    def test_circles_and_turned_shapes(self):
        assert shown(Ellipse(2, 2, 1.6, 1.6), (4, 4)) == [".##.", "####", "####", ".##."]
        assert shown(Ellipse(2.5, 1, 2.5, 1, 90), (4, 5)) == shown(Ellipse(2.5, 1, 1, 2.5), (4, 5))
        assert shown(rectangle(0, 1, 4, 2, 90), (4, 4)) == [".#.."] * 3 + ["...."]

    @pytest.mark.parametrize("wrong", [[(0, 0), (1, np.nan), (1, 1)], ["a", "b"], [[1, 2, 3]] * 3])
    def test_corners_that_are_no_numbers_are_refused(self, wrong):
        with pytest.raises(DataError):
            outline([wrong])

    def test_fewer_than_three_corners_enclose_nothing(self):
        assert outline([[1, 2, 3, 4]]) is None
        assert outline([]) is None

    def test_huge_corners_are_refused(self):
        with pytest.raises(DataError, match=r"coordinate 1e\+300"):
            outline([[0, 0, 1e300, 0, 1, 1]])

    def test_run_lengths_go_down_the_columns(self):
        counts = whole_numbers([1, 3, 2], "run lengths")
        assert shown(ColumnRuns(counts, 2, 3), (2, 3)) == [".#.", "##."]
        assert shown(KagglePairs("2 3"), (2, 3)) == [".#.", "##."]
        assert shown(KagglePairs("-1"), (2, 3)) == ["...", "..."]

    def test_run_lengths_in_a_box_go_along_its_rows(self):
        counts = whole_numbers([1, 3, 2], "run lengths")
        assert shown(BoxRuns(counts, 1, 0, 3, 2), (2, 5)) == ["..##.", ".#..."]

    @pytest.mark.parametrize(
        ("shape", "said"),
        [
            (ColumnRuns(b"", 3, 3), "3 x 3 pixels on an image of 3 x 2"),
            (ColumnRuns(whole_numbers([4, 4], "runs"), 2, 3), "8 pixels"),
            (ColumnRuns("o" * 30, 2, 3), "a number that no image has"),
            (ColumnRuns("\x00", 2, 3), "no character"),
            (BoxRuns(whole_numbers([4], "runs"), 2, 1, 2, 2), "leaves the image"),
            (KagglePairs("1 2 2 2"), "not in ascending order"),
            (KagglePairs("5 9"), "leave the image"),
            (KagglePairs("1 2 3"), "pairs"),
            (Bitmap(b"no png", 0, 0), "no readable PNG"),
            (BrushRuns(b"\x00\x00\x00\x18\x3f", 2, 3), "middle of a run"),
            (BrushRuns(b"\xff\xff\xff\xff\x3f", 2, 3), "4294967295 numbers where"),
            (Ellipse(1, 1, -1, 2), "radii -1 and 2"),
        ],
    )
    def test_what_does_not_fit_is_refused_before_anything_is_drawn(self, shape, said):
        with pytest.raises(DataError, match=said):
            draw([(1, shape)], (2, 3))

    def test_a_picture_lies_at_its_corner(self, tmp_path):
        from PIL import Image as Picture

        Picture.fromarray(np.array([[True, False], [True, True]])).save(tmp_path / "m.png")
        made = Bitmap((tmp_path / "m.png").read_bytes(), 2, 1)
        assert shown(made, (3, 4)) == ["....", "..#.", "..##"]
        cut = Bitmap((tmp_path / "m.png").read_bytes(), -1, 2)
        assert shown(cut, (3, 4)) == ["....", "....", "...."]
        assert shown(Bitmap((tmp_path / "m.png").read_bytes(), 3, 2), (3, 4))[2] == "...#"
        Picture.new("L", (3000, 3000)).save(tmp_path / "large.png")
        with pytest.raises(DataError, match="larger than the image"):
            Bitmap((tmp_path / "large.png").read_bytes(), 0, 0).draw((3, 4))

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(st.tuples(st.floats(-3, 12), st.floats(-3, 12)), min_size=3, max_size=8),
    )
    def test_an_outline_in_its_window_is_the_outline_on_the_image(self, corners):
        from rareseg.data.masks.polygons import rasterise

        on = rasterise([corners], (9, 9))
        try:
            drawn = draw([(1, outline([corners]))], (9, 9))[0]
        except DataError:
            assert not on.any()
            return
        if on.any():
            np.testing.assert_array_equal(drawn != 0, on)
        else:
            assert (drawn != 0).sum() <= 1


class TestDrawing:
    def test_later_objects_lie_on_top_and_overlaps_of_classes_are_counted(self):
        first, second = rectangle(0, 0, 3, 1), rectangle(1, 0, 4, 1)
        values, overlap = draw([(1, first), (1, second), (2, second)], (1, 5))
        assert values.tolist() == [[1, 2, 2, 2, 0]]
        assert overlap == 3
        assert draw([(1, first), (1, second)], (1, 5))[1] == 0
        assert draw([], (2, 2))[0].tolist() == [[0, 0], [0, 0]]

    def test_the_earlier_may_lie_on_top(self):
        drawn = objects(rectangle(0, 0, 3, 1), rectangle(1, 0, 4, 1), values=(1, 2))
        assert drawn.read(image(1, 5)).array.tolist() == [[[1, 2, 2, 2, 0]]]
        first = drawn.earlier_on_top()
        assert first.read(image(1, 5)).array.tolist() == [[[1, 1, 1, 2, 0]]]
        assert first.earlier_on_top() == drawn

    def test_values_beyond_a_byte_are_kept(self):
        values, _ = draw([(300, rectangle(0, 0, 1, 1))], (1, 2))
        assert values.tolist() == [[300, 0]]


class TestRead:
    def test_a_mask_lies_on_its_image(self):
        mask = objects(rectangle(0, 0, 2, 1), size=(3, 2)).read(image(2, 3))
        assert mask.array.tolist() == [[[1, 1, 0], [0, 0, 0]]]

    def test_another_size_is_refused_with_both(self):
        with pytest.raises(
            ReadError, match=r"a\.json \(photo\.png\): the image has 3 x 2 pixels.*for 6 x 4"
        ):
            objects(rectangle(0, 0, 2, 1), size=(6, 4)).read(image(2, 3))

    @pytest.mark.parametrize("exif", [5, 6, 7, 8])
    def test_annotations_of_a_photograph_as_it_is_stored_are_turned_along(self, exif):
        mask = objects(rectangle(0, 0, 2, 1), size=(3, 2)).read(image(3, 2, exif=exif))
        stored = np.array([[1, 1, 0], [0, 0, 0]])
        np.testing.assert_array_equal(mask.array[0], upright(stored, exif))
        assert mask.geometry.exif == exif

    def test_where_the_size_cannot_tell_the_mask_says_that_it_has_no_note(self):
        mask = objects(rectangle(0, 0, 2, 1), size=(3, 3)).read(image(3, 3, exif=6))
        assert mask.array[0, 0].tolist() == [1, 1, 0]
        assert mask.geometry.exif == 1  # inspection asks about it

    def test_a_turned_size_without_a_note_is_refused(self):
        with pytest.raises(ReadError, match="the image has 2 x 3"):
            objects(rectangle(0, 0, 2, 1), size=(3, 2)).read(image(3, 2))

    def test_volumes_are_refused(self):
        with pytest.raises(ReadError, match="has 5 slices"):
            objects(rectangle(0, 0, 2, 1)).read(image(3, 2, slices=5))

    def test_an_object_that_cannot_be_drawn_names_file_and_image(self):
        with pytest.raises(ReadError, match=r"a\.json \(photo\.png\): an object lies at \(50, 0\)"):
            objects(rectangle(50, 0, 52, 1)).read(image(3, 2))
