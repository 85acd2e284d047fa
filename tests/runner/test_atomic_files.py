import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rareseg.errors import WorkError
from rareseg_runner.atomic_files import (
    _RECEIPT,
    _RETIRED,
    atomic_folder,
    atomic_write,
    remove_leftovers,
)

KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from rareseg_runner.atomic_files import atomic_folder, atomic_write
root = Path(sys.argv[1])
with atomic_write(root / "a" / "file.txt") as one, atomic_folder(root / "b") as other:
    one.write_text("half")
    (other / "part").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_stood_is_kept_where_the_writer_fails(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("new")
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").touch()
    with atomic_folder(target) as temporary:
        (temporary / "new").touch()
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(WorkError, match=r"below\.txt could not be written"),
        atomic_write(tmp_path / "file" / "below.txt"),
    ):
        pass


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    left = sorted(tmp_path.rglob(".writing-*"))
    assert len(left) == 2
    assert sorted(remove_leftovers(tmp_path)) == left
    assert [p for p in tmp_path.rglob("*") if p.name != "a"] == []


def test_a_writer_removes_what_a_killed_one_left_beside_it(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED_WRITER, str(tmp_path)], check=False)
    (tmp_path / ".writing-of-another-program").touch()
    with atomic_write(tmp_path / "a" / "file.txt"), atomic_folder(tmp_path / "b"):
        pass
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert found == [".writing-of-another-program", "a", "a/file.txt", "b"]


def test_what_is_being_written_now_is_left_alone(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "mine.txt") as temporary:
        temporary.write_text("whole")
        assert remove_leftovers(tmp_path) == []
    assert (tmp_path / "mine.txt").read_text() == "whole"


def test_a_replaced_folder_is_removed_only_where_its_successor_stands(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; print(os.getpid())"]
    ended = subprocess.run(
        command, capture_output=True, encoding="utf-8", check=True
    ).stdout.strip()
    theirs = tmp_path / ".retired-x"
    retired = tmp_path / f"{_RETIRED}{ended}-x"
    (theirs / "store").mkdir(parents=True)
    (retired / "store").mkdir(parents=True)
    (tmp_path / "store").mkdir()
    assert remove_leftovers(tmp_path) == []  # no receipt of ours names what it holds
    (retired / _RECEIPT).write_text('"store"', encoding="utf-8")
    (retired / "precious.txt").touch()
    assert remove_leftovers(tmp_path) == []
    (retired / "precious.txt").unlink()
    (tmp_path / "store").rmdir()
    assert remove_leftovers(tmp_path) == []
    (tmp_path / "store").mkdir()
    assert remove_leftovers(tmp_path) == [retired]
    assert theirs.is_dir()


def test_names_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".writing-elsewhere").touch()
    assert remove_leftovers(tmp_path) == []
    assert remove_leftovers(tmp_path / "absent") == []
    assert [p.name for p in tmp_path.iterdir()] == [".writing-elsewhere"]
