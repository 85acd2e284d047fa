"""What a cell or a trial that ended in an error leaves behind, so that the others can go on."""

from __future__ import annotations

import traceback
from pathlib import Path

from rareseg.data.files import atomic_write
from rareseg.errors import RaresegError


def reason_of(error: Exception, folder: Path) -> str:
    """Return in a sentence why work in ``folder`` ended.

    Of an error that nobody foresaw, such as a memory that is full, the traceback is kept there.
    """
    if isinstance(error, RaresegError):
        return str(error)
    first = (str(error).strip() or "no message").splitlines()[0]
    kept = folder / "traceback.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(kept) as temporary:
            temporary.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except (OSError, RaresegError) as other:
        return f"{type(error).__name__}: {first} (its traceback could not be kept: {other})"
    return f"{type(error).__name__}: {first} (its traceback is in {kept})"
