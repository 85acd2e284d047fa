"""Other tools' scores with `image_scores.csv`, and the round trip of our own through files."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import PIL.Image
import pytest

from rareseg.data.score_files.image_score_files import NAME, write_presences
from rareseg.decision.decisions import Decisions
from rareseg.decision.guarantees.guarantee import make_guarantee
from rareseg.decision.operating_point import choose_operating_point
from rareseg.errors import DataError, ScoreError
from rareseg.evaluation.tables.score_table import score_cases, score_regions
from rareseg.evaluation.tables.score_table_io import load_table
from rareseg.prediction.bundle import load_model
from rareseg.prediction.scorer import ModelScorer
from rareseg.progress import silent
from rareseg.run.certify import certify_source
from rareseg.run.evaluate import evaluate_source
from rareseg.run.predict import predict
from rareseg.run.scores.file_scores import ScoreFiles
from rareseg.run.scores.file_source import AboutScores, FileSource
from rareseg.run.setup.prepare import say_nothing
from rareseg.run.setup.run_folder import DataOptions
from rareseg.run.tune import tune_source
from rareseg_runner.formats import read_image

SIDE = 24
REGION = "foreground"


def tune_files(files, out, *, rule=None, region=None, say=say_nothing):
    source = FileSource.to_decide(files, out, roles=("validation",), track=silent)
    return tune_source(source, rule, region=region, say=say)


def certify_files(files, guarantee, out, *, rule=None, region=None, say=say_nothing):
    source = FileSource.to_decide(files, out, roles=("validation", "certify"), track=silent)
    return certify_source(source, guarantee, rule=rule, region=region, say=say)


def evaluate_files(files, out, *, points=None):
    return evaluate_source(FileSource.to_judge(files, points, track=silent), out)


def decisions_in(folder):
    return Decisions.load(folder, AboutScores.read(folder).classes.regions)


def draw(seed):
    """A mask (every second one is empty), scores that see something in both, and what is told."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((SIDE, SIDE), bool)
    if seed % 2:
        mask[5:11, 6:12] = True
    odds = rng.normal(-4, 1.2, mask.shape) + 5.5 * mask
    odds[18:21, 18:21] += rng.normal(5, 1)  # a bright distractor in every image
    told = float(np.float32(1 / (1 + np.exp(-rng.normal(2 if seed % 2 else -2, 0.7)))))
    return mask, (1 / (1 + np.exp(-odds))).astype(np.float32), told


