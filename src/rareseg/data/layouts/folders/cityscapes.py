"""The layout of Cityscapes, which has several masks of every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from rareseg.data.layouts.dataset_json import Declared
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.folders.folder_places import (
    FolderEntry,
    Place,
    entries,
    find_places,
    read_mask_name,
)
from rareseg.data.layouts.folders.pair_listing import list_pairs
from rareseg.data.layouts.folders.pairing import pair
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing, declared_in
from rareseg_runner.image_records import IGNORE

_CITY_IMAGES, _CITY_MASKS = "leftImg8bit", ("gtFine", "gtCoarse")
_CITY_ENDINGS = ("_labelTrainIds", "_labelIds")


def _voided(declared: Declared) -> Declared:
    if declared.ignore_value is not None or IGNORE in (declared.labels or {}).values():
        return declared
    return replace(declared, ignore_value=IGNORE)


def _recognise_city(tree: FileTree) -> str | None:
    if tree.file is not None:
        return None
    outer = {PurePosixPath(folder).parts for folder, _ in tree.walk()}
    names = {name for parts in outer for name in parts}
    found = next((name for name in _CITY_MASKS if name in names), None)
    return f"it holds {_CITY_IMAGES}/ and {found}/" if _CITY_IMAGES in names and found else None


def _read_city(tree: FileTree) -> Listing:
    """Read Cityscapes: ``_labelIds`` alone of the files that it has for every picture.

    Training labels (``_labelTrainIds``) are taken before where every picture has them; in these 255
    counts nowhere.
    """
    places = find_places(tree)
    images = entries(tree, [p for p in places if _CITY_IMAGES in p.folder.split("/")])
    drawn = entries(tree, [p for p in places if set(_CITY_MASKS) & set(p.folder.split("/"))])
    drawn = [replace(mask, place=_without(mask.place)) for mask in drawn]
    by_ending = {end: [m for m in drawn if m.stem.endswith(end)] for end in _CITY_ENDINGS}
    trained, plain = (by_ending[end] for end in _CITY_ENDINGS)
    masks = trained if trained and len(trained) >= len(plain) else plain
    listing = list_pairs(tree, images, pair(images, masks, read_mask_name(tree)))
    declared = declared_in(tree)
    return replace(
        listing,
        declared=_voided(declared) if masks is trained else declared,
        passed_over=(*listing.passed_over, *_unread(drawn, masks)),
    )


def _unread(every: Sequence[FolderEntry], read: Sequence[FolderEntry]) -> list[Path]:
    known = {entry.path for entry in read}
    return [entry.path for entry in every if entry.path not in known]


def _without(place: Place) -> Place:
    return replace(place, kind="mask", rest=tuple(n for n in place.rest if n not in _CITY_MASKS))


register(
    Layout(
        "cityscapes",
        "Cityscapes: leftImg8bit/SPLIT/CITY/ and gtFine/SPLIT/CITY/..._labelIds.png",
        _recognise_city,
        _read_city,
        instead_of=("folders",),
    )
)
