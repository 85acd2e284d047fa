"""One process at a time writes into a folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from rareseg.data.folder_lock import LOCK, sole_writer
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
