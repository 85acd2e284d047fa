"""Layouts: which one is taken, and that it is said."""

import numpy as np
import pytest
from PIL import Image as Picture

from rareseg.data.dataset import open_dataset
from rareseg.data.layouts import FileTree, layouts, recognise
from rareseg.data.masks.class_files import ClassFiles
from rareseg.data.records import Case
from rareseg.errors import DataError, ReadError, UsageError


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(np.asarray(array, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "images" / "a.png", np.zeros((4, 5)))
    save(tmp_path / "masks" / "a.png", np.eye(4, 5))
    return tmp_path


def test_the_first_layout_that_fits_is_taken_and_the_others_are_named(folder):
    (folder / "manifest.csv").write_text("id,image,mask\na,images/a.png,masks/a.png\n")
    dataset = open_dataset(folder)
    assert dataset.layout == "manifest"
    assert dataset.layout_reason == "it holds manifest.csv"
    assert "could also be read as folders; --layout" in dataset.notes[0]


def test_a_layout_can_be_asked_for(folder):
    (folder / "manifest.csv").write_text("id,image,mask\nb,images/a.png,masks/a.png\n")
    dataset = open_dataset(folder, layout="folders")
    assert [case.id for case in dataset.cases] == ["a"]
    assert dataset.notes == ()
    with pytest.raises(UsageError, match=r"'folder'; allowed are .*did you mean 'folders'"):
        open_dataset(folder, layout="folder")


def test_what_no_layout_fits_is_said_with_what_is_there(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match="holds pictures/; give a folder"):
        recognise(FileTree(tmp_path))


def test_names_are_one_each():
    names = [one.name for one in layouts()]
    assert len(set(names)) == len(names) >= 4


def test_a_tree_leaves_out_what_systems_leave_behind(folder):
    for name in (".DS_Store", "Thumbs.db", "._a.png"):
        (folder / "images" / name).write_bytes(b"x")
    (folder / "images" / "loop").symlink_to(folder, target_is_directory=True)
    tree = FileTree(folder)
    assert tree.files("images") == ["a.png"]
    assert tree.folders("images") == []
    assert [path.name for path in tree.images("images")] == ["a.png"]


class TestClassFiles:
    def test_files_of_classes_make_one_mask_and_overlaps_are_counted(self, folder):
        save(folder / "one.png", [[255, 255, 0], [0, 0, 0]])
        save(folder / "two.png", [[0, 255, 255], [0, 0, 0]])
        parts = ((1, folder / "one.png"), (1, folder / "one.png"), (2, folder / "two.png"))
        mask = ClassFiles(parts).read(None)
        assert mask.array[0].tolist() == [[1, 2, 2], [0, 0, 0]]
        assert mask.overlap == 1

    def test_files_of_other_sizes_are_refused(self, folder):
        save(folder / "one.png", np.zeros((2, 3)))
        parts = ((1, folder / "one.png"), (2, folder / "masks" / "a.png"))
        with pytest.raises(ReadError, match=r"a\.png has the shape"):
            ClassFiles(parts).read(None)

    def test_a_case_counts_as_other_where_its_source_differs(self, folder):
        from rareseg.data.identity import content_hash
        from rareseg.data.records import Dataset

        def hashed(value):
            mask = ClassFiles(((value, folder / "masks" / "a.png"),))
            case = Case("a", (folder / "images" / "a.png",), mask)
            return content_hash(Dataset(folder, "cases", (case,)))

        assert hashed(1) != hashed(2)
        assert hashed(1) == hashed(1)
