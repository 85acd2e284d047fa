"""Recognise folder layouts, and list their cases and problems.

Every ``open_*`` function is given a folder (or a manifest) and returns a :class:`Listing`. What
concerns one case is a problem, one sentence; what leaves nothing to list raises DataError.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rareseg.data.formats import is_image, stem_of
from rareseg.data.layouts.dataset_json import NOTHING_DECLARED, Declared, read_dataset_json
from rareseg.data.records import ROLES, Case, Role
from rareseg.errors import DataError, nearest

_CHANNEL = re.compile(r"(?P<id>.+)_(?P<channel>\d{4})")
_IMAGE_COLUMN = re.compile(r"image(_\d+)?")
_ANNOTATOR_COLUMN = re.compile(r"mask_(.+)")
_ROLE_WORDS: Mapping[str, Role] = {
    **{role: role for role in ROLES},
    "training": "train",
    "select": "validation",  # as earlier versions called it
    "val": "validation",
    "valid": "validation",
    "testing": "test",
}
EMPTY = "empty"
"""The word in a manifest's mask column that says: this image holds nothing."""


@dataclass(frozen=True)
class Listing:
    """What a layout found: its name, the cases, what is declared of the classes, and problems.

    ``missing`` holds the ids of the cases whose mask was not found (their ``mask`` is ``None``).
    """

    layout: str
    cases: tuple[Case, ...]
    missing: tuple[str, ...] = ()
    declared: Declared = NOTHING_DECLARED
    problems: tuple[str, ...] = ()


def images_in(folder: Path) -> list[Path]:
    """Return the readable images of a folder, sorted by name; a missing folder has none."""
    return sorted(path for path in folder.iterdir() if is_image(path)) if folder.is_dir() else []


def group_channels(paths: Sequence[Path]) -> dict[str, tuple[Path, ...]]:
    """Gather files ``ID_0000.ext, ID_0001.ext, …`` into cases, channels in order.

    A name without such an ending is a case of its own.
    """
    found: defaultdict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in paths:
        match = _CHANNEL.fullmatch(stem_of(path))
        name, channel = (match["id"], int(match["channel"])) if match else (stem_of(path), 0)
        found[name].append((channel, path))
    return {name: tuple(path for _, path in sorted(files)) for name, files in found.items()}


def open_folders(root: Path) -> Listing:
    """Read ``images/`` and ``masks/`` with the same stems, and ``negatives/`` without masks."""
    masks: defaultdict[str, list[Path]] = defaultdict(list)
    for path in images_in(root / "masks"):
        masks[stem_of(path)].append(path)
    problems = [
        f"{root / 'masks'} holds several masks of {stem}: "
        f"{', '.join(path.name for path in paths)}; keep one."
        for stem, paths in masks.items()
        if len(paths) > 1
    ]
    cases, missing = [], []
    for path in images_in(root / "images"):
        drawn = masks.pop(stem_of(path), None)
        cases.append(Case(stem_of(path), (path,), drawn[0] if drawn else None))
        if drawn is None:
            missing.append(stem_of(path))
    cases += [Case(stem_of(path), (path,), None) for path in images_in(root / "negatives")]
    problems += [
        f"{paths[0]} is a mask without an image; add {root / 'images' / stem}.* or remove the mask"
        f"{nearest(stem, missing)}."
        for stem, paths in masks.items()
    ]
    declared = read_dataset_json(root) if (root / "dataset.json").is_file() else NOTHING_DECLARED
    return Listing("folders", tuple(cases), tuple(missing), declared, tuple(problems))


def open_nnunet(root: Path) -> Listing:
    """Read an nnU-Net raw folder: ``imagesTr/ID_0000.ext``, ``labelsTr/ID.ext``."""
    declared = read_dataset_json(root)
    masks = {stem_of(path): path for path in images_in(root / "labelsTr")}
    cases, missing, problems = [], [], []
    counts: defaultdict[int, list[str]] = defaultdict(list)
    for name, paths in group_channels(images_in(root / "imagesTr")).items():
        counts[len(paths)].append(name)
        mask = masks.pop(name, None)
        cases.append(Case(name, paths, mask))
        if mask is None:
            missing.append(name)
    commonest = max(counts, key=lambda count: len(counts[count]), default=0)
    expected = len(declared.channel_names or ()) or commonest
    for count, names in counts.items():
        if count != expected:
            problems.append(
                f"{root / 'imagesTr'} holds {count} of {expected} channel files "
                f"(ID_0000 … ID_{expected - 1:04d}) for {_some(names)}; add the missing files."
            )
    problems += [
        f"{path} is a mask without an image; add imagesTr/{stem}_0000.* or remove the mask."
        for stem, path in masks.items()
    ]
    return Listing("nnunet", tuple(cases), tuple(missing), declared, tuple(problems))


def open_decathlon(root: Path) -> Listing:
    """Read a Medical Segmentation Decathlon folder: the ``training`` list of ``dataset.json``."""
    declared = read_dataset_json(root)
    cases, missing, problems = [], [], []
    for number, entry in enumerate(declared.training):
        image, label = entry.get("image"), entry.get("label")
        if not image:
            problems.append(
                f"{root / 'dataset.json'} names no image in entry {number} of 'training'; add it."
            )
            continue
        path = root / image
        mask = root / label if label else None
        if mask is None or not mask.exists():
            missing.append(stem_of(path))
        found = mask if mask is not None and mask.exists() else None
        cases.append(Case(stem_of(path), (path,), found))
    return Listing("decathlon", tuple(cases), tuple(missing), declared, tuple(problems))


def open_manifest(path: Path) -> Listing:
    """Read a manifest: columns id, image (or image_0, image_1, …), mask, optional group and split.

    Paths are relative to the manifest. The word ``empty`` as mask says that the image holds
    nothing. Columns mask_NAME are the masks of an annotator called NAME, empty where that one did
    not look; beside them the column mask may be absent. A ``dataset.json`` beside the manifest may
    declare labels and regions.

    Raises:
        DataError: unreadable, or a column is missing.
    """
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
    beside = path.parent / "dataset.json"
    declared = read_dataset_json(path.parent) if beside.is_file() else NOTHING_DECLARED
    return Listing("manifest", tuple(cases), tuple(missing), declared, tuple(problems))


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
    role = _ROLE_WORDS.get(word)
    if word and role is None:
        problems.append(
            f"{path}, line {line}, gives {row['id']} the split '{word}'; allowed are "
            f"{', '.join(ROLES)}{nearest(word, ROLES)}."
        )
    case = Case(row["id"], images, mask, row.get("group") or None, role, annotations)
    return case, is_missing, problems


def _some(names: Sequence[str]) -> str:
    """Write a list of names for a sentence: the first three, and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
