"""The whole path on real data: photographs, volumes in 3D, and slices of volumes with regions.

RARESEG_DATA names a folder with magnetic-tile, crackforest, hippocampus and brats2013. Training is
short: what is asserted is that every command works and that its numbers are right, not high.
"""

import csv
import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from rareseg.data.dataset import open_dataset
from rareseg.decision.operating_point import Frontier, OperatingPoint, PointChoice
from rareseg.evaluation.tables.score_table_io import load_table
from rareseg.evaluation.tables.threshold_bins import bin_edges, bin_of
from rareseg.prediction.bundle import load_decisions

DATA = os.environ.get("RARESEG_DATA")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA, reason="RARESEG_DATA does not name the real data"),
]

COMPARED = 4
"""How many test cases are predicted and compared with cases.csv."""


@dataclass(frozen=True)
class Kind:
    """One data set, how it is trained, and what its regions are (mask values)."""

    name: str
    regions: dict[str, tuple[int, ...]]
    roles: dict[str, int]
    settings: dict[str, object] = field(default_factory=dict)


SETS = [
    Kind(
        "magnetic-tile",
        {
            "foreground": (1, 2, 3, 4, 5),
            "class_1": (1,),
            "class_2": (2,),
            "class_3": (3,),
            "class_4": (4,),
            "class_5": (5,),
        },
        {},
        {"sampling.patch_size": [64, 64], "training.validation_cases": 40},
    ),
    Kind("crackforest", {"foreground": (255,)}, {}, {"sampling.patch_size": [96, 96]}),
    Kind(
        "hippocampus",
        {"foreground": (1, 2), "Anterior": (1,), "Posterior": (2,)},
        {},
        {"sampling.patch_size": [24, 32, 24], "sampling.batch_size": 2},
    ),
    Kind(
        "brats2013",
        {"whole": (1, 2, 3, 4), "core": (1, 3, 4), "active": (4,)},
        {"train": 2, "validation": 1, "test": 1},
        {
            "data.dimension": 2,
            "sampling.patch_size": [96, 96],
            "training.validations": 1,
        },
    ),
]
COMMON = {
    "network.width": [4, 8, 8],
    "sampling.batch_size": 4,
    "training.steps": 120,
    "training.validations": 2,
    "training.learning_rate": 0.005,
}


@pytest.fixture(scope="module", params=SETS, ids=lambda kind: kind.name)
def trained(request, call, tmp_path_factory):
    """A data set's record, its folder and a run on it."""
    kind = request.param
    data, run = Path(DATA) / kind.name, tmp_path_factory.mktemp(kind.name) / "run"
    values = COMMON | kind.settings
    options = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    called = call("train", data, "--out", run, *options)
    assert called.code == 0, called.err
    return kind, data, run


def lines_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_inspect_finds_nothing_in_the_way(trained, call):
    _, data, _ = trained
    called = call("inspect", data, "--json")
    record = json.loads(called.out)
    assert called.code == 0
    assert record["problems"] == []
    assert record["data"]["n_cases"] == len(open_dataset(data).cases)


def test_every_role_has_cases_and_no_group_is_divided(trained):
    kind, _, run = trained
    split = lines_of(run / "split.csv")
    counts = Counter(line["role"] for line in split)
    assert set(counts) == {"train", "validation", "test"}
    if kind.roles:
        assert counts == kind.roles
    roles: dict[str, set[str]] = {}
    for line in split:
        roles.setdefault(line["group"] or line["id"], set()).add(line["role"])
    assert all(len(found) == 1 for found in roles.values())


def test_every_region_is_scored_at_every_voxel_of_every_test_case(trained):
    kind, _, run = trained
    tested = {line["id"] for line in lines_of(run / "split.csv") if line["role"] == "test"}
    lines = lines_of(run / "cases.csv")
    assert {line["case"] for line in lines} == tested
    assert {line["region"] for line in lines} <= set(kind.regions)
    voxels: dict[str, set[int]] = {}
    for line in lines:
        found = sum(int(line[name]) for name in ("tp", "fp", "fn", "tn"))
        voxels.setdefault(line["case"], set()).add(found)
    assert all(len(counts) == 1 for counts in voxels.values())
    assert (run / "report.html").stat().st_size > 100_000


