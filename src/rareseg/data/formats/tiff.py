"""Read and write TIFF through tifffile: integers, floats, many channels, stacks of slices."""

from __future__ import annotations

import math
import re
import struct
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import tifffile
from numpy.typing import NDArray

from rareseg.data.atomic_files import atomic_write
from rareseg.data.formats.format_registry import Format
from rareseg.data.formats.medical import read_plain
from rareseg.data.formats.photo import stretch_of
from rareseg.data.geometry import upright, with_exif
from rareseg.data.records import Geometry, Image
from rareseg.errors import ReadError

_MILLIMETRES = {
    "mm": 1.0,
    "millimeter": 1.0,
    "cm": 10.0,
    "µm": 1e-3,
    "um": 1e-3,
    "micron": 1e-3,
    "\\u00B5m": 1e-3,
    "nm": 1e-6,
}
_ALPHA = (1, 2)
"""TIFF's ExtraSamples values of associated and unassociated alpha."""

_LOSSY = (tifffile.COMPRESSION.OJPEG, tifffile.COMPRESSION.JPEG)

_DAMAGE = (
    *(OSError, ValueError, TypeError, IndexError, KeyError, RuntimeError, MemoryError),
    *(struct.error, zlib.error, tifffile.TiffFileError, PIL.Image.DecompressionBombError),
)
"""What tifffile, its codecs and Pillow raise on files with flipped or missing bytes."""

Spacing = tuple[float, float, float]


def read_tiff(path: Path, *, as_mask: bool = False) -> Image:
    """Read a TIFF as (channel, z, y, x).

    Axes named sample or channel are channels; depth, pages and unnamed axes are slices. A palette
    is resolved to colours, or kept as indices for a mask; an alpha channel is dropped. Slices take
    their spacing from ImageJ's or OME's notes, photographs have 1.0 per pixel.

    Raises:
        ReadError: truncated or damaged, several time points, an unknown compression, or a mask that
            was compressed as JPEG.
    """
    try:
        with tifffile.TiffFile(path) as file:
            series, page = file.series[0], file.pages.first
            _require_all_strips(series, page)
            if as_mask and page.compression in _LOSSY:
                raise ReadError(
                    f"{path} is a mask stored as TIFF with JPEG, whose lossy compression blurs "
                    "label values; export the mask with deflate or LZW from the tool that drew it."
                )
            exif, elsewhere = _orientation(page), False
            try:
                array, axes = series.asarray(), series.axes
            except ValueError as error:
                if "imagecodecs" not in str(error):
                    raise
                array, axes, exif = *_decode_elsewhere(path, page), 1
                elsewhere = True
            array = _channels_first(array, axes, path)
            array = _resolve(array, page, as_mask=as_mask)
            array = _labels(array, page) if as_mask and elsewhere else array
            spacing = _spacing(file) if array.shape[1] > 1 else (1.0, 1.0, 1.0)
    except _DAMAGE as error:
        raise ReadError(
            f"{path} cannot be read as TIFF ({error}): it is truncated, damaged or compressed in "
            "an unusual way; save it again, uncompressed or with deflate."
        ) from error
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    geometry = Geometry(spacing=spacing, dimension=2 if array.shape[1] == 1 else 3)
    return Image(np.ascontiguousarray(upright(array, exif)), with_exif(geometry, exif))


def _require_all_strips(series: tifffile.TiffPageSeries, page: tifffile.TiffPage) -> None:
    """Raise ValueError where strips or tiles are missing, which tifffile would fill with zeros."""
    needed = math.prod(page.chunked)
    for part in series.pages:
        if part is not None and len(part.dataoffsets) < needed:
            raise ValueError(f"{len(part.dataoffsets)} of {needed} strips or tiles are there")


def _orientation(page: tifffile.TiffPage) -> int:
    tag = page.tags.get("Orientation")
    return int(tag.value) if tag is not None else 1


def _decode_elsewhere(path: Path, page: tifffile.TiffPage) -> tuple[NDArray[np.generic], str]:
    """Decode LZW or JPEG compression, which tifffile leaves to an optional package.

    Pillow keeps palette indices and turns the pixels upright; SimpleITK keeps 16 bits.
    """
    if page.dtype == np.uint8 and len(page.parent.pages) == 1:
        with PIL.Image.open(path, formats=["TIFF"]) as picture:
            array: NDArray[np.generic] = np.asarray(picture)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            array = np.invert(array)  # Pillow has inverted it, and _resolve will
    else:
        array = read_plain(path)
    return array, "ZYXS"[4 - array.ndim :] if page.samplesperpixel > 1 else "ZYX"[3 - array.ndim :]


