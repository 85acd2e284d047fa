"""The layout of images and masks in one folder, which a word in the masks' names tells apart."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.folders.folder_places import (
    FolderEntry,
    entries,
    find_places,
    read_mask_name,
)
from rareseg.data.layouts.folders.folder_words import is_mask_word
from rareseg.data.layouts.folders.name_rules import without_image_words
from rareseg.data.layouts.folders.pair_listing import list_pairs
from rareseg.data.layouts.folders.pairing import pair
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing
from rareseg.errors import DataError
from rareseg_runner.formats import format_of

_ENDING = re.compile(r"(?P<id>.+?)[_\-. ](?P<word>[^\W\d_]+(?:[_\- ]truth)?)(?P<number>[_-]?\d+)?")
_BEGINNING = re.compile(r"(?P<word>[^\W\d_]+)(?:[_\-. ](?P<id>.+)|(?P<number>\d.*))")


def _recognise(tree: FileTree) -> str | None:
    if tree.file is not None:
        return None
    images, masks = _apart(tree)
    return f"{masks[0].path.name} lies beside its image" if images and masks else None


def _read(tree: FileTree) -> Listing:
    images, masks = _apart(tree)
    if not masks:
        raise DataError(
            f"{tree.root} holds no masks that a word in their names, such as _mask or _label, "
            "tells from images; say how they are called with --mask-name '{id}_WORD'."
        )
    return list_pairs(tree, images, pair(images, masks, read_mask_name(tree)))


def _apart(tree: FileTree) -> tuple[list[FolderEntry], list[FolderEntry]]:
    """Tell masks from images by the commonest word for masks in names that have an image beside."""
    found = entries(tree, [place for place in find_places(tree) if place.kind != "mask"])
    said = read_mask_name(tree)
    if said is not None:
        is_mask = {e.path: said.image_of(e.stem) is not None for e in found}
    else:
        words: Counter[tuple[str, bool]] = Counter()
        cores: defaultdict[str, set[str]] = defaultdict(set)
        for entry in found:
            if not _matches(entry.stem):
                cores[entry.place.folder] |= {entry.stem, without_image_words(entry.stem)}
        for entry in found:
            for match, ends in _matches(entry.stem):
                if (match["id"] or match["number"]) in cores[entry.place.folder]:
                    words[match["word"].lower(), ends] += 1
        word = words.most_common(1)[0][0] if words else None
        is_mask = {e.path: word in _words(e.stem) for e in found}
        if word is None:
            is_mask = _by_format(found)
    masks = [entry for entry in found if is_mask[entry.path]]
    return [entry for entry in found if not is_mask[entry.path]], masks


def _by_format(found: Sequence[FolderEntry]) -> dict[Path, bool]:
    """Tell masks from images where each name is there twice: as JPEG, and in a format without loss.

    Nothing is a mask where that is not so.
    """
    kinds: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    is_mask = {}
    for entry in found:
        form = format_of(entry.path)
        is_mask[entry.path] = form is not None and not form.lossy
        kinds[entry.place.folder, entry.stem].append(is_mask[entry.path])
    pairs = all(sorted(some) == [False, True] for some in kinds.values())
    return is_mask if pairs else dict.fromkeys(is_mask, False)


def _words(stem: str) -> Sequence[tuple[str, bool]]:
    return [(match["word"].lower(), ends) for match, ends in _matches(stem)]


def _matches(stem: str) -> list[tuple[re.Match[str], bool]]:
    """Return where a name begins or ends (True) with a word for masks."""
    found = [(_ENDING.fullmatch(stem), True), (_BEGINNING.fullmatch(stem), False)]
    return [(match, ends) for match, ends in found if match and is_mask_word(match["word"])]


register(
    Layout(
        "side_by_side",
        "images and masks in one folder: x.jpg and x_label.png, x_mask.png, x_GT.png",
        _recognise,
        _read,
    )
)
