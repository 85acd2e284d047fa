"""Find the files that a manifest names, however their paths are written."""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.folders.folder_words import kind_of
from rareseg.data.layouts.names import name_key
from rareseg.errors import DataError
from rareseg_runner.formats import stem_of

EMPTY_CELLS = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>"})
"""What programs write, in lower case, where a cell holds nothing."""


def is_blank(cell: str) -> bool:
    """Whether a cell holds nothing."""
    return cell.lower() in EMPTY_CELLS


@dataclass
class ManifestPaths:
    r"""Turns what a cell says into a path; counts what had to be guessed.

    Paths are relative to the manifest. Where there is no such file, these are tried: ``\`` as
    ``/``; a path of another computer, by as much of its end as is there (two names at least); a
    bare name, with or without its ending, in the only folder of images (or masks) that has it.
    """

    tree: FileTree
    folder: Path
    moved: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)

    def resolve(self, cell: str, kind: str) -> Path:
        """Return the path of a cell; ``kind`` is ``image`` or ``mask``. It need not exist.

        Raises DataError for what is too long for a path, or holds a character that none has.
        """
        plain = self.folder / cell
        try:
            os.lstat(plain)
        except (OSError, ValueError) as error:
            # Any other fault than that nothing lies there: no file can have such a path.
            if isinstance(error, ValueError) or error.errno == errno.ENAMETOOLONG:
                raise DataError(
                    f"{self.tree.file or self.folder / 'manifest.csv'} names the {kind} "
                    f"{cell[:60]!r}, which no file can be called; correct the cell."
                ) from error
        if plain.exists():
            return plain
        written = PurePosixPath(cell.replace("\\", "/"))
        turned = self.folder / str(written)
        if turned.exists():
            return turned
        foreign = written.is_absolute() or PureWindowsPath(cell).drive
        names = [name for name in written.parts if name != "/"]
        if foreign:
            for start in range(1, len(names) - 1):
                tail = self.folder.joinpath(*names[start:])
                if tail.exists():
                    self.moved.append(cell)
                    return tail
        if len(names) == 1:
            by_name = self._by_name.get((kind, name_key(names[0])), set())
            if len(by_name) == 1:
                self.found.append(cell)
                return next(iter(by_name))
        return plain if foreign else turned

    @cached_property
    def _by_name(self) -> dict[tuple[str, str], set[Path]]:
        """Images and masks by their names, with and without the ending."""
        known: defaultdict[tuple[str, str], set[Path]] = defaultdict(set)
        for folder, names in self.tree.walk():
            kinds = [kind for part in PurePosixPath(folder).parts if (kind := kind_of(part))]
            kind = "mask" if kinds and kinds[-1] == "mask" else "image"
            for name in names:
                path = self.tree.path(folder, name)
                known[kind, name_key(name)].add(path)
                known[kind, name_key(stem_of(path))].add(path)
        return known

    def notes(self) -> list[str]:
        """Say what was guessed, one sentence each."""
        said = []
        if self.moved:
            said.append(
                f"{len(self.moved)} paths of another computer, such as {self.moved[0]}, are read "
                f"below {self.folder}"
            )
        if self.found:
            said.append(
                f"{len(self.found)} names without a folder, such as {self.found[0]}, are found in "
                "the folders of images and masks"
            )
        return said
