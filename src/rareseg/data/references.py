"""Open references to score against: a data set, or label maps without their images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rareseg.data.dataset import open_dataset
from rareseg.data.layouts import FileTree
from rareseg.data.layouts.dataset_json import NOTHING_DECLARED, Declared, read_dataset_json
from rareseg.data.layouts.folders.folder_words import is_mask_folder
from rareseg.data.records import Case, Dataset
from rareseg.errors import DataError
from rareseg_runner.formats import stem_of

Opener = Callable[[Path | Sequence[Case]], Dataset]
"""Opens a folder, a file or cases as :func:`~rareseg.data.dataset.open_dataset` does."""

LABELS_ALONE = "label maps alone"
"""The layout of references without images; their cases have no image files."""


def open_references(path: Path | str, opened: Opener = open_dataset) -> Dataset:
    """List the cases of a data set, or of a folder that holds label maps and no images.

    Label maps stand in the folder itself or in folders named as masks are (``labelsTr``, ``masks``,
    …), also in folders below; the id is the name, with the folder below before it (line_a_part_1).
    What they mean says a ``dataset.json`` in the folder or in the one above; otherwise each value
    is a class. ``opened`` opens a data set with what else is said of it: groups, rules of masks.

    Raises as :func:`~rareseg.data.dataset.open_dataset`.
    """
    root = Path(path)
    named = _label_folders(root)
    if not named:
        try:
            return opened(root)
        except DataError:
            if not root.is_dir() or not FileTree(root).images(""):
                raise
    cases = [
        Case(_id(file, folder), (), file) for folder in named or [root] for file in _files(folder)
    ]
    declared = _declared(root)
    dataset = opened(cases)
    ignored = declared.ignore_value if dataset.ignore_value is None else dataset.ignore_value
    return replace(
        dataset,
        root=root,
        layout=LABELS_ALONE,
        labels=declared.labels,
        regions=declared.regions,
        ignore_value=ignored,
    )


def _label_folders(root: Path) -> list[Path]:
    """Return the folders named as masks are, where there is nothing beside them to be an image."""
    if not root.is_dir() or (root / "manifest.csv").is_file() or FileTree(root).images(""):
        return []
    inside = sorted(p for p in root.iterdir() if p.is_dir() and p.name[0] != ".")
    labels = [folder for folder in inside if is_mask_folder(folder.name)]
    return labels if labels == inside and any(_files(folder) for folder in labels) else []


def _files(folder: Path) -> list[Path]:
    """Return the label maps in a folder and those below it."""
    own = FileTree(folder).images("")
    below = sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != "." and p not in own)
    return [*own, *(file for inside in below for file in _files(inside))]


def _id(file: Path, folder: Path) -> str:
    within = file.parent.relative_to(folder).as_posix()
    return stem_of(file) if within == "." else f"{within}/{stem_of(file)}".replace("/", "_")


def _declared(root: Path) -> Declared:
    """Return what a dataset.json says, in the folder or the one above."""
    for place in (root, root.resolve().parent):
        if (place / "dataset.json").is_file():
            return read_dataset_json(place)
    return NOTHING_DECLARED
