"""Every script in examples/ runs as its first lines say."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, folder: Path) -> str:
    """Run an example as people do and return what it prints."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), str(folder)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason=f"{package} is not installed"
    )


def test_the_sampler_and_the_decision_work_in_a_loop_of_ones_own(tmp_path: Path) -> None:
    printed = run("own_pytorch_loop.py", tmp_path)
    assert "delivered (480, 480)" in printed
    assert "OperatingPoint(region='foreground'" in printed


def test_workers_give_the_batches_of_a_single_process(tmp_path: Path) -> None:
    printed = run("dataloader_workers.py", tmp_path)
    assert "delivered {'background': 240, 'foreground': 240}" in printed
    assert "the same batches in the same order: True" in printed


def test_ranks_draw_the_plan_of_a_single_process_before_and_after_mining(tmp_path: Path) -> None:
    printed = run("distributed.py", tmp_path)
    for epoch in (0, 1):
        assert f"epoch {epoch}: [80, 80] patches, together the plan of one process: True" in printed
    assert printed.count("voxels found hard") == 2


def test_a_model_in_one_file_is_called_on_arrays(tmp_path: Path) -> None:
    printed = run("predict_in_your_code.py", tmp_path)
    assert printed.count("photograph ") == 6
    assert "photograph 0: foreground\n  foreground at y " in printed
    assert ": nothing" in printed


def test_a_stream_is_watched_until_the_lamp_ages(tmp_path: Path) -> None:
    printed = run("watch_a_stream.py", tmp_path)
    assert "second: no change found" in printed
    assert "third: no change found" in printed
    assert "dark: changed\n" in printed
    assert "  mean of the images" in printed
    assert "groups to label in false-alarm-rate-20pc" in printed


@needs("lightning")
def test_lightning_resumes_in_mid_epoch_with_mined_pools(tmp_path: Path) -> None:
    printed = run("lightning_module.py", tmp_path)
    # Two rounds at one go, and after the checkpoint only the second again.
    assert printed.count("voxels found hard") == 3
    assert "resumed after step 18 of 24, the same weights: True" in printed
    assert "the same account: True" in printed


@needs("ignite")
@pytest.mark.slow
def test_monai_trains_on_exactly_the_shares_that_were_asked_for(tmp_path: Path) -> None:
    printed = run("monai_training.py", tmp_path)
    assert "80 of 160 patches from windows with foreground" in printed
    assert "80 of 160 patches from windows with nothing" in printed


def test_every_example_is_run_here() -> None:
    tests = Path(__file__).parents[1].rglob("test_*.py")
    source = "".join(path.read_text(encoding="utf-8") for path in tests if path != Path(__file__))
    source += Path(__file__).read_text(encoding="utf-8").split("def test_every_example")[0]
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in source] == []
