"""Values of classes are exchanged by their names."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from rareseg.data.case_files import read_case_mask
from rareseg.data.dataset import open_dataset
from rareseg.data.masks.renumbered import by_names_of
from rareseg.errors import DataError
from rareseg_runner.image_records import Classes

KNOWN = Classes(("background", "crack", "hole"), (0, 1, 2), {"crack": (1,), "hole": (2,)})


@pytest.fixture
def folder(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        Picture.fromarray(np.array([[0, 1], [2, 1]], np.uint8)).save(tmp_path / name / "a.png")

    def declare(labels):
        (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
        return open_dataset(tmp_path)

    return declare


def read(dataset):
    return read_case_mask(dataset.cases[0]).array[0].tolist()


def test_values_follow_the_names(folder):
    dataset = by_names_of(folder({"hole": 1, "crack": 2}), KNOWN)
    assert read(dataset) == [[0, 2], [1, 2]]
    assert dict(dataset.labels) == {"hole": 2, "crack": 1}
    assert dataset.cases[0].mask_files == (dataset.root / "masks" / "a.png",)


def test_equal_values_are_left_alone(folder):
    dataset = folder({"crack": 1, "hole": 2})
    assert by_names_of(dataset, KNOWN) is dataset
    undeclared = replace(dataset, labels=None)
    assert by_names_of(undeclared, KNOWN) is undeclared


def test_one_class_is_the_one_class(folder):
    one = Classes(("background", "foreground"), (0, 255), {"foreground": (1,)})
    dataset = by_names_of(replace(folder({"crack": 1}), labels={"crack": 1}), one)
    assert read(dataset) == [[0, 255], [2, 255]]


def test_an_unknown_name_with_a_known_value_is_refused(folder):
    with pytest.raises(DataError, match=r"calls the value 2 'scratch'.*knows as 'hole'"):
        by_names_of(folder({"crack": 1, "scratch": 2}), KNOWN)


def test_files_that_are_missing_are_named_as_before(folder):
    dataset = by_names_of(folder({"hole": 1, "crack": 2}), KNOWN)
    assert str(dataset.cases[0].mask) == str(Path(dataset.root) / "masks" / "a.png")
