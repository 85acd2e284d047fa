"""The layout of volumes as folders of numbered slices: images/CASE/000.png, masks/CASE/000.png."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from rareseg.data.layouts.case_names import outer_groups, unique_names
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.folders.folder_places import (
    FolderEntry,
    Place,
    entries,
    find_places,
    image_places,
    split_names,
)
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing, declared_in
from rareseg.data.records import Case, Role
from rareseg.errors import DataError, ReadError
from rareseg_runner.formats import format_of, read_image

FEWEST = 5
"""Fewer pictures in a folder than this are not taken for the slices of a volume."""
_NUMBERED = re.compile(r"(?P<before>.*?)(?P<number>\d+)")

_Key = tuple[Role | None, tuple[str, ...]]


def _recognise(tree: FileTree) -> str | None:
    if tree.file is not None:
        return None
    images, masks = _folders(tree)
    both = [key for key in images if key in masks]
    if not both or any(key not in images for key in masks):
        return None
    for key in both:
        numbers = _numbers(images[key])
        if len(numbers) < FEWEST or numbers != _numbers(masks[key]):
            return None
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            return None
    first = images[both[0]][0]
    found = format_of(first.path)
    if found is None or found.kind not in ("photograph", "TIFF"):
        return None
    try:
        shape = read_image((first.path,)).array.shape
    except ReadError:
        return None
    if shape[:2] != (1, 1):
        return None  # colours, or volumes: pictures of their own
    return f"{first.place.folder}/ and the like hold numbered grey pictures, as do their masks"


def _read(tree: FileTree) -> Listing:
    """Read each folder of pictures as one volume, the pictures as its slices by number."""
    images, masks = _folders(tree)
    if not images:
        raise DataError(f"{tree.root} holds no folders of numbered pictures; name their folder.")
    keys = list(images)
    names = unique_names([rest for _, rest in keys], [role for role, _ in keys])
    groups = outer_groups([rest[:-1] for _, rest in keys])
    split = len({role for role, _ in keys}) > 1
    cases, missing, problems = [], [], []
    for key, name, group in zip(keys, names, groups, strict=True):
        place = images[key][0].place
        drawn = masks.get(key)
        mask = tree.path(drawn[0].place.folder) if drawn else None
        role = key[0] if split else None
        cases.append(Case(name, (tree.path(place.folder),), mask, group, role))
        if drawn is None:
            missing.append(name)
        elif len(drawn) != len(images[key]):
            problems.append(
                f"{tree.path(place.folder)} holds {len(images[key])} slices and {mask} "
                f"{len(drawn)}; give every slice a mask, empty ones too."
            )
    note = (
        "each folder of numbered pictures is a volume, 1 mm between pixels and slices "
        "(--layout folders takes each picture for itself)"
    )
    return Listing(
        tuple(cases),
        tuple(missing),
        declared_in(tree),
        tuple(problems),
        (note,),
        split_from=split_names([images[key][0].place for key in keys]) if split else "",
    )


def _folders(tree: FileTree) -> tuple[dict[_Key, list[FolderEntry]], dict[_Key, list[FolderEntry]]]:
    """Return the folders of images and those of masks that are named like them."""
    places = find_places(tree)
    kept = [place for place in image_places(places) if place.kind == "image" and place.rest]
    drawn = [place for place in places if place.kind == "mask" and place.rest]
    return _by_key(tree, kept), _by_key(tree, drawn)


def _by_key(tree: FileTree, places: Sequence[Place]) -> dict[_Key, list[FolderEntry]]:
    found: defaultdict[_Key, list[FolderEntry]] = defaultdict(list)
    for entry in entries(tree, places):
        found[entry.place.role, entry.place.rest].append(entry)
    return dict(found)


def _numbers(slices: Sequence[FolderEntry]) -> list[int]:
    """Return the numbers of slices, sorted; [] where a name is no number or they begin unalike."""
    matches = [_NUMBERED.fullmatch(entry.stem) for entry in slices]
    found = [match for match in matches if match]
    if len(found) < len(matches) or len({match["before"] for match in found}) != 1:
        return []
    return sorted(int(match["number"]) for match in found)


register(
    Layout(
        "slices",
        "one folder of numbered grey pictures a volume: images/CASE/000.png, masks/CASE/000.png",
        _recognise,
        _read,
    )
)
