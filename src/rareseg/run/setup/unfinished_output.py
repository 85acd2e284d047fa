"""Note in a folder of results that not all of them are there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rareseg.run.setup.run_folder import UNFINISHED, held_entries, require_free
from rareseg_runner.atomic_files import atomic_write


@contextmanager
def unfinished(out: Path) -> Iterator[None]:
    """Note in the folder ``out``, while the block runs, that what it holds is not whole.

    Where the process is killed, or the disk is full, the note stays, and the next call may write
    there again. Raises :class:`OutputError` where the folder holds anything else.
    """
    require_free(out)
    with atomic_write(out / UNFINISHED) as temporary:
        temporary.write_text("what lies here is of a call that has not ended\n", encoding="utf-8")
    try:
        yield
    except BaseException:
        if [path.name for path in held_entries(out)] == [UNFINISHED]:
            (out / UNFINISHED).unlink()
        raise
    (out / UNFINISHED).unlink()
