"""Read from a GeoTIFF where it lies on the earth, and which pixels hold nothing.

Tags: https://docs.ogc.org/is/19-008r4/19-008r4.html (GeoTIFF 1.1) and
https://gdal.org/en/stable/drivers/raster/gtiff.html (GDAL_NODATA).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

_EARTH = (33550, 33922, 34264, 34735, 34736, 34737)
"""ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory, its doubles and texts."""
_NODATA = 42113


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
    array: NDArray[Any], empty: float | None, *, on_earth: bool
) -> NDArray[np.bool_] | None:
    """Fill what holds nothing in (channel, z, y, x), in place; return where (z, y, x), or None.

    A pixel holds nothing where all channels have the value ``empty``; NaN does so too where a file
    states such a value or lies on the earth. In one channel alone NaN and negative values of
    ``empty`` are filled as well, since no intensity means them; 0 and above may be dark pixels. The
    fill is the channel's median of the rest, 0 where there is none.
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
        sure = np.asarray(missing if empty < 0 else sure)
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
