"""Write files atomically, through a temporary name, and hash them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG

from rareseg_runner.errors import WorkError

_WRITING = f".writing-{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}-"
"""Temporary names start so, with the process's number: who was killed here can be told later."""

_RETIRED = f".retired-{_WRITING.removeprefix('.writing-')}"
"""Names of folders that a new one is just replacing: a user's own may begin with .retired too."""


_RECEIPT = ".rareseg-retired.json"
"""Says in such a folder what was put there, so that nothing of a user's is ever removed with it."""


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
        _sweep(path.parent)
        suffixes = "".join(path.suffixes[-2:])
        handle, name = tempfile.mkstemp(prefix=_prefix(), suffix=suffixes, dir=path.parent)
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
def atomic_folder(path: Path, *, is_synced: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` and rename it to ``path`` at the end.

    An existing folder of that name is replaced only once the new one is whole. With ``is_synced``
    its files are on the disk before it gets its name. Where the block raises, the temporary folder
    is removed and ``path`` is as it was. Raises as :func:`naming`.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        temporary = Path(tempfile.mkdtemp(prefix=_prefix(), dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            if is_synced:
                _sync(temporary)
            if path.exists():
                prefix = f"{_RETIRED}{os.getpid()}-"
                retired = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
                (retired / _RECEIPT).write_text(json.dumps(path.name), encoding="utf-8")
                path.replace(retired / path.name)
                temporary.replace(path)
                shutil.rmtree(retired)
            else:
                temporary.replace(path)
            if is_synced:
                _sync_names(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Wait until every file below a folder, and its name in there, is on the disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            with (Path(place) / name).open("r+b") as file:
                os.fsync(file.fileno())
        _sync_names(Path(place))


def _sync_names(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system opens folders."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise  # those say that this file system keeps names without being asked
    finally:
        os.close(handle)


def remove_leftovers(root: Path) -> list[Path]:
    """Remove what killed writers left below ``root``; returns what was removed.

    Only temporary files and folders of processes of this machine that no longer run, and replaced
    folders whose successor is in place. A folder that does not exist has none.
    """
    return _removed([*root.rglob(_WRITING + "*"), *root.rglob(_RETIRED + "*")])


_SWEPT: set[Path] = set()
"""Folders that this process has written into, and cleared before."""


def _sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder itself, once a process."""
    place = folder.resolve()
    if place in _SWEPT:
        return
    _SWEPT.add(place)
    with suppress(OSError):  # a folder that may be written to and not be listed
        _removed([path for path in folder.iterdir() if path.name.startswith((_WRITING, _RETIRED))])


def _removed(found: Iterable[Path]) -> list[Path]:
    """Remove those of our temporary names that no writer needs any more; return them."""
    gone = []
    for path in found:
        if path.name.startswith(_RETIRED):
            if _is_replaced(path) and not _runs(path):
                gone.append(path)
        elif is_leftover(path):
            gone.append(path)
    for path in gone:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return gone


def is_leftover(path: Path) -> bool:
    """Whether a file or folder is what a writer of this machine left that no longer runs."""
    return path.name.startswith(_WRITING) and not _runs(path)


def _is_replaced(retired: Path) -> bool:
    """Whether a folder holds, by our receipt, what was replaced alone, and the new one stands."""
    try:
        name = json.loads((retired / _RECEIPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return not any(retired.iterdir())  # made, and nothing put there yet
    ours = {_RECEIPT, name}
    return all(entry.name in ours for entry in retired.iterdir()) and (
        isinstance(name, str) and (retired.parent / name).exists()
    )


def _prefix() -> str:
    return f"{_WRITING}{os.getpid()}-"


def _runs(temporary: Path) -> bool:
    """Tell whether the process that a temporary name belongs to is still there."""
    number = temporary.name.removeprefix(_WRITING).removeprefix(_RETIRED).split("-")[0]
    if not number.isdigit():
        return True  # not a name of ours: leave it alone
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits.

    Raises OSError where it cannot be read, and for a pipe or a device, which may have no end.
    """
    if not S_ISREG(file.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no file", str(file))
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
