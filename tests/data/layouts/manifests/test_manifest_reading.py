"""Manifests as people write them."""

import numpy as np
import PIL.Image
import pytest

from rareseg.data.case_files import read_case_mask
from rareseg.data.dataset import open_dataset
from rareseg.errors import DataError
from rareseg_runner.formats import read_image


def picture(path, array=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.zeros((4, 5), np.uint8) if array is None else array).save(path)


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / "images" / f"{name}.png")
        picture(tmp_path / "masks" / f"{name}.png")
    return tmp_path


def opened(folder, text, encoding="utf-8"):
    (folder / "manifest.csv").write_bytes(text.encode(encoding))
    return open_dataset(folder / "manifest.csv")


@pytest.mark.parametrize(
    "head",
    [
        "ID,Image,Mask,Group,Split",
        "case_id,image_path,mask_path,patient,set",
        "name,filename,label,Patient ID,subset",
        "uid,img,Ground Truth,subject,SPLIT",
    ],
)
def test_columns_go_by_the_usual_words(folder, head):
    dataset = opened(folder, f"{head}\nx,images/a.png,masks/a.png,p1,Train\n")
    (case,) = dataset.cases
    assert dataset.problems == ()
    assert (case.id, case.group, case.role) == ("x", "p1", "train")
    assert case.mask == folder / "masks/a.png"


def test_a_column_of_another_meaning_is_no_split(folder):
    dataset = opened(folder, "image,mask,phase\nimages/a.png,masks/a.png,arterial\n")
    assert dataset.problems == ()
    assert dataset.cases[0].role is None


def test_without_ids_images_name_the_cases(folder):
    dataset = opened(folder, "image,mask\nimages/a.png,masks/a.png\nimages/b.png,empty\n")
    assert [case.id for case in dataset.cases] == ["a", "b"]
    for case in ("p1", "p2"):
        picture(folder / case / "image.png")
    dataset = opened(folder, "image,mask\np1/image.png,empty\np2/image.png,empty\n")
    assert [case.id for case in dataset.cases] == ["p1", "p2"]


@pytest.mark.parametrize(
    "cells",
    [
        "images\\a.png,masks\\a.png",
        "./images/a.png,.\\masks\\a.png",
        "C:\\data\\set\\images\\a.png,C:\\data\\set\\masks\\a.png",
        "/home/someone/set/images/a.png,/home/someone/set/masks/a.png",
        "a.png,a.png",
        "a,a",
    ],
)
def test_paths_are_found_however_they_are_written(folder, cells):
    dataset = opened(folder, f"image,mask\n{cells}\n")
    (case,) = dataset.cases
    assert (case.images, case.mask) == ((folder / "images/a.png",), folder / "masks/a.png")
    assert dataset.problems == ()


def test_absolute_paths_that_are_there_are_taken(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "z.png"
    picture(elsewhere)
    (case,) = opened(folder, f"image,mask\n{elsewhere},empty\n").cases
    assert case.images == (elsewhere,)


@pytest.mark.parametrize("blank", ["", "nan", "NaN", "None", "null", "N/A"])
def test_blank_cells_are_blank(folder, blank):
    dataset = opened(folder, f"image,mask,group\nimages/a.png,{blank},{blank}\n")
    assert dataset.cases[0].group is None
    assert "has no mask" in dataset.problems[0]


def test_windows_encoding_is_read_where_the_files_are_there(folder):
    picture(folder / "images" / "ä.png")
    text = "image;mask;group\nimages/ä.png;empty;Prüfling\n"
    dataset = opened(folder, text, "cp1252")
    assert dataset.cases[0].group == "Prüfling"
    assert any("cp1252" in note for note in dataset.notes)
    with pytest.raises(DataError, match="save it as UTF-8"):
        opened(folder, text.replace("ä.png", "ö.png"), "cp1252")


def test_a_mask_for_each_class(folder):
    first, second = np.eye(4, 5).astype(np.uint8), np.eye(4, 5)[::-1].astype(np.uint8) * 255
    picture(folder / "one.png", first)
    picture(folder / "two.png", second)
    dataset = opened(
        folder,
        "image,mask_class_liver,mask_class_spleen\n"
        "images/a.png,one.png,two.png\nimages/b.png,empty,empty\n",
    )
    assert dict(dataset.labels) == {"liver": 1, "spleen": 2}
    a, b = dataset.cases
    mask = read_case_mask(a, read_image(a.images))
    assert np.array_equal(mask.array[0] == 2, second != 0)
    assert (b.mask, dataset.problems) == (None, ())


def test_annotators_are_told_from_classes(folder):
    (problem,) = opened(folder, "image,mask_liver\nimages/a.png,masks/a.png\n").problems
    assert "annotators alone" in problem
    assert "mask_class_NAME" in problem


def test_an_image_and_its_mask_are_not_one_file(folder):
    """The end of a path is taken where two names of it are there, never a bare file's name."""
    dataset = opened(folder, "image,mask\n/x/images/a.png,/y/elsewhere/a.png\n")
    assert dataset.cases[0].mask == dataset.root / "/y/elsewhere/a.png"