def _labels(array: NDArray[Any], page: tifffile.TiffPage) -> NDArray[np.generic]:
    """Return the labels of a mask that Pillow has read; it stretches grey of 2 and 4 bits."""
    if page.bitspersample not in (2, 4) or page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        return array
    return np.asarray(array // stretch_of(page.bitspersample))


def _channels_first(array: NDArray[np.generic], axes: str, path: Path) -> NDArray[np.generic]:
    """Return (channel, z, y, x) of an array with tifffile's axis letters."""
    if "T" in axes and array.shape[axes.index("T")] > 1:
        raise ReadError(
            f"{path} holds {array.shape[axes.index('T')]} time points; save each as a file of its "
            "own."
        )
    is_channel = [letter in "SC" for letter in axes]
    channels = [index for index, channel in enumerate(is_channel) if channel]
    plane = [axes.index("Y"), axes.index("X")]
    slices = [i for i in range(len(axes)) if i not in channels and i not in plane]
    moved = np.transpose(array, channels + slices + plane)
    count = int(np.prod([array.shape[i] for i in channels], dtype=int))
    return moved.reshape(count, -1, *moved.shape[-2:])


def _resolve(array: NDArray[Any], page: tifffile.TiffPage, *, as_mask: bool) -> NDArray[np.generic]:
    """Apply what the tags say of the samples: palette, alpha, white as zero, single bits."""
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and array.dtype.kind in "bu":
        array = np.invert(array)
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and not as_mask and len(array) == 1:
        return np.asarray(page.colormap >> 8, np.uint8)[:, array[0]]
    if page.extrasamples and page.extrasamples[-1] in _ALPHA and len(array) in (2, 4):
        array = array[:-1]
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(1 if as_mask else 255)
    return array


def _spacing(file: tifffile.TiffFile) -> Spacing:
    """Return the spacing (z, y, x) of a stack in mm; numbers without a unit are taken as mm."""
    if file.is_ome and file.ome_metadata:
        sizes = dict(re.findall(r'PhysicalSize([XYZ])="([^"]+)"', file.ome_metadata))
        units = dict(re.findall(r'PhysicalSize([XYZ])Unit="([^"]+)"', file.ome_metadata))
        z, y, x = (
            float(sizes.get(axis, 1.0)) * _MILLIMETRES.get(units.get(axis, "µm"), 1.0)
            if axis in sizes
            else 1.0
            for axis in "ZYX"
        )
        return z, y, x
    notes = file.imagej_metadata or {}
    scale = _MILLIMETRES.get(str(notes.get("unit", "")), 1.0)
    tags = file.pages.first.tags
    steps = []
    for name in ("YResolution", "XResolution"):
        over, under = tags[name].value if file.is_imagej and name in tags else (1, 1)
        steps.append(under / over * scale if over else 1.0)
    return float(notes.get("spacing", 1.0)) * scale, steps[0], steps[1]


def write_tiff(path: Path, array: NDArray[np.generic], geometry: Geometry) -> None:
    """Write (z, y, x) of uint8, uint16 or float32; a stack keeps its spacing as ImageJ's notes."""
    flat = geometry.dimension == 2 and array.shape[0] == 1
    z, y, x = geometry.spacing
    with atomic_write(path) as temporary:
        if flat:
            tifffile.imwrite(
                temporary, array[0], photometric="minisblack", compression="zlib", metadata=None
            )
        else:
            tifffile.imwrite(
                temporary,
                array,
                imagej=True,
                compression="zlib",
                resolution=(1 / x, 1 / y),
                metadata={"axes": "ZYX", "spacing": z, "unit": "mm"},
            )


FORMATS = (
    Format(
        "TIFF",
        kind="TIFF",
        suffixes=(".tif", ".tiff"),
        reads=read_tiff,
        reads_mask=partial(read_tiff, as_mask=True),
        writes=write_tiff,
        holds=("uint8", "uint16", "float32"),
        keeps="spacing",
        scores=True,
    ),
)
