"""Files that no case is read from: which are faults, warnings or nothing."""

import os
import unicodedata

import numpy as np
import PIL.Image
import pytest

from rareseg.data.dataset import open_dataset
from rareseg.data.layouts.names import pair_names
from rareseg.data.records import MaskRules


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)


def text(path, content="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b", "c"):
        picture(tmp_path / "images" / f"{name}.png")
    picture(tmp_path / "masks" / "a.png")
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "masks/b.svg",
        "images/b.json",
        "labels/train/b.txt",
        "Annotations/b.xml",
        "masks/b_mask.psd",
    ],
)
def test_what_may_be_a_mask_is_a_fault_though_images_without_masks_are_negatives(folder, name):
    text(folder / name)
    dataset = open_dataset(folder, missing_mask="negative")
    assert len(dataset.problems) == 1, dataset.problems
    assert "not read" in dataset.problems[0]
    assert name.rpartition("/")[2] in dataset.problems[0]
    told = open_dataset(folder, missing_mask="negative", rules=MaskRules(ignore_unread=True))
    assert told.problems == ()
    assert len(told.warnings) == 1


def test_images_that_are_not_read_are_a_warning(folder):
    for name in ("x.raf.cr2", "y.cr2"):
        text(folder / "images" / name)
    dataset = open_dataset(folder, missing_mask="negative")
    assert dataset.problems == ()
    assert len(dataset.warnings) == 1
    assert dataset.warnings[0].startswith("2 .cr2 files in")


def test_what_stands_beside_a_mask_or_describes_the_data_is_no_fault(folder):
    for name in ("masks/a.json", "masks/readme.txt", "README.md", "data.yaml", "images/Thumbs.db"):
        text(folder / name, "{}")
    dataset = open_dataset(folder, missing_mask="negative")
    assert dataset.problems == ()
    assert dataset.warnings == ()
    assert len(dataset.notes) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_links_to_nowhere_and_pipes_are_faults(folder):
    (folder / "masks" / "b.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "images" / "d.png")
    problems = " ".join(open_dataset(folder, missing_mask="negative").problems)
    assert "1 link to nowhere in" in problems
    assert "1 pipe in" in problems


def test_a_table_that_names_its_files_leaves_others_alone(folder):
    (folder / "manifest.csv").write_text("id,image,mask\nb,images/b.png,empty\n")
    dataset = open_dataset(folder)
    assert dataset.problems == ()
    assert dataset.warnings == ()


def test_names_are_paired_however_accents_and_capitals_are_written():
    composed = unicodedata.normalize("NFC", "é1")
    apart = unicodedata.normalize("NFD", "é1")
    assert pair_names([apart, "B", "x"], [composed, "b", "y"]) == {apart: composed, "B": "b"}
    assert pair_names(["a", "A"], ["a", "A"]) == {"a": "a", "A": "A"}
    assert pair_names(["a", "A"], ["ä", "Á"]) == {}


def test_channels_that_shift_between_cases(tmp_path):
    for case in ("a", "b", "c"):
        for channel in (1, 2) if case == "b" else (0, 1):
            picture(tmp_path / "imagesTr" / f"{case}_{channel:04d}.png")
        picture(tmp_path / "labelsTr" / f"{case}.png")
    text(tmp_path / "dataset.json", '{"channel_names": {"0": "x", "1": "y"}, "labels": {"m": 1}}')
    problems = open_dataset(tmp_path).problems
    assert len(problems) == 1
    assert (
        "case 'b' are the channels _0001, _0002 where most cases have _0000, _0001" in problems[0]
    )


def test_names_that_differ_in_capitals_alone_are_told(tmp_path):
    for folder in ("images", "masks"):
        for name in ("Part1.png", "part1.png", "part2.png"):
            picture(tmp_path / folder / name)
    (text,) = open_dataset(tmp_path).problems
    assert "whose names differ only in capitals" in text
    assert "Part1.png" in text
    assert len(open_dataset(tmp_path).cases) == 3
