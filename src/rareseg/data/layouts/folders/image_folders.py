"""The layout of folders for images and for masks, and the search for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.folders.folder_places import (
    FolderEntry,
    Place,
    entries,
    find_places,
    image_places,
    read_mask_name,
)
from rareseg.data.layouts.folders.pair_listing import list_pairs
from rareseg.data.layouts.folders.pairing import pair
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing, group_channels
from rareseg.data.layouts.names import name_key


def _recognise(tree: FileTree) -> str | None:
    if tree.file is not None:
        return None
    places = find_places(tree)
    images = [place for place in places if place.kind == "image"]
    masks = [place for place in places if place.kind == "mask"]
    nothing = [place for place in places if place.kind == "negative"]
    if images and masks:
        return f"it holds images in {images[0].folder}/ and masks in {masks[0].folder}/"
    if masks and any(place.kind is None for place in places):
        return f"it holds masks in {masks[0].folder}/"
    if images or nothing:
        return f"it holds {(images or nothing)[0].folder}/"
    bare = next((name for name in ("images", "negatives") if name in tree.folders()), None)
    return f"it holds {bare}/" if bare else None


def _read(tree: FileTree) -> Listing:
    places = find_places(tree)
    masks = entries(tree, [place for place in places if place.kind == "mask"])
    images = _with_channels(entries(tree, image_places(places)), masks)
    nothing = entries(tree, [place for place in places if place.kind == "negative"])
    return list_pairs(tree, [*images, *nothing], pair(images, masks, read_mask_name(tree)))


def _with_channels(
    images: Sequence[FolderEntry], masks: Sequence[FolderEntry]
) -> list[FolderEntry]:
    """Gather files ``ID_0000``, ``ID_0001``, … as channels where masks are called ``ID``."""
    names = {name_key(mask.stem) for mask in masks}
    folders: defaultdict[Place, list[FolderEntry]] = defaultdict(list)
    for image in images:
        folders[image.place].append(image)
    found = []
    for place, here in folders.items():
        grouped = group_channels([image.path for image in here])
        known = {name_key(name) for name in grouped}
        is_channel = len(grouped) < len(here) or any(e.stem not in grouped for e in here)
        own = {name_key(image.stem) for image in here}
        if is_channel and names and names & known and not names & own:
            found += [FolderEntry(f[0], name, place, f[1:]) for name, f in grouped.items()]
        else:
            found += here
    return found


register(
    Layout(
        "folders",
        "images in one folder, masks in another: images/ and masks/ (labels/, gt/, annotations/), "
        "parts of the split or patients inside or outside, negatives/ without masks",
        _recognise,
        _read,
    )
)
