"""A run that was killed and called again ends as one that was not, bit for bit."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

KILLING = Path(__file__).with_name("killing.py")
MOMENTS = {
    # Rows 20 and 40 of the log are written, the last checkpoint is of step 30.
    "in mid-training": ("step", 44),
    "before the first checkpoint": ("step", 7),
    "in mid-checkpoint": ("write", 21),
    "between best.pt and last.pt": ("last.pt", 2),
    "between weights and description": ("bundle.json", 1),
    "after the operating points": ("test.npz", 1),
}
CLOCK = {"seconds", "waiting_share"}
# Rounds of mining before steps 20 and 40; killed after the second, the last checkpoint being of
# step 30, whose state holds what the first found.
MINES = "a run that mines"
MINING = {
    "sampling.strategy": "hard",
    "mining.every": 20,
    "mining.voxels": 20,
    "mining.suspect_rounds": 1,
    "mining.suspect_confidence": 0.6,
}


@pytest.fixture(scope="module")
def killed(specks, settings, tmp_path_factory):
    """The runs that were killed, by moment, and the signals that ended them."""
    folder = tmp_path_factory.mktemp("killed")
    runs = {name: folder / f"run{number}" for number, name in enumerate(MOMENTS)}
    scenarios = [
        {
            "moment": moment,
            "number": number,
            "arguments": ["train", str(specks), "--out", str(runs[name]), *settings()],
        }
        for name, (moment, number) in MOMENTS.items()
    ]
    runs[MINES] = folder / "mines"
    mining = ["train", str(specks), "--out", str(runs[MINES]), *settings(**MINING)]
    scenarios.append({"moment": "step", "number": 44, "arguments": mining})
    done = subprocess.run(
        [sys.executable, str(KILLING), json.dumps(scenarios)],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=300,
    )
    signals = [int(line) for line in done.stdout.split("\n") if line.isdigit()]
    return runs, dict(zip(runs, signals, strict=True))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {key: value for key, value in row.items() if key not in CLOCK}
            for row in csv.DictReader(file)
        ]


def assert_same(left, right, where="state"):
    """Compare nested states; tensors bit for bit, times and days not at all."""
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right), where
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left.keys() - {"begun", "waited", "worked", "waiting_share", "finished"}:
            assert_same(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right), where
        for number, pair in enumerate(zip(left, right, strict=True)):
            assert_same(*pair, f"{where}[{number}]")
    else:
        assert left == right, where


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_ends_like_an_uninterrupted_one(
    moment, killed, finished, specks, settings, call
):
    runs, signals = killed
    run = runs[moment]
    assert signals[moment] == signal.SIGKILL
    assert not (run / "report.html").exists()
    resumed = call("train", specks, "--out", run, *settings())
    assert resumed.code == 0, resumed.err

    for name in (
        "bundle/weights.safetensors",
        "split.csv",
        "cases.csv",
        "training/validations.csv",
    ):
        assert (run / name).read_bytes() == (finished / name).read_bytes(), name
    assert rows(run / "training/steps.csv") == rows(finished / "training/steps.csv")
    assert not list(run.rglob(".writing-*")), "what the killed writer left is gone"
    for name in ("last.pt", "best.pt"):
        states = (
            torch.load(folder / "training" / name, weights_only=True) for folder in (run, finished)
        )
        assert_same(*states, name)
    bundles = (
        json.loads((f / "bundle/bundle.json").read_text(encoding="utf-8")) for f in (run, finished)
    )
    assert_same(*bundles, "bundle.json")


def test_a_killed_run_that_mines_ends_like_an_uninterrupted_one(
    killed, specks, settings, call, tmp_path
):
    runs, signals = killed
    assert signals[MINES] == signal.SIGKILL
    whole = tmp_path / "whole"
    for run in (runs[MINES], whole):
        done = call("train", specks, "--out", run, *settings(**MINING))
        assert done.code == 0, done.err
    record = json.loads((whole / "training/mining.json").read_text(encoding="utf-8"))
    assert [(known["round"], known["step"]) for known in record["rounds"]] == [(1, 20), (2, 40)]
    assert record["rounds"][0]["weights"] != record["rounds"][1]["weights"]
    assert all(sum(known["found"].values()) > 0 for known in record["rounds"])
    for name in ("bundle/weights.safetensors", "training/mining.json", "training/validations.csv"):
        assert (runs[MINES] / name).read_bytes() == (whole / name).read_bytes(), name
    states = (
        torch.load(run / "training/last.pt", weights_only=True) for run in (runs[MINES], whole)
    )
    assert_same(*states, "last.pt")


def test_the_log_has_a_row_for_every_twenty_steps_and_every_validation(finished):
    steps = rows(finished / "training/steps.csv")
    assert [row["step"] for row in steps] == ["20", "40", "60"]
    validations = rows(finished / "training/validations.csv")
    assert [row["step"] for row in validations] == ["15", "60"]
    last = float(validations[-1]["score"])
    trained = json.loads((finished / "bundle/bundle.json").read_text(encoding="utf-8"))["trained"]
    assert trained["validation_score"] == pytest.approx(last, rel=1e-5)


def test_called_again_a_finished_run_stays_as_it_is(finished, specks, settings, call, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    again = call("train", specks, "--out", run, *settings())
    assert again.code == 0, again.err
    files = {path.relative_to(run) for path in run.rglob("*") if path.is_file()}
    assert files == {p.relative_to(finished) for p in finished.rglob("*") if p.is_file()}
    # Archives hold the time at which they were written.
    for path in (path for path in files if path.suffix != ".npz"):
        assert (run / path).read_bytes() == (finished / path).read_bytes(), path
