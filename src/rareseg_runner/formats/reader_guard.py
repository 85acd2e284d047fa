"""Guard readers: what they may raise and allocate, and which extra a format needs."""

from __future__ import annotations

import importlib
import importlib.util
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rareseg_runner.errors import RaresegError, ReadError
from rareseg_runner.memory_limit import refusal
from rareseg_runner.text_files import in_words

PLAUSIBLE_BYTES = 4 << 30
"""What a small file may state, since some formats pack an even picture without bound: 4 GiB."""
MOST_PACKED = 1032
"""How many bytes deflate makes of one at the most (https://zlib.net/zlib_tech.html)."""


@contextmanager
def guarded(path: Path, name: str) -> Iterator[None]:
    """Turn whatever a reader of the format ``name`` raises into one sentence about ``path``.

    Libraries raise dozens of types on damaged files (struct.error, zlib.error, MemoryError and
    their own); a list of them would never be complete. Errors of ours pass as they are, and so does
    a NameError, which is a fault of the program and of no file.
    """
    try:
        yield
    except (RaresegError, NameError):
        raise
    except Exception as error:
        raise ReadError(
            f"{path} cannot be read as {name} ({reason(error)}): it is truncated, damaged or "
            "another format; copy or export it again."
        ) from error


def reason(error: BaseException) -> str:
    """Return the last line of an error's text without ITK's source position, or its type."""
    lines = [line for line in str(error).strip().splitlines() if line.strip(" ^")]
    said = lines[-1].split("ERROR: ")[-1].strip(" .") if lines else ""
    return said[:200] or type(error).__name__


def check_size(
    path: Path,
    shape: Sequence[int],
    item_bytes: int,
    *,
    available: int | None = None,
    is_measured: bool = False,
) -> None:
    """Raise ReadError before an array of this shape is allocated for a file that cannot fill it.

    ``available`` are the bytes that lie in the file where they are not compressed. Else a file may
    state 4 GiB, or what deflate could make of its length, unless what is stored ``is_measured`` by
    whoever asks. Never may it state more than
    :func:`rareseg_runner.memory_limit.refusal` allows.
    """
    needed = math.prod(int(side) for side in shape) * item_bytes
    tell_size(needed)
    sides = " × ".join(str(int(side)) for side in shape)
    if available is not None and needed > available:
        raise ReadError(
            f"{path} is truncated: its header states {sides} values in {needed} bytes and "
            f"{max(available, 0)} are there; copy or export it again."
        )
    if available is None and not is_measured and needed > PLAUSIBLE_BYTES and path.is_file():
        held = path.stat().st_size
        if needed > held * MOST_PACKED:
            raise ReadError(
                f"{path} states {sides} values, {in_words(needed)}, which no file of "
                f"{in_words(held)} holds: it is damaged; copy or export it again."
            )
    if refused := refusal(needed):
        raise ReadError(f"{path} states {sides} values: {refused}")


class _Asked(threading.local):
    """Whether this thread asks for the size of a file alone."""

    size_alone = False


class _ToldSize(BaseException):
    """Ends the reading of a file whose size alone is asked for.

    It is no error, and passes whatever turns those into sentences.
    """

    def __init__(self, needed: int) -> None:
        self.needed = needed


_ASKED = _Asked()


def tell_size(needed: int) -> None:
    """End the reading of a file here where :func:`declared_size` asks for its size alone."""
    if _ASKED.size_alone:
        raise _ToldSize(needed)


def declared_size(read: Callable[[], object]) -> int:
    """Return how many bytes of values a reader would allocate; it is ended before it does.

    0 where the file cannot be read: whoever reads it says why.
    """
    _ASKED.size_alone = True
    try:
        read()
    except _ToldSize as told:
        return told.needed
    except RaresegError:
        return 0
    finally:
        _ASKED.size_alone = False
    return 0


def has_module(module: str) -> bool:
    """Whether a package is installed; it is not imported."""
    return importlib.util.find_spec(module) is not None


def load_extra(module: str, extra: str, path: Path, what: str) -> Any:
    """Return the package that an extra installs.

    Raises ReadError, which names ``path`` and the line to type, where it is not installed.
    """
    if not has_module(module.split(".")[0]):
        raise ReadError(f"{path} is {what}, which needs an extra: pip install 'rareseg[{extra}]'.")
    return importlib.import_module(module)
