"""The layout of Roboflow's semantic masks: NAME.jpg, NAME_mask.png and _classes.csv in a folder."""

from __future__ import annotations

import csv
from pathlib import Path

from rareseg.data.layouts.annotation_files.entries import listing_of
from rareseg.data.layouts.annotation_files.json_text import read_text
from rareseg.data.layouts.annotation_files.pictures import Pictures, Remarks, role_in
from rareseg.data.layouts.dataset_json import Declared
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing
from rareseg.data.records import Role
from rareseg.errors import DataError
from rareseg_runner.formats import format_of, stem_of

_TABLE = "_classes.csv"
_ENDING = "_mask"


def _folders(tree: FileTree) -> list[str]:
    return [
        folder
        for folder, files in tree.walk()
        if _TABLE in files and any(stem_of(Path(name)).endswith(_ENDING) for name in files)
    ]


def _recognise(tree: FileTree) -> str | None:
    folders = _folders(tree) if tree.file is None else []
    return f"{f'{folders[0]}/{_TABLE}'.lstrip('/')} names the values of masks" if folders else None


def _read(tree: FileTree) -> Listing:
    """List the pictures of every folder with a _classes.csv; one without a mask is missing it.

    Raises:
        DataError: a table is damaged, or tables of several splits disagree.
    """
    pictures, problems = Pictures(tree), Remarks()
    masks: list[tuple[Path, Path, Role | None]] = []
    undescribed = []
    names: dict[int, str] = {}
    for folder in _folders(tree):
        table = tree.path(folder, _TABLE)
        own = _names(table)
        if any(names.get(value, name) != name for value, name in own.items()):
            raise DataError(f"{table} names other classes than the splits beside; export all anew.")
        names |= own
        there = {
            stem_of(path): path
            for name in tree.files(folder)
            if format_of(path := tree.path(folder, name)) is not None
        }
        for stem, path in there.items():
            if stem.endswith(_ENDING) and stem[: -len(_ENDING)] in there:
                continue
            if stem.endswith(_ENDING):
                problems.add(
                    f"{tree.root} holds masks without an image: {{}}; add the images, or remove "
                    "the masks.",
                    pictures.relative(path),
                )
            elif f"{stem}{_ENDING}" in there:
                role = role_in(*reversed(folder.split("/")))
                masks.append((path, there[f"{stem}{_ENDING}"], role))
            else:
                undescribed.append(path)
    labels = {name: value for value, name in sorted(names.items()) if value != 0}
    declared = Declared(labels=labels or None)
    return listing_of(pictures, masks, declared, problems, (), undescribed=undescribed)


def _names(path: Path) -> dict[int, str]:
    """Return the name of each mask value: rows "Pixel Value, Class" below a line of headings."""
    found: dict[int, str] = {}
    for row in list(csv.reader(read_text(path).splitlines()))[1:]:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) < 2 or not cells[0].isdigit():
            raise DataError(f"{path} holds the row {','.join(row)!r}; a row is value, class.")
        found[int(cells[0])] = cells[1]
    if len(set(found.values())) < len(found):
        raise DataError(f"{path} gives one name to several values; make them differ.")
    return found


register(
    Layout(
        "roboflow_masks", "Roboflow masks with _classes.csv", _recognise, _read, lists_files=True
    )
)
