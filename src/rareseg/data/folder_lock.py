"""Let one process at a time write into a folder."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from rareseg.data.atomic_files import naming
from rareseg.errors import OutputError

LOCK = ".rareseg.lock"
"""The file that is locked: it stands in the folder while a process works there."""
_HOLDER = f"{LOCK}.json"
"""Says which process that is; apart, since some systems let nobody else read what is locked."""


def is_lock(path: Path) -> bool:
    """Whether a file is one of those that stand in a folder while a process works there."""
    return path.name in (LOCK, _HOLDER)


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made where it is absent, while the block runs.

    The operating system frees the lock of a process that ends, however it ends; the same process
    may take it again within. Raises OutputError, which names the process, where another one holds
    it, and WorkError where the folder cannot be made.
    """
    made = not folder.exists()
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK, is_singleton=True, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise OutputError(
            f"{folder} is written to by {_holder(folder)}; wait until it has ended, or choose "
            "another --out."
        ) from error
    first = lock.lock_counter == 1
    try:
        if first:
            about = {"process": os.getpid(), "machine": platform.node(), "command": sys.argv[1:2]}
            (folder / _HOLDER).write_text(json.dumps(about), encoding="utf-8")
        yield
    finally:
        if first:
            (folder / _HOLDER).unlink(missing_ok=True)
            with suppress(OSError):  # where a locked file stays, its release removes it
                (folder / LOCK).unlink(missing_ok=True)
        lock.release()
        if first and made:
            with suppress(OSError):  # it holds something, as it should
                folder.rmdir()


def _holder(folder: Path) -> str:
    """Say which process holds the lock, as far as it has said so."""
    try:
        about = json.loads((folder / _HOLDER).read_text(encoding="utf-8"))
        command = " ".join(["rareseg", *map(str, about["command"])])
        return f"process {about['process']} on {about['machine']} ({command})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
