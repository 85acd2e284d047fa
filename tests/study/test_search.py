"""A search from call to recipe, gone on with, and honest about what it looked at."""

from __future__ import annotations

import csv
import json

import optuna
import pytest
from optuna.trial import TrialState

from rareseg.recipe import read_recipe
from rareseg.run.folder import read_split
from rareseg.study import search
from rareseg.study.search import STARTUP

SPACE = (
    "--range", "training.learning_rate=1e-4..5e-2:log", "--choice", "loss.name=focal|cross_entropy",
)  # fmt: skip


def trials(out):
    with (out / "trials.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def searched(specks, settings, call, tmp_path_factory):
    out = tmp_path_factory.mktemp("searched") / "out"
    called = call("search", specks, "--out", out, *SPACE, "--trials", 4, "--steps", 25, *settings())
    assert called.code == 0, called.err
    return out, called


def test_the_best_recipe_is_the_one_whose_point_reached_most(searched):
    out, called = searched
    lines = trials(out)
    assert len(lines) == 4
    assert all(line["state"] == "recorded" for line in lines)
    best = max(lines, key=lambda line: float(line["value"]))
    recipe = read_recipe(out / "best.yaml")
    assert recipe.training.learning_rate == float(best["training.learning_rate"])
    assert recipe.loss.name == best["loss.name"]
    assert recipe.training.steps == 25
    assert f"{float(best['value']):.3f} on the select cases" in called.out
    # The value is that of the points in the bundle, chosen on the select cases.
    number = int(best["trial"]) - 1
    record = json.loads((out / "trials" / f"{number:04d}" / "decision.json").read_text())
    assert record["foreground"]["found"]["value"] == pytest.approx(float(best["value"]))


def test_the_first_trial_has_the_values_that_were_there(searched):
    assert float(trials(searched[0])[0]["training.learning_rate"]) == 0.02


def test_no_test_case_is_scored(searched):
    out, _ = searched
    for run in (out / "trials").iterdir():
        assert "test" in read_split(run / "split.csv").values()
        assert (run / "scores" / "select.npz").is_file()
        assert not (run / "scores" / "test.npz").exists()


def test_the_same_seed_draws_the_same(searched, specks, settings, call, tmp_path):
    again = call(
        "search", specks, "--out", tmp_path / "out", *SPACE, "--trials", 3, "--steps", 25,
        *settings(), "--json",
    )  # fmt: skip
    assert again.code == 0, again.err
    drawn = [line["training.learning_rate"] for line in trials(tmp_path / "out")]
    assert drawn == [line["training.learning_rate"] for line in trials(searched[0])][:3]
    assert json.loads(again.out)["n_recorded"] == 3


def test_called_again_with_more_trials_it_goes_on(searched, specks, settings, call):
    out, _ = searched
    before = trials(out)
    called = call("search", specks, "--out", out, *SPACE, "--trials", 5, "--steps", 25, *settings())
    assert called.code == 0, called.err
    assert trials(out)[:4] == before
    assert len(trials(out)) == 5
    other = call("search", specks, "--out", out, "--trials", 6, "--steps", 25, *settings())
    assert other.code == 1
    assert "space" in other.err


def test_the_recipe_trains(searched, specks, call, tmp_path):
    out, _ = searched
    called = call("train", specks, "--out", tmp_path / "run", "--recipe", out / "best.yaml")
    assert called.code == 0, called.err
    one = read_split(next((out / "trials").iterdir()) / "split.csv")
    assert read_split(tmp_path / "run" / "split.csv") == one


def test_what_falls_behind_is_given_up(specks, settings, call, tmp_path):
    """Most draws of this space learn nothing, so that some of those after the first end early."""
    called = call(
        "search", specks, "--out", tmp_path / "out", "--range",
        "training.learning_rate=1e-6..5e-2:log", "--trials", STARTUP + 5, "--steps", 24,
        *settings(),
    )  # fmt: skip
    assert called.code == 0, called.err
    states = [line["state"] for line in trials(tmp_path / "out")]
    assert states[:STARTUP] == ["recorded"] * STARTUP
    assert "given up" in states[STARTUP:]
    assert all(
        (li["value"] == "") == (li["state"] == "given up") for li in trials(tmp_path / "out")
    )
    assert "was given up: it fell behind the others" in called.out


def test_the_draw_of_a_killed_worker_is_tried_again(searched, specks, settings, call, tmp_path):
    out = tmp_path / "out"
    arguments = ("search", specks, "--out", out, *SPACE, "--steps", 25, *settings())
    assert call(*arguments, "--trials", 1).code == 0
    study = optuna.load_study(study_name="out", storage=f"sqlite:///{out / 'study.db'}")
    lost = study.ask()
    lost.suggest_float("training.learning_rate", 1e-4, 5e-2, log=True)
    lost.suggest_categorical("loss.name", ["focal", "cross_entropy"])
    study.tell(lost, state=TrialState.FAIL)  # as a heartbeat that stopped does
    assert call(*arguments, "--trials", 2).code == 0
    lines = trials(out)
    assert [line["state"] for line in lines] == ["recorded", "failed", "recorded"]
    drawn = [(line["training.learning_rate"], line["loss.name"]) for line in lines]
    assert drawn[1] == drawn[2]


def test_a_worker_that_was_taken_for_killed_goes_on_with_another_draw(
    specks, settings, call, tmp_path, monkeypatch
):
    """As a laptop that slept: the trial that it was at is failed while it trains."""
    learned = search.learn

    def slept(*arguments, **options):
        study = optuna.load_study(study_name="out", storage=f"sqlite:///{tmp_path}/out/study.db")
        running = [trial for trial in study.trials if trial.state == TrialState.RUNNING]
        if len(study.trials) == 1:
            study.tell(running[0].number, state=TrialState.FAIL)
        return learned(*arguments, **options)

    monkeypatch.setattr(search, "learn", slept)
    called = call(
        "search", specks, "--out", tmp_path / "out", *SPACE, "--trials", 1, "--steps", 25,
        *settings(),
    )  # fmt: skip
    assert called.code == 0, called.err
    assert "was taken over by another worker" in called.out
    assert [line["state"] for line in trials(tmp_path / "out")] == ["failed", "recorded"]


def test_regions_and_goals_that_are_none_are_refused(specks, settings, call, tmp_path):
    for arguments, word in (
        (("--region", "forground"), "did you mean 'foreground'"),
        (("--maximize", "dise"), "did you mean 'dice'"),
    ):
        called = call("search", specks, "--out", tmp_path / "out", *arguments, *settings())
        assert called.code == 2
        assert word in called.err
