"""The loop closes: reviewed data train with the same split, and two runs meet on one truth."""

import csv
import json

from rareseg.quality.suspects import load_suspects
from rareseg.review.answers import Answers
from rareseg.review.case_predictions import CasePredictions
from rareseg.run.setup.run_folder import open_run
from rareseg.run.setup.split_files import read_split


def cases_of(folder):
    with (folder / "cases.csv").open(newline="", encoding="utf-8") as file:
        return {line["case"]: line for line in csv.DictReader(file)}


def counted(line) -> int:
    return sum(int(line[name]) for name in ("tp", "fp", "fn", "tn"))


def test_review_train_and_compare_on_the_reviewed_and_on_the_first_truth(run, call, tmp_path):
    seen = CasePredictions(open_run(run), run / "review" / "predictions").digest
    suspects = load_suspects(run / "suspects.json")
    roles = read_split(run / "split.csv")
    tests = [s for s in suspects if roles[s.case_id] == "test"]
    ignored = next(s for s in tests if s.kind == "spurious label")
    with Answers(run / "review" / "decisions.sqlite") as answers:
        for item in suspects:
            verdict = "accept prediction" if roles[item.case_id] == "train" else "accept label"
            verdict = "ignore region" if item == ignored else verdict
            answers.record(item, reviewer="Ada", verdict=verdict, seen=seen)

    called = call("apply-review", run, "--out", tmp_path / "new", "--json")
    assert called.code == 0, called.err
    record = json.loads(called.out)
    assert record["test_cases"] == [ignored.case_id]
    assert len(record["corrected"]) > 2

    recipe = ("--recipe", run / "recipe.yaml", "--set", "training.steps=12")
    # Another length is another recipe; all else is the first run's.
    called = call("train", tmp_path / "new", "--out", tmp_path / "again", *recipe)
    assert called.code == 0, called.err
    assert read_split(tmp_path / "again" / "split.csv") == roles

    def evaluate(of, data, out, *options):
        called = call("evaluate", of, tmp_path / "new" / data, "--out", tmp_path / out, *options)
        assert called.code == 0, called.err
        return cases_of(tmp_path / out)

    old = evaluate(run, "test.csv", "old")  # a run that never knew of an ignored value
    new = evaluate(tmp_path / "again", "test.csv", "now", "--against", tmp_path / "old")
    wanted = {name for name, role in roles.items() if role == "test"}
    assert set(old) == set(new) == wanted
    left_out = record["corrected"][ignored.case_id]
    for name in wanted:
        assert counted(old[name]) == counted(new[name])
        assert counted(old[name]) == 64 * 64 - (left_out if name == ignored.case_id else 0)
    scorecard = json.loads((tmp_path / "now" / "scorecard.json").read_text(encoding="utf-8"))
    lines = scorecard["against"]["regions"]["foreground"]
    assert scorecard["against"]["name"] == "old"
    assert {line["measure"]: line["n_cases"] for line in lines}["false positive components"] == len(
        wanted
    )

    # Against what was drawn at first, the run's own evaluation serves.
    drawn = evaluate(tmp_path / "again", "test_as_drawn.csv", "drawn", "--against", run)
    assert set(drawn) == wanted
    assert {counted(line) for line in drawn.values()} == {64 * 64}
    assert drawn[ignored.case_id]["fn"] != new[ignored.case_id]["fn"] or left_out == 0


def test_commands_say_what_is_missing(run, call, tmp_path):
    called = call("apply-review", run, "--out", tmp_path / "new")
    assert called.code == 1
    assert "was never reviewed; call `rareseg review" in called.err
    called = call("review", tmp_path, "--no-browser")
    assert called.code == 1
    assert "is no run" in called.err
    called = call("review", run, "--no-browser", "--reviewer", " ")
    assert called.code == 2
    assert "A reviewer's name" in called.err
    (run / "suspects.json").write_text("{}")
    called = call("review", run, "--no-browser")
    assert called.code == 1
    assert "suspects.json holds no list of suspects" in called.err
