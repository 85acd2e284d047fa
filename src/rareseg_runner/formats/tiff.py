"""Read and write TIFF through tifffile: integers, floats, many channels, stacks of slices."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.errors import ReadError
from rareseg_runner.formats.format_registry import Format
from rareseg_runner.formats.geotiff import earth_tags, fill_nodata, nodata_value
from rareseg_runner.formats.mask_values import palette_of
from rareseg_runner.formats.photo import stretch_of
from rareseg_runner.formats.picture_files import open_picture
from rareseg_runner.formats.reader_guard import guarded
from rareseg_runner.formats.tiff_pages import (
    choose_picture,
    require_all_pages,
    require_sizes,
    require_whole,
)
from rareseg_runner.formats.volumes.medical import read_plain
from rareseg_runner.geometry import upright, with_exif
from rareseg_runner.image_records import Geometry, Image, Palette

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

_LOSSY = (
    *(tifffile.COMPRESSION.OJPEG, tifffile.COMPRESSION.JPEG),
    *(tifffile.COMPRESSION.APERIO_JP2000_YCBC, tifffile.COMPRESSION.APERIO_JP2000_RGB),
)

Spacing = tuple[float, float, float]


def read_tiff(path: Path, *, as_mask: bool = False) -> Image:
    """Read a TIFF, or a whole slide stored as one, as (channel, z, y, x).

    Of several pictures the largest is read, see :func:`choose_picture`. Axes named sample or
    channel are channels; depth, pages and unnamed axes are slices. A palette is resolved to
    colours, or kept as indices for a mask; an alpha channel is dropped. Slices take their spacing
    from ImageJ's or OME's notes, photographs have 1.0 per pixel. What a GeoTIFF says to hold
    nothing is filled and noted as ``nodata``.

    Raises:
        ReadError: truncated or damaged, several time points, larger than is read at once, an
            unknown compression, or a mask that was compressed as JPEG.
    """
    with guarded(path, "TIFF"), tifffile.TiffFile(path) as file:
        require_all_pages(file)
        series = choose_picture(file, path)
        page = series.keyframe
        require_whole(file, series, path)
        if as_mask:
            require_sizes(file, series)
        if as_mask and page.compression in _LOSSY:
            raise ReadError(
                f"{path} is a mask stored as TIFF with JPEG, whose lossy compression blurs "
                "label values; export the mask with deflate or LZW from the tool that drew it, "
                "or cut it into two values with --binarize 128."
            )
        exif, elsewhere = _orientation(page), False
        try:
            array, axes = series.asarray(), series.axes
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            array, axes, exif = *_decode_elsewhere(path, series), 1
            elsewhere = True
        array = _channels_first(array, axes, path)
        palette = _palette(array, page) if as_mask else None
        array = _resolve(array, page, as_mask=as_mask)
        array = _labels(array, page) if as_mask and elsewhere else array
        spacing = _spacing(file) if array.shape[1] > 1 else (1.0, 1.0, 1.0)
        earth, empty = earth_tags(page), nodata_value(page)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    array = np.ascontiguousarray(upright(array, exif))
    nodata = None if as_mask else fill_nodata(array, empty, on_earth=earth is not None)
    flat = array.shape[1] == 1
    geometry = Geometry(spacing=spacing, dimension=2 if flat else 3, geotiff=earth)
    return Image(array, with_exif(geometry, exif), nodata, palette)


def _orientation(page: tifffile.TiffPage) -> int:
    tag = page.tags.get("Orientation")
    return int(tag.value) if tag is not None else 1


def _decode_elsewhere(
    path: Path, series: tifffile.TiffPageSeries
) -> tuple[NDArray[np.generic], str]:
    """Decode LZW or JPEG compression, which tifffile leaves to an optional package.

    Pillow keeps palette indices and turns the pixels upright; SimpleITK keeps 16 bits.
    """
    page = series.keyframe
    if page.dtype == np.uint8:
        with path.open("rb") as stream:
            picture = open_picture(stream, path, ["TIFF"])
            planes = []
            for part in series.pages:
                picture.seek(part.index)
                planes.append(np.asarray(picture))
        array: NDArray[np.generic] = np.stack(planes) if len(planes) > 1 else planes[0]
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            array = np.invert(array)  # Pillow has inverted it, and _resolve will
    else:
        array = read_plain(path)
        if array.size != np.prod(series.shape):
            raise ValueError(f"the compression {page.compression.name} of one page among several")
    return array, "ZYXS"[4 - array.ndim :] if page.samplesperpixel > 1 else "ZYX"[3 - array.ndim :]


def _palette(array: NDArray[Any], page: tifffile.TiffPage) -> Palette | None:
    if page.photometric != tifffile.PHOTOMETRIC.PALETTE or page.colormap is None:
        return None
    colours = np.asarray(page.colormap >> 8).T
    return palette_of(np.unique(array), colours)


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
    """Write (z, y, x) of uint8, uint16 or float32; a stack keeps its spacing as ImageJ's notes.

    A picture of an image that was a GeoTIFF keeps the tags by which it lies on the earth.
    """
    flat = geometry.dimension == 2 and array.shape[0] == 1
    z, y, x = geometry.spacing
    with atomic_write(path) as temporary:
        if flat:
            tifffile.imwrite(
                temporary,
                array[0],
                photometric="minisblack",
                compression="zlib",
                metadata=None,
                extratags=[(*tag, True) for tag in geometry.geotiff or ()],
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
    Format(
        "whole slide",
        kind="TIFF",
        suffixes=(".svs", ".ndpi"),
        reads=read_tiff,
        reads_mask=partial(read_tiff, as_mask=True),
        masks_as=".tif",
    ),
)
