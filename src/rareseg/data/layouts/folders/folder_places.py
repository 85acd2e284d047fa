"""Folders of images and masks, by what their path says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.folders.folder_words import Kind, kind_of, role_of
from rareseg.data.layouts.folders.name_rules import MaskName
from rareseg.data.layouts.listing import some
from rareseg.data.records import Role
from rareseg_runner.formats import stem_of


@dataclass(frozen=True)
class Place:
    """One folder with images or masks in it.

    ``kind`` is what its innermost telling name says, ``None`` where no name of its path does.
    ``role`` is the part of the split. ``rest`` are the names of the path that are neither, without
    those that all places share: a patient, a site, a class.
    """

    folder: str
    kind: Kind | None
    role: Role | None
    rest: tuple[str, ...]


@dataclass(frozen=True)
class FolderEntry:
    """One image or mask: its file (or series of files), its name and its place.

    ``more`` are the files of an image's further channels.
    """

    path: Path
    stem: str
    place: Place
    more: tuple[Path, ...] = ()


@lru_cache(maxsize=2)
def find_places(tree: FileTree) -> tuple[Place, ...]:
    """Return the folders of a tree that hold images or masks, outer ones first.

    A name with a word such as ``train`` is a part of the split where no other folder beside it is
    called by the same word: ``BraTS_Training_001`` among its like is a case.
    """
    places = []
    alike: dict[str, Counter[tuple[Kind | None, Role | None]]] = {}
    for folder, _ in tree.walk():
        if tree.image_files(folder) or _series(tree, folder):
            places.append(_place(tree, folder, alike))
    shared = _shared([place.rest for place in places])
    return tuple(replace(place, rest=place.rest[shared:]) for place in places)


def image_places(places: Sequence[Place]) -> list[Place]:
    """Return the folders of images: those that are called so, or all others where none is.

    Of others, those that hold a mask's image: ``train`` beside ``train_masks``, or what ``masks``
    lies in.
    """
    named = [place for place in places if place.kind == "image"]
    if named:
        return named
    beside = [place.rest for place in places if place.kind == "mask"]
    inner = {rest[:-1] for rest in beside if rest}
    others = [place for place in places if place.kind is None]
    fitting = [place for place in others if place.rest in beside]
    return fitting or [place for place in others if place.rest in inner] or others


def read_mask_name(tree: FileTree) -> MaskName | None:
    """Return how masks are said to be called; UsageError where that cannot be read."""
    return MaskName.read(tree.mask_name) if tree.mask_name else None


def entries(tree: FileTree, places: Sequence[Place]) -> list[FolderEntry]:
    """Return the images or masks in folders, by folder and name.

    A folder of DICOM files is one series, unless its own name says that it holds images or masks:
    then each file is one.
    """
    found = []
    for place in places:
        if _is_one_series(tree, place.folder):
            continue
        paths = [*tree.image_files(place.folder), *_series(tree, place.folder)]
        found += [FolderEntry(path, stem_of(path), place) for path in sorted(paths)]
    return found


def split_names(places: Sequence[Place]) -> str:
    """Name the folders that say the parts of the split, for a sentence; "" where none does."""
    names = (
        name
        for place in places
        if place.role is not None
        for name in PurePosixPath(place.folder).parts
        if role_of(name) == place.role and name not in place.rest
    )
    return some([f"{name}/" for name in dict.fromkeys(names)])


def _series(tree: FileTree, folder: str) -> list[Path]:
    inner = [f"{folder}/{name}" if folder else name for name in tree.folders(folder)]
    return [tree.path(one) for one in inner if _is_one_series(tree, one)]


def _is_one_series(tree: FileTree, folder: str) -> bool:
    name = PurePosixPath(folder).name
    return kind_of(name) is None and role_of(name) is None and tree.is_series(folder)


def _place(
    tree: FileTree, folder: str, alike: dict[str, Counter[tuple[Kind | None, Role | None]]]
) -> Place:
    """Read a path; ``alike`` keeps for each folder how many of its folders say the same."""
    kinds: list[Kind] = []
    role: Role | None = None
    rest = []
    parts = PurePosixPath(folder).parts
    for depth, name in enumerate(parts):
        own_kind, own_role = kind_of(name), role_of(name)
        if own_role is not None:
            outer = "/".join(parts[:depth])
            if outer not in alike:
                alike[outer] = Counter((kind_of(n), role_of(n)) for n in tree.folders(outer))
            own_role = own_role if alike[outer][own_kind, own_role] == 1 else None
        kinds += [own_kind] if own_kind else []
        role = own_role or role
        if own_kind is None and own_role is None:
            rest.append(name)
    kind = kinds[-1] if kinds else None
    if kind == "image" and "negative" in kinds:
        kind = "negative"
    return Place(folder, kind, role, tuple(rest))


def _shared(paths: Sequence[tuple[str, ...]]) -> int:
    """Return how many of the first names all paths share."""
    count = 0
    for names in zip(*paths, strict=False):
        if len(set(names)) > 1:
            break
        count += 1
    return count
