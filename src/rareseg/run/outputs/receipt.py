"""Receipt of the files that a call wrote into a folder, so that no other file is overwritten."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rareseg.errors import OutputError
from rareseg.run.setup.run_folder import require_free, require_no_links_out
from rareseg_runner.atomic_files import atomic_write, file_digest
from rareseg_runner.text_files import read_json


@contextmanager
def receipt_for(out: Path, receipt: str, names: Sequence[str]) -> Iterator[None]:
    """Write the files ``names`` of a folder in the block, and note their digests in ``receipt``.

    A call that was killed is told by its receipt, which has no digests yet, and its files are
    written anew.
    """
    _write(out / receipt, dict.fromkeys(names))
    yield
    _write(out / receipt, {name: file_digest(out / name) for name in names})


def require_ours(out: Path, receipt: str, names: Sequence[str]) -> None:
    """Raise :class:`OutputError` unless a folder is free, or its files ``names`` are our own.

    Files that an earlier call did not note, or that were changed since, are never overwritten.
    """
    require_no_links_out(out)
    noted = _read(out / receipt)
    if noted is None:
        require_free(out)
        return
    for name in names:
        path = out / name
        if not path.exists() and not path.is_symlink():
            continue
        digest = noted.get(name, "")
        if digest is not None and (not path.is_file() or digest != file_digest(path)):
            raise OutputError(
                f"{path} is not as an earlier call left it, and is not overwritten; choose another "
                "--out, or move it away."
            )


def _read(path: Path) -> dict[str, str | None] | None:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write(path: Path, content: dict[str, str | None]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
