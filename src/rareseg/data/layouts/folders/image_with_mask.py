"""The layout of files that hold an image and its mask: NPZ and HDF5 with an array of each."""

from __future__ import annotations

from pathlib import Path

from rareseg.data.layouts.case_names import unique_names
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.folders.folder_words import role_of
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing, declared_in
from rareseg.data.records import Case, Role
from rareseg.errors import DataError
from rareseg_runner.formats import carries_both, format_of, stem_of


def _files(tree: FileTree) -> list[Path]:
    """Return the files of formats that may hold both, by folder and name."""
    found = [tree.path(folder, name) for folder, files in tree.walk() for name in files]
    return [path for path in found if (form := format_of(path)) is not None and form.both]


def _recognise(tree: FileTree) -> str | None:
    files = [] if tree.file is not None else _files(tree)
    if not files or not carries_both(files[0]):  # the others are looked into when they are listed
        return None
    return f"{files[0].name} holds an image and its mask"


def _read(tree: FileTree) -> Listing:
    """List every file that holds an image and its mask; the folder says its part of the split."""
    files = _files(tree)
    if not files:
        raise DataError(f"{tree.root} holds no .npz or .h5 with an image and a mask; add some.")
    within = [path.relative_to(tree.root) for path in files]
    roles: list[Role | None] = [
        next((role for part in path.parts[:-1] if (role := role_of(part))), None) for path in within
    ]
    names = unique_names([(*path.parts[:-1], stem_of(path)) for path in within], roles)
    alone = [path for path in files if not carries_both(path)]
    problems = [
        f"{path} holds no mask beside its image; add the array, or move the file." for path in alone
    ]
    cases = tuple(
        Case(name, (path,), path if path not in alone else None, role=role)
        for name, path, role in zip(names, files, roles, strict=True)
    )
    return Listing(
        cases,
        declared=declared_in(tree),
        problems=tuple(problems),
        split_from="folders" if any(roles) else "",
    )


register(
    Layout(
        "image_with_mask",
        "files that hold an image and its mask: NPZ or HDF5 with an array of each",
        _recognise,
        _read,
    )
)
