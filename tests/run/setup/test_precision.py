"""In which arithmetic a run learns and predicts: settled once, and kept."""

import json
import shutil

import pytest

from rareseg.prediction.bundle import load_model
from rareseg.recipe import read_recipe

AUTO = {"training__precision": "auto", "prediction__precision": "auto"}


@pytest.fixture(scope="module")
def tried(specks, call, settings, tmp_path_factory):
    """A finished run that left both precisions to the machine."""
    run = tmp_path_factory.mktemp("tried") / "run"
    called = call("train", specks, "--out", run, *settings(**AUTO, training__steps=20))
    assert called.code == 0, called.err
    return run


@pytest.fixture
def run(tried, tmp_path):
    """A copy of it."""
    return shutil.copytree(tried, tmp_path / "run")


@pytest.fixture
def again(settings):
    """The settings that it was begun with; keywords replace others."""
    return lambda **other: settings(**(AUTO | {"training__steps": 20} | other))


def test_what_was_tried_stands_in_the_recipe_with_its_reason(tried):
    recipe = read_recipe(tried / "recipe.yaml")
    assert {recipe.training.precision, recipe.prediction.precision} <= {"32", "bf16"}
    assert load_model(tried / "bundle").precision == recipe.prediction.precision
    lines = (tried / "recipe.yaml").read_text(encoding="utf-8").splitlines()
    notes = [lines[n - 1] for n, line in enumerate(lines) if line.startswith("  precision:")]
    assert len(notes) == 2
    assert all("bf16" in note or "float" in note for note in notes)
    assert not any("auto" in note for note in notes)


def test_a_call_that_leaves_it_to_the_machine_changes_nothing(run, specks, call, again):
    before = (run / "recipe.yaml").read_bytes()
    called = call("train", specks, "--out", run, *again())
    assert called.code == 0, called.err
    assert (run / "recipe.yaml").read_bytes() == before


@pytest.mark.parametrize("section", ["training", "prediction"])
def test_another_arithmetic_is_another_run(section, run, specks, call, again):
    used = getattr(read_recipe(run / "recipe.yaml"), section).precision
    other = "bf16" if used == "32" else "32"
    called = call("train", specks, "--out", run, *again(**{f"{section}__precision": other}))
    assert called.code == 1
    assert f"{section}.precision: {used} → {other}" in called.err


def test_a_run_begun_before_prediction_had_its_own_goes_on(run, specks, call, again):
    recipe = (run / "recipe.yaml").read_text(encoding="utf-8")
    before, prediction = recipe.split("prediction:\n")
    lines = prediction.splitlines(keepends=True)
    (place,) = (n for n, line in enumerate(lines) if line.startswith("  precision:"))
    older = before + "prediction:\n" + "".join(lines[: place - 1] + lines[place + 1 :])
    (run / "recipe.yaml").write_text(older, encoding="utf-8")
    assert read_recipe(run / "recipe.yaml").prediction.precision == "auto"
    weights = (run / "bundle/weights.safetensors").read_bytes()
    (run / "bundle/bundle.json").unlink()  # so that it has something left to do
    called = call("train", specks, "--out", run, *again())
    assert called.code == 0, called.err
    assert (run / "bundle/weights.safetensors").read_bytes() == weights
    used = read_recipe(run / "recipe.yaml").training.precision
    bundle = load_model(run / "bundle")
    assert bundle.precision == bundle.recipe.prediction.precision == used


def test_training_and_prediction_compute_each_in_its_own(specks, call, settings, tmp_path):
    run = tmp_path / "run"
    apart = {"training.precision": "32", "prediction.precision": "bf16"}
    short = settings(training__steps=2, training__validations=1, training__validation_cases=4)
    called = call("train", specks, "--out", run, *short, *_set(apart))
    assert called.code == 0, called.err
    recorded = json.loads((run / "bundle/bundle.json").read_text(encoding="utf-8"))
    assert recorded["precision"] == "bf16"
    assert recorded["recipe"]["training"]["precision"] == "32"


def _set(values):
    return [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
