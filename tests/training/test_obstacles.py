"""What would stop a training, and what a planned grid would leave of small objects."""

import json
import os
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
import tifffile

from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.data.store.build import build_store
from rareseg.errors import DataError
from rareseg.report.wording.inspection import (
    blocks_training,
    inventory_lines,
    inventory_record,
)
from rareseg.training.plan import make_preprocessing, plan_recipe
from rareseg.training.plan.obstacles import find_obstacles
from rareseg.training.plan.plan_split import few_groups_sentence
from rareseg.training.plan.small_objects import small_objects_sentence

READY = "+ nothing stands in the way of training"


def photographs(folder, n, colour=()):
    rng = np.random.default_rng(1)
    for k in range(n):
        shape = (32, 32, 3) if k in colour else (32, 32)
        mask = np.zeros((32, 32), np.uint8)
        mask[4:8, 5:9] = k % 2
        for name, array in (("images", rng.integers(0, 255, shape, np.uint8)), ("masks", mask)):
            (folder / name).mkdir(exist_ok=True)
            PIL.Image.fromarray(array).save(folder / name / f"c{k}.png")
    return open_dataset(folder)


def volumes(folder, spacings, names=None):
    rng = np.random.default_rng(1)
    rows = ["id,image,mask"]
    for k, spacing in enumerate(spacings):
        image = rng.normal(size=(20, 20, 20)).astype(np.float32)
        mask = np.zeros(image.shape, np.uint8)
        mask[5, 5, 5] = 1
        for name, array in (("i", image), ("m", mask)):
            stored = sitk.GetImageFromArray(array)
            stored.SetSpacing(spacing)
            sitk.WriteImage(stored, str(folder / f"{name}{k}.nii.gz"))
        rows.append(f"c{k},i{k}.nii.gz,m{k}.nii.gz")
    (folder / "manifest.csv").write_text("\n".join(rows))
    if names:
        content = {"channel_names": dict(enumerate(names)), "labels": {"x": 1}}
        (folder / "dataset.json").write_text(json.dumps(content))
    return inspect_dataset(open_dataset(folder), jobs=1)


@pytest.mark.parametrize("colour", [(), (0, 1)])
def test_two_cases_are_learned_from_and_it_is_told_that_nothing_is_measured(tmp_path, colour):
    dataset = photographs(tmp_path, 2, colour)
    fingerprint = inspect_dataset(dataset, jobs=1)
    assert fingerprint.problems == ()
    assert find_obstacles(fingerprint) == ()
    assert not blocks_training(fingerprint)
    lines = inventory_lines(dataset, fingerprint)
    assert READY not in lines
    assert any("no number says how good the model is" in line for line in lines)
    warnings = inventory_record(dataset, fingerprint)["warnings"]
    assert any("There are 2 groups, where 3 are needed" in line for line in warnings)
    plan = plan_recipe(fingerprint)
    split = plan.recipe.split
    assert (split.train, split.validation, split.test) == (1.0, 0.0, 0.0)
    assert plan.recipe.training.validations == 1


def test_a_split_that_the_user_asks_for_stays(tmp_path):
    fingerprint = inspect_dataset(photographs(tmp_path, 2), jobs=1)
    asked = {"split": {"train": 0.5, "validation": 0.5, "test": 0.0}}
    assert plan_recipe(fingerprint, asked).recipe.split.validation == 0.5
    assert few_groups_sentence(fingerprint)


def test_three_groups_are_divided_as_ever(tmp_path):
    dataset = photographs(tmp_path, 6)
    cases = [replace(case, group=f"g{k % 3}") for k, case in enumerate(dataset.cases)]
    fingerprint = inspect_dataset(open_dataset(cases), jobs=1)
    assert few_groups_sentence(fingerprint) == ""
    assert plan_recipe(fingerprint).recipe.split.test > 0
    cases = [replace(case, group=f"g{k % 2}") for k, case in enumerate(dataset.cases)]
    fingerprint = inspect_dataset(open_dataset(cases), jobs=1)
    assert few_groups_sentence(fingerprint).startswith("There are 2 groups,")


def test_a_group_in_two_roles_is_told(tmp_path):
    dataset = photographs(tmp_path, 12)
    roles = {0: "train", 1: "test"}
    cases = [
        replace(case, group=f"g{max(k, 1)}", role=roles.get(k))
        for k, case in enumerate(dataset.cases)
    ]
    found = find_obstacles(inspect_dataset(open_dataset(cases), jobs=1))
    assert any("declared in test and train at once" in text for text in found)


