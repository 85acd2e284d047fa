"""The benchmark of inference in its smallest form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_contender_gives_what_torch_gives():
    command = [sys.executable, ROOT / "benchmarks" / "inference.py", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--only", "2d", "--sides", "64"], capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if "photograph of 64²" in line]
    named = {row[1]: row for row in rows}
    assert {"monai", "torch 32"} <= set(named)
    assert all(float(row[2]) > 0 and float(row[3]) > 0 for row in rows)
    # One window of 64² is the whole photograph to MONAI, too.
    assert all(float(row[5]) < 0.02 for row in rows)
    assert float(named["monai"][5]) < 1e-5
