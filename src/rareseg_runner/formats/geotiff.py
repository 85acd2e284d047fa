"""Read from a GeoTIFF where it lies on the earth, and which pixels hold nothing.

Tags: https://docs.ogc.org/is/19-008r4/19-008r4.html (GeoTIFF 1.1) and
https://gdal.org/en/stable/drivers/raster/gtiff.html (GDAL_NODATA).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from rareseg_runner.image_records import Geometry, Image

_EARTH = (33550, 33922, 34264, 34735, 34736, 34737)
"""ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory, its doubles and texts."""
_SCALE, _TIEPOINT, _TRANSFORMATION, _KEYS = 33550, 33922, 34264, 34735
_NODATA = 42113
_MODEL_TYPE, _RASTER_TYPE, _GEODETIC, _PROJECTED = 1024, 1025, 2048, 3072
"""Keys of the directory: what the coordinates are, what a pixel is, and the codes of either."""
_OF_EPSG = range(1024, 32767)
"""Codes that are EPSG's; 32767 is "defined by the user"."""


@dataclass(frozen=True, eq=False)
class MapFrame:
    """Where the pixels of a picture lie on a map.

    ``matrix`` (2, 3) leads from (x, y, 1), in pixels with the first pixel's corner at (0, 0), to
    the map's coordinates (east, north, or longitude, latitude). ``epsg`` is the code of their
    system, None where the file does not tell one.
    """

    matrix: NDArray[np.float64]
    epsg: int | None

    def to_map(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points (n, 2) of the picture on the map."""
        return points @ self.matrix[:, :2].T + self.matrix[:, 2]

    def to_pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points (n, 2) of the map in the picture."""
        inverse = np.linalg.inv(self.matrix[:, :2])
        return np.asarray((points - self.matrix[:, 2]) @ inverse.T, np.float64)


def map_frame(geometry: Geometry) -> MapFrame | None:
    """Return where a picture lies on a map; None where its file does not tell.

    It is told by a scale and one tie point, or by a matrix (GeoTIFF 1.1, B.6). Several tie points
    without a matrix, and pictures that were turned on reading, have no frame.
    """
    tags = {code: value for code, _, _, value in geometry.geotiff or ()}
    if geometry.exif != 1:
        return None
    matrix = _matrix(tags)
    if matrix is None or not np.isfinite(matrix).all() or np.linalg.det(matrix[:, :2]) == 0:
        return None
    keys = _short_keys(tags)
    if keys.get(_RASTER_TYPE) == 2:  # coordinates are those of a pixel's centre
        matrix[:, 2] -= matrix[:, :2] @ (0.5, 0.5)
    code = keys.get(_PROJECTED) if keys.get(_MODEL_TYPE) != 2 else None
    code = keys.get(_GEODETIC) if code is None and keys.get(_MODEL_TYPE) != 1 else code
    return MapFrame(matrix, code if code in _OF_EPSG else None)


def _matrix(tags: Mapping[int, Any]) -> NDArray[np.float64] | None:
    """Return the matrix (2, 3) from raster to map coordinates, whichever tags give it."""
    whole = np.asarray(tags.get(_TRANSFORMATION, ()), np.float64)
    if whole.size == 16:
        return np.ascontiguousarray(whole.reshape(4, 4)[:2, [0, 1, 3]])
    scale = np.asarray(tags.get(_SCALE, ()), np.float64)
    tie = np.asarray(tags.get(_TIEPOINT, ()), np.float64)
    if scale.size < 2 or tie.size != 6:
        return None
    # Rows run downwards and north runs upwards.
    x, y = scale[0], -scale[1]
    return np.array([[x, 0.0, tie[3] - x * tie[0]], [0.0, y, tie[4] - y * tie[1]]])


def _short_keys(tags: Mapping[int, Any]) -> dict[int, int]:
    """Return the keys whose value stands in the directory itself."""
    words = [int(word) for word in np.ravel(tags.get(_KEYS, ()))]
    entries = zip(*(words[4 + k :: 4] for k in range(4)), strict=False)
    return {key: value for key, place, _, value in entries if place == 0}


def earth_tags(page: tifffile.TiffPage) -> tuple[tuple[int, int, int, Any], ...] | None:
    """Return code, number type, count and value of each tag of ``_EARTH``; None without any."""
    found = (page.tags.get(code) for code in _EARTH)
    kept = tuple((t.code, int(t.dtype), int(t.count), t.value) for t in found if t is not None)
    return kept or None


def nodata_value(page: tifffile.TiffPage) -> float | None:
    """Return the value that marks pixels without data; None where the file states none."""
    tag = page.tags.get(_NODATA)
    try:
        return None if tag is None else float(str(tag.value).strip(" \0"))
    except ValueError:
        return None


def fill_nodata(
    array: NDArray[Any], empty: float | None, *, on_earth: bool, named: bool = False
) -> NDArray[np.bool_] | None:
    """Fill what holds nothing in (channel, z, y, x), in place; return where (z, y, x), or None.

    A pixel holds nothing where all channels have the value ``empty``; NaN does so too where a file
    states such a value or lies on the earth. In one channel alone NaN and negative values of
    ``empty`` are filled as well, since no intensity means them; 0 and above may be dark pixels,
    unless the user has ``named`` the value. The fill is the channel's median of the rest, 0 where
    there is none.
    """
    if empty is None and not (on_earth and array.dtype.kind == "f"):
        return None
    missing: NDArray[np.bool_] = np.zeros(array.shape, np.bool_)
    if array.dtype.kind == "f":
        missing = np.isnan(array)
    sure = missing
    if empty is not None and not np.isnan(empty):
        stated = np.equal(array, _as_type(empty, array.dtype))
        missing = np.asarray(missing | stated)
        sure = np.asarray(missing if empty < 0 or named else sure)
    nothing: NDArray[np.bool_] = np.all(missing, axis=0)
    holes = sure | nothing
    if not holes.any():
        return None
    for channel, hole in zip(array, holes, strict=True):
        rest = channel[~hole]
        channel[hole] = np.sort(rest, axis=None)[rest.size // 2] if rest.size else 0
    return nothing if nothing.any() else None


def _as_type(value: float, dtype: np.dtype[Any]) -> float | int:
    """Return a stated value as the file's own type holds it, so that it equals stored ones."""
    if dtype.kind != "f":
        return int(value) if value.is_integer() else value
    with np.errstate(over="ignore"):
        return float(np.asarray(value).astype(dtype))


def without_value(image: Image, value: str) -> Image:
    """Return an image of which the voxels of a named value, and NaN, hold nothing.

    They are filled as :func:`fill_nodata` does and added to ``nodata``, where that is so in all
    channels.
    """
    array = image.array.copy()
    nothing = fill_nodata(array, float(value), on_earth=False, named=True)
    if nothing is not None and image.nodata is not None:
        nothing = nothing | image.nodata
    return replace(image, array=array, nodata=image.nodata if nothing is None else nothing)
