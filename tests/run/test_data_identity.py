"""What a run knows of its data by their bytes: copies, changes, spent cases."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.errors import DataError, RunError
from rareseg.run.evaluate import evaluate
from rareseg.run.scores.network_source import NetworkSource
from rareseg.run.setup.own_data import cases_of
from rareseg.run.setup.prepare import TrainingOptions
from rareseg.run.setup.run_folder import open_run
from rareseg.run.setup.split_files import read_split
from rareseg.run.train import train

FEW = ["training.steps=2", "training.precision=32", "network.encoder=none"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set and a run of two steps on it."""
    root = tmp_path_factory.mktemp("identity")
    data = root / "data"
    write_specks(data, SpecksSettings(images=24, size=64, seed=0))
    train(data, root / "run", training_options=TrainingOptions(settings=FEW))
    return data, root / "run"


@pytest.fixture
def copied(trained: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Copies of both, with new times."""
    data, run = trained
    shutil.copytree(data, tmp_path / "data", copy_function=shutil.copyfile)
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "data", tmp_path / "run"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_copy_is_the_same_data_and_its_test_cases_alone_are_scored(
    copied: tuple[Path, Path], tmp_path: Path
) -> None:
    data, run = copied
    evaluation = evaluate(run, data, tmp_path / "out")
    tests = {name for name, role in read_split(run / "split.csv").items() if role == "test"}
    assert {row["case"] for row in rows(evaluation.cases_csv)} == tests
    assert any("same data as those of the run" in line for line in evaluation.summary)


def test_images_under_new_names_are_known(copied: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = copied
    manifest = data / "manifest.csv"
    first, *lines = manifest.read_text(encoding="utf-8").splitlines()
    manifest.write_text("\n".join([first, *(f"new_{line}" for line in lines)]), encoding="utf-8")
    for path in (data / "images").iterdir():
        path.rename(path.with_name(f"new_{path.name}"))
    text = manifest.read_text(encoding="utf-8").replace("images/", "images/new_")
    manifest.write_text(text, encoding="utf-8")
    roles = read_split(run / "split.csv")
    evaluation = evaluate(run, data, tmp_path / "out")
    scored = {row["case"] for row in rows(evaluation.cases_csv)}
    assert scored == {f"new_{name}" for name, role in roles.items() if role == "test"}
    assert any("seen in training" in line for line in evaluation.summary)
    both = evaluate(run, data, tmp_path / "both", include_seen=True)
    told = {row["case"]: row["seen_as"] for row in rows(both.cases_csv)}
    assert set(told) == {f"new_{name}" for name in roles}
    assert all(told[f"new_{n}"] == role for n, role in roles.items() if role != "test")
    card = json.loads(both.scorecard_json.read_text(encoding="utf-8"))
    assert any("no measure of new images" in v["text"] for v in card["verdicts"])


def test_a_run_goes_on_with_its_data_elsewhere(copied: tuple[Path, Path]) -> None:
    data, run = copied
    train(data, run, training_options=TrainingOptions(settings=FEW))
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert about["path"] == str(data.resolve())


def test_other_data_are_refused_where_a_run_stands(
    copied: tuple[Path, Path], tmp_path: Path
) -> None:
    _, run = copied
    write_specks(tmp_path / "other", SpecksSettings(images=24, size=64, seed=5))
    with pytest.raises(RunError, match="have changed since"):
        train(tmp_path / "other", run, training_options=TrainingOptions(settings=FEW))
    before = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert before["path"] != str((tmp_path / "other").resolve())


class TestChangedData:
    def own(self, copied: tuple[Path, Path]) -> tuple[Path, Path, list[str]]:
        """The run as begun with the copy, and the test cases with a mask."""
        data, run = copied
        train(data, run, training_options=TrainingOptions(settings=FEW))
        tests = [c for c in cases_of(open_run(run), "test") if c.mask is not None]
        return data, run, [case.id for case in tests]

    def test_masks_that_became_others_are_refused(
        self, copied: tuple[Path, Path], tmp_path: Path
    ) -> None:
        data, run, tests = self.own(copied)
        mask = data / "masks" / f"{tests[0]}.png"
        Picture.fromarray(np.full((64, 64), 255, np.uint8)).save(mask)
        with pytest.raises(DataError, match=f"changed since it was begun: the mask of {tests[0]}"):
            evaluate(run, data, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_masks_that_are_gone_are_refused(
        self, copied: tuple[Path, Path], tmp_path: Path
    ) -> None:
        data, run, _ = self.own(copied)
        (data / "masks").rename(data / "masks_")
        with pytest.raises(DataError, match="the mask of"):
            evaluate(run, data, tmp_path / "out")

    def test_files_that_were_touched_are_the_same(
        self, copied: tuple[Path, Path], tmp_path: Path
    ) -> None:
        data, run, tests = self.own(copied)
        os.utime(data / "masks" / f"{tests[0]}.png", (1e9, 1e9))
        assert evaluate(run, data, tmp_path / "out").cases_csv.is_file()


def test_a_split_with_roles_swapped_is_refused(copied: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = copied
    text = (run / "split.csv").read_text(encoding="utf-8")
    swapped = text.replace(",train", ",X").replace(",test", ",train").replace(",X", ",test")
    (run / "split.csv").write_text(swapped, encoding="utf-8")
    with pytest.raises(RunError, match=r"split\.csv changed since the run was begun"):
        evaluate(run, data, tmp_path / "out")


def test_a_split_is_read_with_a_mark_of_its_encoding_and_refused_with_a_case_twice(
    tmp_path: Path,
) -> None:
    split = tmp_path / "split.csv"
    split.write_text("\ufeffid,group,role\na,,train\n", encoding="utf-8")
    assert read_split(split) == {"a": "train"}
    split.write_text("id,group,role\na,,train\na,,test\n", encoding="utf-8")
    with pytest.raises(RunError, match="names the case 'a' twice"):
        read_split(split)
    split.write_bytes("id,group,role\né,,train\n".encode("latin-1"))
    with pytest.raises(RunError, match="cannot be read as a split"):
        read_split(split)


class TestCertifyCases:
    def negatives(self, root: Path, pictures: list[np.ndarray]) -> Path:
        (root / "negatives").mkdir(parents=True)
        for k, picture in enumerate(pictures):
            Picture.fromarray(picture).save(root / "negatives" / f"e{k:02}.png")
        return root

    def noise(self, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return rng.normal(100, 15, (64, 64)).clip(0, 255).astype(np.uint8)

    def test_copies_of_one_image_are_one_group(
        self, trained: tuple[Path, Path], tmp_path: Path
    ) -> None:
        data = self.negatives(tmp_path / "same", [self.noise(99)] * 12 + [self.noise(1)])
        found = NetworkSource.open(trained[1], data).certify_cases(lambda items, *_: iter(items))
        assert len({case.group for case in found.cases[:12]}) == 1
        assert found.cases[0].group != found.cases[12].group
        assert "12 cases that are copies" in found.grouping

    def test_cases_stay_spent_under_other_names_and_times(
        self, copied: tuple[Path, Path], tmp_path: Path
    ) -> None:
        _, run = copied
        pictures = [self.noise(k) for k in range(10)]
        data = self.negatives(tmp_path / "first", pictures)
        source = NetworkSource.open(run, data)
        certify_set = source.certify_cases(lambda items, *_: iter(items))
        assert certify_set.independent
        source.certify_tables(certify_set, lambda items, *_: iter(items))
        again = self.negatives(tmp_path / "again", [*pictures[:4], self.noise(50)])
        found = NetworkSource.open(run, again).certify_cases(lambda items, *_: iter(items))
        assert not found.independent
        assert found.why_estimate.startswith("4 of these images")

    def test_a_brightened_copy_of_a_training_image_is_refused(
        self, trained: tuple[Path, Path], tmp_path: Path
    ) -> None:
        data, run = trained
        roles = read_split(run / "split.csv")
        name = next(n for n, role in roles.items() if role == "train")
        source = next(p for p in data.rglob(f"{name}.*") if "masks" not in p.parts)
        brighter = np.asarray(Picture.open(source)).astype(np.int16) + 12
        copy = brighter.clip(0, 255).astype(np.uint8)
        new = self.negatives(tmp_path / "new", [copy, *map(self.noise, range(8))])
        with pytest.raises(DataError, match=f"looks like a copy of the run's train case '{name}'"):
            NetworkSource.open(run, new).certify_cases(lambda items, *_: iter(items))
