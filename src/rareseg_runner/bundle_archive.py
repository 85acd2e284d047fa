"""A bundle in one file: a zip of the bundle's folder, by custom called ``NAME.rareseg``."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.errors import BundleError

SUFFIX = ".rareseg"

DESCRIPTION = "bundle.json"
"""The file that makes a folder a model."""

DECISIONS = "decisions.json"
"""The file beside it that says where its scores are cut."""

LARGEST_BYTES = 4 << 30
"""The most that the files of an archive may hold together once they are unpacked: 4 GiB."""

_DATED = (1980, 1, 1, 0, 0, 0)
"""The time that every file in an archive bears: the same bundle gives the same bytes."""


def write_archive(bundle: Path, path: Path) -> None:
    """Write all files of a bundle's folder into one archive.

    Raises :class:`BundleError` where the folder holds no bundle. The files are stored as they are:
    weights hardly get smaller by compression.
    """
    files = sorted(file for file in bundle.iterdir() if file.is_file() and file.name[0] != ".")
    if DESCRIPTION not in {file.name for file in files}:
        raise BundleError(f"{bundle} is not a model bundle; name a finished run or its bundle/.")
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for file in files:
            member = zipfile.ZipInfo(file.name, _DATED)
            with file.open("rb") as source, archive.open(member, "w", force_zip64=True) as target:
                while block := source.read(1 << 20):
                    target.write(block)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Give a temporary folder that holds the files of an archive, whatever folder they lie in.

    Nothing is written anywhere else, whatever the names within the archive are. Raises
    :class:`BundleError` for what is no archive, is damaged, or holds no bundle.
    """
    with tempfile.TemporaryDirectory(prefix="rareseg-") as place:
        folder = Path(place)
        try:
            with zipfile.ZipFile(path) as archive:
                for member in _members(archive, path):
                    with archive.open(member) as source:
                        (folder / PurePosixPath(member.filename).name).write_bytes(source.read())
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as no:
            raise BundleError(
                f"{path} cannot be read as a bundle in one file ({no}); it is truncated, damaged "
                "or something else: copy it again."
            ) from no
        yield folder


def _members(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """Return the files beside the one ``bundle.json``, the only ones that are read."""
    files = [member for member in archive.infolist() if not member.is_dir()]
    homes = [PurePosixPath(one.filename).parent for one in files if _name(one) == DESCRIPTION]
    if len(homes) != 1:
        raise BundleError(
            f"{path} holds {len(homes)} files called {DESCRIPTION}, where a bundle has one; zip "
            "the folder bundle/ of one finished run."
        )
    own = [member for member in files if PurePosixPath(member.filename).parent == homes[0]]
    if len({_name(member) for member in own}) < len(own):
        raise BundleError(f"{path} holds two files of one name; zip the bundle again.")
    size = sum(member.file_size for member in own)
    if size > LARGEST_BYTES:
        raise BundleError(
            f"{path} unpacks to {size / 2**30:.1f} GiB, where at most {LARGEST_BYTES >> 30} GiB "
            "are read; give the bundle as a folder."
        )
    return own


def _name(member: zipfile.ZipInfo) -> str:
    return PurePosixPath(member.filename).name
