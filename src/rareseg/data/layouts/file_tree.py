"""The names of the files and folders of a data set, read once for all layouts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from rareseg_runner.formats import format_of, is_image

MOST_LEVELS = 8
"""Folders deeper than this below the root are not looked into."""
_OF_SYSTEMS = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


class FileTree:
    """A folder, or one file that describes a data set, as layouts look at it.

    Folders are named relative to ``root`` with ``/``, the root itself ``""``. What systems leave
    behind (names that begin with a dot, Thumbs.db, __MACOSX) is not there. Links to folders are
    followed one level at a time, never back into a folder that contains them. A folder is listed
    once, when it is first asked for.

    ``root`` is the folder; ``file`` is the file that was named, ``None`` where it was a folder.
    ``mask_name`` is how masks are called where that was said: see
    :class:`rareseg.data.layouts.folders.name_rules.MaskName`.
    """

    def __init__(self, path: Path, *, mask_name: str | None = None) -> None:
        self.file = path if path.is_file() else None
        self.root = path.parent if path.is_file() else path
        self.mask_name = mask_name
        self._listed: dict[str, tuple[list[str], list[str]]] = {}
        self._image_files: dict[str, list[Path]] = {}
        self._paths: dict[tuple[str, str], Path] = {}  # one of each, and made once

    def _content(self, folder: str) -> tuple[list[str], list[str]]:
        """Return the names of folders and of files in a folder, sorted; each is listed once."""
        found = self._listed.get(folder)
        if found is None:
            found = self._listed[folder] = self._list(folder)
        return found

    def _list(self, folder: str) -> tuple[list[str], list[str]]:
        place = self.root / folder
        if len(PurePosixPath(folder).parts) > MOST_LEVELS:
            return [], []
        folders, files = [], []
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if not _visible(entry.name):
                        continue
                    if not _is_folder(entry):
                        files.append(entry.name)
                    elif not _leads_back(place, entry):
                        folders.append(entry.name)
        except OSError:
            return [], []  # absent, no folder, or not to be read: there is nothing in it for us
        return sorted(folders), sorted(files)

    def has(self, name: str) -> bool:
        """Whether the root holds this name, be it a pipe or a folder: who reads it says so."""
        return os.path.lexists(self.root / name)

    def folders(self, folder: str = "") -> list[str]:
        """Return the names of the folders in a folder, sorted; a missing one has none."""
        return self._content(folder)[0]

    def files(self, folder: str = "") -> list[str]:
        """Return the names of the files in a folder, sorted; a missing one has none."""
        return self._content(folder)[1]

    def walk(self) -> Iterator[tuple[str, list[str]]]:
        """Yield every folder with the names of its files, outer folders first."""
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            folders, files = self._content(folder)
            yield folder, files
            inner = [f"{folder}/{name}" if folder else name for name in folders]
            waiting += reversed([n for n in inner if n.count("/") < MOST_LEVELS])

    def path(self, folder: str, name: str = "") -> Path:
        """Return the path of a folder, or of a file in it."""
        found = self._paths.get((folder, name))
        if found is None:
            place = self.root / folder
            found = self._paths[folder, name] = place / name if name else place
        return found

    def images(self, folder: str) -> list[Path]:
        """Return the readable images of a folder, series of DICOM files included, by name."""
        names = sorted((*self.files(folder), *self.folders(folder)))
        return [path for name in names if is_image(path := self.path(folder, name))]

    def image_files(self, folder: str) -> list[Path]:
        """Return the files of a folder that can be read as images, by name; no series."""
        if folder not in self._image_files:
            paths = (self.path(folder, name) for name in self.files(folder))
            found = [path for path in paths if format_of(path) is not None and path.is_file()]
            self._image_files[folder] = found
        return self._image_files[folder]

    def is_series(self, folder: str) -> bool:
        """Whether a folder holds a series of DICOM files and no other folder."""
        files = self.files(folder)
        return bool(files) and not self.folders(folder) and is_image(self.path(folder))


def _visible(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _OF_SYSTEMS


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _leads_back(folder: Path, entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a link to a folder that contains it."""
    return entry.is_symlink() and folder.resolve().is_relative_to(Path(entry.path).resolve())
