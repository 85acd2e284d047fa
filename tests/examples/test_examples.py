"""Every script in examples/ runs as its first lines say."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_sampler_and_the_decision_work_in_a_loop_of_ones_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "own_pytorch_loop.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "delivered (480, 480)" in done.stdout
    assert "OperatingPoint(region='foreground'" in done.stdout


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {"own_pytorch_loop.py"}
