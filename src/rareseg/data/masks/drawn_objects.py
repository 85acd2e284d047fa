"""A mask drawn as objects in an annotation file: polygons, run lengths, small pictures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rareseg.data.masks.drawn_shapes import Shape
from rareseg.data.records import MaskSource
from rareseg.errors import DataError, ReadError
from rareseg_runner.geometry import upright
from rareseg_runner.image_records import Image, Mask


class AnnotationSource(MaskSource):
    """One image's objects in an annotation file, drawn in the file's order, later ones on top.

    Pixels that objects of different classes claim are counted as overlap.
    """

    file: Path
    """The annotation file."""
    entry: str
    """By what the file calls the image, for sentences."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The annotation file."""
        return (self.file,)

    def __str__(self) -> str:
        return f"{self.file} ({self.entry})"

    @abstractmethod
    def objects(self, size: tuple[int, int]) -> tuple[tuple[int, int] | None, list[Drawing]]:
        """Return the (width, height) that the file gives the image, and mask values with shapes.

        ``size`` is that of the image. Raises DataError where the file cannot be read.
        """

    def read(self, image: Image) -> Mask:
        """Return the classes on the image's grid.

        A photograph that is turned by its EXIF note may be annotated as it is stored: where the
        size that the file gives says so, the mask is turned along.

        Raises:
            ReadError: the image is a volume, or has another size than the file says, or an object
                cannot be drawn on it.
        """
        _, z, y, x = image.array.shape
        if z != 1:
            raise ReadError(
                f"{self} draws on one picture, and the image has {z} slices; give masks as volumes."
            )
        try:
            declared, drawings = self.objects((x, y))
            turned = declared == (y, x) != (x, y) and image.geometry.exif in (5, 6, 7, 8)
            if declared is not None and declared != (x, y) and not turned:
                raise DataError(
                    f"the image has {x} x {y} pixels, and the annotations are for "
                    f"{declared[0]} x {declared[1]}"
                )
            values, overlap = draw(drawings, (x, y) if turned else (y, x))
        except DataError as error:
            raise ReadError(
                f"{self}: {str(error).rstrip('.')}; correct the annotation, or export it again for "
                "the image as it is."
            ) from error
        if turned:
            values = np.asarray(upright(values, image.geometry.exif), values.dtype)
            return Mask(values[None], image.geometry, overlap)
        geometry = image.geometry if image.geometry.exif == 1 else replace(image.geometry, exif=1)
        return Mask(values[None], geometry, overlap)

    def earlier_on_top(self) -> MaskSource:
        """Return the same objects with the first of the file on top."""
        return ReversedObjects(self.file, self.entry, self)


Drawing = tuple[int, Shape]
"""A mask value and what is drawn with it."""


@dataclass(frozen=True)
class ReversedObjects(AnnotationSource):
    """The objects of another source, drawn in the opposite order: the first lies on top."""

    file: Path
    entry: str
    source: AnnotationSource

    def objects(self, size: tuple[int, int]) -> tuple[tuple[int, int] | None, list[Drawing]]:
        """Return the objects of the source, the last one first."""
        declared, drawings = self.source.objects(size)
        return declared, drawings[::-1]

    def earlier_on_top(self) -> MaskSource:
        """Return the objects in the order of the file."""
        return self.source


@dataclass(frozen=True, repr=False)
class DrawnObjects(AnnotationSource):
    """The objects of an image out of a file that describes many images, read once for all.

    ``size`` is the (width, height) that the file gives, ``None`` where it gives none; ``values[i]``
    is the mask value of ``shapes[i]``.
    """

    file: Path
    entry: str
    size: tuple[int, int] | None
    values: tuple[int, ...]
    shapes: tuple[Shape, ...]

    def __repr__(self) -> str:
        # What the shapes are follows from the file, whose time and size count beside this.
        return f"DrawnObjects({self.file.name!r}, {self.entry!r}, {self.size}, {self.values})"

    def objects(self, size: tuple[int, int]) -> tuple[tuple[int, int] | None, list[Drawing]]:
        """Return what was read when the data set was listed."""
        return self.size, list(zip(self.values, self.shapes, strict=True))


def draw(
    drawings: Sequence[Drawing], size: tuple[int, int]
) -> tuple[NDArray[np.unsignedinteger], int]:
    """Return mask values (height, width) of objects, and how many pixels different classes claim.

    Later objects lie on top. Raises DataError for an object that cannot be drawn.
    """
    largest = max((value for value, _ in drawings), default=1)
    values: NDArray[np.unsignedinteger] = np.zeros(size, np.min_scalar_type(largest))
    overlap = np.zeros(size, np.bool_)
    for value, shape in drawings:
        row, column, on = shape.draw(size)
        window = slice(row, row + on.shape[0]), slice(column, column + on.shape[1])
        under = values[window]
        overlap[window] |= on & (under != 0) & (under != value)
        under[on] = value
    return values, int(np.count_nonzero(overlap))
