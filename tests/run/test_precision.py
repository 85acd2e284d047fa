"""In which arithmetic a run learns and predicts: settled once, and kept."""

import json
import shutil

import pytest

from rareseg.prediction.bundle import load_model
from rareseg.recipe import read_recipe


@pytest.fixture
def run(finished, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(finished, tmp_path / "run")


def test_what_was_tried_stands_in_the_recipe_with_its_reason(finished):
    recipe = read_recipe(finished / "recipe.yaml")
    assert {recipe.training.precision, recipe.prediction.precision} <= {"32", "bf16"}
    assert load_model(finished / "bundle").precision == recipe.prediction.precision
    lines = (finished / "recipe.yaml").read_text(encoding="utf-8").splitlines()
    notes = [lines[n - 1] for n, line in enumerate(lines) if line.startswith("  precision:")]
    assert len(notes) == 2
    assert all("bf16" in note or "bfloat16" in note for note in notes)
    assert not any("auto" in note for note in notes)


def test_a_call_that_leaves_it_to_the_machine_changes_nothing(run, specks, call, settings):
    before = (run / "recipe.yaml").read_bytes()
    left = settings(training__precision="auto", prediction__precision="auto")
    again = call("train", specks, "--out", run, *left)
    assert again.code == 0, again.err
    assert (run / "recipe.yaml").read_bytes() == before


@pytest.mark.parametrize("section", ["training", "prediction"])
def test_another_arithmetic_is_another_run(section, run, specks, call, settings):
    used = getattr(read_recipe(run / "recipe.yaml"), section).precision
    other = "bf16" if used == "32" else "32"
    called = call("train", specks, "--out", run, *settings(**{f"{section}.precision": other}))
    assert called.code == 1
    assert f"{section}.precision: {used} → {other}" in called.err


def test_a_run_begun_before_prediction_had_its_own_goes_on(run, specks, call, settings):
    recipe = (run / "recipe.yaml").read_text(encoding="utf-8")
    before, prediction = recipe.split("prediction:\n")
    lines = prediction.splitlines(keepends=True)
    (place,) = (n for n, line in enumerate(lines) if line.startswith("  precision:"))
    older = before + "prediction:\n" + "".join(lines[: place - 1] + lines[place + 1 :])
    (run / "recipe.yaml").write_text(older, encoding="utf-8")
    assert read_recipe(run / "recipe.yaml").prediction.precision == "auto"
    weights = (run / "bundle/weights.safetensors").read_bytes()
    (run / "bundle/bundle.json").unlink()  # so that it has something left to do
    again = call("train", specks, "--out", run, *settings())
    assert again.code == 0, again.err
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
