"""The layout of tables of run lengths, as Kaggle's contests have them: ImageId, EncodedPixels.

Run lengths are pairs "start length", counted from 1 down the columns. A class stands in a column of
its own or behind the image's name (``ImageId_ClassId``). An empty cell, or -1, holds nothing.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rareseg.data.layouts.annotation_files.entries import (
    ImageEntry,
    declare,
    listing_of,
    number_labels,
)
from rareseg.data.layouts.annotation_files.json_text import read_text
from rareseg.data.layouts.annotation_files.pictures import Pictures, Remarks, role_in
from rareseg.data.layouts.dataset_json import Declared
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing
from rareseg.data.masks.drawn_shapes import KagglePairs
from rareseg.errors import DataError

_RUNS = ("encodedpixels", "rle", "rlemask", "encoding", "segmentation", "rleencoding", "maskrle")
_BOTH = re.compile(
    r"(image|img|file)(id|name)?[ _]?(class|label|category)(id|name)?|imagelabel", re.I
)
_IMAGE = ("imageid", "image", "img", "id", "filename", "file", "imagename", "imgid", "name")
_CLASS = ("classid", "class", "label", "category", "classname", "categoryid", "labelid")
_EMPTY = ("", "-1", "nan", "none")


@dataclass(frozen=True)
class _TableColumns:
    """Which column is what; ``label`` is None where there is no class or it is in ``image``."""

    image: int
    runs: int
    label: int | None
    joined: bool


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _columns(head: Sequence[str]) -> _TableColumns | None:
    """Return the columns of a table; None where it is no table of run lengths."""
    plain = [_plain(name) for name in head]
    runs = next((k for name in _RUNS for k, word in enumerate(plain) if word == name), None)
    if runs is None:
        return None
    joined = next((k for k, name in enumerate(head) if _BOTH.fullmatch(name.strip())), None)
    if joined is not None:
        return _TableColumns(joined, runs, None, joined=True)
    image = next((k for name in _IMAGE for k, word in enumerate(plain) if word == name), None)
    label = next((k for name in _CLASS for k, word in enumerate(plain) if word == name), None)
    return None if image is None else _TableColumns(image, runs, label, joined=False)


def _tables(tree: FileTree) -> list[Path]:
    """Return the tables of run lengths in a folder, or the one that was named.

    A sample of what a contest takes is none.
    """
    names = [tree.file.name] if tree.file is not None else tree.files()
    found = []
    for name in names:
        if name.lower().endswith(".csv") and "submission" not in name.lower():
            path = tree.path("", name)
            if not path.is_file():
                continue
            with path.open("rb") as file:
                head = file.readline(1 << 16).decode("utf-8-sig", "replace")
            if _columns(next(csv.reader([head.strip()]), [])) is not None:
                found.append(path)
    return found


def _recognise(tree: FileTree) -> str | None:
    if tree.file is None and tree.has("manifest.csv"):
        return None
    tables = _tables(tree)
    return f"{tables[0].name} is a table of run lengths" if tables else None


def _read(tree: FileTree) -> Listing:
    """List the pictures that tables of run lengths name.

    Where a table has rows without run lengths, these are its negatives, and a picture that it does
    not name has no mask; where it has none, it names positives alone and all others are negatives.

    Raises:
        DataError: no table is there, it is damaged, or it names no picture that is there.
    """
    tables = _tables(tree)
    if not tables:
        raise DataError(
            f"{tree.file or tree.root} is or holds no table with the columns ImageId and "
            "EncodedPixels; name them so in the first line."
        )
    pictures, problems = Pictures(tree), Remarks()
    entries: dict[Path, ImageEntry] = {}
    has_empty = False
    for table in tables:
        has_empty |= _read_table(table, pictures, entries, problems)
    if not entries:
        raise DataError(
            f"{tables[0]} names no picture that lies in {pictures.root}; put the pictures there."
        )
    labels = {label for entry in entries.values() for label in entry.labels}
    values, declared, name_notes = _values(labels)
    others = pictures.others()
    notes = ["run lengths are taken down the columns, the first pixel being 1.", *name_notes]
    if not has_empty and others:
        notes.append(
            f"{', '.join(table.name for table in tables)} names positives alone: the {len(others)} "
            "pictures beside them that it does not name count as negatives."
        )
    masks = [(entry.picture, entry.mask(values), entry.role) for entry in entries.values()]
    if not has_empty:
        masks += [(path, None, None) for path in others]
    return listing_of(
        pictures, masks, declared, problems, notes, undescribed=others if has_empty else ()
    )


def _read_table(
    table: Path, pictures: Pictures, entries: dict[Path, ImageEntry], problems: Remarks
) -> bool:
    """Enter the rows of a table; returns whether some hold nothing."""
    csv.field_size_limit(1 << 30)
    text = read_text(table)
    rows = csv.reader(io.StringIO(text, newline=""))
    columns = _columns(next(rows, []))
    assert columns is not None, "a table is told by its first line"
    near = role_in(table.stem) or ""
    has_empty = False
    try:
        for line, row in enumerate(rows, start=2):
            if not any(cell.strip() for cell in row):
                continue
            name = row[columns.image].strip()
            label = "" if columns.label is None else row[columns.label].strip()
            if columns.joined:
                name, _, label = name.rpartition("_")
            picture = pictures.find(name, near)
            runs = row[columns.runs].strip() if columns.runs < len(row) else ""
            if picture is None:
                problems.add(
                    f"{table} names pictures that are not in {pictures.root}: {{}}; add them, or "
                    "remove their rows.",
                    f"{name or 'nothing'} in line {line}",
                )
                continue
            entry = entries.setdefault(picture, ImageEntry(name, picture, table))
            if runs.lower() in _EMPTY:
                has_empty = True
            else:
                entry.add(label, KagglePairs(runs), f"line {line}")
    except (csv.Error, IndexError) as error:
        raise DataError(f"{table} is no whole table ({error}); export it again.") from error
    return has_empty


def _values(labels: set[str]) -> tuple[dict[str, int], Declared, list[str]]:
    """Return mask values of classes and what is declared: numbers stay numbers, words are names."""
    if labels <= {""}:
        return {"": 1}, Declared(), []
    if all(label.isdigit() and 1 <= int(label) <= 254 for label in labels):
        return {label: int(label) for label in labels}, Declared(), []
    values = number_labels(sorted(labels))
    return values, *declare(values, labels)


register(
    Layout(
        "run_lengths",
        "a table of run lengths (ImageId, EncodedPixels)",
        _recognise,
        _read,
        lists_files=True,
    )
)
