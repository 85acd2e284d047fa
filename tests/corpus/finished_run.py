"""The smallest finished run, for what reads runs."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

from corpus.faulty_data import whole
from rareseg.cli import main

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
    before, sys.argv = sys.argv, ["rareseg", "train", str(data), "--out", str(run), *SETTINGS]
    said, code = io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = before
    assert code == 0, said.getvalue()
    return data, run
