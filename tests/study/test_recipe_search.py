"""A search from call to recipe, gone on with, and honest about what it looked at."""

from __future__ import annotations

import contextlib
import csv
import json

import pytest

from rareseg.errors import RunError
from rareseg.prediction.bundle import load_decisions
from rareseg.recipe import read_recipe
from rareseg.run.setup.split_files import read_split
from rareseg.study import job_queue, recipe_search
from rareseg.study.job_queue import JobQueue, State
from rareseg.study.optuna_trials import STARTUP
from rareseg.study.study_database import StudyDatabase

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
    assert f"{float(best['value']):.3f} on the validation cases" in called.out
    # The value is that of the points in the bundle, chosen on the validation cases.
    number = int(best["trial"]) - 1
    point = load_decisions(out / "trials" / f"{number:04d}" / "bundle").points["foreground"]
    assert point.value == pytest.approx(float(best["value"]))


def test_the_first_trial_has_the_values_that_were_there(searched):
    assert float(trials(searched[0])[0]["training.learning_rate"]) == 0.02


def test_no_test_case_is_scored(searched):
    out, _ = searched
    for run in (out / "trials").iterdir():
        assert "test" in read_split(run / "split.csv").values()
        assert (run / "scores" / "validation.npz").is_file()
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


def queue_of(out):
    return JobQueue(StudyDatabase(f"sqlite:///{out / 'study.db'}", out.name))


def test_an_interrupted_trial_goes_on_with_its_draw(specks, settings, call, tmp_path, monkeypatch):
    """Stopped after its first validation; called again, it trains what is left of the same."""
    out, learned, steps = tmp_path / "out", recipe_search.learn, []

    def stopped(*arguments, on_validation, **options):
        def hear_and_stop(step, score):
            on_validation(step, score)
            steps.append(step)
            if len(steps) == 1:
                raise KeyboardInterrupt

        return learned(*arguments, on_validation=hear_and_stop, **options)

    monkeypatch.setattr(recipe_search, "learn", stopped)
    arguments = (
        "search", specks, "--out", out, *SPACE, "--trials", 1, "--steps", 25,
        *settings(training__validations=5),
    )  # fmt: skip
    with contextlib.suppress(KeyboardInterrupt):
        assert call(*arguments).code != 0
    (left,) = queue_of(out).records()
    assert left.state == State.WAITING
    assert list(left.task["scores"]) == [str(steps[0])]
    assert call(*arguments).code == 0
    (done,) = queue_of(out).records()
    assert done.task["drawn"] == left.task["drawn"]
    assert len(done.task["scores"]) == 5
    assert [line["state"] for line in trials(out)] == ["recorded"]


def test_a_worker_that_was_taken_for_killed_leaves_the_trial_to_the_other(
    specks, settings, call, tmp_path, monkeypatch
):
    """As a laptop that slept: another worker has claimed the trial while it trains."""
    learned, others = recipe_search.learn, []

    def slept(*arguments, **options):
        if not others:
            monkeypatch.setattr(job_queue, "DEAD_AFTER", -2)
            others.append(queue_of(tmp_path / "out").claim())
            monkeypatch.setattr(job_queue, "DEAD_AFTER", 600)
            queue_of(tmp_path / "out").complete(others[0], {"value": 0.25, "seconds": 1.0})
        return learned(*arguments, **options)

    monkeypatch.setattr(recipe_search, "learn", slept)
    called = call(
        "search", specks, "--out", tmp_path / "out", *SPACE, "--trials", 1, "--steps", 25,
        *settings(),
    )  # fmt: skip
    assert called.code == 0, called.err
    assert "trial 1 was taken over by another worker" in called.out
    assert [line["value"] for line in trials(tmp_path / "out")] == ["0.25"]


def test_a_trial_that_failed_stays_failed_and_another_can_be_asked_for(
    specks, settings, call, tmp_path, monkeypatch
):
    learned, full = recipe_search.learn, iter([True])

    def learn(*arguments, **options):
        if next(full, False):
            raise RunError("The memory is full.")
        return learned(*arguments, **options)

    monkeypatch.setattr(recipe_search, "learn", learn)
    arguments = ("search", specks, "--out", tmp_path / "out", *SPACE, "--steps", 25, *settings())
    called = call(*arguments, "--trials", 1)
    assert called.code == 1
    assert "No trial" in called.err
    assert "The memory is full" in called.err
    assert call(*arguments, "--trials", 1).code == 1
    called = call(*arguments, "--trials", 2)
    assert called.code == 0, called.err
    lines = trials(tmp_path / "out")
    assert [(li["state"], li["error"]) for li in lines] == [
        ("failed", "The memory is full."),
        ("recorded", ""),
    ]


def test_two_processes_make_as_many_trials_as_are_wanted(specks, settings, call, tmp_path):
    called = call(
        "search", specks, "--out", tmp_path / "out", *SPACE, "--trials", 4, "--steps", 20,
        "--parallel", 2, *settings(),
    )  # fmt: skip
    assert called.code == 0, called.err
    lines = trials(tmp_path / "out")
    assert [line["trial"] for line in lines] == ["1", "2", "3", "4"]
    assert all(line["state"] == "recorded" for line in lines)
    assert len({line["training.learning_rate"] for line in lines}) == 4


def test_regions_and_goals_that_are_none_are_refused(specks, settings, call, tmp_path):
    for arguments, word in (
        (("--region", "forground"), "did you mean 'foreground'"),
        (("--maximize", "dise"), "did you mean 'dice'"),
    ):
        called = call("search", specks, "--out", tmp_path / "out", *arguments, *settings())
        assert called.code == 2
        assert word in called.err
