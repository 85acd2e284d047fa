"""What every layout keeps: the masks that are written in it, read again, are the same.

It runs over the registry: a layout without a maker fails.
"""

import runpy
from pathlib import Path

import numpy as np
import pytest

from rareseg.data.case_files import read_case_mask
from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.data.layouts import layouts
from rareseg_runner.formats import read_image

MAKERS = {}
for file in sorted(Path(__file__).parent.rglob("layout_makers.py")):
    MAKERS |= runpy.run_path(str(file))["MAKERS"]
NAMES = [
    layout.name
    for layout in layouts()
    # Annotation files have a suite of their own, which writes each in every way it knows.
    if "annotation_files" not in layout.read.__module__
]


def scenes(dimension, apart):
    """Six images that differ in their first value, and their masks of the classes 1 and 2."""
    rng = np.random.default_rng(5)
    shape = (6, 12, 14) if dimension == 3 else (12, 14)
    found = []
    for k in range(6):
        image = rng.integers(60, 200, shape).astype(np.uint8)
        image.flat[0] = k
        mask = np.zeros(shape, np.uint8)
        if k in (0, 3, 4):
            mask[..., 2:5, 3 + k % 3 : 7] = 1
        if k == 1 or (k == 4 and not apart):
            mask[..., 7:9, 8:12] = 2
        found.append((image, mask))
    return found


@pytest.fixture(params=NAMES)
def written(request, tmp_path):
    """The name of a layout, scenes, the folder that they are written in, and the classes' names."""
    assert request.param in MAKERS, f"{request.param} has no maker in a layout_makers.py"
    maker = MAKERS[request.param]
    made = scenes(maker.dimension, maker.apart)
    return request.param, made, tmp_path, maker.write(tmp_path, made)


def test_masks_written_in_a_layout_are_read_the_same(written):
    name, made, root, classes = written
    dataset = open_dataset(root)
    assert (dataset.layout, dataset.problems) == (name, ())
    assert dataset.layout_reason
    assert len(dataset.cases) == len({case.id for case in dataset.cases}) == len(made)
    for case in dataset.cases:
        image = read_image(case.images)
        channels = [channel for channel in image.array if channel.flat[0] < len(made)]
        scene, truth = made[int(channels[0].flat[0])]
        assert np.array_equal(channels[0].reshape(scene.shape), scene)
        mask = read_case_mask(case, image)
        values = np.zeros_like(truth) if mask is None else mask.array.reshape(truth.shape)
        if classes is None:
            assert np.array_equal(values, truth)
            continue
        for label, value in classes.items():
            assert np.array_equal(values == dataset.labels[label], truth == value), (case.id, label)


def test_inspection_finds_nothing_wrong(written):
    _, made, root, classes = written
    fingerprint = inspect_dataset(open_dataset(root), jobs=1)
    assert [str(problem) for problem in fingerprint.problems] == []
    assert len(fingerprint.cases) == len(made)
    if classes is not None:
        assert set(fingerprint.classes.names[1:]) == set(classes)


def test_a_layout_can_be_asked_for_by_its_name(written):
    name, _, root, _ = written
    asked, found = open_dataset(root, layout=name), open_dataset(root)
    assert asked.cases == found.cases
    assert asked.layout_reason == "it was asked for"


def test_the_split_of_folders_can_be_declined(written):
    _, _, root, _ = written
    roles = {case.role for case in open_dataset(root, folder_split=False).cases}
    told = open_dataset(root)
    if any("split is taken over" in note for note in told.notes):
        assert {case.role for case in told.cases} > {"train"}
        assert roles == {None}
    else:
        assert roles == {case.role for case in told.cases}
