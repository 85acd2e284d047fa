"""Points, guarantees and reports for scores that any tool wrote, without a run."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk

from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.decision.decisions import Decisions
from rareseg.decision.guarantees.guarantee import Certificate, EstimatedGuarantee, make_guarantee
from rareseg.decision.guarantees.guarantee_search import GuaranteedPoint
from rareseg.decision.operating_point import (
    Frontier,
    Infeasible,
    OperatingPoint,
    choose_operating_point,
)
from rareseg.errors import DataError, OutputError, ProblemsError, RunError, ScoreError, UsageError
from rareseg.evaluation.tables.score_table import score_cases
from rareseg.progress import silent
from rareseg.run.certify import certify_source
from rareseg.run.evaluate import evaluate_source
from rareseg.run.scores.about_scores import AboutScores
from rareseg.run.scores.file_scores import ScoreFiles
from rareseg.run.scores.file_source import FileSource
from rareseg.run.setup.prepare import say_nothing
from rareseg.run.setup.run_folder import DataOptions
from rareseg.run.tune import Rule, tune_source

EASY = SpecksSettings(images=16, size=64, contrast=8.0, foreground_share=0.06, distractors=1)


def tune_files(files, out, *, rule=None, region=None, say=say_nothing):
    source = FileSource.to_decide(files, out, roles=("validation",), region=region, track=silent)
    return tune_source(source, rule, region=region, say=say)


def certify_files(files, guarantee, out, *, rule=None, region=None, say=say_nothing):
    source = FileSource.to_decide(files, out, roles=("validation", "certify"), track=silent)
    return certify_source(source, guarantee, rule=rule, region=region, say=say)


def evaluate_files(files, out, *, points=None):
    return evaluate_source(FileSource.to_judge(files, points, track=silent), out)


def decisions_in(folder):
    return Decisions.load(folder, AboutScores.read(folder).classes.regions)


def rows_of(data):
    with (data / "manifest.csv").open() as stream:
        return list(csv.DictReader(stream))


def write_manifest(data, rows):
    with (data / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def truth(data, row):
    if row["mask"] in ("", "empty"):
        return np.zeros((EASY.size, EASY.size), bool)
    return np.asarray(PIL.Image.open(data / row["mask"])) > 0


def guess(reference, seed):
    """Scores of a middling tool, in steps of 1/255 so that every format holds the same."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-4, 1.2, reference.shape) + 5.5 * reference
    return np.rint(255 / (1 + np.exp(-odds))).astype(np.uint8)


def write_scores(folder, name, scores, form):
    folder.mkdir(parents=True, exist_ok=True)
    p = scores.astype(np.float32) / np.float32(255)
    if form == "png8":
        PIL.Image.fromarray(scores).save(folder / f"{name}.png")
    elif form == "png16":
        PIL.Image.fromarray(scores.astype(np.uint16) * 257).save(folder / f"{name}.png")
    elif form == "nifti":
        sitk.WriteImage(sitk.GetImageFromArray(p[None]), str(folder / f"{name}.nii.gz"))
    elif form == "nnunet":
        both = np.stack([1 - p, p])[:, None]
        np.savez_compressed(folder / f"{name}.npz", probabilities=both)
        segmentation = (p >= 0.5).astype(np.uint8)
        PIL.Image.fromarray(segmentation).save(folder / f"{name}.png")
        (folder / f"{name}.pkl").write_bytes(b"not to be opened")
    elif form == "region":
        write_scores(folder / "foreground", name, scores, "png16")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_specks(tmp_path_factory.mktemp("files") / "data", replace(EASY, seed=3))


@pytest.fixture(scope="module")
def scores(data):
    return {r["id"]: guess(truth(data, r), seed) for seed, r in enumerate(rows_of(data))}


@pytest.fixture
def files(data, scores, tmp_path):
    """The scores as 16-bit PNG, in a folder that may be changed."""
    for name, array in scores.items():
        write_scores(tmp_path / "scores", name, array, "png16")
    return ScoreFiles(tmp_path / "scores", DataOptions(str(data)))


