"""Registry of file formats, found by a file's suffix.

A format is one record, registered once::

    register(Format("PCX", kind="photograph", suffixes=(".pcx",), reads=read_pcx, masks_as=".png"))

Which files are images, masks or scores, what a message allows, and what the contract suite runs
over are all read from the register.
"""

from __future__ import annotations

from collections.abc import Callable, KeysView
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.image_records import Geometry, Image

Reader = Callable[[Path], Image]
"""Reads an existing file as (channel, z, y, x) in its own number type, canonical.

Raises :class:`~rareseg.errors.ReadError`, one sentence with the file's name, for any other content.
"""

Writer = Callable[[Path, NDArray[np.generic], Geometry], None]
"""Writes (z, y, x), atomically, in the frame of the file that the geometry came from."""


@dataclass(frozen=True)
class Format:
    """Everything that the package knows of a file format.

    ``suffixes`` are lower case with their dot. A ``photograph`` holds one slice and no spacing;
    ``TIFF`` and ``array`` hold one slice or several, a ``volume`` has a frame in the world.

    ``reads`` is for images; ``reads_mask`` for masks where that differs, as where an image's
    palette means colours and a mask's means indices. No mask is read from a ``lossy`` format.

    ``writes`` is None where files are only read; ``holds`` are the number types that it takes. All
    of them, and the values, come back as they were. ``keeps`` is what it writes of a geometry of
    several slices: the ``frame`` (spacing, origin, direction), the ``spacing`` alone, or nothing.
    Masks of an image are written with the image's own suffix, or with ``masks_as``.

    ``scores`` is whether it may hold probabilities: as floats or, where ``levels`` is given, as
    whole numbers over the largest value, which ``levels`` returns for a file (65535 where rareseg
    has written it).

    ``both`` tells of a file whether it carries an image and its mask, as an archive of arrays may:
    ``reads`` and ``reads_mask`` then each take their part, so that a layout pairs it with itself.
    ``masks_only`` is a format of labels alone, no image. Its extent may be a part of the image's;
    :func:`rareseg_runner.formats.read_mask` pads it where it is given the image. ``parts`` are the
    suffixes of data files that its headers name: such a file is read by way of its header, and is
    no image of its own. ``needs`` is the module that an extra of that name installs.
    """

    name: str
    kind: Literal["photograph", "TIFF", "array", "volume"]
    suffixes: tuple[str, ...]
    reads: Reader
    reads_mask: Reader | None = None
    writes: Writer | None = None
    holds: tuple[str, ...] = ("uint8", "uint16", "int32", "float32")
    keeps: Literal["frame", "spacing"] | None = None
    scores: bool = False
    levels: Callable[[Path], int] | None = None
    masks_as: str | None = None
    lossy: bool = False
    both: Callable[[Path], bool] | None = None
    masks_only: bool = False
    parts: tuple[str, ...] = ()
    needs: tuple[str, str] | None = None

    def can_write(self, array: NDArray[np.generic]) -> bool:
        """Whether the format holds (z, y, x) of this number type and so many slices."""
        fits = len(array) == 1 or self.kind != "photograph"
        return self.writes is not None and fits and array.dtype.name in self.holds


_BY_SUFFIX: dict[str, Format] = {}

IMAGE_SUFFIXES: KeysView[str] = _BY_SUFFIX.keys()
"""What can be read, lower case, in the order of registration, later ones included."""


def register(new: Format) -> None:
    """Enter a format under its suffixes.

    Raises :class:`ValueError` where a suffix is not lower case with a dot or is another format's,
    or where neither the format nor ``masks_as`` says in which format masks are written.
    """
    for suffix in new.suffixes:
        if suffix != suffix.lower() or not suffix.startswith("."):
            raise ValueError(f"{new.name}: the suffix {suffix!r} must be lower case with its dot.")
        if suffix in _BY_SUFFIX:
            raise ValueError(f"{new.name}: {suffix} is read as {_BY_SUFFIX[suffix].name} already.")
    if (new.writes is None) == (new.masks_as is None):
        raise ValueError(f"{new.name}: give either `writes`, or the suffix `masks_as`.")
    _BY_SUFFIX.update(dict.fromkeys(new.suffixes, new))


def formats() -> tuple[Format, ...]:
    """Return every registered format, in the order of registration."""
    return tuple(dict.fromkeys(_BY_SUFFIX.values()))


def format_of(path: Path) -> Format | None:
    """Return the format that the suffix of ``path`` stands for; the file is not looked at."""
    return _BY_SUFFIX.get(suffix_of(path))


def header_of(path: Path) -> Path | None:
    """Return the header beside a data file (``a.hdr`` of ``a.img``); None where there is none.

    ``path`` itself is no header, and has a suffix that some format lists among its ``parts``.
    """
    name = path.name.lower()
    for form in formats() if path.name and format_of(path) is None else ():
        for part in form.parts:
            stem = path.name[: -len(part)]
            headers = (path.with_name(stem + suffix) for suffix in form.suffixes)
            if name.endswith(part) and stem:
                found = next((header for header in headers if header.is_file()), None)
                if found is not None:
                    return found
    return None


def files_of(path: Path) -> tuple[Path, ...]:
    """Return every file that an image or mask at ``path`` is read from.

    Of a folder its files by name, of a header itself and the data files of its name beside it.
    """
    if path.is_dir():
        return tuple(sorted(path.iterdir()))
    form, stem = format_of(path), stem_of(path)
    data = (path.with_name(stem + part) for part in (form.parts if form else ()))
    return (path, *(file for file in data if file.is_file()))


def score_suffixes() -> tuple[str, ...]:
    """Return the suffixes of what can hold probabilities."""
    return tuple(suffix for suffix, found in _BY_SUFFIX.items() if found.scores)


def suffix_of(path: Path) -> str:
    """Return the suffix in lower case; ``.nii.gz`` is one suffix, a folder has none."""
    name = path.name.lower()
    # From the left, so that the longest that is known is found first.
    at = name.find(".", 1)
    while at >= 0:
        if name[at:] in _BY_SUFFIX:
            return name[at:]
        at = name.find(".", at + 1)
    return path.suffix.lower()


def stem_of(path: Path) -> str:
    """Return the name without its suffix; a folder of DICOM files keeps its whole name.

    Only suffixes that can be read are cut, so that ``scan.v2`` stays what it is.
    """
    return path.name[: -len(suffix_of(path))] if format_of(path) else path.name


EMBEDDING = ".json"
"""The suffix of annotation files that may hold their picture as text; they are no images else."""


def mask_suffix(image: Path) -> str:
    """Return the suffix under which masks of an image are written: its own where that can be.

    Photographs in formats that blur or cannot be written give ``.png``, as pictures in annotation
    files do, headers with a separate data file their single-file sibling, DICOM folders
    ``.nii.gz``.
    """
    if image.suffix.lower() == EMBEDDING:
        return ".png"
    found = format_of(image)
    if found is None:
        return ".nii.gz"
    return found.masks_as or suffix_of(image)
