"""The examples on other people's models run as their first lines say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rareseg.decision.decisions import Decisions

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, folder: Path) -> str:
    """Run an example on a folder and return what it printed."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), str(folder)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_nnunet_wrote_gets_a_point_a_certificate_and_a_report(tmp_path: Path) -> None:
    printed = run("outside_nnunet.py", tmp_path)
    assert "certificate for object" in printed
    assert "6 groups (assumes independent images) of declared certify cases" in printed
    assert "object, on 6 positive and 6 negative cases" in printed
    assert Decisions.load(tmp_path / "points", ["object"]).points["object"].mean_dice > 0.8
    assert (tmp_path / "evaluation" / "report.html").is_file()


@pytest.mark.slow
def test_what_monai_wrote_gets_a_point_and_a_report(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    printed = run("outside_monai.py", tmp_path)
    assert "foreground, on 6 positive and 6 negative cases" in printed
    # Only scores that lie on their images get so far.
    assert Decisions.load(tmp_path / "points", ["foreground"]).points["foreground"].mean_dice > 0.6
    assert (tmp_path / "evaluation" / "report.html").is_file()
