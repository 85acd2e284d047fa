"""A written manifest opens as the same data set under other groups."""

import json
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.data.dataset import open_dataset
from rareseg.data.layouts.manifests.manifest_writing import write_manifest
from rareseg.errors import OutputError


@pytest.fixture
def plates(tmp_path):
    return open_dataset(write_specks(tmp_path / "data", SpecksSettings(images=3, size=64)))


def resolved(dataset):
    return [
        (c.id, [p.resolve() for p in c.images], c.mask and c.mask.resolve(), c.role, c.annotations)
        for c in dataset.cases
    ]


def test_it_opens_as_the_same_cases_from_another_folder(plates, tmp_path):
    cases = (replace(plates.cases[0], role="test"), replace(plates.cases[1], mask=None))
    changed = replace(plates, cases=(*cases, plates.cases[2]))
    groups = {case.id: f"g{k // 2}" for k, case in enumerate(changed.cases)}
    path = write_manifest(tmp_path / "elsewhere" / "deep" / "m.csv", changed, groups)
    again = open_dataset(path)
    assert again.problems == ()
    assert resolved(again) == resolved(changed)
    assert {case.id: case.group for case in again.cases} == groups
    assert not (path.parent / "dataset.json").exists()


def test_channels_annotators_and_declarations_come_along(plates, tmp_path):
    mask = plates.cases[0].mask
    case = replace(
        plates.cases[0],
        images=plates.cases[0].images * 2,
        annotations=(("ann", mask), ("bob", None)),
    )
    declared = {"dead": 1, "live": 255}
    dataset = replace(
        plates,
        cases=(case, plates.cases[1]),
        labels=declared,
        regions={"whole": (1, 255), "core": (1,)},
        ignore_value=7,
        channel_names=("grey", "again"),
    )
    path = write_manifest(tmp_path / "m" / "m.csv", dataset, {})
    again = open_dataset(path)
    assert [len(case.images) for case in again.cases] == [2, 1]
    assert dict(again.cases[0].annotations)["ann"].resolve() == mask.resolve()
    assert dict(again.cases[0].annotations)["bob"] is None
    assert again.cases[1].annotations == ()
    assert (again.labels, again.regions, again.ignore_value) == (
        declared,
        {"whole": (1, 255), "core": (1,)},
        7,
    )
    assert again.channel_names == ("grey", "again")


def test_nothing_is_overwritten_and_no_declaration_is_contradicted(plates, tmp_path):
    with pytest.raises(OutputError, match="exists already"):
        write_manifest(plates.root / "manifest.csv", plates, {})
    with pytest.raises(OutputError, match=r"\.csv"):
        write_manifest(tmp_path / "m.txt", plates, {})
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "x": 3}}))
    with pytest.raises(OutputError, match="other classes"):
        write_manifest(tmp_path / "m.csv", plates, {})
    assert not (tmp_path / "m.csv").exists()


def test_names_with_commas_and_quotes_survive(plates, tmp_path):
    image = tmp_path / 'a, "b".png'
    PIL.Image.fromarray(np.zeros((8, 8), np.uint8)).save(image)
    case = replace(plates.cases[0], id="odd, name", images=(image,), mask=None)
    path = write_manifest(tmp_path / "m.csv", replace(plates, cases=(case,)), {case.id: "g,1"})
    (again,) = open_dataset(path).cases
    assert (again.id, again.group, again.images[0].resolve()) == ("odd, name", "g,1", image)
