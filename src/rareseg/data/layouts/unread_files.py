"""Find the files of a folder that no case is read from, and say which may be masks."""

from __future__ import annotations

import os
import re
import stat
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.folders.folder_words import is_mask_folder
from rareseg.data.layouts.listing import Listing
from rareseg.data.layouts.names import name_key
from rareseg_runner.formats import format_of


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PICTURES = _words(
    ".png .jpg .jpeg .jpe .jfif .bmp .gif .webp .tif .tiff .jp2 .j2k .jpx .heic .heif .avif .ppm "
    ".pgm .pbm .pnm .svg .psd .xcf .ai .dng .cr2 .nef .arw .svs .ndpi .scn .mrxs .czi .nd2 .lif "
    ".vsi .qptiff .npy .npz .h5 .hdf5 .mat .zarr .nii .gz .nrrd .nhdr .mha .mhd .mgz .mgh .hdr "
    ".img .dcm .ima .mnc .mp4 .avi .mov .tfrecord .parquet"
)
"""Endings of what may be an image or a mask, lower case, whether it can be read or not."""
_DRAWINGS = _words(".json .xml .txt .csv .geojson .roi .rle .yaml .yml .lst .mask .zip")
"""Endings of what may hold an outline."""
MOST_TEXT = 200_000
"""Characters of problems in which names are looked for."""

_MAY_BE_MASK = (
    ", and may be masks: without them their images would hold nothing. Convert them, name their "
    "layout (--layout), or say that they are none (--ignore-unread)."
)
_IS_NONE = "; put the file itself there, or remove it."
_LEFT_OUT = "."


@dataclass(frozen=True)
class Unread:
    """What was not read: faults stop a training, warnings and notes do not; one sentence each."""

    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find_unread(tree: FileTree, listing: Listing, *, ignored: bool, listed: bool) -> Unread:
    """Return what lies in a folder and is no part of a case.

    It is a fault where a file could be the mask of an image that has none, or lies among the masks;
    a warning where it could be an image; a note else. With ``ignored``, what could be a mask
    is a warning too. Where a table names the files (``listed``), others are a note alone.
    """
    read = _used(listing)
    used = read | {_place(tree.path("", "dataset.json"))}
    told = "\n".join(listing.problems)
    looked_into = {str(Path(path).parent) for path in read}
    folders = _mask_folders(tree, listing)
    missing = {name_key(name) for name in listing.missing}
    found: dict[str, defaultdict[tuple[str, str], list[str]]] = {
        word: defaultdict(list) for word in ("fault", "warning", "note", "broken")
    }
    for folder, files in tree.walk():
        place = _place(tree.path(folder))
        if place in used:
            continue  # a series of DICOM files
        among = _is_within(folder, folders)
        for name in files:
            path = tree.path(folder, name)
            if os.path.join(place, name) in used or path == tree.file:  # noqa: PTH118 - as above
                continue
            level = _level(path, among=among, missing=missing)
            apart = listed or place not in looked_into
            if level == "note" and apart and not among:
                continue  # what describes the data set, or belongs to something else
            if level in ("fault", "warning") and len(told) < MOST_TEXT and name in told:
                continue  # the layout has said it
            if level in ("fault", "warning") and listed:
                level = "note"
            if level == "fault" and ignored:
                level = "warning"
            found[level][folder, _ending(name)].append(name)
    return Unread(
        faults=_unread_sentences(tree, found["fault"], _MAY_BE_MASK)
        + _unread_sentences(tree, found["broken"], _IS_NONE),
        warnings=_unread_sentences(tree, found["warning"], _LEFT_OUT),
        notes=_unread_sentences(tree, found["note"], _LEFT_OUT),
    )


def _place(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - without "..", links as they are


def _used(listing: Listing) -> set[str]:
    """Return the files that cases are read from, those that describe them or are passed over."""
    used = {
        _place(path)
        for case in listing.cases
        for path in (*case.images, *case.mask_files, *(m for _, m in case.annotations if m))
    }
    used |= {_place(path) for path in listing.passed_over}
    # The data of a header in a file of its own.
    for path in [Path(name) for name in used if name.lower().endswith((".mhd", ".nhdr", ".hdr"))]:
        used |= {str(path.with_suffix(s)) for s in (".raw", ".zraw", ".img", ".raw.gz", ".gz")}
    return used


def _mask_folders(tree: FileTree, listing: Listing) -> set[str]:
    """Return the folders in which masks alone lie, relative to the root."""
    images = {path.parent for case in listing.cases for path in case.images}
    masks = {path.parent for case in listing.cases for path in case.mask_files} - images
    found = {_relative(folder, tree.root) for folder in masks} - {None}
    if not masks:
        found |= {
            folder
            for folder, _ in tree.walk()
            if is_mask_folder(PurePosixPath(folder).name) and tree.path(folder) not in images
        }
    return {folder for folder in found if folder}


def _relative(path: Path, root: Path) -> str | None:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else None


def _is_within(folder: str, folders: Collection[str]) -> bool:
    own = PurePosixPath(folder)
    return any(str(parent) in folders for parent in (own, *own.parents))


def _level(path: Path, *, among: bool, missing: Collection[str]) -> str:
    ending = _ending(path.name)
    pictured = ending in _PICTURES or format_of(path) is not None
    if not path.is_file():
        # A link to nowhere, a pipe, a socket: what is called a picture is missed.
        return "broken" if pictured or among else "note"
    stems = {name_key(stem) for stem in _stems(path.name)}
    if not stems.isdisjoint(missing) and (pictured or ending in _DRAWINGS):
        return "fault"
    if pictured:
        return "fault" if among else "warning"
    return "note"


def _stems(name: str) -> list[str]:
    """Return what stands before each ``.``, ``_``, ``-`` and blank of a name, and the whole."""
    return [name[: found.start()] for found in re.finditer(r"[._\- ]", name)] + [name]


def _ending(name: str) -> str:
    return PurePosixPath(name.lower()).suffix


def _unread_sentences(
    tree: FileTree, found: Mapping[tuple[str, str], Sequence[str]], says: str
) -> tuple[str, ...]:
    """Return a sentence for each folder and ending, with a count and an example."""
    sentences = []
    for (folder, ending), names in found.items():
        paths = [tree.path(folder, name) for name in names]
        kind = _kind_of(paths[0]) if says is _IS_NONE else (f"{ending} file" if ending else "file")
        count = f"{len(paths)} {kind}{'' if len(paths) == 1 else 's'}"
        place = tree.path(folder) if folder else tree.root
        verb = "is" if len(paths) == 1 else "are"
        sentences.append(f"{count} in {place} {verb} not read, such as {paths[0].name}{says}")
    return tuple(sentences)


def _kind_of(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return "link to nowhere"
    try:
        mode = path.stat().st_mode
    except OSError:
        return "unreadable file"
    return "pipe" if stat.S_ISFIFO(mode) else "special file"