def test_tune_chooses_again_what_train_chose(trained, call):
    kind, _, run = trained
    before = {name: p.to_dict() for name, p in load_decisions(run / "bundle").points.items()}
    called = call("tune", run, "--maximize", "dice", "--json")
    assert called.code == 0, called.err
    chosen = {name: choice["found"] for name, choice in json.loads(called.out).items()}
    assert set(chosen) == set(kind.regions)
    assert {name: point for name, point in chosen.items() if "infeasible" not in point} == before


def cut_lower(run: Path, tmp_path: Path) -> Path:
    """Return a copy of a run whose regions are cut at half the middle of the cases' top scores."""
    copy = tmp_path / "copy"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("store"))
    table = load_table(copy / "scores" / "test.npz")
    choices = {}
    for region in table.regions:
        top = float(np.median([row.top for row in table.select(region=region)]))
        threshold = float(bin_edges()[bin_of(top / 2)])
        choices[region] = PointChoice(
            OperatingPoint(region, threshold, role="validation"), Frontier()
        )
    load_decisions(copy / "bundle").choose(choices).save(copy / "bundle")
    return copy


def test_cases_csv_agrees_with_the_masks_that_predict_writes(
    trained, call, assert_agrees, tmp_path
):
    kind, data, run = trained
    scored = run / "cases.csv"
    if not any(int(line["tp"]) for line in lines_of(scored)):
        # So few steps may find nothing better than silence, and empty masks agree easily.
        run, scored = cut_lower(run, tmp_path), tmp_path / "lower" / "cases.csv"
        called = call("evaluate", run, data, "--out", scored.parent)
        assert called.code == 0, called.err
    tested = {line["id"] for line in lines_of(run / "split.csv") if line["role"] == "test"}
    # Those first in which something was found: the others agree easily.
    hits: Counter[str] = Counter()
    for line in lines_of(scored):
        hits[line["case"]] += int(line["tp"])
    cases = [case for case in open_dataset(data).cases if case.id in tested]
    cases = sorted(cases, key=lambda case: -hits[case.id])[:COMPARED]
    masks = tmp_path / "masks"
    for case in cases:
        images = tmp_path / "images" / case.id
        images.mkdir(parents=True)
        for number, image in enumerate(case.images):
            suffix = ".nii.gz" if image.name.endswith(".nii.gz") else image.suffix
            channel = f"_{number:04d}" if len(case.images) > 1 else ""
            (images / f"{case.id}{channel}{suffix}").symlink_to(image.resolve())
        source = images if len(case.images) > 1 else next(images.iterdir())
        called = call("predict", run, source, "--out", masks)
        assert called.code == 0, called.err
    regions = {line["region"] for line in lines_of(scored)}
    lines = assert_agrees(
        scored,
        masks,
        {case.id: case.mask for case in cases},
        {name: kind.regions[name] for name in kind.regions if name in regions},
    )
    assert any(int(line["tp"]) > 0 for line in lines)


def test_evaluate_gives_the_same_test_cases(trained, call, tmp_path):
    _, data, run = trained
    called = call("evaluate", run, data, "--out", tmp_path / "scores")
    assert called.code == 0, called.err
    assert lines_of(tmp_path / "scores" / "cases.csv") == lines_of(run / "cases.csv")
    record = json.loads((tmp_path / "scores" / "scorecard.json").read_text(encoding="utf-8"))
    card = record["scorecards"][record["headline"]]["regions"][0]
    dice = [
        float(line["dice"])
        for line in lines_of(run / "cases.csv")
        if line["region"] == card["region"] and line["stratum"] == "positive"
    ]
    assert card["positives"]["dice"]["value"] == pytest.approx(np.mean(dice))
