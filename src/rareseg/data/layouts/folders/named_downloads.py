"""The layouts of Pascal VOC and Cityscapes, whose folders hold more than images and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from rareseg.data.layouts.dataset_json import Declared
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.folders.folder_places import (
    Entry,
    Place,
    entries,
    find_places,
    masks_said,
)
from rareseg.data.layouts.folders.folder_words import role_of
from rareseg.data.layouts.folders.pair_listing import list_pairs
from rareseg.data.layouts.folders.pairing import pair
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing, declared_in
from rareseg.data.records import IGNORE, Role
from rareseg.errors import DataError

_VOC_IMAGES, _VOC_MASKS, _VOC_LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
_CITY_IMAGES, _CITY_MASKS = "leftImg8bit", ("gtFine", "gtCoarse")
_CITY_ENDINGS = ("_labelTrainIds", "_labelIds")


def _voc_root(tree: FileTree) -> str | None:
    """Return the folder that holds VOC's folders."""
    for folder, _ in tree.walk():
        if {_VOC_IMAGES, _VOC_MASKS} <= set(tree.folders(folder)):
            return folder
    return None


def _recognise_voc(tree: FileTree) -> str | None:
    if tree.file is not None or _voc_root(tree) is None:
        return None
    return f"it holds {_VOC_IMAGES}/ and {_VOC_MASKS}/"


def _read_voc(tree: FileTree) -> Listing:
    """Read Pascal VOC: the images that ImageSets/Segmentation lists, or all; 255 counts nowhere."""
    root = _voc_root(tree)
    if root is None:
        raise DataError(f"{tree.root} holds no {_VOC_IMAGES}/ and {_VOC_MASKS}/; name its folder.")
    inside = f"{root}/" if root else ""
    roles = _voc_lists(tree, f"{inside}{_VOC_LISTS}")
    place = Place(f"{inside}{_VOC_IMAGES}", "image", None, ())
    images = entries(tree, [place])
    masks = entries(tree, [Place(f"{inside}{_VOC_MASKS}", "mask", None, ())])
    notes = []
    every = [*images, *masks]
    if roles:
        listed = [image for image in images if image.stem in roles]
        if len(listed) < len(images):
            notes.append(
                f"{len(images) - len(listed)} images of {_VOC_IMAGES}/ are in no list of "
                f"{_VOC_LISTS}/ and are left out"
            )
        images = [_as(image, roles[image.stem]) for image in listed]
        masks = [mask for mask in masks if mask.stem in roles]
    listing = list_pairs(tree, images, pair(images, masks, masks_said(tree)))
    return replace(
        listing,
        declared=_voided(listing.declared),
        notes=(*notes, f"mask value {IGNORE} counts nowhere, as in Pascal VOC", *listing.notes),
        split_from=f"the lists in {_VOC_LISTS}/" if any(roles.values()) else "",
        passed_over=(*listing.passed_over, *_unread(every, [*images, *masks])),
    )


def _voc_lists(tree: FileTree, folder: str) -> dict[str, Role | None]:
    """Return the names in VOC's lists with the part of the split that each list is."""
    roles: dict[str, Role | None] = {}
    for name in tree.files(folder):
        if not name.lower().endswith(".txt"):
            continue
        path = tree.path(folder, name)
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read ({error}); save it as UTF-8 text.") from error
        role = role_of(PurePosixPath(name).stem)
        for line in lines:
            stem = line.split()[0] if line.split() else ""
            if stem and (role is not None or stem not in roles):
                roles[stem] = role
    return roles


def _as(image: Entry, role: Role | None) -> Entry:
    return replace(image, place=replace(image.place, role=role))


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
    listing = list_pairs(tree, images, pair(images, masks, masks_said(tree)))
    declared = declared_in(tree)
    return replace(
        listing,
        declared=_voided(declared) if masks is trained else declared,
        passed_over=(*listing.passed_over, *_unread(drawn, masks)),
    )


def _unread(every: Sequence[Entry], read: Sequence[Entry]) -> list[Path]:
    known = {entry.path for entry in read}
    return [entry.path for entry in every if entry.path not in known]


def _without(place: Place) -> Place:
    return replace(place, kind="mask", rest=tuple(n for n in place.rest if n not in _CITY_MASKS))


register(
    Layout(
        "voc",
        "Pascal VOC: JPEGImages/, SegmentationClass/, lists in ImageSets/Segmentation/",
        _recognise_voc,
        _read_voc,
        instead_of=("folders",),
    )
)
register(
    Layout(
        "cityscapes",
        "Cityscapes: leftImg8bit/SPLIT/CITY/ and gtFine/SPLIT/CITY/..._labelIds.png",
        _recognise_city,
        _read_city,
        instead_of=("folders",),
    )
)
