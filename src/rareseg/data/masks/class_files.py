"""A mask drawn as several files: one for each class, or one for each object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rareseg.data.records import MaskSource
from rareseg.errors import ReadError
from rareseg_runner.formats import read_mask
from rareseg_runner.image_records import Image, Mask


@dataclass(frozen=True)
class ClassFiles(MaskSource):
    """Files whose voxels other than 0 belong to a class; files of one class are united.

    ``parts`` are (mask value, file), at least one. Where files of different classes overlap, the
    later one in ``parts`` is on top, unless ``earlier`` is; the overlap is counted.
    """

    parts: tuple[tuple[int, Path], ...]
    earlier: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """The files in the order of drawing."""
        return tuple(path for _, path in self.parts)

    def read(self, image: Image) -> Mask:
        """Return the classes on one grid, in the frame of the first file."""
        first = read_mask(self.parts[0][1])
        values = np.zeros(
            first.array.shape, np.min_scalar_type(max(value for value, _ in self.parts))
        )
        overlap = np.zeros(first.array.shape, bool)
        for value, path in self.parts:
            drawn = read_mask(path).array
            if drawn.shape != values.shape:
                raise ReadError(
                    f"{path} has the shape (z, y, x) = {drawn.shape} where {self.parts[0][1]} of "
                    f"the same case has {values.shape}; export both on the image's grid."
                )
            on = drawn != 0
            overlap |= on & (values != 0) & (values != value)
            values[on & (values == 0) if self.earlier else on] = value
        return Mask(values, first.geometry, int(np.count_nonzero(overlap)))

    def earlier_on_top(self) -> ClassFiles:
        """Return the same files with the earlier ones on top."""
        return replace(self, earlier=True)
