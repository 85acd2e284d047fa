"""Read and write photographs: PNG, JPEG, BMP, GIF, WebP, JPEG 2000, AVIF, HEIC.

An EXIF orientation is applied, to photographs and masks alike, each file by its own: an array
shows what a viewer shows. A mask written for a turned photograph is upright and has no EXIF note,
so that it lies over the picture in any viewer.

What a file is, its content says: a JPEG called ``.png`` is read, and refused as a mask.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.errors import ReadError
from rareseg_runner.formats.format_registry import Format
from rareseg_runner.formats.mask_values import palette_of
from rareseg_runner.formats.picture_files import (
    check_jpeg2000,
    check_png,
    is_deep_colour,
    is_heif,
    is_lossy_webp,
    jpeg2000_header,
    open_picture,
    png_header,
    png_levels,
)
from rareseg_runner.formats.reader_guard import check_size, guarded, load_extra
from rareseg_runner.formats.volumes.medical import read_plain
from rareseg_runner.geometry import upright, with_exif
from rareseg_runner.image_records import Geometry, Image, Palette

_EXIF_ORIENTATION = 274
_LOSSY = ("JPEG", "MPO", "AVIF")


def read_photo(path: Path, *, as_mask: bool = False) -> Image:
    """Read a photograph as (channel, 1, y, x) in its own number type.

    A palette is resolved to colours, or kept as indices for a mask, with the palette beside them.
    An alpha channel is dropped (of a mask, what is fully transparent is background). CMYK and other
    colour models become RGB. Grey of 1, 2 or 4 bits is stretched to 0 … 255, or kept as it stands
    for a mask.

    Raises:
        ReadError: truncated or damaged, larger than is read at once, several frames, colours of 16
            bits in JPEG 2000, or a mask that was compressed with loss.
    """
    with guarded(path, "a picture"), path.open("rb") as stream:
        if is_heif(stream):
            return _read_heif(path, as_mask=as_mask)
        file = open_picture(stream, path)
        if as_mask:
            _refuse_loss(file, path)
        if getattr(file, "n_frames", 1) > 1 and file.format != "MPO":
            raise ReadError(
                f"{path} is an animation, of which no frame is the image; save each frame as "
                "a file of its own."
            )
        shift = _jpeg2000_shift(path) if file.format == "JPEG2000" else 0
        deep = file.format == "PNG" and is_deep_colour(*check_png(stream))
        if file.format == "JPEG2000":
            check_jpeg2000(path)
        file.load()
        exif = int(file.getexif().get(_EXIF_ORIENTATION, 1))
        palette = _palette(file) if as_mask and file.mode == "P" else None
        array = read_plain(path) if deep else _samples(file, path, as_mask=as_mask)
        if palette is not None and not np.isin(array, [index for index, _ in palette]).all():
            palette = None  # of a grey GIF, whose greys are the values
        array = np.right_shift(array, shift) if shift else array
    channels = np.moveaxis(array, -1, 0) if array.ndim == 3 else array[None]
    if deep and channels.shape[0] in (2, 4):
        channels = channels[:-1]
    shown = np.ascontiguousarray(upright(channels, exif)[:, None])
    return Image(shown, with_exif(Geometry(dimension=2), exif), palette=palette)


def as_photograph(picture: PIL.Image.Image) -> Image:
    """Return a picture of Pillow's as a file that holds it is read: upright, without alpha.

    Raises ReadError where its data are damaged: Pillow decodes a file only when it is asked to.
    """
    place = Path(getattr(picture, "filename", "") or "the picture")
    with guarded(place, "a picture"):
        picture.load()
        exif = int(picture.getexif().get(_EXIF_ORIENTATION, 1))
        array = _samples(picture, place, as_mask=False)
    channels = np.moveaxis(array, -1, 0) if array.ndim == 3 else array[None]
    shown = np.ascontiguousarray(upright(channels, exif)[:, None])
    return Image(shown, with_exif(Geometry(dimension=2), exif))


def _read_heif(path: Path, *, as_mask: bool) -> Image:
    """Read the main picture of a HEIC file, which its decoder has turned upright."""
    if as_mask:
        _refuse(path, "HEIC")
    heif = load_extra("pi_heif", "heic", path, "a HEIC photograph")
    with guarded(path, "HEIC"):
        picture = heif.open_heif(path, convert_hdr_to_8bit=False)
        width, height = picture.size
        check_size(path, (4, height, width), 2 if "16" in picture.mode else 1)
        array = np.atleast_3d(np.asarray(picture))
    channels = np.moveaxis(array[..., :3], -1, 0)
    return Image(np.ascontiguousarray(channels[:, None]), Geometry(dimension=2))


def _jpeg2000_shift(path: Path) -> int:
    """Return by how many bits Pillow has moved the samples up to fill 8 or 16 bits."""
    bits, components, _ = jpeg2000_header(path)
    if bits > 8 and components > 1:
        raise ReadError(
            f"{path} is JPEG 2000 with {components} channels of {bits} bits, which would be cut "
            "to 8; save it as TIFF, or each channel as a file of its own."
        )
    return max((8 if bits <= 8 else 16) - bits, 0)


def _samples(file: PIL.Image.Image, path: Path, *, as_mask: bool) -> NDArray[np.generic]:
    """Return (y, x) or (y, x, channel) of the loaded file."""
    if as_mask and file.mode in ("1", "P"):
        return _values_of_palette(file, path) if file.format == "GIF" else _indices(file)
    if as_mask and file.mode in ("LA", "RGBA"):
        return _without_alpha(np.asarray(file), path)
    if as_mask and file.format == "PNG" and file.mode == "L":
        return _indices(file) // stretch_of(png_header(path)[0])
    if file.mode == "P":
        file = file.convert("RGBA" if "transparency" in file.info else "RGB")
    if file.mode in ("LA", "La"):
        file = file.getchannel("L")
    elif file.mode == "1":
        file = file.convert("L")
    elif file.mode not in ("L", "I", "F", "RGB") and not file.mode.startswith("I;16"):
        file = file.convert("RGB")
    array: NDArray[np.generic] = np.asarray(file)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def stretch_of(depth: int) -> np.uint8:
    """Return by what Pillow multiplies grey of ``depth`` bits so that the largest value is 255."""
    return np.uint8(255 // (2**depth - 1) if depth in (2, 4) else 1)


def _indices(file: PIL.Image.Image) -> NDArray[np.uint8]:
    return np.asarray(file).astype(np.uint8)


def _values_of_palette(file: PIL.Image.Image, path: Path) -> NDArray[np.uint8]:
    """Return the labels of a GIF (y, x).

    GIF has no grey without a palette, and many writers renumber one. So indices are labels where
    the palette has colours; where it is grey, the grey must be the index, or black and white.
    """
    indices = _indices(file)
    palette = np.reshape(file.getpalette("RGB") or [], (-1, 3)).astype(np.uint8)
    used = np.unique(indices)
    if used[-1] >= len(palette) or np.ptp(palette[used], axis=1).any():
        return indices
    greys: NDArray[np.uint8] = palette[:, 0]
    if not np.array_equal(greys[used], used) and not np.isin(greys[used], (0, 255)).all():
        raise ReadError(
            f"{path} is a mask whose palette gives the grey {greys[used[-1]]} to the index "
            f"{used[-1]}, so that either could be the label; export it as a greyscale PNG."
        )
    return greys[indices]


def _palette(file: PIL.Image.Image) -> Palette | None:
    """Return the colours of the indices that occur."""
    colours = np.reshape(file.getpalette("RGB") or [], (-1, 3))
    used = np.unique(np.asarray(file))
    if used[-1] >= len(colours):
        return None
    return palette_of(used, colours)


def _without_alpha(array: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """Return grey (y, x) or colours (y, x, 3) of a mask, 0 where it is fully transparent.

    Raises ReadError where it is half transparent, or where black and transparent both occur, so
    that it is unclear which marks a label.
    """
    colours, alpha = array[..., :-1], array[..., -1]
    if alpha.min() < alpha.max():
        seen = colours[alpha > 0]
        if not np.isin(alpha, (0, 255)).all() or not seen.any(axis=-1).all():
            raise ReadError(
                f"{path} is a mask with an alpha channel that varies, so it is unclear what marks "
                "a label; export it as a single-channel PNG with one number per class."
            )
        colours = np.where(alpha[..., None] > 0, colours, 0)
    return colours[..., 0] if colours.shape[-1] == 1 else colours


def _refuse_loss(file: PIL.Image.Image, path: Path) -> None:
    """Raise ReadError where labels would have been blurred by the compression."""
    name = str(file.format)
    blurred = name == "WEBP" and is_lossy_webp(path)
    if name in _LOSSY or blurred or (name == "JPEG2000" and not jpeg2000_header(path)[2]):
        _refuse(path, name)


def _refuse(path: Path, name: str) -> None:
    raise ReadError(
        f"{path} is a mask stored as {name}, whose lossy compression blurs "
        "label values; export the mask as PNG from the tool that drew it, or cut it into two "
        "values with --binarize 128."
    )


def write_png(path: Path, array: NDArray[np.generic], _: Geometry) -> None:
    """Write (1, y, x) of uint8 or uint16 as PNG."""
    with atomic_write(path) as temporary:
        PIL.Image.fromarray(array[0]).save(temporary, format="PNG")


_PHOTOGRAPH = partial(
    Format,
    kind="photograph",
    reads=read_photo,
    reads_mask=partial(read_photo, as_mask=True),
)
FORMATS = (
    _PHOTOGRAPH(
        "PNG",
        suffixes=(".png",),
        writes=write_png,
        holds=("uint8", "uint16"),
        scores=True,
        levels=png_levels,
    ),
    _PHOTOGRAPH("JPEG", suffixes=(".jpg", ".jpeg"), masks_as=".png", lossy=True),
    _PHOTOGRAPH("BMP", suffixes=(".bmp",), masks_as=".png"),
    _PHOTOGRAPH("GIF", suffixes=(".gif",), masks_as=".png"),
    _PHOTOGRAPH("WebP", suffixes=(".webp",), masks_as=".png"),
    _PHOTOGRAPH("JPEG 2000", suffixes=(".jp2", ".j2k"), masks_as=".png"),
    _PHOTOGRAPH("AVIF", suffixes=(".avif",), masks_as=".png", lossy=True),
    _PHOTOGRAPH(
        "HEIC",
        suffixes=(".heic", ".heif"),
        masks_as=".png",
        lossy=True,
        needs=("pi_heif", "heic"),
    ),
)
