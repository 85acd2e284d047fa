"""A mask whose file says by name what its values mean, with another value in the next file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rareseg.data.formats import read_mask
from rareseg.data.records import Image, Mask, MaskSource


@dataclass(frozen=True)
class NamedValues(MaskSource):
    """A file's values brought to those that their names have in the whole data set.

    ``values`` are (value in the file, mask value); values that are not listed stay.
    """

    path: Path
    values: tuple[tuple[int, int], ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    def read(self, image: Image) -> Mask:
        """Return the mask of the image (z, y, x); ReadError as the file's reader raises it."""
        mask = read_mask(self.path)
        highest = max(int(mask.array.max(initial=0)), *(value for _, value in self.values), 0)
        array = mask.array.astype(np.result_type(mask.array, np.min_scalar_type(highest)))
        for stored, value in self.values:
            array[mask.array == stored] = value
        return replace(mask, array=array)
