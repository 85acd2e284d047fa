"""The model card of a run: what it says, when it is written again, and that it keeps no secret."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from rareseg import __version__
from rareseg.decision.decisions import Decisions
from rareseg.decision.guarantees.guarantee import make_guarantee
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.report.wording.default_point_text import evidence_lines
from rareseg.run.certify import certify
from rareseg.run.outputs.model_card_file import write_model_card
from rareseg.run.scores.network_source import NetworkSource
from rareseg.run.setup.run_folder import RunFolder
from rareseg.run.tune import Rule, tune_source

HEADINGS = (
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Certificates",
    "Ethical considerations",
    "Caveats and recommendations",
)
LOOSE = make_guarantee("false negative rate", 0.6, confidence=None)


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of the finished run, free to be changed."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def card_of(run: Path) -> str:
    return (run / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")


def section(card: str, title: str) -> str:
    """Return what stands below one heading of the second level."""
    return re.split(r"^## ", card.split(f"\n## {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_training_ends_with_a_card_under_the_headings_of_the_field(finished):
    card = card_of(finished)
    assert tuple(re.findall(r"^## (.+)$", card, flags=re.MULTILINE)) == HEADINGS
    bundle = load_model(finished / "bundle")
    assert f"rareseg {__version__}, finished on {bundle.training.finished}" in card
    assert bundle.training.data in section(card, "Training data")
    assert bundle.digest in section(card, "Model details")
    assert "All weights began at random" in card
    assert "makers of the model" in card


def test_it_counts_the_cases_of_each_role(finished):
    rows = list(csv.DictReader((finished / "split.csv").open()))
    told = section(card_of(finished), "Training data")
    for role in ("train", "validation", "test"):
        own = [row for row in rows if row["role"] == role]
        groups = {row["group"] for row in own}
        assert re.search(rf"\| {role} \| {len(own)} \| {len(groups)} \| \d+ \|", told), role


def test_its_figures_are_those_of_the_scorecard(finished):
    record = json.loads((finished / "scorecard.json").read_text(encoding="utf-8"))
    (part,) = record["scorecards"][record["headline"]]["regions"]
    told = section(card_of(finished), "Quantitative analyses")
    dice = part["positives"]["dice"]
    assert f"{dice['value']:.2f} ({dice['low']:.2f}–{dice['high']:.2f})" in told
    assert f"present): {part['positives']['n_cases']} cases" in told
    assert f"absent): {part['negatives']['n_cases']} cases" in told
    assert "the point in use." in told
    assert dice["method"] in told.splitlines()[-2]


def test_it_says_where_each_region_is_cut_and_what_is_guaranteed(finished):
    card = card_of(finished)
    (point,) = load_decisions(finished / "bundle").points.values()
    lines = evidence_lines(point)
    assert any("left out of the choice" in line for line in lines)
    assert all(f"\n  - {line}.\n" in card for line in lines)
    assert f"chosen for {point.objective} on {point.n_positive} positive" in card
    assert section(card, "Certificates").strip() == f"- {point.region}: none."


def test_it_warns_of_what_the_verdict_warns_of_without_a_name(finished):
    record = json.loads((finished / "scorecard.json").read_text(encoding="utf-8"))
    told = section(card_of(finished), "Caveats and recommendations")
    few = [s["text"] for s in record["verdicts"] if "rests on only" in s["text"]]
    assert few
    assert all(text in told for text in few)
    assert "learned from only" in told


def test_it_names_no_folder_no_case_and_no_group(finished, specks):
    card = card_of(finished)
    rows = list(csv.DictReader((finished / "split.csv").open()))
    words = set(re.findall(r"[\w./-]+", card))
    assert not words & {row["id"] for row in rows}
    assert not words & {row["group"] for row in rows}
    for folder in (finished, specks, Path.home(), Path.cwd()):
        assert str(folder) not in card


def test_equal_records_give_an_equal_card_wherever_they_lie(run, finished, tmp_path):
    assert card_of(run) == card_of(finished)
    (run / "bundle" / "MODEL_CARD.md").unlink()
    moved = run.rename(tmp_path / "elsewhere")
    write_model_card(RunFolder(moved))
    assert card_of(moved) == card_of(finished)


def test_another_point_is_told_at_once_and_its_figures_when_they_are_measured(
    run, specks, call, tmp_path
):
    (region,) = load_decisions(run / "bundle").points
    tune_source(NetworkSource.open(run), Rule.by_hand(0.25, smallest=2))
    card = card_of(run)
    assert "at or above 0.250; components smaller than 2 pixels removed" in section(card, "Metrics")
    told = section(card, "Quantitative analyses")
    assert "before the point that is now in use was chosen" in told
    assert f"{region} was not measured at the point in use" in card
    before = (run / "scorecard.json").read_bytes()
    called = call("evaluate", run, specks, "--out", tmp_path / "again")
    assert called.code == 0, called.err
    told = section(card_of(run), "Quantitative analyses")
    assert "Measured at threshold 0.250, smallest component 2 pixels, the point in use." in told
    record = json.loads((tmp_path / "again" / "scorecard.json").read_text(encoding="utf-8"))
    (part,) = record["scorecards"][record["headline"]]["regions"]
    assert f"{part['positives']['dice']['value']:.2f} (" in told
    assert (run / "scorecard.json").read_bytes() == before
    assert str(tmp_path) not in card_of(run)


def test_what_was_asked_of_one_evaluation_is_no_part_of_the_card(run, specks, call, tmp_path):
    before = card_of(run)
    asked = ("--priority", "recall", "--against", run)
    called = call("evaluate", run, specks, "--out", tmp_path / "again", *asked)
    assert called.code == 0, called.err
    assert card_of(run) == before


def test_a_certificate_stands_in_the_card_while_its_point_is_in_use(run):
    rows = (run / "split.csv").read_text().splitlines()
    moved = [row.replace(",test", ",certify") for row in rows]
    (run / "split.csv").write_text("\n".join(moved) + "\n")
    (run / "data_identity.json").unlink()  # to which the split is bound
    (kept,) = certify(run, LOOSE).values()
    told = section(card_of(run), "Certificates")
    assert kept.statement.sentence[1:] in told
    assert kept.statement.cases in told
    assert "backend torch on cpu" in told
    tune_source(NetworkSource.open(run), Rule.by_hand(0.3))
    told = section(card_of(run), "Certificates")
    assert "foreground: none." in told
    assert "1 earlier statement about other points" in told


def test_a_calibration_is_told(run, call):
    assert "not calibrated" in card_of(run)
    assert call("calibrate", run).code == 0
    (fitted,) = load_decisions(run / "bundle").calibration.values()
    assert fitted.sentence in card_of(run)


def test_a_region_without_a_point_says_why(run):
    Decisions.none(["foreground"], "no validation case holds it").save(run / "bundle")
    write_model_card(RunFolder(run))
    card = card_of(run)
    assert "- foreground: no operating point: no validation case holds it." in card
    assert "no operating point is in use" in card


def test_runs_of_before_have_a_card_as_far_as_they_recorded(run):
    path = run / "bundle" / "bundle.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for key in ("rareseg", "finished", "encoder_weights"):
        del content["trained"][key]
    path.write_text(json.dumps(content))
    scorecards = run / "scores" / "test_scorecard.json"
    newest = json.loads(scorecards.read_text(encoding="utf-8"))
    scorecards.unlink()
    write_model_card(RunFolder(run))
    card = card_of(run)
    assert "rareseg (version not recorded), finished on (date not recorded)" in card
    assert "the point in use." in section(card, "Quantitative analyses")
    for region in newest["scorecards"][newest["headline"]]["regions"]:
        del region["negatives"]
    scorecards.write_text(json.dumps(newest))
    write_model_card(RunFolder(run))
    assert "Nothing was measured" in section(card_of(run), "Quantitative analyses")
