"""Pair images and masks that lie in folders: one mask each, or several files a case."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rareseg.data.layouts.folders.folder_places import FolderEntry
from rareseg.data.layouts.folders.name_rules import (
    MaskName,
    NamePairs,
    Names,
    pair_names,
    read_parts,
)
from rareseg.data.layouts.names import name_key

OBJECT = "\0object"
"""In place of a class's name: the file is one object of several."""

_Key = tuple[str | None, tuple[str, ...]]
_Groups = Mapping[_Key, Sequence[FolderEntry]]
_Any = TypeVar("_Any")


@dataclass
class FoundMasks:
    """What is drawn on every image.

    ``parts`` are, for an image's file, the mask's files with the class that each is of: "" where
    the file itself holds mask values, ``OBJECT`` where it is one object of several. ``unmatched``
    are masks without an image; ``rule`` says how names were paired. ``passed`` are masks that are
    called otherwise than was said.
    """

    parts: defaultdict[Path, list[tuple[str, Path]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    unmatched: list[FolderEntry] = field(default_factory=list)
    rule: str = ""
    passed: list[Path] = field(default_factory=list)


def pair(
    images: Sequence[FolderEntry], masks: Sequence[FolderEntry], said: MaskName | None = None
) -> FoundMasks:
    """Find the files that are drawn on every image.

    Masks lie in folders like their images' but for the words that say which is which. One folder
    deeper, the folder's name is a class, or that of the image of which it holds several masks.
    Where no folders are alike, the names of files decide alone. With ``said``, masks that are
    called otherwise are passed over; ``gt/{id}`` names the folder alone.
    """
    every = masks
    if said is not None:
        masks = [
            mask
            for mask in masks
            if said.is_in(mask.place.folder) and said.image_of(mask.stem) is not None
        ]
        said = said if said.before or said.after else None  # the folder alone was said
    by_role = any(e.place.role for e in images) and any(e.place.role for e in masks)

    def key(entry: FolderEntry, up: int = 0) -> _Key:
        rest = entry.place.rest[: len(entry.place.rest) - up]
        return (entry.place.role if by_role else None), rest

    folders = _grouped(images, key)
    level = [mask for mask in masks if key(mask) in folders]
    deeper = [mask for mask in masks if mask.place.rest and key(mask, 1) in folders]
    if level:
        drawn = _pair_files(folders, _grouped(level, key), said)
    elif deeper:
        drawn = _pair_deeper(folders, _grouped(deeper, lambda mask: key(mask, 1)), said)
    else:
        drawn = _pair_files({(None, ()): images}, {(None, ()): masks}, said)
    used = {path for files in drawn.parts.values() for _, path in files}
    drawn.unmatched = [mask for mask in masks if mask.path not in used]
    known = {mask.path for mask in masks}
    drawn.passed = [mask.path for mask in every if mask.path not in known]
    return drawn


def _grouped(
    some: Sequence[FolderEntry], key: Callable[[FolderEntry], _Key]
) -> dict[_Key, list[FolderEntry]]:
    groups: dict[_Key, list[FolderEntry]] = {}
    for entry in some:
        groups.setdefault(key(entry), []).append(entry)
    return groups


def _pair_files(images: _Groups, masks: _Groups, said: MaskName | None) -> FoundMasks:
    """Pair masks and images of one folder each by their names.

    Where every folder holds one image and the names do not pair, it holds one case, and all of
    its masks are that case's.
    """
    keys = list(masks)
    paired = pair_names([_names(images[key], masks[key]) for key in keys], said)
    alone = len(keys) > 1 and all(len(images[key]) == 1 for key in keys)
    several = sum(len({mask.stem for mask in masks[key]}) for key in keys)
    if alone and said is None and paired.count < several:
        files = {key: [(mask.stem, mask) for mask in masks[key]] for key in keys}
        return _several_a_case({key: images[key][0] for key in keys}, files)
    drawn = FoundMasks(rule=paired.words)
    kind = _kind_of_parts(paired)
    for number, key in enumerate(keys):
        for image, mask in _matched(images[key], masks[key], paired.pairs[number]):
            part = paired.parts[number].get(mask.stem, "")
            drawn.parts[image.path].append((part if kind == "classes" else kind, mask.path))
    return drawn


def _pair_deeper(images: _Groups, masks: _Groups, said: MaskName | None) -> FoundMasks:
    """Pair masks that lie one folder deeper than the images: a class's folder, or an image's."""
    inner: dict[tuple[_Key, str], list[FolderEntry]] = {}
    for key, some in masks.items():
        for mask in some:
            inner.setdefault((key, mask.place.rest[-1]), []).append(mask)
    keys = list(inner)
    paired = pair_names([_names(images[key], inner[key, name]) for key, name in keys], said)
    known = {key: {name_key(image.stem): image for image in images[key]} for key in masks}
    own = {both: known[both[0]].get(name_key(both[1])) for both in inner}
    cases = {both: image for both, image in own.items() if image is not None}
    if 2 * len(cases) > len(own) and paired.count < sum(map(len, inner.values())):
        return _several_a_case(cases, {b: [(m.stem, m) for m in inner[b]] for b in cases})
    drawn = FoundMasks(rule=paired.words)
    only = len({name for _, name in keys}) == 1  # `annotations/trimaps` is no class
    for number, (key, name) in enumerate(keys):
        for image, mask in _matched(images[key], inner[key, name], paired.pairs[number]):
            drawn.parts[image.path].append(("" if only else name, mask.path))
    return drawn


def _several_a_case(
    images: Mapping[_Any, FolderEntry], files: Mapping[_Any, Sequence[tuple[str, FolderEntry]]]
) -> FoundMasks:
    """Take all masks of a folder for one image's: classes where names recur, objects otherwise."""
    kind = read_parts([part for some in files.values() for part, _ in some])
    drawn = FoundMasks(rule="each folder holds the masks of one image")
    for key, image in images.items():
        drawn.parts[image.path] += [
            (part if kind == "classes" else OBJECT, mask.path) for part, mask in files[key]
        ]
    return drawn


def _names(images: Sequence[FolderEntry], masks: Sequence[FolderEntry]) -> Names:
    return Names(
        tuple(dict.fromkeys(image.stem for image in images)),
        tuple(dict.fromkeys(mask.stem for mask in masks)),
    )


def _kind_of_parts(paired: NamePairs) -> str:
    parts = [part for some in paired.parts for part in some.values()]
    if not parts:
        return ""
    return "classes" if read_parts(parts) == "classes" else OBJECT


def _matched(
    images: Sequence[FolderEntry], masks: Sequence[FolderEntry], pairs: Mapping[str, str]
) -> list[tuple[FolderEntry, FolderEntry]]:
    named: defaultdict[str, list[FolderEntry]] = defaultdict(list)
    for image in images:
        named[image.stem].append(image)
    return [
        (image, mask) for mask in masks if mask.stem in pairs for image in named[pairs[mask.stem]]
    ]
