"""A mask in colours, each of which stands for a class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rareseg.data.records import MaskSource
from rareseg.errors import ReadError
from rareseg_runner.formats import read_image
from rareseg_runner.image_records import Image, Mask

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class ColourFile(MaskSource):
    """A picture whose colours are mask values; a palette is read by its colours, not its numbers.

    ``colours`` are (red, green, blue) and the mask value; black is 0 unless it is listed.
    ``table`` is the file that says so, for sentences.
    """

    path: Path
    colours: tuple[tuple[Colour, int], ...]
    table: str

    @property
    def files(self) -> tuple[Path, ...]:
        """The picture."""
        return (self.path,)

    def read(self, image: Image) -> Mask:
        """Return the mask values; raises ReadError for a colour that stands for nothing."""
        picture = read_image((self.path,))
        if picture.array.dtype != np.uint8 or len(picture.array) not in (1, 3):
            raise ReadError(
                f"{self.path} is no mask in colours of 8 bits ({len(picture.array)} channels of "
                f"{picture.array.dtype}); export it as PNG in the colours of {self.table}."
            )
        red, green, blue = np.broadcast_to(picture.array, (3, *picture.array.shape[1:]))
        codes = red.astype(np.uint32) << 16 | green.astype(np.uint32) << 8 | blue
        known = {(0, 0, 0): 0, **dict(self.colours)}
        found, places = np.unique(codes, return_inverse=True)
        split = [(int(code) >> 16, int(code) >> 8 & 255, int(code) & 255) for code in found]
        unknown = [colour for colour in split if colour not in known]
        if unknown:
            raise ReadError(
                f"{self.path} holds the colour {unknown[0]}"
                + (f" and {len(unknown) - 1} more" if len(unknown) > 1 else "")
                + f", for which {self.table} has no class (it has "
                f"{', '.join(map(str, list(known)[:6]))}); add a line for it there."
            )
        values = np.array([known[colour] for colour in split])
        drawn = values.astype(np.min_scalar_type(int(values.max())))[places]
        return Mask(drawn.reshape(codes.shape), picture.geometry)