@pytest.fixture
def made(tmp_path):
    """A data set and another tool's scores of it: (Outside, masks, scores, told)."""
    masks, scores, told = {}, {}, {}
    for folder in ("data/images", "data/masks", "scores"):
        (tmp_path / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for seed in range(24):
        name = f"case{seed:02}"
        masks[name], scores[name], told[name] = draw(seed)
        image = rng.integers(0, 255, (SIDE, SIDE), np.uint8)
        PIL.Image.fromarray(image).save(tmp_path / "data" / "images" / f"{name}.png")
        PIL.Image.fromarray(masks[name].astype(np.uint8)).save(
            tmp_path / "data" / "masks" / f"{name}.png"
        )
        np.save(tmp_path / "scores" / f"{name}.npy", scores[name])
    write_presences(tmp_path / "scores" / NAME, {c: {REGION: q} for c, q in told.items()})
    return ScoreFiles(tmp_path / "scores", DataOptions(str(tmp_path / "data"))), masks, scores, told


def lines_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return {line["case"]: line for line in csv.DictReader(file)}


def test_points_are_those_that_the_arrays_give(made, tmp_path):
    files, masks, scores, told = made
    found = tune_files(files, tmp_path / "points")[REGION].found
    table = score_cases(scores, masks, role="validation", presence=told)
    assert found == choose_operating_point(table, region=REGION)
    stored = load_table(tmp_path / "points" / "scores" / "validation.npz")
    assert {row.case_id: row.image_score for row in stored} == {
        row.case_id: row.image_score for row in table
    }
    assert AboutScores.read(tmp_path / "points").with_presence


def test_what_is_told_silences_what_the_scores_alone_cannot(made, tmp_path):
    files, _, _, told = made
    tune_files(files, tmp_path / "points")
    evaluation = evaluate_files(files, tmp_path / "with", points=tmp_path / "points")
    lines = lines_of(evaluation.cases_csv)
    assert {case: float(line["presence"]) for case, line in lines.items()} == told
    (tmp_path / "scores" / NAME).unlink()
    tune_files(files, tmp_path / "blind_points")
    blind = evaluate_files(files, tmp_path / "blind", points=tmp_path / "blind_points")
    silent = lines_of(blind.cases_csv)
    assert {line["presence"] for line in silent.values()} == {""}

    def alarms(found):
        return sum(int(line["false_alarm"] or 0) for line in found.values())

    def dice(found):
        return np.mean([float(line["dice"]) for line in found.values() if line["found"]])

    assert alarms(lines) <= alarms(silent)
    assert dice(lines) >= dice(silent)
    assert (alarms(lines), dice(lines)) != (alarms(silent), dice(silent))


def test_points_and_files_come_both_with_it_or_both_without(made, tmp_path):
    files, *_ = made
    tune_files(files, tmp_path / "with")
    aside = (tmp_path / "scores" / NAME).rename(tmp_path / NAME)
    with pytest.raises(
        ScoreError, match=r"chosen with image_scores\.csv, but .* holds no such file"
    ):
        evaluate_files(files, tmp_path / "out", points=tmp_path / "with")
    tune_files(files, tmp_path / "without")
    aside.rename(tmp_path / "scores" / NAME)
    with pytest.raises(
        ScoreError, match=r"chosen without image_scores\.csv, but .* holds such a file"
    ):
        evaluate_files(files, tmp_path / "out", points=tmp_path / "without")


def test_guarantees_say_what_the_scores_came_with(made, tmp_path):
    files, *_ = made
    guarantee = make_guarantee("false alarm rate", 0.5, confidence=0.8)
    certify_files(files, guarantee, tmp_path / "points")
    (statement,) = decisions_in(tmp_path / "points").statements[REGION]
    assert statement.arithmetic == {"scores": "read from files with image_scores.csv"}


def test_errors_are_those_of_the_file(made, tmp_path):
    files, _, _, told = made
    path = tmp_path / "scores" / NAME
    write_presences(path, {c: {REGION: q} for c, q in told.items() if c != "case07"})
    with pytest.raises(DataError, match="no line for region 'foreground' of case 'case07'"):
        tune_files(files, tmp_path / "points")
    write_presences(path, {c: {"other": q} for c, q in told.items()})
    with pytest.raises(DataError, match="names the region 'other'"):
        tune_files(files, tmp_path / "points")


@pytest.fixture(scope="module")
def trip(telling, plates, tmp_path_factory):
    """Images and masks in a format that holds floats, predicted by the run with probabilities."""
    folder = tmp_path_factory.mktemp("trip")
    run = shutil.copytree(telling, folder / "run")
    for kind in ("images", "masks"):
        (folder / "data" / kind).mkdir(parents=True)
    for path in sorted((plates / "images").iterdir())[::3]:
        mask = plates / "masks" / path.name
        array = np.asarray(PIL.Image.open(path))
        drawn = np.asarray(PIL.Image.open(mask)) if mask.is_file() else np.zeros(array.shape[:2])
        np.save(folder / "data" / "images" / f"{path.stem}.npy", array)
        np.save(folder / "data" / "masks" / f"{path.stem}.npy", (drawn > 0).astype(np.uint8))
    predict(run, folder / "data" / "images", folder / "out", probabilities=True)
    return folder, run


def test_image_scores_survive_a_round_trip_through_files(trip):
    folder, run = trip
    scorer = ModelScorer(load_model(run / "bundle"))
    classes = scorer.model.classes
    files = ScoreFiles(folder / "out" / "probabilities", DataOptions(str(folder / "data")))
    evaluation = evaluate_files(files, folder / "evaluation")
    lines = lines_of(evaluation.cases_csv)
    assert len(lines) == 14
    for path in sorted((folder / "data" / "images").iterdir()):
        image = read_image((path,))
        found = scorer.score(image)
        row = score_regions(
            found.probabilities, np.zeros(image.array.shape[1:], np.uint8), classes,
            case_id=path.stem, presence=found.presence,
        ).rows[0]  # fmt: skip
        assert float(lines[path.stem]["presence"]) == row.presence
        assert float(lines[path.stem]["top_score"]) == row.top
        assert float(lines[path.stem]["image_score"]) == row.image_score


def test_an_interrupted_prediction_goes_on_with_the_file(trip, tmp_path):
    folder, run = trip
    out = shutil.copytree(folder / "out", tmp_path / "out")
    whole = (out / "probabilities" / NAME).read_bytes()
    lines = whole.decode().splitlines(keepends=True)
    # Killed while the line of the last case was written: its label map is not there yet.
    (out / "probabilities" / NAME).write_text("".join(lines)[:-4], encoding="utf-8")
    last = sorted((folder / "data" / "images").iterdir())[-1].name
    (out / last).unlink()
    predict(run, folder / "data" / "images", out, probabilities=True)
    assert (out / "probabilities" / NAME).read_bytes() == whole


def test_a_model_that_tells_no_presence_writes_no_file(finished, specks, tmp_path):
    predict(finished, specks / "images", tmp_path / "out", probabilities=True)
    assert (tmp_path / "out" / "probabilities" / REGION).is_dir()
    assert not (tmp_path / "out" / "probabilities" / NAME).exists()
