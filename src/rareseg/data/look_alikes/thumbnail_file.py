"""Keep the pictures of many thumbnails in a temporary file, so that memory does not grow with them.

The system holds of the file what fits into memory. Spectra, a seventh of the bytes, are compared
all with all and stay in memory.
"""

from __future__ import annotations

import mmap
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from rareseg.data.look_alikes.thumbnails import Thumbnail
from rareseg_runner.atomic_files import naming


class ThumbnailFile:
    """Thumbnails by number, in the order in which they were put; the file has no name."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="rareseg-")  # noqa: SIM115 - lives on, mapped
        self._size = 0
        self._put: list[tuple[int, tuple[int, ...], Thumbnail]] = []

    def put(self, thumbnail: Thumbnail | None) -> int | None:
        """Take a thumbnail and return its number, None for None; WorkError on a full disk."""
        if thumbnail is None:
            return None
        picture = thumbnail.picture
        with naming(Path(tempfile.gettempdir())):
            self._file.write(np.ascontiguousarray(picture).data)
        bare = replace(thumbnail, picture=np.empty((0,) * picture.ndim, np.int8))
        self._put.append((self._size, picture.shape, bare))
        self._size += picture.size
        return len(self._put) - 1

    def thumbnails(self) -> list[Thumbnail]:
        """Return all that was put, with pictures that are read from the file where they are used.

        Nothing can be put from then on.
        """
        with naming(Path(tempfile.gettempdir())), self._file:
            if not self._size:
                return [bare for _, _, bare in self._put]
            self._file.flush()
            mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        content = np.frombuffer(mapped, np.int8)
        return [
            replace(bare, picture=content[first : first + int(np.prod(shape))].reshape(shape))
            for first, shape, bare in self._put
        ]
