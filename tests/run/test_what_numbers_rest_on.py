"""What a number rests on: the identity of data, their checks, groups, splits, predictions, images.

One class for each of six rules: a number says what it rests on, or it is not given.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as Picture

from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.data.look_alikes import LookAlike
from rareseg.data.records import Case
from rareseg.decision.guarantees.guarantee import Certificate, make_guarantee
from rareseg.decision.guarantees.guarantee_search import GuaranteedPoint
from rareseg.errors import BundleError, DataError, RunError
from rareseg.progress import silent
from rareseg.run.certify import certify, certify_source
from rareseg.run.evaluate import evaluate
from rareseg.run.scores.certify_groups import group_certify_cases
from rareseg.run.scores.file_scores import ScoreFiles
from rareseg.run.scores.file_source import FileSource
from rareseg.run.scores.network_source import NetworkSource
from rareseg.run.scores.score_source import CertifyCases
from rareseg.run.setup.bundle_images import read_bundle_images
from rareseg.run.setup.known_cases import read_known_cases
from rareseg.run.setup.prepare import TrainingOptions
from rareseg.run.setup.run_folder import DataOptions, RunFolder
from rareseg.run.setup.split_files import read_split
from rareseg.run.setup.used_images import note_certified
from rareseg.run.train import train
from rareseg.run.tune import tune
from rareseg_runner.bundle_archive import unpacked, write_archive
from rareseg_runner.image_records import Classes

FEW = [
    "training.steps=2",
    "training.precision=32",
    "network.encoder=none",
    "split.train=0.4",
    "split.validation=0.2",
    "split.certify=0.2",
    "split.test=0.2",
]
SPECKS = SpecksSettings(images=32, size=64, seed=0)
ALARM = make_guarantee("false alarm rate", 0.5, confidence=0.5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set and a run of two steps on it, with cases of every role."""
    root = tmp_path_factory.mktemp("rests")
    data = write_specks(root / "data", SPECKS)
    train(data, root / "run", training_options=TrainingOptions(settings=FEW))
    return data, root / "run"


