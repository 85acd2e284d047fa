"""The layout of one folder a case, in which files have the same names in every case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from rareseg.data.layouts.case_names import outer_groups, unique_names
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.folders.folder_places import Place, entries, find_places, split_names
from rareseg.data.layouts.folders.folder_words import is_mask_word
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing, declared_in, some
from rareseg.data.records import Case
from rareseg.errors import DataError


@dataclass(frozen=True)
class _Folder:
    """A case's folder: its place, and its files by what their names say beside the case's."""

    place: Place
    images: dict[str, Path]
    masks: dict[str, Path]


def _recognise(tree: FileTree) -> str | None:
    if tree.file is not None:
        return None
    folders = _folders(tree)
    usual = _usual(folders)
    alike = [f for f in folders if tuple(sorted(f.images)) == usual]
    names = {name for folder in folders for name in folder.masks}
    if not names or not usual or 2 * len(alike) < len(folders):
        return None
    if max(len(folder.masks) for folder in folders) > 1:
        return None
    if len(folders) == 1 and not any(map(is_mask_word, names)):
        return None
    return f"each folder such as {folders[0].place.folder}/ holds {', '.join(usual)} and a mask"


def _read(tree: FileTree) -> Listing:
    """Read one case a folder: ``image.nii.gz`` and ``label.nii.gz``, or channels and ``seg``.

    The folder names the case. Several images are channels, in the order of their names.
    """
    folders = _folders(tree)
    if not folders:
        raise DataError(f"{tree.root} holds no folder with an image and a mask; name its folder.")
    usual = _usual(folders)
    paths = [_case_path(folder.place) for folder in folders]
    names = unique_names(paths, [folder.place.role for folder in folders])
    groups = outer_groups([folder.place.rest[:-1] for folder in folders])
    split = len({folder.place.role for folder in folders}) > 1
    cases, missing, problems = [], [], []
    for folder, name, group in zip(folders, names, groups, strict=True):
        masks = list(folder.masks.values())
        images = tuple(folder.images[part] for part in sorted(folder.images))
        role = folder.place.role if split else None
        cases.append(Case(name, images, masks[0] if masks else None, group, role))
        if not masks:
            missing.append(name)
        if len(masks) > 1:
            problems.append(
                f"{tree.path(folder.place.folder)} holds several masks: "
                f"{some([path.name for path in masks])}; keep one, or name its like with "
                "--mask-name."
            )
        lacking = [part for part in usual if part not in folder.images]
        if lacking:
            problems.append(
                f"{tree.path(folder.place.folder)} lacks {some(lacking)}, which other cases have; "
                "add the missing files."
            )
    declared = declared_in(tree)
    if len(usual) > 1 and declared.channel_names is None:
        declared = replace(declared, channel_names=usual)
    return Listing(
        tuple(cases),
        tuple(missing),
        declared,
        tuple(problems),
        split_from=split_names([folder.place for folder in folders]) if split else "",
    )


def _case_path(place: Place) -> tuple[str, ...]:
    return place.rest or (PurePosixPath(place.folder).name,)


def _usual(folders: Sequence[_Folder]) -> tuple[str, ...]:
    counts = Counter(tuple(sorted(folder.images)) for folder in folders)
    return counts.most_common(1)[0][0] if counts else ()


def _folders(tree: FileTree) -> list[_Folder]:
    found = []
    for place in find_places(tree):
        if not place.folder or place.kind is not None:
            continue
        own = PurePosixPath(place.folder).name
        images: dict[str, Path] = {}
        masks: dict[str, Path] = {}
        for entry in entries(tree, [place]):
            part = entry.stem.removeprefix(own).strip("_-. ") or entry.stem
            last = part.replace("-", "_").replace(".", "_").rpartition("_")[2]
            is_mask = is_mask_word(part) or is_mask_word(last)
            (masks if is_mask else images)[part] = entry.path
        if images:
            found.append(_Folder(place, images, masks))
    return found


register(
    Layout(
        "case_folders",
        "one folder a case: CASE/image.nii.gz and CASE/label.nii.gz, or channels and CASE/seg",
        _recognise,
        _read,
    )
)
