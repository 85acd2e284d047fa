"""How much memory images may take: what the machine has left, or what --memory allows.

The limit belongs to the process, as its memory does, and is set for the length of a command by
:func:`limited_to` alone. A context variable would not reach the threads that read files; worker
processes are handed the limit with their work (:func:`within`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from rareseg_runner.errors import UsageError
from rareseg_runner.text_files import in_words

if sys.platform != "win32":
    import resource

UNKNOWN_MEMORY = 4 << 30
"""What counts as available where the system does not say."""

_UNITS = {
    "": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate(("", "k", "m", "g", "t"))},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}
_SMALLEST = 1 << 20
_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60
"""Control groups of version 1 state a larger number where there is no limit."""

P = ParamSpec("P")
R = TypeVar("R")


class _Stated:
    """What --memory says, in bytes; None where nothing is said."""

    limit: int | None = None


def parse_size(text: str) -> int:
    """Return the bytes that a word such as "4GB", "500 MB" or "1.5GiB" says, at least 1 MiB.

    KB, MB, GB and TB are powers of 1000, KiB, MiB, GiB and TiB of 1024. Raises UsageError for
    anything else.
    """
    found = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*([kmgt]?i?b?)\s*", text, re.IGNORECASE)
    unit = None if found is None else _UNITS.get(found[2].lower())
    if found is None or unit is None:
        raise UsageError(
            f"--memory is {text[:40]!r}; give a number with KB, MB, GB or TB, such as 4GB or 500MB."
        )
    size = int(float(found[1]) * unit)
    if size < _SMALLEST:
        raise UsageError(f"--memory is {text}, {size} bytes; give at least 1MiB, such as 4GB.")
    return size


@contextmanager
def limited_to(size: int | None) -> Iterator[None]:
    """Refuse images of more than ``size`` bytes while the block runs.

    None refuses what is larger than the memory that the machine then has.
    """
    before = _Stated.limit
    _Stated.limit = size
    try:
        yield
    finally:
        _Stated.limit = before


def stated_limit() -> int | None:
    """Return the limit that holds now; None where it is the machine's memory."""
    return _Stated.limit


def within(limit: int | None, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Do ``work`` under a limit, in a process that was not there when it was set."""
    with limited_to(limit):
        return work(*args, **kwargs)


def bytes_left(likely: int) -> int:
    """Return how many bytes may be taken: as stated, or what is available.

    What is available is not looked up for ``likely`` bytes that any machine has.
    """
    limit = stated_limit()
    if limit is None:
        limit = UNKNOWN_MEMORY if likely <= _SMALLEST else available_memory()
    return limit


def refusal(needed: int, *, held: int = 0) -> str | None:
    """Return why so many bytes may not be taken, with the remedy; None where they may.

    "10.1 GiB are needed, where --memory allows 4 GiB; cut it in tiles, …". ``held`` are the bytes
    that the same work has taken already: they count against what is allowed, and the machine has
    no more of them to give.
    """
    limit = stated_limit()
    if limit is not None and needed + held > limit:
        return (
            f"{in_words(needed + held)} are needed, where --memory allows {in_words(limit)}; cut "
            "it in tiles, save it smaller, or allow more."
        )
    if limit is not None or needed <= _SMALLEST:
        return None
    there = available_memory()
    if needed <= there:
        return None
    return (
        f"{in_words(needed)} are needed, where this machine has {in_words(there)} of memory left; "
        "cut it in tiles, save it smaller, or use a machine with more."
    )


def available_memory() -> int:
    """Return how many bytes this process may still take: of the machine and of its control group.

    :data:`UNKNOWN_MEMORY` where the system says neither.
    """
    known = [size for size in (_of_machine(), *_of_groups(), _of_process()) if size is not None]
    return max(0, min(known, default=UNKNOWN_MEMORY))


def _of_machine() -> int | None:
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text(_PROC / "meminfo"), re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def _of_groups() -> Iterator[int]:
    """Yield what is left in each control group of Linux that this process is in."""
    for line in _text(_PROC / "self" / "cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            names, place = ("memory.max", "memory.current", "inactive_file"), _CGROUP
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            place = _CGROUP / "memory"
        else:
            continue
        inner = place / path.lstrip("/")
        for folder in (inner, *inner.parents):
            limit, used = (_number(folder / name) for name in names[:2])
            if limit is not None and used is not None and limit < _UNLIMITED:
                # What was read from files and is not in use is given back when it is asked for.
                cached = re.search(rf"^{names[2]} (\d+)", _text(folder / "memory.stat"), re.M)
                yield limit - used + (int(cached[1]) if cached else 0)
            if folder == place:
                break


def _of_process() -> int | None:
    """Return what is left of a limit on this process's addresses (ulimit -v), if there is one."""
    if sys.platform == "win32":
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    pages = re.match(r"\d+", _text(_PROC / "self" / "statm"))
    if limit == resource.RLIM_INFINITY or pages is None:
        return None
    return limit - int(pages[0]) * resource.getpagesize()


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _text(path: Path) -> str:
    """Return what a file of the system says; "" where there is none, as on other systems."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
