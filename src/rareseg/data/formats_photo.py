"""Photographs (PNG, JPEG, BMP) through Pillow, and NPY arrays.

An EXIF orientation is applied, to photographs and masks alike, each file by its own: an array
shows what a viewer shows. A mask written for a turned photograph is upright and has no EXIF note,
so that it lies over the picture in any viewer.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import BinaryIO

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from rareseg.data.files import atomic_write
from rareseg.data.formats_medical import read_plain
from rareseg.data.geometry import upright, with_exif
from rareseg.data.records import Geometry, Image
from rareseg.errors import ReadError

_EXIF_ORIENTATION = 274
_LOSSY = ("JPEG", "MPO", "WEBP")
MOST_CHANNELS = 4
"""An NPY axis of at most this many entries is the channels."""
_PARSING = Lock()


def read_photo(path: Path, *, as_mask: bool = False) -> Image:
    """Read a photograph as (channel, 1, y, x) in its own number type.

    A palette is resolved to colours, or kept as indices for a mask. An alpha channel is dropped
    (of a mask only where it is the same everywhere). CMYK and other colour models become RGB.

    Raises:
        ReadError: truncated or damaged, larger than Pillow's guard against decompression bombs,
            or a mask in a lossy format.
    """
    try:
        with PIL.Image.open(path) as file:
            if as_mask and file.format in _LOSSY:
                raise ReadError(
                    f"{path} is a mask stored as {file.format}, whose lossy compression blurs "
                    "label values; export the mask as PNG from the tool that drew it."
                )
            deep = file.format == "PNG" and _is_deep_colour(path)
            file.load()
            exif = int(file.getexif().get(_EXIF_ORIENTATION, 1))
            array = read_plain(path) if deep else _samples(file, path, as_mask=as_mask)
    except PIL.Image.DecompressionBombError as error:
        raise ReadError(
            f"{path} is too large for a photograph ({error}); store it as TIFF or cut it in tiles."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ReadError(
            f"{path} cannot be read ({error}): it is truncated, damaged or no picture; "
            "copy or export it again."
        ) from error
    channels = np.moveaxis(array, -1, 0) if array.ndim == 3 else array[None]
    if deep and channels.shape[0] in (2, 4):
        channels = channels[:-1]
    shown = np.ascontiguousarray(upright(channels, exif)[:, None])
    return Image(shown, with_exif(Geometry(dimension=2), exif))


def _samples(file: PIL.Image.Image, path: Path, *, as_mask: bool) -> NDArray[np.generic]:
    """Return (y, x) or (y, x, channel) of the loaded file."""
    if as_mask and file.mode in ("1", "P"):
        return np.asarray(file).astype(np.uint8)
    if as_mask and file.mode in ("LA", "RGBA"):
        low, high = file.getchannel("A").getextrema()
        if low != high:
            raise ReadError(
                f"{path} is a mask with an alpha channel that varies, so it is unclear what marks "
                "a label; export it as a single-channel PNG with one number per class."
            )
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


def _is_deep_colour(path: Path) -> bool:
    """Whether a PNG has 16 bits a sample and several channels, which Pillow would cut to 8 bits.

    The header chunk is the first: bit depth and colour type stand at bytes 24 and 25.
    """
    with path.open("rb") as file:
        head = file.read(26)
    return len(head) == 26 and head[24] == 16 and head[25] in (2, 4, 6)


def write_png(path: Path, array: NDArray[np.generic]) -> None:
    """Write (y, x) of uint8 or uint16 as PNG."""
    with atomic_write(path) as temporary:
        PIL.Image.fromarray(array).save(temporary, format="PNG")


def read_npy(path: Path, *, as_mask: bool = False) -> Image:
    """Read an NPY array as (channel, z, y, x); nothing is unpickled.

    Two axes are (y, x). Three axes of an image are (y, x, channel) where the last has at most
    ``MOST_CHANNELS`` entries, (channel, y, x) where the first has, and (z, y, x) otherwise; of a
    mask always (z, y, x). Four axes are (channel, z, y, x).

    Raises:
        ReadError: truncated, holding objects or complex numbers, or of another rank.
    """
    try:
        with path.open("rb") as stream:
            array = parse_npy(stream)
    except (OSError, ValueError, EOFError) as error:
        raise ReadError(
            f"{path} cannot be read as NPY ({error}); save it again with numpy.save and a plain "
            "number type."
        ) from error
    if array.dtype.kind not in "buif":
        raise ReadError(f"{path} holds no plain numbers; save integers or floats.")
    if not 2 <= array.ndim <= (3 if as_mask else 4) or array.size == 0:
        allowed = "(y, x) or (z, y, x)" if as_mask else "(y, x) up to (channel, z, y, x)"
        raise ReadError(f"{path} has the shape {array.shape}, where {allowed} is allowed.")
    if array.ndim == 2:
        array = array[None, None]
    elif array.ndim == 3 and not as_mask and array.shape[-1] <= MOST_CHANNELS:
        array = np.moveaxis(array, -1, 0)[:, None]
    elif array.ndim == 3 and not as_mask and array.shape[0] <= MOST_CHANNELS:
        array = array[:, None]
    elif array.ndim == 3:
        array = array[None]
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return Image(np.ascontiguousarray(array), Geometry(dimension=2 if array.shape[1] == 1 else 3))


def parse_npy(stream: BinaryIO) -> NDArray[np.generic]:
    """Return the array that ``stream`` holds in NPY format; nothing is unpickled.

    For threads: numpy parses the header with ast, which fails now and then where two threads do so
    at once (https://github.com/python/cpython/issues/106905), so here they take turns.

    Raises ValueError for what is no NPY array, is truncated, or holds objects.
    """
    with _PARSING:
        array: NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
        return array


def write_npy(path: Path, array: NDArray[np.generic], geometry: Geometry) -> None:
    """Write (z, y, x), or (y, x) for a photograph, as NPY."""
    flat = geometry.dimension == 2 and array.shape[0] == 1
    with atomic_write(path) as temporary:
        np.save(temporary, array[0] if flat else array, allow_pickle=False)