@pytest.fixture
def split(data, tmp_path):
    """Half are validation cases; of the others, positive and negative alike, certify or test."""
    path = tmp_path / "split.csv"
    rows = sorted(rows_of(data), key=lambda row: row["mask"] == "empty")
    order = ["validation", "certify", "validation", "test"]
    lines = [f"{row['id']},,{order[i % 4]}" for i, row in enumerate(rows)]
    path.write_text("id,group,role\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("form", ["png8", "png16", "nifti", "nnunet", "region"])
def test_every_format_gives_the_point_that_the_arrays_give(data, scores, tmp_path, form):
    for name, array in scores.items():
        write_scores(tmp_path / "scores", name, array, form)
    said = []
    files = ScoreFiles(tmp_path / "scores", DataOptions(str(data)))
    choices = tune_files(files, tmp_path / "out", say=said.append)
    rows = rows_of(data)
    table = score_cases(
        {name: array.astype(np.float32) / np.float32(255) for name, array in scores.items()},
        {row["id"]: truth(data, row) for row in rows},
        groups={row["id"]: row["group"] for row in rows},
        role="validation",
    )
    point = choices["foreground"].found
    assert point == choose_operating_point(table, region="foreground")
    assert decisions_in(tmp_path / "out").points == {"foreground": point}
    assert said[0].startswith("foreground: threshold")
    assert decisions_in(tmp_path / "out").regions["foreground"].frontier.points
    assert sorted(path.name for path in (tmp_path / "out" / "scores").iterdir()) == [
        "validation.npz",
        "validation_components.npz",
    ]


def test_new_cases_are_evaluated_at_the_points_as_scikit_learn_counts(
    files, data, scores, tmp_path, assert_agrees
):
    points = tune_files(files, tmp_path / "out")
    point = points["foreground"].found
    assert isinstance(point, OperatingPoint)
    new = write_specks(tmp_path / "new", replace(EASY, images=8, seed=99))
    rows = [
        {**row, "id": f"new{row['id']}", "group": f"new{i}"} for i, row in enumerate(rows_of(new))
    ]
    write_manifest(new, rows)
    references = {}
    for seed, row in enumerate(rows):
        array = guess(truth(new, row), 1000 + seed)
        write_scores(tmp_path / "new_scores", row["id"], array, "nifti")
        p = array.astype(np.float32) / np.float32(255)
        on = (p >= np.float32(point.threshold)) & (p.max() >= np.float32(point.gate))
        (tmp_path / "masks" / "foreground").mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(on.astype(np.uint8)).save(
            tmp_path / "masks" / "foreground" / f"{row['id']}.png"
        )
        references[row["id"]] = None if row["mask"] in ("", "empty") else new / row["mask"]
    evaluation = evaluate_files(
        ScoreFiles(tmp_path / "new_scores", DataOptions(str(new))),
        tmp_path / "report",
        points=tmp_path / "out",
    )
    value = next(
        int(v)
        for path in references.values()
        if path
        for v in np.unique(np.asarray(PIL.Image.open(path)))
        if v
    )
    lines = assert_agrees(
        tmp_path / "report" / "cases.csv",
        tmp_path / "masks",
        references,
        {"foreground": (value,)},
    )
    assert len(lines) == len(rows)
    assert {line["role"] for line in lines} == {""}
    record = json.loads(evaluation.scorecard_json.read_text())
    assert record["headline"] == "at the chosen point"
    assert record["points"]["foreground"]["threshold"] == point.threshold
    page = evaluation.report.read_text(encoding="utf-8")
    assert "The scores were read from files" in page
    assert ">Training<" not in page
    assert ">Recipe<" not in page
    assert "data:image/png" in page
    assert (tmp_path / "report" / "details.csv").is_file()


def test_the_cases_that_points_were_chosen_on_are_called_so(files, tmp_path):
    tune_files(files, tmp_path / "out")
    evaluation = evaluate_files(files, tmp_path / "report", points=tmp_path / "out")
    assert {result.role for result in evaluation.content.results} == {"validation"}
    assert any("optimistic" in sentence.text for sentence in evaluation.content.verdicts)


def test_some_of_them_among_others_are_left_out_or_told(files, data, scores, tmp_path):
    rows = rows_of(data)
    part = data.parent / "part"
    part.mkdir(exist_ok=True)
    for row in rows:
        row["image"] = str(data / row["image"])
        row["mask"] = row["mask"] if row["mask"] in ("", "empty") else str(data / row["mask"])
    write_manifest(part, rows[:10])
    small = ScoreFiles(tmp_path / "few", DataOptions(str(part)))
    for row in rows[:10]:
        write_scores(tmp_path / "few", row["id"], scores[row["id"]], "png16")
    tune_files(small, tmp_path / "out")
    evaluation = evaluate_files(files, tmp_path / "report", points=tmp_path / "out")
    assert {result.case_id for result in evaluation.content.results} == {r["id"] for r in rows[10:]}
    assert any("10 of 16 cases" in sentence.text for sentence in evaluation.content.verdicts)
    source = FileSource.to_judge(files, tmp_path / "out", include_seen=True, track=silent)
    both = evaluate_source(source, tmp_path / "both")
    assert "10 of 16 seen in training" in both.content.title


def test_without_points_the_cut_is_at_a_half(files, tmp_path):
    evaluation = evaluate_files(files, tmp_path / "report")
    assert evaluation.content.main_label == "at 0.5"
    assert {result.threshold for result in evaluation.content.results} == {0.5}


class TestRoles:
    def test_each_case_plays_its_role(self, files, split, tmp_path):
        declared = replace(files, split=split)
        choices = tune_files(declared, tmp_path / "out")
        assert choices["foreground"].found.n_positive + choices["foreground"].found.n_negative == 8
        evaluation = evaluate_files(declared, tmp_path / "report", points=tmp_path / "out")
        assert {result.role for result in evaluation.content.results} == {"test"}
        assert len(evaluation.content.results) == 4
        assert evaluation.content.roles["validation"].n_cases == 8

    def test_certify_cases_make_a_certificate_once(self, files, split, tmp_path):
        declared = replace(files, split=split)
        guarantee = make_guarantee("false negative rate", 0.5, confidence=None)
        said = []
        kept = certify_files(declared, guarantee, tmp_path / "out", say=said.append)["foreground"]
        assert isinstance(kept, GuaranteedPoint)
        assert type(kept.statement) is Certificate
        assert "declared certify cases" in kept.statement.sentence
        decided = decisions_in(tmp_path / "out")
        assert decided.points["foreground"] == kept.point
        assert decided.statements["foreground"] == (kept.statement,)
        again = certify_files(declared, guarantee, tmp_path / "out")["foreground"]
        assert again == kept
        other = certify_files(declared, replace(guarantee, alpha=0.6), tmp_path / "out")
        assert type(other["foreground"].statement) is EstimatedGuarantee
        evaluation = evaluate_files(declared, tmp_path / "report", points=tmp_path / "out")
        texts = [sentence.text for sentence in evaluation.content.verdicts]
        assert any(text.startswith(("Certificate for", "Estimate for")) for text in texts)

    def test_too_few_are_told_so_unread(self, files, split, tmp_path):
        declared = replace(files, split=split)
        for path in files.probabilities.iterdir():
            name = path.stem
            if f"{name},,certify" in split.read_text():
                path.write_bytes(b"damaged")
        guarantee = make_guarantee("false negative rate", 0.01, confidence=None)
        refused = certify_files(declared, guarantee, tmp_path / "out")["foreground"]
        assert isinstance(refused, Infeasible)
        assert "needs at least 99 groups" in refused.reason

    def test_without_roles_validation_cases_make_an_estimate(self, files, tmp_path):
        guarantee = make_guarantee("false alarm rate", 0.5, confidence=None)
        kept = certify_files(files, guarantee, tmp_path / "out")["foreground"]
        assert isinstance(kept, GuaranteedPoint)
        assert type(kept.statement) is EstimatedGuarantee
        assert "split.csv" in kept.statement.method

    def test_roles_that_do_not_cover_the_cases(self, files, split, tmp_path):
        lines = split.read_text().splitlines()
        split.write_text("\n".join(lines[:-1]) + "\n")
        with pytest.raises(DataError, match="gives no role to 1 of 16 cases"):
            tune_files(replace(files, split=split), tmp_path / "out")

    def test_a_group_in_two_roles(self, data, scores, files, tmp_path):
        rows = [{**row, "group": "one"} for row in rows_of(data)]
        for i, row in enumerate(rows):
            row["image"] = str(data / row["image"])
            row["mask"] = row["mask"] if row["mask"] in ("", "empty") else str(data / row["mask"])
            row["split"] = "validation" if i % 2 else "test"
        (tmp_path / "refs").mkdir()
        write_manifest(tmp_path / "refs", rows)
        mixed = ScoreFiles(files.probabilities, DataOptions(str(tmp_path / "refs")))
        with pytest.raises(DataError, match="1 groups several roles"):
            tune_files(mixed, tmp_path / "out")


class TestGroups:
    PATTERN = r"(plate00\d)"

    def test_references_are_grouped_as_those_that_the_points_were_chosen_on(
        self, files, data, tmp_path
    ):
        grouped = replace(files, references=DataOptions(str(data), self.PATTERN))
        tune_files(grouped, tmp_path / "points")
        evaluate_files(files, tmp_path / "like", points=tmp_path / "points")
        found = {row["group"] for row in csv.DictReader((tmp_path / "like" / "cases.csv").open())}
        assert len(found) == 2
        own = replace(files, references=DataOptions(str(data), group_from=""))
        evaluate_files(own, tmp_path / "own", points=tmp_path / "points")
        found = {row["group"] for row in csv.DictReader((tmp_path / "own" / "cases.csv").open())}
        assert len(found) == 16

    def test_points_of_an_earlier_version_are_gone_on_with(self, files, data, tmp_path):
        """Which wrote what missing masks are, whether it was said or not."""
        tune_files(files, tmp_path / "points")
        about = json.loads((tmp_path / "points" / "scores.json").read_text())
        assert about["references"]["missing_mask"] == "error"
        said = replace(files, references=DataOptions(str(data), missing_mask="error"))
        assert tune_files(said, tmp_path / "points")

    def test_decisions_of_format_1_are_read(self, files, split, tmp_path):
        """As earlier releases wrote them: two files in place of decisions.json and scores.json."""
        declared, points = replace(files, split=split), tmp_path / "points"
        guarantee = make_guarantee("false negative rate", 0.5, confidence=None)
        certify_files(declared, guarantee, points)
        own = decisions_in(points).regions["foreground"]
        about = json.loads((points / "scores.json").read_text())
        later = {name: about.pop(name) for name in ("classes", "channels", "with_presence")}
        record = {
            "format": 1,
            **later,
            "points": {"foreground": own.point.to_dict()},
            "certificates": {"foreground": [one.to_dict() for one in own.statements]},
            "spent": {"foreground": dict(own.spent)},
        }
        (points / "outside.json").write_text(json.dumps(about))
        (points / "operating_points.json").write_text(json.dumps(record))
        (points / "scores.json").unlink()
        (points / "decisions.json").unlink()
        source = FileSource.to_judge(declared, points, track=silent)
        assert source.decisions().regions["foreground"] == replace(own, frontier=Frontier())
        evaluation = evaluate_files(declared, tmp_path / "report", points=points)
        assert evaluation.content.points["foreground"] == own.point

    def test_what_is_damaged_is_named(self, files, tmp_path):
        tune_files(files, tmp_path / "points")
        (tmp_path / "points" / "scores.json").write_text("{}")
        with pytest.raises(RunError, match=r"scores\.json is damaged"):
            evaluate_files(files, tmp_path / "out", points=tmp_path / "points")


class TestRegions:
    """Two classes and their union; scores as classes, as declared regions, or as folders."""

    @pytest.fixture
    def volumes(self, tmp_path):
        rng = np.random.default_rng(5)
        root = tmp_path / "raw"
        arrays = {}
        for folder in ("imagesTr", "labelsTr"):
            (root / folder).mkdir(parents=True)
        for i in range(6):
            labels = np.zeros((4, 12, 10), np.uint8)
            if i % 3:
                labels[1:3, 2:8, 2:7] = 1
                labels[1:3, 4:6, 3:5] = 2
            odds = rng.normal(0, 0.7, (3, *labels.shape))
            odds += 3 * (np.arange(3)[:, None, None, None] == labels)
            softmax = np.exp(odds) / np.exp(odds).sum(0)
            arrays[f"p{i}"] = softmax.astype(np.float32)
            for path, array in (
                (root / "imagesTr" / f"p{i}_0000.nii.gz", rng.normal(size=labels.shape)),
                (root / "labelsTr" / f"p{i}.nii.gz", labels),
            ):
                image = sitk.GetImageFromArray(
                    array.astype(np.float32) if array.dtype == float else array
                )
                image.SetSpacing((1.0, 2.0, 3.0))
                image.SetDirection((-1.0, 0, 0, 0, 0, 1.0, 0, 1.0, 0))
                sitk.WriteImage(image, str(path))
        declared = {
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, "whole": [1, 2], "core": 2},
            "regions_class_order": [1, 2],
            "numTraining": 6,
            "file_ending": ".nii.gz",
        }
        (root / "dataset.json").write_text(json.dumps(declared))
        return root, arrays

    def points(self, root, folder, tmp_path, name):
        files = ScoreFiles(folder, DataOptions(str(root)))
        return {
            region: choice.found for region, choice in tune_files(files, tmp_path / name).items()
        }

    def test_three_ways_of_saying_the_same(self, volumes, tmp_path):
        root, arrays = volumes
        for name in ("classes", "regions"):
            (tmp_path / name).mkdir()
        for case, softmax in arrays.items():
            np.savez_compressed(tmp_path / "classes" / f"{case}.npz", probabilities=softmax)
            whole, core = softmax[1] + softmax[2], softmax[2]
            np.savez_compressed(
                tmp_path / "regions" / f"{case}.npz", probabilities=np.stack([whole, core])
            )
            header = sitk.ReadImage(str(root / "imagesTr" / f"{case}_0000.nii.gz"))
            for region, array in (("whole", whole), ("core", core)):
                image = sitk.GetImageFromArray(array)
                image.CopyInformation(header)
                (tmp_path / "folders" / region).mkdir(parents=True, exist_ok=True)
                sitk.WriteImage(image, str(tmp_path / "folders" / region / f"{case}.nii.gz"))
        by_class = self.points(root, tmp_path / "classes", tmp_path, "out1")
        assert set(by_class) == {"whole", "core"}
        assert by_class["core"].mean_dice > 0.8
        assert self.points(root, tmp_path / "regions", tmp_path, "out2") == by_class
        assert self.points(root, tmp_path / "folders", tmp_path, "out3") == by_class
        files = ScoreFiles(tmp_path / "folders", DataOptions(str(root)))
        evaluation = evaluate_files(files, tmp_path / "r", points=tmp_path / "out3")
        assert evaluation.content.confusion is None
        assert evaluation.content.regions == ("whole", "core")
        files = ScoreFiles(tmp_path / "classes", DataOptions(str(root)))
        evaluation = evaluate_files(files, tmp_path / "r1", points=tmp_path / "out1")
        assert evaluation.content.confusion is not None

    def test_one_region_alone(self, volumes, tmp_path):
        root, arrays = volumes
        (tmp_path / "only" / "core").mkdir(parents=True)
        for case, softmax in arrays.items():
            np.save(tmp_path / "only" / "core" / f"{case}.npy", softmax[2])
        found = self.points(root, tmp_path / "only", tmp_path, "out")
        assert set(found) == {"core"}
        with pytest.raises(UsageError, match="'whole' is not a region"):
            tune_files(
                ScoreFiles(tmp_path / "only", DataOptions(str(root))),
                tmp_path / "out",
                region="whole",
            )

    def test_channels_that_stand_for_nothing(self, volumes, tmp_path):
        root, arrays = volumes
        (tmp_path / "odd").mkdir()
        for case, softmax in arrays.items():
            np.savez(tmp_path / "odd" / f"{case}.npz", probabilities=softmax[[0, 0, 1, 2]])
        with pytest.raises(ProblemsError, match="holds 4 channels; allowed are the 3 classes") as e:
            self.points(root, tmp_path / "odd", tmp_path, "out")
        assert len(e.value.problems) == 6
        assert "mend these files" in str(e.value)

    def test_a_folder_that_is_no_region(self, volumes, tmp_path):
        root, arrays = volumes
        (tmp_path / "odd" / "cores").mkdir(parents=True)
        for case, softmax in arrays.items():
            np.save(tmp_path / "odd" / "cores" / f"{case}.npy", softmax[2])
        with pytest.raises(
            DataError, match=r"cores is named after no region \(did you mean 'core'"
        ):
            self.points(root, tmp_path / "odd", tmp_path, "out")


