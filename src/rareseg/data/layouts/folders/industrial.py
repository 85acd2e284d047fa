"""The layout of MVTec AD and VisA: good parts, and defects by their kind."""

from __future__ import annotations

from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.folders.folder_places import (
    FolderEntry,
    Place,
    entries,
    find_places,
    read_mask_name,
)
from rareseg.data.layouts.folders.folder_words import holds_nothing
from rareseg.data.layouts.folders.pair_listing import OnePart, list_pairs
from rareseg.data.layouts.folders.pairing import pair
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing

_NO_SPLIT = (
    "the folders' split is for learning from good parts alone and is not taken over: all defects "
    "lie in test/"
)


def _parts(tree: FileTree) -> tuple[list[Place], list[Place], list[Place]]:
    """Return the folders of good parts, of defects and of masks."""
    places = find_places(tree)
    others = [place for place in places if place.kind in (None, "image")]
    good = [place for place in others if place.rest and holds_nothing(place.rest[-1])]
    masks = [place for place in places if place.kind == "mask" and place.rest]
    kinds = {place.rest for place in masks}
    return good, [place for place in others if place.rest in kinds], masks


def _recognise(tree: FileTree) -> str | None:
    if tree.file is not None:
        return None
    good, defects, masks = _parts(tree)
    if not good or not defects:
        return None
    return (
        f"it holds {good[0].folder}/ and, of defects, {defects[0].folder}/ and {masks[0].folder}/"
    )


def _read(tree: FileTree) -> Listing:
    """Read ``train/good``, ``test/good``, ``test/KIND`` and ``ground_truth/KIND``.

    A kind of defect is a class; one that only says that there is a defect (``bad``) is none. Good
    parts hold nothing.
    """
    good, defects, masks = _parts(tree)
    images = entries(tree, defects)
    drawn = pair(images, entries(tree, masks), read_mask_name(tree))
    kinds = {image.path: image.place.rest[-1] for image in images}
    for path, files in drawn.parts.items():
        drawn.parts[path] = [(kinds[path], file) for _, file in files]
    whole: list[FolderEntry] = [*entries(tree, good), *images]
    return list_pairs(tree, whole, drawn, OnePart(_NO_SPLIT))


register(
    Layout(
        "industrial",
        "MVTec AD or VisA: train/good, test/good, test/KIND and ground_truth/KIND",
        _recognise,
        _read,
        instead_of=("folders",),
    )
)
