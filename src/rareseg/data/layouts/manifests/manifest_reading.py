"""The layout of manifests: a table with one row for each case."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import ROLE_WORDS, Listing, declared_in
from rareseg.data.layouts.manifests.manifest_writing import EMPTY
from rareseg.data.records import ROLES, Case
from rareseg.errors import DataError, nearest

_IMAGE_COLUMN = re.compile(r"image(_\d+)?")
_ANNOTATOR_COLUMN = re.compile(r"mask_(.+)")


def _recognise(tree: FileTree) -> str | None:
    if tree.file is not None:
        return f"{tree.file.name} is a table" if tree.file.suffix.lower() == ".csv" else None
    return "it holds manifest.csv" if tree.has("manifest.csv") else None


def _read(tree: FileTree) -> Listing:
    """Read a manifest: columns id, image (or image_0, image_1, …), mask, optional group and split.

    Paths are relative to the manifest. The word ``empty`` as mask says that the image holds
    nothing. Columns mask_NAME are the masks of an annotator called NAME, empty where that one did
    not look; beside them the column mask may be absent. A ``dataset.json`` beside the manifest may
    declare labels and regions.

    Raises:
        DataError: unreadable, or a column is missing.
    """
    path = tree.file or tree.root / "manifest.csv"
    rows = _manifest_rows(path)
    columns = list(rows[0]) if rows else []
    image_columns = sorted(
        (name for name in columns if _IMAGE_COLUMN.fullmatch(name)),
        key=lambda name: int(name.partition("_")[2] or 0),
    )
    for needed, present in (
        ("id", "id" in columns),
        ("image", bool(image_columns)),
        ("mask", "mask" in columns or any(map(_ANNOTATOR_COLUMN.fullmatch, columns))),
    ):
        if rows and not present:
            raise DataError(
                f"{path} has no column '{needed}' among {', '.join(columns)}"
                f"{nearest(needed, columns)}; name it in the first line (id, image or image_0 …, "
                "mask, and optionally group and split)."
            )
    cases, missing, problems = [], [], []
    for line, row in enumerate(rows, start=2):
        case, is_missing, faults = _manifest_case(path, line, row, image_columns)
        cases.append(case)
        problems += faults
        if is_missing:
            missing.append(case.id)
    return Listing(tuple(cases), tuple(missing), declared_in(tree), tuple(problems))


def _manifest_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a comma-, semicolon- or tab-separated manifest."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); save it as UTF-8 text.") from error
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    return [
        {(name or "").strip(): (value or "").strip() for name, value in row.items() if name}
        for row in reader
    ]


def _manifest_case(
    path: Path, line: int, row: Mapping[str, str], image_columns: Sequence[str]
) -> tuple[Case, bool, list[str]]:
    """Return a row's case, whether its mask is missing, and the row's problems."""
    problems = []
    images = tuple(path.parent / row[name] for name in image_columns if row[name])
    if not images:
        problems.append(f"{path}, line {line}, names no image for {row['id']}; fill the column.")
    given = row.get("mask", "")
    is_missing = given == ""
    mask = None if given in ("", EMPTY) else path.parent / given
    annotations = tuple(
        (found[1], None if value == EMPTY else path.parent / value)
        for name, value in row.items()
        if value and (found := _ANNOTATOR_COLUMN.fullmatch(name))
    )
    word = row.get("split", "").lower()
    role = ROLE_WORDS.get(word)
    if word and role is None:
        problems.append(
            f"{path}, line {line}, gives {row['id']} the split '{word}'; allowed are "
            f"{', '.join(ROLES)}{nearest(word, ROLES)}."
        )
    case = Case(row["id"], images, mask, row.get("group") or None, role, annotations)
    return case, is_missing, problems


register(Layout("manifest", "a manifest.csv", _recognise, _read, lists_files=True))