class TestFaults:
    def test_every_bad_file_is_named_and_nothing_is_written(self, files, tmp_path):
        first, second, *_ = sorted(files.probabilities.iterdir())
        first.write_bytes(b"no picture")
        PIL.Image.fromarray(np.zeros((10, 64), np.uint16)).save(second)
        with pytest.raises(ProblemsError) as error:
            tune_files(files, tmp_path / "out")
        assert len(error.value.problems) == 2
        assert str(first) in error.value.problems[0]
        assert str(second) in error.value.problems[1]
        assert not (tmp_path / "out" / "scores").exists()
        assert not (tmp_path / "out" / "decisions.json").exists()

    def test_label_maps_in_place_of_8_bit_scores(self, data, tmp_path):
        for row in rows_of(data):
            write_scores(tmp_path / "s", row["id"], truth(data, row).astype(np.uint8), "png8")
        with pytest.raises(ScoreError, match=r"holds no score above 0\.0039, as label maps"):
            tune_files(ScoreFiles(tmp_path / "s", DataOptions(str(data))), tmp_path / "out")

    def test_points_belong_to_their_files(self, files, scores, tmp_path):
        tune_files(files, tmp_path / "out")
        tune_files(files, tmp_path / "out", rule=Rule.of("dice", "search"))
        name, array = next(iter(scores.items()))
        write_scores(files.probabilities, name, array // 2, "png16")
        with pytest.raises(OutputError, match="decisions about other scores or references"):
            tune_files(files, tmp_path / "out")

    def test_other_places(self, files, tmp_path):
        (tmp_path / "busy").mkdir()
        (tmp_path / "busy" / "thesis.txt").write_text("mine")
        with pytest.raises(OutputError, match="busy"):
            tune_files(files, tmp_path / "busy")
        with pytest.raises(OutputError, match="busy"):
            evaluate_files(files, tmp_path / "busy")
        with pytest.raises(RunError, match=r"scores\.json is missing"):
            evaluate_files(files, tmp_path / "r", points=tmp_path / "busy")
        (tmp_path / "busy" / "scores.json").write_text("{}")
        with pytest.raises(RunError, match="is damaged"):
            evaluate_files(files, tmp_path / "r", points=tmp_path / "busy")

    def test_an_unknown_region_and_a_missing_case(self, files, tmp_path):
        with pytest.raises(UsageError, match="not a region"):
            tune_files(files, tmp_path / "out", region="foregrund")
        next(iter(files.probabilities.iterdir())).unlink()
        with pytest.raises(DataError, match="no file for 1 of 16"):
            tune_files(files, tmp_path / "out")
        assert not (tmp_path / "out").exists()


class TestFinishedMasks:
    """Masks in place of scores: what is counted on them is what any counter counts."""

    @pytest.fixture
    def drawn(self, data, scores):
        """The masks of the middling tool at one half, by case."""
        return {name: array >= 128 for name, array in scores.items()}

    def write(self, folder, masks, value=1):
        folder.mkdir(parents=True)
        for name, mask in masks.items():
            PIL.Image.fromarray((mask * value).astype(np.uint8)).save(folder / f"{name}.png")

    def evaluate(self, call, folder, data, out):
        called = call("evaluate", "--masks", folder, "--references", data, "--out", out)
        assert called.code == 0, called.err
        with (out / "cases.csv").open(encoding="utf-8") as stream:
            return {row["case"]: row for row in csv.DictReader(stream)}

    @pytest.mark.parametrize("value", [1, 255])
    def test_they_are_counted_as_they_are(self, call, data, drawn, tmp_path, value):
        self.write(tmp_path / "masks", drawn, value)
        lines = self.evaluate(call, tmp_path / "masks", data, tmp_path / "out")
        for row in rows_of(data):
            truly, on = truth(data, row), drawn[row["id"]]
            line = lines[row["id"]]
            counts = tuple(int(line[name]) for name in ("tp", "fp", "fn", "tn"))
            both = ((truly & on).sum(), (~truly & on).sum(), (truly & ~on).sum())
            assert counts == (*both, (~truly & ~on).sum())
        page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
        assert "finished masks, which no threshold or gate changes" in page

    def test_what_predict_writes_is_judged_by_its_regions(self, call, data, drawn, tmp_path):
        nothing = {name: np.zeros_like(mask) for name, mask in drawn.items()}
        self.write(tmp_path / "masks", nothing)
        self.write(tmp_path / "masks" / "foreground", drawn)
        (tmp_path / "masks" / "probabilities").mkdir()
        lines = self.evaluate(call, tmp_path / "masks", data, tmp_path / "out")
        assert all(
            int(line["tp"]) + int(line["fp"]) == drawn[name].sum() for name, line in lines.items()
        )

    def test_label_maps_hold_classes(self, call, tmp_path):
        """Two classes and their union, wrong in known places."""
        (tmp_path / "data" / "images").mkdir(parents=True)
        (tmp_path / "data" / "masks").mkdir()
        label, drawn = np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint8)
        label[2:6, 2:6], label[10:13, 10:13] = 1, 2
        drawn[2:6, 2:5], drawn[10:13, 10:13], drawn[0, 15] = 1, 1, 2
        for kind, array in (("images", label * 90), ("masks", label)):
            PIL.Image.fromarray(array).save(tmp_path / "data" / kind / "a.png")
        (tmp_path / "drawn").mkdir()
        PIL.Image.fromarray(drawn).save(tmp_path / "drawn" / "a.png")
        called = call(
            "evaluate", "--masks", tmp_path / "drawn", "--references", tmp_path / "data",
            "--out", tmp_path / "out",
        )  # fmt: skip
        assert called.code == 0, called.err
        with (tmp_path / "out" / "cases.csv").open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        counts = [tuple(int(row[name]) for name in ("tp", "fp", "fn")) for row in rows]
        assert (12, 9, 4) in counts, "class 1: 12 of 16, and the 9 of class 2"
        assert (0, 1, 9) in counts, "class 2: nothing of 9, and one voxel falsely"

    def test_what_cannot_be_masks_is_one_sentence(self, call, data, drawn, tmp_path):
        def refused(folder, *more):
            called = call(
                "evaluate", "--masks", folder, "--references", data, "--out", tmp_path / "o", *more
            )
            assert called.code in (1, 2)
            assert not (tmp_path / "o").exists()
            return called.err

        self.write(tmp_path / "masks", drawn)
        assert "no point cuts them" in refused(tmp_path / "masks", "--points", tmp_path)
        assert "is no folder" in refused(tmp_path / "nowhere")
        first, second, third = sorted((tmp_path / "masks").iterdir())[:3]
        PIL.Image.fromarray(np.zeros((8, 8), np.uint8)).save(first)
        assert f"{first} has the shape" in refused(tmp_path / "masks")
        self.write(tmp_path / "more" / "foreground", drawn)
        odd = tmp_path / "more" / "foreground" / second.name
        PIL.Image.fromarray(np.arange(64 * 64).reshape(64, 64).astype(np.uint8)).save(odd)
        assert "holds 0 and one other" in refused(tmp_path / "more")
        third.unlink()
        assert "has no file for 1 of 16 cases" in refused(tmp_path / "masks")

    def test_label_maps_given_as_scores_are_scored_as_masks_and_it_is_said(
        self, call, data, drawn, tmp_path
    ):
        self.write(tmp_path / "masks", drawn)
        expected = self.evaluate(call, tmp_path / "masks", data, tmp_path / "out")
        called = call(
            "evaluate", "--probabilities", tmp_path / "masks", "--references", data,
            "--out", tmp_path / "same",
        )  # fmt: skip
        assert called.code == 0, called.err
        assert "scored as finished masks" in called.out
        with (tmp_path / "same" / "cases.csv").open(encoding="utf-8") as stream:
            assert {row["case"]: row for row in csv.DictReader(stream)} == expected

    def test_references_need_no_images(self, call, data, drawn, tmp_path):
        self.write(tmp_path / "masks", drawn)
        self.write(tmp_path / "alone", {r["id"]: truth(data, r) for r in rows_of(data)})
        with_images = self.evaluate(call, tmp_path / "masks", data, tmp_path / "out")
        without = self.evaluate(call, tmp_path / "masks", tmp_path / "alone", tmp_path / "out2")
        for name, row in with_images.items():
            for count in ("tp", "fp", "fn", "tn", "objects", "objects_found"):
                assert without[name].get(count) == row.get(count)

    def test_masks_of_no_case_are_counted_and_named(self, call, data, drawn, tmp_path):
        more = {**drawn, "zz1": next(iter(drawn.values())), "zz2": next(iter(drawn.values()))}
        self.write(tmp_path / "masks", more)
        called = call(
            "evaluate", "--masks", tmp_path / "masks", "--references", data,
            "--out", tmp_path / "out",
        )  # fmt: skip
        assert called.code == 0, called.err
        assert (
            "2 masks of no case in the references (zz1.png, zz2.png) are not scored" in called.out
        )

    def test_a_declared_class_that_no_mask_holds_counts_nothing(self, call, tmp_path):
        label = np.zeros((16, 16), np.uint8)
        label[2:6, 2:6] = 1
        for name in ("alone/labels/a.png", "drawn/a.png"):
            (tmp_path / name).parent.mkdir(parents=True)
            PIL.Image.fromarray(label).save(tmp_path / name)
        (tmp_path / "alone" / "dataset.json").write_text(
            '{"labels": {"background": 0, "crack": 1, "hole": 2}}'
        )
        called = call(
            "evaluate", "--masks", tmp_path / "drawn", "--references", tmp_path / "alone",
            "--out", tmp_path / "out",
        )  # fmt: skip
        assert called.code == 0, called.err
        with (tmp_path / "out" / "cases.csv").open(encoding="utf-8") as stream:
            rows = {row["region"]: row for row in csv.DictReader(stream)}
        assert (rows["crack"]["tp"], rows["crack"]["fp"], rows["crack"]["fn"]) == ("16", "0", "0")
        assert (rows["hole"]["tp"], rows["hole"]["fp"], rows["hole"]["fn"]) == ("0", "0", "0")
