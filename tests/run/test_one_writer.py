"""While one process writes into a folder, every command that would write there is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rareseg.data.folder_lock import is_lock

HOLD = """
import sys, time
from pathlib import Path
from rareseg.data.folder_lock import sole_writer
with sole_writer(Path(sys.argv[1]), beside=sys.argv[2] == "beside"):
    print("held", flush=True)
    time.sleep(120)
"""


@contextmanager
def held(folder: Path, *, beside: bool = False) -> Iterator[int]:
    """Another process that holds the lock of a folder while the block runs; its number."""
    command = [sys.executable, "-c", HOLD, str(folder), "beside" if beside else "within"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other.pid
        other.kill()


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and not is_lock(path))
    return {path.name: path.read_bytes() for path in found}


@pytest.mark.parametrize("words", [("tune",), ("calibrate",), ("suspects",)])
def test_a_command_that_writes_into_a_run_in_use_is_refused(call, run, words) -> None:
    before = files(run)
    with held(run) as number:
        called = call(words[0], run, *words[1:])
    assert called.code == 2
    assert f"is written to by process {number} on" in called.err
    assert "Traceback" not in called.err
    assert files(run) == before


def test_a_command_that_writes_into_a_folder_in_use_is_refused(call, run, specks, tmp_path) -> None:
    out = tmp_path / "out"
    for words in (
        ("predict", run, specks / "images"),
        ("evaluate", run, specks),
        ("audit", specks),
        ("demo",),
        ("train", specks),
    ):
        with held(out) as number:
            called = call(*words, "--out", out)
            assert called.code == 2, words
            assert f"is written to by process {number} on" in called.err, words
            assert [path.name for path in out.iterdir() if not is_lock(path)] == []


def test_a_place_that_is_renamed_into_is_locked_beside_it(call, run, specks, tmp_path) -> None:
    for words, name in (
        (("preview", specks), "sheet.png"),
        (("plan", specks), "recipe.yaml"),
        (("apply-review", run), "reviewed"),
        (("consensus", specks), "agreed"),
    ):
        out = tmp_path / name
        with held(out, beside=True) as number:
            called = call(*words, "--out", out)
        assert called.code in (1, 2), words
        if words[0] != "consensus":  # which says first that nobody else drew these
            assert f"is written to by process {number} on" in called.err, words
        assert not out.exists()


def test_what_a_killed_process_left_holds_nobody_back(call, run, specks, tmp_path) -> None:
    out = tmp_path / "predicted"
    with held(out):
        pass  # killed
    assert any(is_lock(path) for path in out.iterdir())
    called = call("predict", run, specks / "images", "--out", out)
    assert called.code == 0, called.err
    assert not any(is_lock(path) for path in out.iterdir())


def test_two_evaluations_of_one_run_write_side_by_side(call, run, specks, tmp_path) -> None:
    with held(tmp_path / "first"):
        called = call("evaluate", run, specks, "--out", tmp_path / "second")
    assert called.code == 0, called.err
