"""Writing files so that a reader sees the old content or the new, never a part."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rareseg.errors import WorkError


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn a failure to write, as on a full disk, into a :class:`WorkError` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise WorkError(
            f"{path} could not be written ({error.strerror or error}); make room or choose another "
            "place."
        ) from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` and rename it onto ``path`` at the end.

    The temporary name keeps the suffixes, since many writers choose the format by them. Where the
    block raises, the temporary file is removed and ``path`` is as it was. Raises as
    :func:`naming`.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        suffixes = "".join(path.suffixes[-2:])
        handle, name = tempfile.mkstemp(prefix=".writing-", suffix=suffixes, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            # mkstemp makes files private; the finished file follows the umask like any other.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` and rename it to ``path`` at the end.

    An existing folder of that name is replaced only once the new one is whole. Where the block
    raises, the temporary folder is removed and ``path`` is as it was. Raises as :func:`naming`.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            if path.exists():
                retired = Path(tempfile.mkdtemp(prefix=".retired-", dir=path.parent))
                path.replace(retired / path.name)
                temporary.replace(path)
                shutil.rmtree(retired)
            else:
                temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
