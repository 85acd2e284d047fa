"""The layout of manifests: a table with one row for each case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rareseg.data.layouts.case_names import unique_names
from rareseg.data.layouts.dataset_json import Declared
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import ROLE_WORDS, Listing, declared_in, number_classes
from rareseg.data.layouts.manifests.manifest_columns import Columns, read_columns
from rareseg.data.layouts.manifests.manifest_paths import ManifestPaths, is_blank
from rareseg.data.layouts.manifests.manifest_writing import EMPTY
from rareseg.data.masks.class_files import ClassFiles
from rareseg.data.records import ROLES, Case, MaskSource
from rareseg.errors import DataError, nearest
from rareseg_runner.formats import stem_of
from rareseg_runner.text_files import TABLE_BYTES, parse_table, read_bytes

_TABLES = (".csv", ".tsv")


def _recognise(tree: FileTree) -> str | None:
    if tree.file is not None:
        return f"{tree.file.name} is a table" if tree.file.suffix.lower() in _TABLES else None
    return "it holds manifest.csv" if tree.has("manifest.csv") else None


@dataclass
class _Manifest:
    """A manifest while it is read."""

    path: Path
    columns: Columns
    paths: ManifestPaths
    declared: Declared
    problems: list[str] = field(default_factory=list)

    def cell(self, row: Mapping[str, str], column: str) -> str:
        """Return a cell, "" where it or its column holds nothing."""
        value = row.get(column, "") if column else ""
        return "" if is_blank(value) else value


def _read(tree: FileTree) -> Listing:
    """Read a manifest: columns image (or image_0, image_1, …), mask, optional id, group and split.

    Columns may be called by the usual other words. Without an id, the image's name is the case's.
    Paths are relative to the manifest. The word ``empty`` as mask says that the image holds
    nothing. Columns mask_class_NAME are the masks of one class each; a blank or ``empty`` cell
    among them says that the class is not there. Columns mask_NAME are the masks of an annotator
    called NAME, blank where that one did not look; beside them the column mask may be absent. A
    ``dataset.json`` beside the manifest may declare labels and regions.

    Raises:
        DataError: unreadable, or a column is missing.
    """
    path = tree.file or tree.root / "manifest.csv"
    rows, notes = _rows(path)
    if not rows:
        empty = f"{path} lists no case; write a line with its image and mask for each."
        return Listing((), declared=declared_in(tree), problems=(empty,))
    columns = read_columns(list(rows[0]), path)
    declared = declared_in(tree)
    if columns.classes:
        declared = number_classes([name for name, _ in columns.classes], declared)
    words = {row.get(columns.split, "").lower() for row in rows} - {""}
    if columns.split.lower() != "split" and not words <= set(ROLE_WORDS):
        columns = replace(columns, split="")  # a column such as "phase" that says something else
    manifest = _Manifest(path, columns, ManifestPaths(tree, path.parent), declared)
    names = _names(manifest, rows)
    cases, missing = [], []
    for line, (row, name) in enumerate(zip(rows, names, strict=True), start=2):
        case, is_missing = _case(manifest, line, row, name)
        cases.append(case)
        if is_missing:
            missing.append(case.id)
    if not columns.id:
        notes.append("it has no column id: cases are called as their images")
    notes += manifest.paths.notes()
    return Listing(tuple(cases), tuple(missing), declared, tuple(manifest.problems), tuple(notes))


def _rows(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the rows of a comma-, semicolon- or tab-separated manifest, and notes.

    A table that is no UTF-8 is read as Windows' cp1252, if the files are there that it then names.
    """
    try:
        content = read_bytes(path, TABLE_BYTES)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); save it as UTF-8 text.") from error
    try:
        return _table(path, content.decode("utf-8-sig")), []
    except UnicodeDecodeError as error:
        failed = error
    try:
        rows = _table(path, content.decode("cp1252"))
        columns = read_columns(list(rows[0]), path) if rows else None
    except UnicodeDecodeError:
        columns = None
    named = [row[columns.images[0]] for row in rows] if columns else []
    foreign = [cell for cell in named if not cell.isascii()]
    if not all((path.parent / cell.replace("\\", "/")).exists() for cell in foreign[:20]):
        columns = None
    if columns is None:
        raise DataError(
            f"{path} cannot be read ({failed}); save it as UTF-8 text (in Excel: 'CSV UTF-8')."
        ) from failed
    return rows, [f"{path.name} is no UTF-8 and is read in Windows' encoding cp1252"]


def _table(path: Path, text: str) -> list[dict[str, str]]:
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    try:
        _, rows = parse_table(text, separator)
    except ValueError as error:
        raise DataError(f"{path} cannot be read as a table: {error}.") from error
    return [
        {(name or "").strip(): (value or "").strip() for name, value in row.items() if name}
        for row in rows
    ]


def _names(manifest: _Manifest, rows: list[dict[str, str]]) -> list[str]:
    """Return the ids of the rows, or without such a column the names of their images."""
    columns = manifest.columns
    if columns.id:
        return [row.get(columns.id, "") for row in rows]
    paths = []
    for row in rows:
        cell = manifest.cell(row, columns.images[0]).replace("\\", "/")
        path = Path(cell) if cell else Path("no image")
        folders = [p for p in path.parent.parts if p not in ("/", ".", "..") and ":" not in p]
        paths.append((*folders, stem_of(path)))
    return unique_names(paths)


def _case(manifest: _Manifest, line: int, row: Mapping[str, str], name: str) -> tuple[Case, bool]:
    """Return a row's case, and whether its mask is missing."""
    columns, where = manifest.columns, f"{manifest.path}, line {line},"
    files = [cell for column in columns.images if (cell := manifest.cell(row, column))]
    images = tuple(manifest.paths.resolve(cell, "image") for cell in files)
    if not images:
        manifest.problems.append(f"{where} names no image for {name}; fill the column.")
    mask, is_missing = _mask(manifest, row)
    annotations = tuple(
        (who, None if value.lower() == EMPTY else manifest.paths.resolve(value, "mask"))
        for who, column in columns.annotators
        if (value := manifest.cell(row, column))
    )
    word = manifest.cell(row, columns.split).lower()
    role = ROLE_WORDS.get(word)
    if word and role is None:
        manifest.problems.append(
            f"{where} gives {name} the split '{word}'; allowed are "
            f"{', '.join(ROLES)}{nearest(word, ROLES)}."
        )
    group = manifest.cell(row, columns.group) or None
    return Case(name, images, mask, group, role, annotations), is_missing


def _mask(manifest: _Manifest, row: Mapping[str, str]) -> tuple[Path | MaskSource | None, bool]:
    """Return a row's mask, and whether it is missing."""
    columns, labels = manifest.columns, manifest.declared.labels or {}
    given = manifest.cell(row, columns.mask)
    if given:
        empty = given.lower() == EMPTY
        return None if empty else manifest.paths.resolve(given, "mask"), False
    cells = {name: manifest.cell(row, column) for name, column in columns.classes}
    parts = tuple(
        (labels[name], manifest.paths.resolve(cell, "mask"))
        for name, cell in cells.items()
        if cell and cell.lower() != EMPTY
    )
    if parts:
        return ClassFiles(tuple(sorted(parts))), False
    return None, not any(cells.values())


register(
    Layout(
        "manifest",
        "a table manifest.csv: image, mask, optionally id, group and split",
        _recognise,
        _read,
        instead_of=("case_folders", "side_by_side"),
        lists_files=True,
    )
)
