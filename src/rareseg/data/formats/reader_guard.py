"""Guard readers: what they may raise and allocate, and which extra a format needs."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rareseg.errors import ReadError

LARGEST_BYTES = 4 << 30
"""The largest array that is read whole, in bytes: 4 GiB."""


@contextmanager
def guarded(path: Path, name: str) -> Iterator[None]:
    """Turn whatever a reader of the format ``name`` raises into one sentence about ``path``.

    Libraries raise dozens of types on damaged files (struct.error, zlib.error, MemoryError and
    their own); a list of them would never be complete. A :class:`ReadError` passes as it is, and so
    does a NameError, which is a fault of the program and of no file.
    """
    try:
        yield
    except (ReadError, NameError):
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
    path: Path, shape: Sequence[int], item_bytes: int, *, available: int | None = None
) -> None:
    """Raise ReadError before an array of this shape is allocated for a file that cannot fill it.

    ``available`` are the bytes that lie in the file where they are not compressed.
    """
    needed = math.prod(int(side) for side in shape) * item_bytes
    sides = " × ".join(str(int(side)) for side in shape)
    if available is not None and needed > available:
        raise ReadError(
            f"{path} is truncated: its header states {sides} values in {needed} bytes and "
            f"{max(available, 0)} are there; copy or export it again."
        )
    if needed > LARGEST_BYTES:
        raise ReadError(
            f"{path} states {sides} values, {needed / 2**30:.1f} GiB, where at most "
            f"{LARGEST_BYTES >> 30} GiB are read at once; cut it in tiles or save it smaller."
        )


def has_module(module: str) -> bool:
    """Whether a package is installed; it is not imported."""
    return importlib.util.find_spec(module) is not None


def load_extra(module: str, extra: str, path: Path, what: str) -> Any:
    """Return the package that an extra installs.

    Raises ReadError, which names ``path`` and the line to type, where it is not installed.
    """
    if not has_module(module.split(".")[0]):
        raise ReadError(
            f"{path} is {what}, which is read by an extra: pip install 'rareseg[{extra}]'."
        )
    return importlib.import_module(module)
