"""Planted faults: as many as asked for, where the list says, and nothing else changed."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from rareseg.data.builtin.label_faults import FaultSettings, load_faults, plant_faults
from rareseg.data.builtin.lumps import LumpsSettings, write_lumps
from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.data.dataset import open_dataset
from rareseg.errors import DataError, OutputError, UsageError
from rareseg_runner.formats import read_mask

RATES = FaultSettings(missed=0.15, spurious=0.2, shifted=0.1, seed=4)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    settings = SpecksSettings(images=16, size=128, foreground_share=0.02, seed=2)
    return write_specks(tmp_path_factory.mktemp("clean") / "data", settings)


@pytest.fixture(scope="module")
def spoiled(clean, tmp_path_factory):
    folder = tmp_path_factory.mktemp("spoiled") / "data"
    return folder, plant_faults(clean, folder, RATES)


def masks(folder):
    return {case.id: read_mask(case.mask).array for case in open_dataset(folder).cases}


def test_as_many_faults_of_each_kind_as_were_asked_for(clean, spoiled):
    objects = sum(ndimage.label(mask, np.ones((3, 3, 3)))[1] for mask in masks(clean).values())
    kinds = [fault.kind for fault in spoiled[1]]
    assert kinds.count("missed object") == round(0.15 * objects)
    assert kinds.count("spurious label") == round(0.2 * objects)
    # An object at the edge, or beside others, may have no room to move.
    assert 0.5 * 0.1 * objects <= kinds.count("wrong boundary") <= round(0.1 * objects)
    assert "wrong class" not in kinds


def test_masks_differ_within_the_listed_boxes_alone_and_by_the_listed_voxels(clean, spoiled):
    before, after = masks(clean), masks(spoiled[0])
    assert before.keys() == after.keys()
    explained = {name: np.zeros(mask.shape, bool) for name, mask in before.items()}
    for fault in spoiled[1]:
        box = tuple(slice(low, high) for low, high in fault.box)
        old, new = before[fault.case_id][box], after[fault.case_id][box]
        assert not explained[fault.case_id][box].all()
        explained[fault.case_id][box] = True
        if fault.kind == "missed object":
            assert (fault.true, fault.drawn) == (255, 0)
            assert (old[old != new] == 255).all()
        if fault.kind == "spurious label":
            assert (fault.true, fault.drawn) == (0, 255)
            assert (new[old != new] == 255).all()
    for name, mask in before.items():
        assert not (mask != after[name])[~explained[name]].any()
    wrong = sum(int((mask != after[name]).sum()) for name, mask in before.items())
    assert wrong == sum(fault.voxels for fault in spoiled[1])


def test_a_shifted_mask_keeps_its_shape_and_leaves_its_place(clean, spoiled):
    before, after = masks(clean), masks(spoiled[0])
    for fault in [f for f in spoiled[1] if f.kind == "wrong boundary"]:
        box = tuple(slice(low, high) for low, high in fault.box)
        here = [masks[fault.case_id][box] > 0 for masks in (before, after)]
        labels = [ndimage.label(mask, np.ones((3, 3, 3)))[0] for mask in here]
        sizes = [np.bincount(label.ravel())[1:].max() for label in labels]
        assert sizes[0] == sizes[1]
        centre = [
            ndimage.center_of_mass(label == 1 + np.argmax(np.bincount(label.ravel())[1:]))
            for label in labels
        ]
        moved = np.hypot(*(np.subtract(*centre)[1:]))
        diameter = 2 * np.sqrt(sizes[0] / np.pi)
        assert 0.3 * diameter < moved < 0.7 * diameter


def test_images_and_all_other_files_are_the_same(clean, spoiled):
    kept = [p.relative_to(clean) for p in clean.rglob("*") if p.is_file()]
    changed = [p for p in kept if (clean / p).read_bytes() != (spoiled[0] / p).read_bytes()]
    assert changed
    assert {path.parts[0] for path in changed} == {"masks"}


def test_the_same_settings_plant_the_same_faults(clean, spoiled, tmp_path):
    again = plant_faults(clean, tmp_path / "again", RATES)
    assert again == spoiled[1] == load_faults(spoiled[0] / "faults.json")
    assert plant_faults(clean, tmp_path / "other", replace(RATES, seed=5)) != again


def test_classes_are_swapped_for_others_in_whole_parts(tmp_path):
    data = write_lumps(tmp_path / "lumps", LumpsSettings(images=12, size=96, seed=1))
    settings = FaultSettings(missed=0, spurious=0, shifted=0, swapped=0.5)
    faults = plant_faults(data, tmp_path / "spoiled", settings)
    before, after = masks(data), masks(tmp_path / "spoiled")
    assert len(faults) >= 3
    for fault in faults:
        box = tuple(slice(low, high) for low, high in fault.box)
        changed = before[fault.case_id] != after[fault.case_id]
        assert changed.sum() == changed[box].sum() == fault.voxels
        assert set(before[fault.case_id][changed]) == {fault.true}
        assert set(after[fault.case_id][changed]) == {fault.drawn}
        assert fault.drawn in {1, 2, 3, 4} - {fault.true}


@pytest.mark.parametrize(
    "wrong",
    [{"missed": 1.2}, {"spurious": -0.1}, {"missed": 0.7, "shifted": 0.5}, {"shift": (0.0, 0.1)}],
)
def test_impossible_rates_are_refused(wrong):
    with pytest.raises(UsageError, match="faults: "):
        FaultSettings(**wrong)


def test_nothing_is_overwritten_and_empty_data_are_refused(clean, spoiled, tmp_path):
    with pytest.raises(OutputError, match="exists already"):
        plant_faults(clean, spoiled[0], RATES)
    empty = write_specks(tmp_path / "empty", SpecksSettings(images=2, size=64, empty_share=1.0))
    with pytest.raises(DataError, match="no object"):
        plant_faults(empty, tmp_path / "out", RATES)
    assert not (tmp_path / "out").exists()


def test_a_list_that_is_none_is_refused(tmp_path):
    (tmp_path / "faults.json").write_text(json.dumps({"faults": [{"box": [1]}]}), encoding="utf-8")
    with pytest.raises(DataError, match=r"faults\.json holds no list of faults"):
        load_faults(tmp_path / "faults.json")
