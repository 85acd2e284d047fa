"""The smallest finished run, for what reads runs."""

from __future__ import annotations

from pathlib import Path

from command_line import call_main
from corpus.faulty_data import whole

SMALLEST_RUN = {
    "loss.presence": 0.0,
    "split.train": 0.4,
    "split.validation": 0.3,
    "split.test": 0.3,
    "sampling.patch_size": [8, 8],
    "sampling.batch_size": 2,
    "network.width": [4, 8, 8],
    "training.steps": 3,
    "training.threads": 1,
    "training.precision": 32,
    "prediction.precision": 32,
}
SETTINGS = [f"--set={key}={value}" for key, value in SMALLEST_RUN.items()]


def make_run(place: Path) -> tuple[Path, Path]:
    """Write ``data`` and ``run`` below a folder, and return both."""
    data, run = whole(place / "data", count=12), place / "run"
    called = call_main("train", data, "--out", run, *SETTINGS)
    assert called.code == 0, called.err
    return data, run
