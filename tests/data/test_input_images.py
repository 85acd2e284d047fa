"""Which images a folder gives to predict, and what is said of the rest."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import PIL.Image
import pytest

from rareseg.data.input_images import open_inputs
from rareseg.errors import DataError
from rareseg_runner.formats import read_image


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.zeros((4, 5), np.uint8)).save(path)


def ids(path, **more):
    return [case.id for case in open_inputs(path, **more).cases]


def test_folders_below_are_walked_and_stay_in_the_ids(tmp_path):
    for name in ("b.png", "line_a/a.png", "line_b/a.png", "line_b/deep/c.png"):
        picture(tmp_path / name)
    assert ids(tmp_path) == ["b", "line_a/a", "line_b/a", "line_b/deep/c"]


def test_one_file_is_one_image(tmp_path):
    picture(tmp_path / "a.png")
    assert ids(tmp_path / "a.png") == ["a"]


def test_a_data_set_is_read_as_such(tmp_path):
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "masks" / "a.png")
    assert ids(tmp_path) == ["a"]


def test_masks_among_other_folders_are_no_images(tmp_path):
    picture(tmp_path / "photos" / "a.png")
    picture(tmp_path / "Masks" / "a.png")
    found = open_inputs(tmp_path)
    assert [case.id for case in found.cases] == ["a"]


def test_what_is_no_image_is_counted_by_kind(tmp_path):
    picture(tmp_path / "a.png")
    for name in ("x.txt", "y.txt", "z.xyz", ".hidden", "Thumbs.db", "README"):
        (tmp_path / name).write_text("no")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (said,) = open_inputs(tmp_path).remarks
    for part in ("2 .txt (x.txt)", "1 .xyz", "1 without a suffix (README)", "1 links to nowhere"):
        assert part in said
    assert "hidden" not in said
    assert "Thumbs" not in said


def test_the_place_of_results_is_no_place_of_images(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "out" / "a.png")
    picture(tmp_path / "earlier" / "a.png")
    (tmp_path / "earlier" / "predictions.json").write_text("{}")
    found = open_inputs(tmp_path, out=tmp_path / "out")
    assert [case.id for case in found.cases] == ["a"]
    assert "earlier predictions: earlier" in " ".join(found.remarks)


def test_links_to_folders_are_not_followed(tmp_path):
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    assert ids(tmp_path / "in") == ["a"]


def test_a_folder_named_as_results_are_gets_another_name(tmp_path):
    for name in ("a.png", "Core/a.png", "core_/a.png", "deep/core/a.png"):
        picture(tmp_path / name)
    assert ids(tmp_path, reserved=["core"]) == ["a", "Core__/a", "core_/a", "deep/core/a"]


@pytest.mark.parametrize("names", [("a.png", "a.bmp"), ("images/a.png", "negatives/a.png")])
def test_two_results_under_one_name_are_refused(tmp_path, names):
    for name in names:
        picture(tmp_path / name)
    with pytest.raises(DataError, match=r"overwrite each ?other"):
        open_inputs(tmp_path)


def test_a_folder_without_images_says_what_it_holds(tmp_path):
    (tmp_path / "a.txt").write_text("no")
    with pytest.raises(DataError, match=r"holds no image.*1 \.txt \(a\.txt\)"):
        open_inputs(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        open_inputs(tmp_path / "absent")


def test_pictures_in_annotation_files_are_images(tmp_path):
    picture = io.BytesIO()
    PIL.Image.new("L", (9, 6), 77).save(picture, "PNG")
    content = {"shapes": [], "imageData": base64.b64encode(picture.getvalue()).decode()}
    (tmp_path / "a.json").write_text(json.dumps(content))
    (case,) = open_inputs(tmp_path).cases
    assert (case.id, case.mask) == ("a", None)
    assert read_image(case.images).array.tolist() == [[[[77] * 9] * 6]]
