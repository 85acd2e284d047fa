"""Records of one case's files: image, mask, geometry, and what the labels mean.

Conventions that hold in both packages:

* arrays are ``(channel, z, y, x)``; a photograph has ``z = 1``; masks are ``(z, y, x)``;
* spacing is ``(z, y, x)`` in millimetres, 1.0 per pixel where a file states none;
* inside the packages a label is a *class index* (0 is background, ``IGNORE`` counts nowhere);
  what stands in the files is a *mask value*, and :class:`Classes` translates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

IGNORE = 255
"""The class index of voxels that count nowhere: not in pools, losses or metrics."""


@dataclass(frozen=True)
class Geometry:
    """Where the voxels of a file lie, and how to put an array back into that file's frame.

    ``spacing`` belongs to the canonical array (z, y, x), in mm. ``dimension`` is 2 for photographs
    and 3 for volumes. ``origin``, ``direction`` (row-major 3 x 3) and ``orientation`` (such as
    ``"RAS"``) describe the file as it was before it was brought to the canonical orientation;
    they are ``None`` for files without a geometry. ``exif`` is the EXIF orientation (1 = upright)
    that was applied on reading a photograph.

    Two fields are kept for the masks that are written for the file, and are no part of equality:
    ``nifti`` is how a NIfTI header states its frame (see
    :mod:`rareseg_runner.formats.volumes.nifti_frame`), ``geotiff`` the tags by which a GeoTIFF lies
    on the earth (code, number type, count, value).
    """

    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    dimension: int = 2
    origin: tuple[float, float, float] | None = None
    direction: tuple[float, ...] | None = None
    orientation: str | None = None
    exif: int = 1
    nifti: tuple[float, ...] | None = field(default=None, compare=False, repr=False)
    geotiff: tuple[tuple[int, int, int, Any], ...] | None = field(
        default=None, compare=False, repr=False
    )


Palette = tuple[tuple[int, tuple[int, int, int]], ...]
"""The colour (red, green, blue), 0 to 255, of each mask value that occurs, ascending by value."""


@dataclass(frozen=True)
class Image:
    """One case's picture: ``array`` (channel, z, y, x) in the file's own number type.

    ``nodata`` (z, y, x) is true where the file says that nothing was measured, as beyond the edge
    of a satellite's strip; the array holds each channel's median there. ``palette`` is that of a
    file of indices that was read as a mask.
    """

    array: NDArray[np.generic]
    geometry: Geometry
    nodata: NDArray[np.bool_] | None = None
    palette: Palette | None = None


@dataclass(frozen=True)
class Mask:
    """One case's drawn labels: ``array`` (z, y, x) of mask values, any integer type.

    ``overlap`` counts the voxels that more than one class claims, where classes are drawn apart.
    ``palette`` are the colours of the values where the file has any: a palette, or one colour on
    black, whose value is 1. Files of one data set may give one colour different values.
    ``changes`` say in a few words each what was done to the file's values to make labels of them,
    as "cut at 128 (JPEG)".
    """

    array: NDArray[np.integer]
    geometry: Geometry
    overlap: int = 0
    palette: Palette | None = None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Classes:
    """What the labels mean.

    ``names[i]`` and ``values[i]`` are the name and the mask value of class index ``i``; index 0 is
    the background. ``regions`` maps a region's name to the class indices that it unites, outermost
    (largest) first. ``ignore_value`` is the mask value of voxels that count nowhere.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    regions: Mapping[str, tuple[int, ...]]
    ignore_value: int | None = None

    @property
    def count(self) -> int:
        """The number of classes, background included."""
        return len(self.names)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; :meth:`from_dict` gives the same record back."""
        return {**asdict(self), "regions": dict(self.regions)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Classes:
        """Make the record from what :meth:`to_dict` wrote."""
        return cls(
            names=tuple(content["names"]),
            values=tuple(content["values"]),
            regions={name: tuple(members) for name, members in content["regions"].items()},
            ignore_value=content["ignore_value"],
        )
