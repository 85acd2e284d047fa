"""Let one process at a time write into a folder."""

from __future__ import annotations

import functools
import inspect
import json
import operator
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

import filelock

from rareseg.errors import OutputError
from rareseg_runner.atomic_files import naming

LOCK = ".rareseg.lock"
"""The file that is locked: it stands in the folder while a process works there."""
_ABOUT = ".json"
"""Ends the name of the file that says which process that is; apart, since some systems let nobody
else read what is locked."""

P = ParamSpec("P")
R = TypeVar("R")


def is_lock(path: Path) -> bool:
    """Whether a file is one of those that stand in a folder while a process works there."""
    return path.name.removesuffix(_ABOUT).endswith(LOCK)


@contextmanager
def sole_writer(folder: Path, *, beside: bool = False, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of a folder, which is made where it is absent, while the block runs.

    With ``beside`` the lock stands beside ``folder``, which may then be a file, or a folder that is
    written under another name and renamed. It is waited for during ``wait_s`` seconds. The
    operating system frees the lock of a process that ends, however it ends; the same process may
    take it again within.

    Raises OutputError, which names the process, where another one holds it, and where ``folder`` is
    a file; WorkError where the folder cannot be made or written to.
    """
    folder = folder.absolute().resolve()  # one process must know its own lock
    home = folder.parent if beside else folder
    if home.exists() and not home.is_dir():
        raise OutputError(f"{home} is a file; name a folder.")
    file = home / (f".{folder.name}{LOCK}" if beside else LOCK)
    made = [place for place in (home, *home.parents) if not place.exists()]
    lock = filelock.FileLock(file, is_singleton=True, thread_local=False)
    try:
        _acquire(lock, file, wait_s)
    except filelock.Timeout as error:
        raise OutputError(
            f"{folder} is written to by {_holder(file)}; wait until it has ended, or choose "
            "another --out."
        ) from error
    except NotImplementedError:  # a file system that knows no locks holds no other process back
        yield
        return
    first = lock.lock_counter == 1
    about = file.with_name(file.name + _ABOUT)
    try:
        if first:
            said = {"process": os.getpid(), "machine": platform.node(), "command": sys.argv[1:2]}
            with naming(about):
                about.write_text(json.dumps(said), encoding="utf-8")
        yield
    finally:
        if first:
            about.unlink(missing_ok=True)
            with suppress(OSError):  # where a locked file stays, its release removes it
                file.unlink(missing_ok=True)
        lock.release()
        if first:
            for place in made:
                with suppress(OSError):  # it holds something, as it should
                    place.rmdir()


def _acquire(lock: filelock.BaseFileLock, file: Path, wait_s: float) -> None:
    """Take the lock ``file``, in a folder that is made, within ``wait_s`` seconds."""
    until = time.monotonic() + wait_s
    while True:
        with naming(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=max(0.0, until - time.monotonic()), poll_interval=0.2)
        except filelock.Timeout:
            raise
        except FileNotFoundError:
            continue  # who held it has just removed the folder, which nothing was written into
        except OSError:
            with naming(file):
                raise
        if file.exists():
            return
        lock.release()  # who held it has just removed the file, so that others make a new one


def one_writer(
    place: str, *, beside: bool = False, wait_s: float = 0.0
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function hold the lock of a folder that one of its arguments names while it runs.

    ``place`` is the argument's name, with attributes after dots: ``"source.root"``. What is called
    waits and raises as :func:`sole_writer` besides.
    """
    name, *attributes = place.split(".")

    def holding(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def held(*args: P.args, **kwargs: P.kwargs) -> R:
            found = signature.bind(*args, **kwargs).arguments[name]
            if attributes:
                found = operator.attrgetter(".".join(attributes))(found)
            with sole_writer(Path(found), beside=beside, wait_s=wait_s):
                return function(*args, **kwargs)

        return held

    return holding


def holder_of(folder: Path) -> str:
    """Return who writes into a folder, for a sentence, as far as it has said so."""
    return _holder(folder / LOCK)


def _holder(file: Path) -> str:
    """Say which process holds the lock ``file``, as far as it has said so."""
    try:
        text = file.with_name(file.name + _ABOUT).read_text(encoding="utf-8")
        about = json.loads(text)
        command = " ".join(["rareseg", *map(str, about["command"])])
        return f"process {about['process']} on {about['machine']} ({command})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
