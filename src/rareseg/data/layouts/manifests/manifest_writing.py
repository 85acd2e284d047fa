"""Write a data set as a manifest with other groups; images and mask files are not copied."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rareseg.data.layouts.dataset_json import (
    IGNORE_NAME,
    NOTHING_DECLARED,
    Declared,
    read_dataset_json,
)
from rareseg.data.masks.mask_file import as_mask_file
from rareseg.data.records import Case, Dataset
from rareseg.errors import OutputError
from rareseg_runner.atomic_files import atomic_write

EMPTY = "empty"
"""The word in a manifest's mask column that says: this image holds nothing."""


def check_manifest_place(path: Path, dataset: Dataset) -> None:
    """Raise OutputError where a manifest of this data set cannot be written at ``path``.

    That is a file that exists, one that is no ``.csv``, or a folder whose ``dataset.json`` declares
    something else.
    """
    if path.suffix.lower() != ".csv":
        raise OutputError(f"{path} is no name of a manifest; give one that ends in .csv.")
    if path.exists():
        raise OutputError(f"{path} exists already; name another file, or remove it.")
    beside = path.parent / "dataset.json"
    if beside.is_file() and not _agrees(read_dataset_json(path.parent), dataset):
        raise OutputError(
            f"{beside} declares other classes than {dataset.root}; write the manifest into "
            "another folder."
        )


def write_manifest(path: Path, dataset: Dataset, groups: Mapping[str, str]) -> Path:
    """Write the cases of a data set under ``groups`` (case id to group), atomically.

    Paths are relative to the manifest where they can be. What the data set declares of its classes
    is written to a ``dataset.json`` beside it, unless one stands there. Cases whose mask is not
    there are left without one; masks that are drawn in another way than as files of mask values are
    written as such into a folder beside the manifest. Returns ``path``.

    Raises as :func:`check_manifest_place`, and WorkError for a full disk.
    """
    check_manifest_place(path, dataset)
    folder = path.absolute().parent
    n_images = max((len(case.images) for case in dataset.cases), default=1)
    annotators = list(dict.fromkeys(n for case in dataset.cases for n, _ in case.annotations))
    images = ["image"] if n_images == 1 else [f"image_{k}" for k in range(n_images)]
    split = any(case.role for case in dataset.cases)
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns = ["id", *images, "mask", *(f"mask_{name}" for name in annotators), "group"]
        writer.writerow([*columns, *(["split"] if split else [])])
        for case in dataset.cases:
            row = [
                case.id,
                *_images(case, n_images, folder),
                _mask(as_mask_file(case, folder / f"{path.stem}_masks"), folder),
            ]
            drawn = dict(case.annotations)
            row += [_mask(drawn[name], folder) if name in drawn else "" for name in annotators]
            row.append(groups.get(case.id, case.group or ""))
            writer.writerow([*row, *([case.role or ""] if split else [])])
    declared = _declared(dataset)
    if declared and not (folder / "dataset.json").is_file():
        with atomic_write(folder / "dataset.json") as temporary:
            temporary.write_text(json.dumps(declared, indent=1) + "\n", encoding="utf-8")
    return path


def _images(case: Case, count: int, folder: Path) -> list[str]:
    names = [_relative(image, folder) for image in case.images]
    return names + [""] * (count - len(names))


def _mask(mask: Path | None, folder: Path) -> str:
    return EMPTY if mask is None else _relative(mask, folder)


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path.absolute(), folder)).as_posix()
    except ValueError:  # on another drive
        return path.absolute().as_posix()


def _declared(dataset: Dataset) -> dict[str, Any]:
    """Return what a ``dataset.json`` says of the classes, {} where nothing is declared."""
    content: dict[str, Any] = {}
    if dataset.labels is not None:
        ignore = {} if dataset.ignore_value is None else {IGNORE_NAME: dataset.ignore_value}
        content["labels"] = {"background": 0, **dataset.labels, **ignore}
    if dataset.regions:
        content["regions"] = {name: list(values) for name, values in dataset.regions.items()}
    if dataset.channel_names:
        names = enumerate(dataset.channel_names)
        content["channel_names"] = {str(k): name for k, name in names}
    return content


def _agrees(declared: Declared, dataset: Dataset) -> bool:
    there = (declared.labels, declared.regions, declared.ignore_value)
    nothing = (NOTHING_DECLARED.labels, NOTHING_DECLARED.regions, NOTHING_DECLARED.ignore_value)
    ours = (dataset.labels, dataset.regions, dataset.ignore_value)
    return there == ours or (ours == nothing and there == nothing)
