"""One process at a time writes into a folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from rareseg.data.folder_lock import LOCK, is_lock, one_writer, sole_writer
from rareseg.errors import OutputError

HOLD = """
import sys, time
from pathlib import Path
from rareseg.data.folder_lock import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with (
            pytest.raises(OutputError, match=rf"is written to by process {first.pid} on"),
            sole_writer(folder),
        ):
            pass
        first.kill()
    with sole_writer(folder):  # whose holder was killed, so that its file stands there still
        assert (folder / LOCK).is_file()
    assert not (folder / LOCK).exists()


def test_one_process_may_hold_it_twice_and_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with sole_writer(folder), sole_writer(folder):
        pass
    assert not folder.exists()
    with sole_writer(folder):
        (folder / "file").write_text("x", encoding="utf-8")
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_the_same_folder_under_another_name_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with sole_writer(tmp_path / "run"), sole_writer(Path("run")), sole_writer(Path("./a/../run")):
        assert (tmp_path / "run" / LOCK).is_file()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_beside_leaves_what_is_locked_to_its_writer(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "store"
    with sole_writer(place, beside=True):
        assert not place.exists()
        assert is_lock(place.parent / f".store{LOCK}")
        place.mkdir()
    assert [path.name for path in place.parent.iterdir()] == ["store"]


def test_a_file_is_no_folder_to_write_into(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="is a file; name a folder"), sole_writer(file):
        pass
    assert file.read_text(encoding="utf-8") == "mine"


def test_who_waits_is_let_in_once_the_first_has_ended(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLD.replace("60", "1"), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with sole_writer(folder, wait_s=30.0):
            assert (folder / LOCK).is_file()


def test_a_function_holds_the_folder_that_its_argument_names(tmp_path: Path) -> None:
    @one_writer("place.parent")
    def work(number: int, place: Path) -> int:
        assert (place.parent / LOCK).is_file()
        return number

    assert work(3, place=tmp_path / "run" / "file") == 3
    assert list(tmp_path.iterdir()) == []
