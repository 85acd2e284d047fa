"""References with and without their images."""

import json
from functools import partial

import numpy as np
import PIL.Image
import pytest

from rareseg.data.case_files import read_case_image, read_case_mask
from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.data.records import MaskRules
from rareseg.data.references import LABELS_ALONE, open_references
from rareseg.errors import DataError
from rareseg.run.setup.run_folder import DataOptions


def label(path, value=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros((6, 7), np.uint8)
    array[2:4, 2:4] = value
    PIL.Image.fromarray(array).save(path)


def declare(folder, labels):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))


@pytest.mark.parametrize("folder", ["labelsTr", "masks", "GT", "."])
def test_a_folder_of_label_maps_is_enough(tmp_path, folder):
    for name in ("a", "b"):
        label(tmp_path / folder / f"{name}.png")
    declare(tmp_path, {"background": 0, "crack": 1, "hole": 2})
    found = open_references(tmp_path)
    assert found.layout == LABELS_ALONE
    assert [(case.id, case.images) for case in found.cases] == [("a", ()), ("b", ())]
    assert found.labels == {"crack": 1, "hole": 2}
    facts = inspect_dataset(found)
    assert [case.voxels for case in facts.cases] == [(38, 4, 0), (38, 4, 0)]


def test_the_folder_of_labels_itself_is_explained_by_the_one_above(tmp_path):
    label(tmp_path / "labelsTr" / "a.png")
    declare(tmp_path, {"background": 0, "crack": 1})
    assert open_references(tmp_path / "labelsTr").labels == {"crack": 1}


def test_folders_below_stand_in_the_id(tmp_path):
    label(tmp_path / "masks" / "line_a" / "a.png")
    label(tmp_path / "masks" / "line_b" / "a.png")
    assert [case.id for case in open_references(tmp_path).cases] == ["line_a_a", "line_b_a"]


def test_a_data_set_stays_one(tmp_path):
    label(tmp_path / "images" / "a.png", 90)
    label(tmp_path / "masks" / "a.png")
    (case,) = open_references(tmp_path).cases
    assert case.images == (tmp_path / "images" / "a.png",)


def test_groups_are_read_from_the_names(tmp_path):
    label(tmp_path / "masks" / "p1_a.png")
    (case,) = open_references(tmp_path, partial(open_dataset, group_from=r"(p\d)")).cases
    assert case.group == "p1"


def test_what_is_said_of_masks_holds_for_label_maps_alone(tmp_path):
    label(tmp_path / "masks" / "a.png", 255)
    inverted = DataOptions(str(tmp_path), rules=MaskRules(invert=True)).open_references()
    assert inverted.layout == LABELS_ALONE
    (case,) = inverted.cases
    mask = read_case_mask(case, read_case_image(case))
    assert mask.array.sum() == 6 * 7 - 4


def test_a_layout_that_is_named_is_taken(tmp_path):
    label(tmp_path / "masks" / "a.png")
    with pytest.raises(DataError):
        DataOptions(str(tmp_path), layout="coco").open_references()


def test_jpeg_masks_alone_are_cut_as_beside_their_images(tmp_path):
    array = np.zeros((32, 32), np.uint8)
    array[8:16, 8:24] = 255
    (tmp_path / "masks").mkdir()
    PIL.Image.fromarray(array).save(tmp_path / "masks" / "a.jpg", quality=95)
    (case,) = open_references(tmp_path).cases
    mask = read_case_mask(case, read_case_image(case)).array[0]
    np.testing.assert_array_equal(mask, array)


def test_nothing_to_hold_against_is_refused(tmp_path):
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError):
        open_references(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        open_references(tmp_path / "absent")
