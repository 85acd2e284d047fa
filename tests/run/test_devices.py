"""Two processes on one machine, as `--devices 2` starts them."""

import csv
import json
import subprocess
import sys

import pytest


def train(specks, run, settings):
    # Each process starts the others with its own command line, so that it must be a real one.
    command = ["-m", "rareseg", "train", str(specks), "--out", str(run)]
    options = ["--devices", "2", "--accelerator", "cpu", *settings]
    return subprocess.run(
        [sys.executable, *command, *options], capture_output=True, encoding="utf-8", timeout=300
    )


@pytest.mark.slow
def test_two_processes_train_one_model(specks, settings, tmp_path):
    run = tmp_path / "run"
    done = train(specks, run, settings(training__steps=40))
    assert done.returncode == 0, done.stderr
    # One process speaks, one report is written.
    assert done.stdout.count("cases train") == 1
    assert done.stdout.count("Report: ") == 1
    with (run / "training" / "steps.csv").open(newline="", encoding="utf-8") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["20", "40"]
    # The first process said what both compute in.
    assert "precision: auto" not in (run / "recipe.yaml").read_text(encoding="utf-8")
    weights = (run / "bundle" / "weights.safetensors").read_bytes()
    again = train(specks, run, settings(training__steps=40))
    assert again.returncode == 0, again.stderr
    assert (run / "bundle" / "weights.safetensors").read_bytes() == weights


@pytest.mark.slow
def test_two_processes_draw_from_what_one_mined(specks, settings, tmp_path):
    run = tmp_path / "run"
    mining = {"sampling.strategy": "hard", "mining.every": 10, "mining.voxels": 10}
    done = train(specks, run, settings(training__steps=30, **mining))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("mining round 1") == 1
    record = json.loads((run / "training" / "mining.json").read_text(encoding="utf-8"))
    assert [known["step"] for known in record["rounds"]] == [10, 20]


@pytest.mark.slow
def test_a_budget_is_shared(specks, settings, tmp_path):
    options = settings()
    place = options.index("training.steps=60")
    run = tmp_path / "run"
    options = [*options[: place - 1], *options[place + 1 :], "--budget", "60s"]
    done = train(specks, run, options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("steps fit into the budget") == 1


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_refused(specks, settings, tmp_path):
    done = train(specks, tmp_path / "run", settings(sampling__batch_size=3))
    assert done.returncode != 0
    assert "sampling.batch_size is 3, which 2 devices cannot share" in done.stderr
    assert not (tmp_path / "run" / "recipe.yaml").exists()
