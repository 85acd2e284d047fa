"""Which mask file belongs to which case, and what a folder's files are taken for."""

from __future__ import annotations

import nibabel
import numpy as np
import PIL.Image
import pytest

from rareseg.data.score_files.mask_files import (
    hold_label_values,
    list_masks,
    what_files_hold,
)
from rareseg.errors import DataError
from rareseg_runner.image_records import Classes

CLASSES = Classes(("background", "crack", "hole"), (0, 1, 3), {"crack": (1,), "hole": (2,)})
REGIONS = tuple(CLASSES.regions)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def png(path, *values):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.array([[0, *values]], np.uint8)).save(path)


class TestListing:
    def test_names_are_ids_also_in_folders_below(self, tmp_path):
        touch(tmp_path, "a.png", "line_a/b.png", "line_b/c.png", "deep/down/d.png")
        known = ["a", "line_a/b", "line_b_c", "d"]
        found = list_masks(tmp_path, known, known, REGIONS)
        assert {case: own[""].name for case, own in found.files.items()} == {
            "a": "a.png",
            "line_a/b": "b.png",
            "line_b_c": "c.png",
            "d": "d.png",
        }
        assert found.others == ()

    def test_what_predict_writes_besides_is_no_mask(self, tmp_path):
        touch(tmp_path, "a.png", "overlays/a.png", "probabilities/crack/a.png", "crack/a.png")
        found = list_masks(tmp_path, ["a"], ["a"], REGIONS)
        assert found.files == {"a": {"": tmp_path / "a.png"}}
        touch(tmp_path, "hole/a.png")
        found = list_masks(tmp_path, ["a"], ["a"], REGIONS)
        assert set(found.files["a"]) == set(REGIONS)

    def test_masks_of_no_case_are_named_and_left_out(self, tmp_path):
        touch(tmp_path, "a.png", "x.png", "y.png")
        found = list_masks(tmp_path, ["a"], ["a"], REGIONS)
        assert [path.name for path in found.others] == ["x.png", "y.png"]
        assert set(found.files) == {"a"}

    def test_missing_masks_are_counted_with_examples_and_what_there_is_instead(self, tmp_path):
        touch(tmp_path, "a.png", "x.png")
        with pytest.raises(
            DataError, match=r"no file for 3 of 4 cases \(b, c, …\).*1 files? of no"
        ):
            list_masks(tmp_path, "abcd", "abcd", REGIONS)

    def test_two_files_of_one_case_are_refused(self, tmp_path):
        touch(tmp_path, "a.png", "a.tif")
        with pytest.raises(DataError, match=r"a\.png and a\.tif of one case"):
            list_masks(tmp_path, ["a"], ["a"], REGIONS)

    def test_a_folder_without_masks(self, tmp_path):
        touch(tmp_path, "notes.txt")
        with pytest.raises(DataError, match="holds no mask"):
            list_masks(tmp_path, ["a"], ["a"], REGIONS)


class TestWhatFilesHold:
    @pytest.mark.parametrize(
        ("kind", "holds"), [("uint8", "masks"), ("int16", "masks"), ("float32", "scores")]
    )
    def test_volumes_tell_by_their_numbers(self, tmp_path, kind, holds):
        image = nibabel.Nifti1Image(np.zeros((3, 3, 3), kind), np.eye(4))
        nibabel.save(image, tmp_path / "a.nii.gz")
        assert what_files_hold(tmp_path) == holds

    def test_a_png_may_be_either_and_its_values_tell(self, tmp_path):
        png(tmp_path / "a.png", 1, 3)
        assert what_files_hold(tmp_path) == "either"
        assert hold_label_values(tmp_path, CLASSES)
        png(tmp_path / "b.png", 2)
        assert not hold_label_values(tmp_path, CLASSES)

    def test_of_one_class_any_one_value_is_a_mask(self, tmp_path):
        one = Classes(("background", "crack"), (0, 255), {"crack": (1,)})
        for k in range(12):
            png(tmp_path / f"a{k:02}.png", 0)
        png(tmp_path / "b.png", 1)
        assert hold_label_values(tmp_path, one)
        png(tmp_path / "c.png", 17)
        assert not hold_label_values(tmp_path, one)

    def test_nothing_but_zeros_tells_nothing(self, tmp_path):
        png(tmp_path / "a.png", 0)
        assert not hold_label_values(tmp_path, CLASSES)

    def test_what_nnunet_writes_beside_npz_are_scores(self, tmp_path):
        touch(tmp_path, "a.npz", "a.nii.gz")
        assert what_files_hold(tmp_path) == "scores"

    def test_a_format_that_holds_no_scores_holds_masks(self, tmp_path):
        PIL.Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "a.bmp")
        assert what_files_hold(tmp_path) == "masks"

    @pytest.mark.parametrize("folder", ["absent", "."])
    def test_no_files_are_left_to_whoever_reads_scores(self, tmp_path, folder):
        assert what_files_hold(tmp_path / folder) == "scores"
