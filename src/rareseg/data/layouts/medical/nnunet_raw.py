"""The layout of nnU-Net's raw data: imagesTr/, labelsTr/, imagesTs/, labelsTs/, dataset.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rareseg.data.layouts.dataset_json import Declared, read_dataset_json
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing, group_channels, some
from rareseg.data.records import Case, Role
from rareseg.errors import DataError
from rareseg_runner.formats import format_of, stem_of

_IN_FILE = ("photograph", "TIFF")
"""Kinds of formats of which one file may hold all channels, as R, G and B."""


@dataclass
class _NnunetCases:
    """What is found while the folders are read."""

    cases: list[Case] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    passed: list[Path] = field(default_factory=list)


def _recognise(tree: FileTree) -> str | None:
    if tree.file is not None:
        return None
    if "imagesTr" in tree.folders():
        return "it holds imagesTr/"
    if tree.has("dataset.json") and read_dataset_json(tree.root).listed_cases:
        return "its dataset.json lists images and labels as 'dataset'"
    return None


def _read(tree: FileTree) -> Listing:
    """Read ``imagesTr/ID_0000.ext``, ``labelsTr/ID.ext``, and of ``imagesTs/`` what has a label.

    Where ``dataset.json`` holds the key ``dataset``, that names the files.
    """
    declared = read_dataset_json(tree.root)
    found = _NnunetCases()
    if declared.listed_cases:
        _read_listed(tree, declared.listed_cases, found)
    else:
        _read_folder(tree, "Tr", found, labelled=True)
        _read_folder(tree, "Ts", found, labelled=False)
    found.problems = _channel_problems(tree, declared, found.cases) + found.problems
    split = "imagesTr/ and imagesTs/" if any(case.role for case in found.cases) else ""
    return Listing(
        tuple(found.cases),
        tuple(found.missing),
        declared,
        tuple(found.problems),
        tuple(found.notes),
        split_from=split,
        passed_over=tuple(found.passed),
    )


def _read_folder(tree: FileTree, part: str, found: _NnunetCases, *, labelled: bool) -> None:
    """Read ``imagesTr`` (labelled: an image without a mask is a fault) or ``imagesTs``."""
    images, masks = f"images{part}", {stem_of(p): p for p in tree.images(f"labels{part}")}
    grouped = group_channels(tree.images(images))
    if masks and not set(grouped) & set(masks):
        plain = {stem_of(path): (path,) for path in tree.images(images)}
        if set(plain) & set(masks):
            grouped = dict(plain)
            found.notes.append(
                f"files in {images}/ lack nnU-Net's ending _0000 before their suffix and are read "
                "as images of one channel; nnU-Net itself would not find them"
            )
    bare = [name for name in grouped if name not in masks]
    role: Role | None = None
    if not labelled:
        found.passed += [path for name in bare for path in grouped[name]]
        if bare:
            found.notes.append(
                f"{len(bare)} of {len(grouped)} images in {images}/ have no label in "
                f"labels{part}/ and are left out"
            )
        grouped = {name: paths for name, paths in grouped.items() if name in masks}
        role = "test"
        if grouped:
            found.cases = [_with_role(case, "train") for case in found.cases]
    for name, paths in grouped.items():
        mask = masks.pop(name, None)
        found.cases.append(Case(name, paths, mask, role=role))
        if mask is None:
            found.missing.append(name)
    found.problems += [
        f"{path} is a mask without an image; add {images}/{stem}_0000.* or remove the mask."
        for stem, path in masks.items()
    ]


def _with_role(case: Case, role: Role) -> Case:
    return Case(case.id, case.images, case.mask, case.group, role)


def _read_listed(tree: FileTree, listed: Mapping[str, Any], found: _NnunetCases) -> None:
    """Read the key ``dataset``: a name to its list ``images`` and its ``label``."""
    for name, entry in listed.items():
        images = entry.get("images") if isinstance(entry, dict) else None
        if (
            not isinstance(images, list)
            or not images
            or not all(isinstance(i, str) for i in images)
        ):
            raise DataError(
                f"{tree.root / 'dataset.json'} names no list 'images' for '{name}' in 'dataset'; "
                "write {'images': [FILE, …], 'label': FILE}."
            )
        label = entry.get("label")
        mask = tree.root / label if isinstance(label, str) else None
        if mask is None or not mask.exists():
            found.missing.append(name)
            mask = None
        found.cases.append(Case(name, tuple(tree.root / image for image in images), mask))


def _channel_problems(tree: FileTree, declared: Declared, cases: Sequence[Case]) -> list[str]:
    """Find cases with other channel files than the declared, or than most."""
    endings = {case.id: _endings(case.images) for case in cases}
    commonest = Counter(map(len, endings.values())).most_common(1)
    count = commonest[0][0] if commonest else 0
    expected = len(declared.channel_names or ()) or count
    first = cases[0].images[0] if cases and cases[0].images else None
    form = format_of(first) if first is not None else None
    if count == 1 and form is not None and form.kind in _IN_FILE:
        expected = 1  # R, G and B in one picture
    wanted = tuple(f"_{number:04d}" for number in range(expected))
    plain = {case.id for case in cases if case.images and stem_of(case.images[0]) == case.id}
    problems = []
    short: dict[int, list[str]] = {}
    for name, found in endings.items():
        if len(found) != expected:
            short.setdefault(len(found), []).append(name)
        elif all(found) and name not in plain and wanted not in endings.values():
            problems.append(
                f"{tree.root / 'imagesTr'} holds the channels {', '.join(found)} of {name} where "
                f"{', '.join(wanted)} are needed; rename or add the files."
            )
    return [
        f"{tree.root / 'imagesTr'} holds {number} of {expected} channel files "
        f"(ID_0000 … ID_{expected - 1:04d}) for {some(names)}; add the missing files."
        for number, names in short.items()
    ] + problems


def _endings(images: Sequence[Path]) -> tuple[str, ...]:
    """Return the endings ``_0000``, … of a case's files, "" where a name has none."""
    stems = [stem_of(path) for path in images]
    return tuple(stem[-5:] if stem[-5:-4] == "_" and stem[-4:].isdigit() else "" for stem in stems)


register(
    Layout(
        "nnunet",
        "nnU-Net raw: imagesTr/ID_0000.nii.gz, labelsTr/ID.nii.gz, dataset.json",
        _recognise,
        _read,
        instead_of=("folders",),
    )
)