@pytest.fixture
def copied(trained: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Copies of both; the run knows where its data lie now."""
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(trained[0], data)
    shutil.copytree(trained[1], run)
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps({**about, "path": str(data)}), encoding="utf-8")
    return data, run


def of_role(run: Path, role: str) -> list[str]:
    return [name for name, own in read_split(run / "split.csv").items() if own == role]


def is_empty(data: Path, name: str) -> bool:
    return not np.asarray(Picture.open(data / "masks" / f"{name}.png")).any()


def positive(data: Path, names: list[str]) -> str:
    return next(name for name in names if not is_empty(data, name))


def picture(data: Path, name: str) -> np.ndarray:
    return np.asarray(Picture.open(data / "images" / f"{name}.png"))


def brighter(image: np.ndarray, by: int = 12) -> np.ndarray:
    return (image.astype(np.int16) + by).clip(0, 255).astype(np.uint8)


def noise(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(100, 15, (64, 64)).clip(0, 255).astype(np.uint8)


def negatives(root: Path, pictures: list[np.ndarray]) -> Path:
    """A data set of images that are known to hold nothing, under names of its own."""
    (root / "negatives").mkdir(parents=True)
    for k, image in enumerate(pictures):
        Picture.fromarray(image).save(root / "negatives" / f"n{k:02}.png")
    return root


def write_manifest(data: Path, rows: list[dict[str, str]]) -> None:
    with (data / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class TestDataHaveAnIdentity:
    """1: roles, spent cases and initial weights are bound to bytes and looks of images."""

    def test_brightened_copies_under_new_names_are_not_scored_as_new(
        self, trained: tuple[Path, Path], tmp_path: Path
    ) -> None:
        data, run = trained
        copies = [brighter(picture(data, name)) for name in of_role(run, "train")[:5]]
        new = negatives(tmp_path / "new", [*copies, *map(noise, range(4))])
        evaluation = evaluate(run, new, tmp_path / "out")
        scored = {row["case"] for row in rows(evaluation.cases_csv)}
        assert scored == {f"n{k:02}" for k in range(5, 9)}
        assert any(
            "5 of 9 cases" in line and "5 of them as copies" in line for line in evaluation.summary
        )
        left_out = {row["case"]: row["known_as"] for row in rows(tmp_path / "out" / "left_out.csv")}
        names = of_role(run, "train")[:5]
        assert left_out == {f"n{k:02}": f"a copy of train case '{n}'" for k, n in enumerate(names)}
        both = evaluate(run, new, tmp_path / "both", include_seen=True)
        told = {row["case"]: row["seen_as"] for row in rows(both.cases_csv)}
        assert [told[f"n{k:02}"] for k in range(9)] == ["train"] * 5 + [""] * 4
        assert "seen in training" in both.content.title

    def test_copies_are_known_where_the_data_of_the_run_are_gone(
        self, copied: tuple[Path, Path], tmp_path: Path
    ) -> None:
        data, run = copied
        copies = [brighter(picture(data, name)) for name in of_role(run, "train")[:2]]
        new = negatives(tmp_path / "new", [*copies, noise(7)])
        shutil.rmtree(data)
        evaluation = evaluate(run, new, tmp_path / "out")
        assert {row["case"] for row in rows(evaluation.cases_csv)} == {"n02"}
        with pytest.raises(DataError, match=r"is gone; put it back, or say where it lies now"):
            NetworkSource.open(run).cases("test")

    def test_verify_reads_files_whose_size_and_time_are_the_same(
        self, copied: tuple[Path, Path], tmp_path: Path
    ) -> None:
        data, run = copied
        name = positive(data, of_role(run, "test"))
        mask = data / "masks" / f"{name}.png"
        evaluate(run, data, tmp_path / "before", verify=True)
        was, content = mask.stat(), bytearray(mask.read_bytes())
        content[-20] ^= 1
        mask.write_bytes(content)
        os.utime(mask, ns=(was.st_atime_ns, was.st_mtime_ns))
        source = NetworkSource.open(run, data)
        assert source.judged_cases(silent).cases  # remembered by size and time
        with pytest.raises(DataError, match=f"changed since it was begun: the mask of {name}"):
            NetworkSource.open(run, data, verify=True).judged_cases(silent)

    def test_what_initial_weights_have_learned_is_known_by_its_bytes(
        self, copied: tuple[Path, Path], tmp_path: Path
    ) -> None:
        data, run = copied
        lines = rows(data / "manifest.csv")
        for line in lines:
            image = data / line["image"]
            image.rename(image.with_name(f"z{image.name}"))
            line.update(
                id=f"z{line['id']}", image=f"images/z{image.name}", group=f"z{line['group']}"
            )
        write_manifest(data, lines)
        begin = [*FEW, f"training.initial_weights={run}"]
        other = TrainingOptions(settings=[*begin, "split.seed=3"])
        with pytest.raises(
            RunError, match=r"initial_weights is .* has learned from \d+ of the cases"
        ):
            train(data, tmp_path / "second", training_options=other)

    def test_a_bundle_that_lies_beside_no_run_says_what_it_has_learned(
        self, copied: tuple[Path, Path], tmp_path: Path
    ) -> None:
        data, run = copied
        bundle = Path(shutil.copytree(run / "bundle", tmp_path / "model"))
        archived = tmp_path / "model.rareseg"
        write_archive(bundle, archived)
        with unpacked(archived) as folder:
            assert read_bundle_images(folder) == read_bundle_images(bundle)
        other = TrainingOptions(
            settings=[*FEW, f"training.initial_weights={bundle}", "split.seed=3"]
        )
        for beside in ("", "id,role\nanother,train\n"):  # what lies there need not be its run
            (tmp_path / "split.csv").write_text(beside, encoding="utf-8")
            if not beside:
                (tmp_path / "split.csv").unlink()
            with pytest.raises(RunError, match=r"initial_weights is .*model, which has learned"):
                train(data, tmp_path / "second", training_options=other)
        about = json.loads((bundle / "seen_images.json").read_text(encoding="utf-8"))
        (bundle / "seen_images.json").write_text(
            json.dumps({**about, "weights_sha256": "0" * 64}), encoding="utf-8"
        )
        with pytest.raises(BundleError, match="about other weights"):
            train(data, tmp_path / "second", training_options=other)

    def test_of_a_bundle_that_does_not_say_it_that_is_told(
        self, copied: tuple[Path, Path], tmp_path: Path
    ) -> None:
        data, run = copied
        bundle = Path(shutil.copytree(run / "bundle", tmp_path / "model"))
        (bundle / "seen_images.json").unlink()
        begin = TrainingOptions(settings=[*FEW, f"training.initial_weights={bundle}"])
        said: list[str] = []
        train(data, tmp_path / "second", training_options=begin, say=said.append)
        assert any("cases that judge this run are among them cannot be told" in s for s in said)

    def test_a_bundle_names_the_images_of_every_role_that_it_has_seen(
        self, copied: tuple[Path, Path]
    ) -> None:
        _, run = copied
        known = read_known_cases(RunFolder(run))
        assert known is not None
        roles = read_split(run / "split.csv")
        own = {known.cases[name].image: role for name, role in roles.items() if role != "test"}
        assert read_bundle_images(run / "bundle") == own
        source = NetworkSource.open(run)
        note_certified(source.folder, ["f" * 64], "d")
        source.keep(source.decisions())
        assert read_bundle_images(run / "bundle") == {**own, "f" * 64: "certify"}

    def test_what_initial_weights_have_learned_is_seen_by_the_run_that_began_with_them(
        self, trained: tuple[Path, Path], tmp_path: Path
    ) -> None:
        data, run = trained
        fresh = write_specks(tmp_path / "fresh", SpecksSettings(images=32, size=64, seed=9))
        begin = TrainingOptions(settings=[*FEW, f"training.initial_weights={run}"])
        train(fresh, tmp_path / "second", training_options=begin)
        names = of_role(run, "train")[:3]
        pictures = [picture(data, names[0]), brighter(picture(data, names[1])), noise(3)]
        new = negatives(tmp_path / "new", pictures)
        evaluation = evaluate(tmp_path / "second", new, tmp_path / "out")
        assert {row["case"] for row in rows(evaluation.cases_csv)} == {"n02"}

    def test_copies_of_spent_images_are_spent(
        self, copied: tuple[Path, Path], tmp_path: Path
    ) -> None:
        _, run = copied
        first = negatives(tmp_path / "first", [noise(k) for k in range(8)])
        evaluate(run, first, tmp_path / "shown")
        again = negatives(tmp_path / "again", [brighter(noise(k)) for k in range(3)])
        found = NetworkSource.open(run, again).certify_cases(silent)
        assert not found.independent
        assert "on 3 of these images" in found.why_estimate

    def test_own_test_cases_certify_nothing(
        self, copied: tuple[Path, Path], tmp_path: Path
    ) -> None:
        data, run = copied
        empty = [name for name in of_role(run, "test") if is_empty(data, name)]
        shown = [picture(data, name) for name in empty[:2]]
        found = NetworkSource.open(
            run, negatives(tmp_path / "new", [*shown, noise(1)])
        ).certify_cases(silent)
        assert not found.independent
        assert "an evaluation has shown" in found.why_estimate


class TestTheRunsOwnDataAreChecked:
    """2: `evaluate`, `tune`, `certify` refuse what `train` refuses; no lost mask is a negative."""

    @pytest.mark.parametrize("ask", ["evaluate", "tune", "certify"])
    @pytest.mark.parametrize("fault", ["moved", "deleted", "predictions"])
    def test_masks_that_are_not_what_they_were(
        self, ask: str, fault: str, copied: tuple[Path, Path], tmp_path: Path
    ) -> None:
        data, run = copied
        role = {"evaluate": "test", "tune": "validation", "certify": "certify"}[ask]
        mask = data / "masks" / f"{positive(data, of_role(run, role))}.png"
        if fault == "moved":
            (data / "masks").rename(data / "put_aside")
        elif fault == "deleted":
            mask.unlink()
        else:
            Picture.fromarray(np.full((64, 64), 255, np.uint8)).save(mask)
        calls: dict[str, Callable[[], object]] = {
            "evaluate": lambda: evaluate(run, data, tmp_path / "out"),
            "tune": lambda: tune(run),
            "certify": lambda: certify(run, ALARM),
        }
        before = (run / "bundle" / "decisions.json").read_bytes()
        with pytest.raises(DataError):
            calls[ask]()
        assert (run / "bundle" / "decisions.json").read_bytes() == before
        assert not (tmp_path / "out").exists()

    def test_a_copy_without_its_masks_is_no_set_of_negatives(
        self, copied: tuple[Path, Path], tmp_path: Path
    ) -> None:
        data, run = copied
        names = of_role(run, "test")
        (tmp_path / "bare" / "images").mkdir(parents=True)
        for name in names:
            shutil.copy(data / "images" / f"{name}.png", tmp_path / "bare" / "images")
        bare = DataOptions(str(tmp_path / "bare"), missing_mask="negative")
        with pytest.raises(DataError, match=r"The mask of case .* is gone"):
            evaluate(run, bare, tmp_path / "out")
        with pytest.raises(DataError, match=r"The mask of case .* is gone"):
            NetworkSource.open(run, bare).certify_cases(silent)


class TestCertificatesCountIndependentGroups:
    """3: copies are one group or left out, by number; look-alikes are shown with n both ways."""

    def files(self, root: Path, parts: list[tuple[np.ndarray, str, bool]]) -> ScoreFiles:
        """Scores of another tool: pictures with their roles, and whether they hold a square."""
        data, scores = root / "data", root / "scores"
        for folder in (data / "images", data / "masks", scores):
            folder.mkdir(parents=True)
        lines = []
        for k, (image, role, positive) in enumerate(parts):
            name, mask = f"c{k:02}", np.zeros((64, 64), np.uint8)
            if positive:
                mask[20:30, 20:30] = 1
                Picture.fromarray(mask).save(data / "masks" / f"{name}.png")
            Picture.fromarray(image).save(data / "images" / f"{name}.png")
            Picture.fromarray(mask * np.uint8(250)).save(scores / f"{name}.png")
            drawn = f"masks/{name}.png" if positive else "empty"
            line = {"id": name, "image": f"images/{name}.png", "mask": drawn, "split": role}
            lines.append(line)
        write_manifest(data, lines)
        return ScoreFiles(scores, DataOptions(str(data)))

    def certified(self, files: ScoreFiles, out: Path) -> tuple[GuaranteedPoint, list[str]]:
        said: list[str] = []
        source = FileSource.to_decide(files, out, roles=("validation", "certify"), track=silent)
        (kept,) = certify_source(source, ALARM, say=said.append).values()
        assert isinstance(kept, GuaranteedPoint)
        return kept, said

    def validation(self) -> list[tuple[np.ndarray, str, bool]]:
        return [(noise(k), "validation", k % 2 == 0) for k in range(6)]

    def test_copies_among_the_scores_of_another_tool_are_one_group(self, tmp_path: Path) -> None:
        own = [noise(50), brighter(noise(50)), np.roll(noise(50), 3, axis=1)]
        others = [noise(60 + k) for k in range(9)]
        parts = [*self.validation(), *((image, "certify", False) for image in [*own, *others])]
        kept, said = self.certified(self.files(tmp_path, parts), tmp_path / "out")
        assert type(kept.statement) is Certificate
        assert kept.statement.n_groups == 10
        assert "12 groups before 3 cases that are copies of others" in said[0]

    def test_copies_of_cases_that_chose_the_point_are_left_out(self, tmp_path: Path) -> None:
        own = [brighter(noise(0)), *(noise(60 + k) for k in range(8))]
        parts = [*self.validation(), *((image, "certify", False) for image in own)]
        kept, said = self.certified(self.files(tmp_path, parts), tmp_path / "out")
        assert kept.statement.n_groups == 8
        assert "1 of 9 certify cases look like copies of cases that were used" in said[0]
        assert "'c06' of the validation case 'c00'" in said[0]

    def test_images_of_one_value_are_one_image(self, tmp_path: Path) -> None:
        own = [np.full((64, 64), 90 + k, np.uint8) for k in range(6)]
        parts = [*self.validation(), *((image, "certify", False) for image in own)]
        parts += [(noise(60 + k), "certify", False) for k in range(8)]
        kept, _ = self.certified(self.files(tmp_path, parts), tmp_path / "out")
        assert kept.statement.n_groups == 9

    def test_a_runs_own_certify_cases_are_held_against_its_training(self, tmp_path: Path) -> None:
        data = write_specks(tmp_path / "data", SPECKS)
        lines = rows(data / "manifest.csv")
        roles = ["train", "train", "validation", "certify", "certify", "test"]
        for k, line in enumerate(lines):
            line["split"] = roles[k % len(roles)]
        kept = [line for line in lines if line["split"] == "certify"]
        empty = [line for line in kept if is_empty(data, line["id"])]
        learned = [line for line in lines if line["split"] == "train"]
        first = next(line for line in learned if is_empty(data, line["id"]))
        for name, of in (("copy_of_train", first), ("copy_1", empty[0]), ("copy_2", empty[0])):
            image = brighter(picture(data, of["id"]), 9 if name == "copy_1" else 15)
            Picture.fromarray(image).save(data / "images" / f"{name}.png")
            new = {**of, "id": name, "image": f"images/{name}.png", "group": name}
            lines.append({**new, "split": "certify"})
        write_manifest(data, lines)
        run = tmp_path / "run"
        train(data, run, training_options=TrainingOptions(settings=FEW[:3]))
        found = NetworkSource.open(run).certify_cases(silent)
        names = {case.id for case in found.cases}
        assert "copy_of_train" not in names
        assert "look like copies of cases that were used" in found.grouping
        group_of = {case.id: case.group for case in found.cases}
        assert group_of["copy_1"] == group_of["copy_2"] == group_of[empty[0]["id"]]
        assert "were put together" in found.grouping

    def test_look_alikes_give_n_both_ways(self) -> None:
        cases = tuple(Case(name, (), None) for name in "abcd")
        pairs = (LookAlike("a", "b", 0.8, "as they are", copy=False, placement=None),)
        classes = Classes(("background", "f"), (0, 1), {"f": (1,)})
        known = Fingerprint((), classes, (), (), pairs, "")
        found = group_certify_cases(CertifyCases(cases, "certify", "d", True), cases, known)
        assert [case.group for case in found.cases] == [None] * 4
        assert found.alike["a"] == found.alike["b"]
        assert "3 groups if those that look alike" in found.grouping

    def test_group_from_of_the_run_holds_for_new_certify_cases(
        self, copied: tuple[Path, Path], tmp_path: Path
    ) -> None:
        _, run = copied
        about = json.loads((run / "run.json").read_text(encoding="utf-8"))
        about["group_from"] = r"n(\d)"
        (run / "run.json").write_text(json.dumps(about), encoding="utf-8")
        new = negatives(tmp_path / "new", [noise(k) for k in range(14)])
        found = NetworkSource.open(run, new).certify_cases(silent)
        assert {case.group for case in found.cases} == {"0", "1"}
        assert "by --group-from" in found.grouping


class TestSplitFilesAreBoundToDataAndRun:
    """4: by hash; one that was swapped, edited, doubled or marked is refused or read right."""

    @pytest.mark.parametrize("ask", ["train", "tune", "evaluate"])
    def test_an_edited_split_is_refused(
        self, ask: str, copied: tuple[Path, Path], tmp_path: Path
    ) -> None:
        data, run = copied
        text = (run / "split.csv").read_text(encoding="utf-8")
        swapped = text.replace(",train", ",X").replace(",test", ",train").replace(",X", ",test")
        (run / "split.csv").write_text(swapped, encoding="utf-8")
        calls: dict[str, Callable[[], object]] = {
            "train": lambda: train(data, run, training_options=TrainingOptions(settings=FEW)),
            "tune": lambda: tune(run),
            "evaluate": lambda: evaluate(run, data, tmp_path / "out"),
        }
        with pytest.raises(RunError, match=r"split\.csv changed since the run was begun"):
            calls[ask]()

    def test_a_split_is_read_with_a_byte_order_mark_and_refused_with_a_group_in_two_roles(
        self, tmp_path: Path
    ) -> None:
        split = tmp_path / "split.csv"
        split.write_text("\ufeffid,group,role\na,p,train\nb,p,train\n", encoding="utf-8")
        assert read_split(split) == {"a": "train", "b": "train"}
        split.write_text("id,group,role\na,p,train\nb,p,test\n", encoding="utf-8")
        with pytest.raises(RunError, match="puts the group 'p' into train and test"):
            read_split(split)
        split.write_text("id,role,role\na,train,test\n", encoding="utf-8")
        with pytest.raises(RunError, match="the column 'role' stands there twice"):
            read_split(split)

    def test_a_split_of_other_images_is_refused(
        self, copied: tuple[Path, Path], tmp_path: Path
    ) -> None:
        _, run = copied
        shutil.copy(run / "split.csv", tmp_path / "roles.csv")
        other = write_specks(tmp_path / "other", SpecksSettings(images=32, size=64, seed=4))
        files = ScoreFiles(tmp_path / "none", DataOptions(str(other)), tmp_path / "roles.csv")
        with pytest.raises(DataError, match=r"made of other images .*: 32 of 32 differ"):
            FileSource.to_decide(files, tmp_path / "out", roles=("validation",), track=silent)


class TestPredictionsAreBoundToImageAndModel:
    """5: predictions.json holds the digests; another picture of the same name is predicted anew."""

    def test_another_picture_of_the_same_name(
        self, trained: tuple[Path, Path], call: Any, tmp_path: Path
    ) -> None:
        data, run = trained
        first, second = of_role(run, "train")[:2]
        noted = []
        for day, name in (("monday", first), ("tuesday", second)):
            (tmp_path / day).mkdir()
            shutil.copy(data / "images" / f"{name}.png", tmp_path / day / "cam.png")
            assert call("predict", run, tmp_path / day, "--out", tmp_path / "p").code == 0
            content = json.loads((tmp_path / "p" / "predictions.json").read_text("utf-8"))
            noted.append(content["images"]["cam"])
        known = json.loads((run / "data_identity.json").read_text(encoding="utf-8"))["cases"]
        assert noted == [known[first]["image"], known[second]["image"]]
        assert call("predict", run, tmp_path / "tuesday", "--out", tmp_path / "right").code == 0
        again = (tmp_path / "p" / "cam.png").read_bytes()
        assert again == (tmp_path / "right" / "cam.png").read_bytes()

    def test_masks_of_another_model_are_not_taken_for_its_own(
        self, copied: tuple[Path, Path], call: Any, tmp_path: Path
    ) -> None:
        data, run = copied
        assert call("predict", run, data / "images", "--out", tmp_path / "p").code == 0
        note = tmp_path / "p" / "predictions.json"
        content = json.loads(note.read_text(encoding="utf-8"))
        note.write_text(json.dumps({**content, "weights": "0" * 64}), encoding="utf-8")
        refused = call("predict", run, data / "images", "--out", tmp_path / "p")
        assert refused.code == 2
        assert "predictions of another model" in refused.err


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("volumes")
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / "data" / folder).mkdir(parents=True)
    for k in range(10):
        mask = np.zeros((12, 24, 24), np.uint8)
        mask[4:7, 6 + k % 5 : 12 + k % 5, 8:14] = k % 3 != 0
        values = rng.normal(100, 10, mask.shape) + 60 * mask
        for folder, array in (("images", values.astype(np.int16)), ("masks", mask)):
            volume = sitk.GetImageFromArray(array)
            volume.SetSpacing((1.0, 1.0, 2.0))
            sitk.WriteImage(volume, root / "data" / folder / f"v{k}.nii.gz")
    small = ["training.steps=2", "training.precision=32", "network.encoder=none"]
    train(root / "data", root / "run", training_options=TrainingOptions(settings=small))
    return root / "data", root / "run"


class TestPredictLooksAtMoreThanChannels:
    """6: bit depth, range, dimension, colour, spacing; a larger image alone never stops."""

    def test_a_volume_whose_spacing_is_of_another_unit_is_refused_alone(
        self, volumes: tuple[Path, Path], call: Any, tmp_path: Path
    ) -> None:
        data, run = volumes
        (tmp_path / "in").mkdir()
        for name, spacing in (("plain", (1.0, 1.0, 2.0)), ("metres", (0.001, 0.001, 0.002))):
            volume = sitk.ReadImage(data / "images" / "v1.nii.gz")
            volume.SetSpacing(spacing)
            sitk.WriteImage(volume, tmp_path / "in" / f"{name}.nii.gz")
        done = call("predict", run, tmp_path / "in", "--out", tmp_path / "p")
        assert done.code == 1
        assert "metres.nii.gz" in done.err
        assert "correct the spacing in the file's header" in done.err
        assert (tmp_path / "p" / "plain.nii.gz").is_file()
        assert not (tmp_path / "p" / "metres.nii.gz").exists()

    def test_a_photograph_is_refused_and_a_larger_volume_is_not(
        self, volumes: tuple[Path, Path], call: Any, tmp_path: Path
    ) -> None:
        data, run = volumes
        (tmp_path / "in").mkdir()
        small = sitk.GetArrayFromImage(sitk.ReadImage(data / "images" / "v1.nii.gz"))
        volume = sitk.GetImageFromArray(np.tile(small, (2, 2, 2)))
        volume.SetSpacing((1.0, 1.0, 2.0))
        sitk.WriteImage(volume, tmp_path / "in" / "large.nii.gz")
        Picture.fromarray(noise(0)).save(tmp_path / "in" / "photo.png")
        done = call("predict", run, tmp_path / "in", "--out", tmp_path / "p")
        assert done.code == 1
        assert "the model was trained on volumes" in done.err
        assert (tmp_path / "p" / "large.nii.gz").is_file()

    def test_sixteen_bits_are_told_or_refused(
        self, trained: tuple[Path, Path], call: Any, tmp_path: Path
    ) -> None:
        data, run = trained
        (tmp_path / "in").mkdir()
        deep = picture(data, of_role(run, "train")[0]).astype(np.uint16) * 257
        Picture.fromarray(deep).save(tmp_path / "in" / "deep.png")
        done = call("predict", run, tmp_path / "in", "--out", tmp_path / "p")
        assert "uint16" in done.out + done.err
        assert "uint8" in done.out + done.err
