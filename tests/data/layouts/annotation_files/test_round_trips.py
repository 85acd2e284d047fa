"""What is written in a layout of annotation files, read again, is the same pixel for pixel."""

import numpy as np
import pytest

from rareseg.data.case_files import read_case_mask
from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.data.layouts import layouts
from rareseg.errors import DataError

NEEDS_ANOTHER_FILE = {"label_studio_masks"}


def test_every_layout_of_annotation_files_is_written_here(tools):
    there = {one.name for one in layouts() if ".annotation_files." in one.read.__module__}
    assert there - NEEDS_ANOTHER_FILE == {one.layout for one in tools.written.values()}


def test_masks_come_back(written, scenes, tmp_path):
    written.writer(tmp_path, scenes)
    dataset = open_dataset(tmp_path)
    assert dataset.layout == written.layout
    assert dataset.layout_reason
    assert dataset.problems == ()
    cases = {case.id: case for case in dataset.cases}
    assert sorted(cases) == sorted(scene.name for scene in scenes)
    values = dict(zip(written.names, (1, 2), strict=True))
    if dataset.labels is not None:
        assert set(dataset.labels) == set(written.names)
        values = dataset.labels
    first, second = (values[name] for name in written.names)
    for scene in scenes:
        case = cases[scene.name]
        expected = np.where(scene.hole, second, scene.crack * first)
        mask = read_case_mask(case)
        drawn = np.zeros_like(expected) if mask is None else mask.array[0]
        np.testing.assert_array_equal(drawn, expected, err_msg=scene.name)
        role = "train" if scene.split == "train" else "validation"
        assert case.role == (role if written.splits else None)


def test_inspection_counts_what_was_drawn(written, scenes, tmp_path):
    written.writer(tmp_path, scenes)
    found = inspect_dataset(open_dataset(tmp_path), jobs=1)
    assert found.problems == ()
    assert found.classes.names == ("background", *written.names)
    counts = {case.id: case.voxels[1:] for case in found.cases}
    assert counts == {
        scene.name: (int((scene.crack & ~scene.hole).sum()), int(scene.hole.sum()))
        for scene in scenes
    }


def test_a_data_set_equals_itself_and_can_be_sent_to_processes(written, scenes, tmp_path):
    import pickle

    written.writer(tmp_path, scenes)
    dataset = open_dataset(tmp_path)
    assert open_dataset(tmp_path) == dataset
    assert pickle.loads(pickle.dumps(dataset)) == dataset
    texts = [str(case.mask) for case in dataset.cases if case.mask is not None]
    assert len(set(texts)) == len(texts), "a mask is called by its own name in sentences"


def test_masks_of_label_studio_need_its_json(scenes, tmp_path):
    for scene in scenes:
        scene.save(tmp_path / "images")
        scene.save(tmp_path / "masks")
    for k, path in enumerate(sorted((tmp_path / "masks").iterdir())):
        path.rename(path.with_name(f"task-{k}-annotation-{k}-by-1-tag-crack-0.png"))
    with pytest.raises(DataError, match=r"Label Studio .*task-0-annotation.*as JSON as well"):
        open_dataset(tmp_path)
