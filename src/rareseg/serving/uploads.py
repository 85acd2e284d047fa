"""Read the images of a request, within limits that hold before anything is decoded."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import PIL.Image

from rareseg.errors import ReadError
from rareseg_runner.formats import IMAGE_SUFFIXES, format_of, read_image, suffix_of
from rareseg_runner.formats.picture_files import open_picture
from rareseg_runner.image_records import Image

_LONGEST_NAME = 80


@dataclass(frozen=True)
class Upload:
    """A file as it was sent: its name, which decides how it is read, and its bytes."""

    name: str
    content: bytes


def read_uploads(files: Sequence[Upload], *, largest_pixels: int) -> Image:
    """Return the image that one file is, or several whose channels they are in this order.

    The files lie in a temporary folder, under names of ours, while they are read. Raises
    :class:`ReadError`, with the sender's name of the file, for what no format reads, is damaged, or
    has more than ``largest_pixels`` pixels.
    """
    with tempfile.TemporaryDirectory(prefix="rareseg-upload-") as place:
        paths = []
        for number, file in enumerate(files):
            known = format_of(Path(_plain(file.name)))
            if known is None:
                raise ReadError(
                    f"{_plain(file.name)} has a suffix that is not read; allowed are "
                    f"{', '.join(IMAGE_SUFFIXES)}."
                )
            path = Path(place) / f"{number}{suffix_of(Path(_plain(file.name)))}"
            path.write_bytes(file.content)
            paths.append(path)
        try:
            for path in paths:
                _check_pixels(path, largest_pixels)
            image = read_image(paths)
        except ReadError as error:
            # The file's own name says more to the sender than that of our folder.
            told = str(error)
            for path, file in zip(paths, files, strict=True):
                told = told.replace(str(path), _plain(file.name))
            raise ReadError(told) from error
    pixels = int(np.prod(image.array.shape[1:]))
    if pixels > largest_pixels:
        raise _too_large(_plain(files[0].name), pixels, largest_pixels)
    return image


def _check_pixels(path: Path, largest: int) -> None:
    """Raise ReadError where the header of a photograph states too many pixels."""
    form = format_of(path)
    if form is None or form.kind != "photograph" or form.needs is not None:
        return
    with path.open("rb") as stream:
        try:
            width, height = open_picture(stream, path).size
        except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
            return  # Damaged: the reader finds the words.
    if width * height > largest:
        raise _too_large(str(path), width * height, largest)


def _too_large(name: str, pixels: int, largest: int) -> ReadError:
    return ReadError(
        f"{name} has {pixels:,} pixels, where this service takes {largest:,}; send it in parts."
    )


def _plain(name: str) -> str:
    """Return the last part of a sender's file name, without what a log or a page could misread."""
    last = PureWindowsPath(PurePosixPath(name).name).name
    shown = "".join(letter if letter.isprintable() else "?" for letter in last)
    return shown[-_LONGEST_NAME:] or "the file"
