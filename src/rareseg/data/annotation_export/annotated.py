"""Records of a picture with its objects, as annotation tools know them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rareseg.data.masks.polygons import Polygon, trace_polygons
from rareseg_runner.image_records import Geometry


@dataclass(frozen=True, eq=False)
class AnnotatedObject:
    """One object: ``mask`` (y, x) bool within a box whose first pixel is ``corner`` (y, x).

    ``number`` counts the objects of this name in the picture from 1; ``score`` is in [0, 1], None
    where nothing was scored.
    """

    name: str
    number: int
    corner: tuple[int, int]
    mask: NDArray[np.bool_]
    score: float | None = None

    @property
    def area(self) -> int:
        """The number of pixels."""
        return int(self.mask.sum())

    @property
    def polygons(self) -> list[Polygon]:
        """The outlines along the borders of pixels, in the picture's coordinates (x, y)."""
        y, x = self.corner
        shift = np.array([x, y], np.float64)
        return [
            Polygon(one.shell + shift, tuple(hole + shift for hole in one.holes))
            for one in trace_polygons(self.mask)
        ]

    def on(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return the mask on the whole picture."""
        whole = np.zeros((height, width), np.bool_)
        y, x = self.corner
        rows, columns = self.mask.shape
        whole[y : y + rows, x : x + columns] = self.mask
        return whole


@dataclass(frozen=True, eq=False)
class AnnotatedPicture:
    """A photograph with its objects; ``file`` is the picture itself.

    ``id`` names the files that are written of it, ``name`` is the picture's path within its folder.
    """

    id: str
    file: Path
    name: str
    height: int
    width: int
    objects: Sequence[AnnotatedObject]
    geometry: Geometry = field(default_factory=Geometry)