def test_what_is_ready_says_so(tmp_path):
    dataset = photographs(tmp_path, 12)
    fingerprint = inspect_dataset(dataset, jobs=1)
    assert find_obstacles(fingerprint) == ()
    assert READY in inventory_lines(dataset, fingerprint)


def test_grey_among_colour_is_stored_as_colour(tmp_path):
    (tmp_path / "data").mkdir()
    dataset = photographs(tmp_path / "data", 6, colour=(1, 2))
    fingerprint = inspect_dataset(dataset, jobs=1)
    assert [case.channels for case in fingerprint.cases] == [3] * 6
    told = [str(warning) for warning in fingerprint.warnings if warning.kind == "grey and colour"]
    assert len(told) == 1
    assert told[0].startswith("4 of 6 photographs are grey")
    store = build_store(dataset, tmp_path / "store", fingerprint=fingerprint)
    red, green, blue = store.values(store.row("c0"))
    assert np.array_equal(red, green)
    assert np.array_equal(green, blue)


@pytest.mark.parametrize(
    ("spacing", "dimension", "words"),
    [((6, 0.6, 0.6), 3, "6 mm thick along x"), ((0.6, 0.6, 6), 2, "slices are 6 mm apart")],
)
def test_thick_slices_along_any_axis(tmp_path, spacing, dimension, words):
    plan = plan_recipe(volumes(tmp_path, [spacing] * 3))
    assert plan.recipe.data.dimension == dimension
    assert words in plan.reasons["data.dimension"]
    assert plan.recipe.augmentation.mirror == 0
    assert not plan.recipe.prediction.mirror


@pytest.mark.parametrize(("names", "method"), [(["CT"], "dataset"), (["MR"], "zscore")])
def test_ct_is_normalised_by_the_data_set(tmp_path, names, method):
    fingerprint = volumes(tmp_path, [(1, 1, 1)] * 3, names=names)
    assert fingerprint.channel_names == tuple(names)
    assert plan_recipe(fingerprint).recipe.data.normalisation == method


def test_objects_below_a_voxel_of_the_planned_grid_are_counted_and_kept(tmp_path):
    fingerprint = volumes(tmp_path, [(1, 1, 1)] * 3 + [(0.5, 0.5, 0.5)] * 2)
    plan = plan_recipe(fingerprint)
    told = small_objects_sentence(fingerprint)
    assert told is not None
    assert told.startswith("2 objects are smaller than a voxel")
    assert told in plan.reasons["data.target_spacing"]
    store = build_store(
        open_dataset(tmp_path),
        tmp_path / "store",
        preprocessing=make_preprocessing(plan.recipe, fingerprint),
        fingerprint=fingerprint,
    )
    assert all((store.label(row) == 1).any() for row in range(5))


@pytest.mark.parametrize(("classes", "stops"), [(254, False), (255, True), (300, True)])
def test_more_classes_than_indices_are_refused_and_not_ignored(tmp_path, classes, stops):
    """The 255th class would have the index that counts nowhere."""
    values = np.repeat(np.arange(1, classes + 1, dtype=np.uint16), 8)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for k in range(4):
        mask = np.zeros(64 * 64, np.uint16)
        mask[k : k + len(values)] = values
        tifffile.imwrite(tmp_path / "masks" / f"c{k}.tif", mask.reshape(64, 64))
        image = np.random.default_rng(k).integers(0, 255, (64, 64), np.uint8)
        PIL.Image.fromarray(image).save(tmp_path / "images" / f"c{k}.png")
    labels = {"background": 0, **{f"k{k}": k for k in range(1, classes + 1)}}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}), encoding="utf-8")
    fingerprint = inspect_dataset(open_dataset(tmp_path), jobs=1)
    assert blocks_training(fingerprint) == stops
    told = any("at most 254 are told apart" in str(one) for one in fingerprint.problems)
    assert told == stops


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes by name")
@pytest.mark.parametrize("name", ["dataset.json", "manifest.csv", "notes.json", "table.csv"])
def test_a_pipe_among_the_descriptions_is_not_waited_for(tmp_path, name):
    photographs(tmp_path, 6)
    os.mkfifo(tmp_path / name)
    if name in ("dataset.json", "manifest.csv"):
        with pytest.raises(DataError, match=rf"{name} .*a pipe or a device"):
            open_dataset(tmp_path)
    else:
        assert len(open_dataset(tmp_path).cases) == 6
