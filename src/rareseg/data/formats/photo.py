"""Read and write photographs through Pillow: PNG, JPEG, BMP, GIF, WebP.

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

from rareseg.data.atomic_files import atomic_write
from rareseg.data.formats.format_registry import Format
from rareseg.data.formats.medical import read_plain
from rareseg.data.geometry import upright, with_exif
from rareseg.data.records import Geometry, Image, Palette
from rareseg.errors import ReadError

_EXIF_ORIENTATION = 274
_DECODERS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
"""What Pillow may open, also JPEG with a preview (MPO). Left to choose, it would hand a PostScript
file to Ghostscript, whatever the file is called."""
_GREY = 0
"""PNG's colour type of one channel."""


def read_photo(path: Path, *, as_mask: bool = False) -> Image:
    """Read a photograph as (channel, 1, y, x) in its own number type.

    A palette is resolved to colours, or kept as indices for a mask. An alpha channel is dropped
    (of a mask only where it is the same everywhere). CMYK and other colour models become RGB. Grey
    of 1, 2 or 4 bits is stretched to 0 … 255, or kept as it stands for a mask.

    Raises:
        ReadError: truncated or damaged, larger than Pillow's guard against decompression bombs,
            several frames, or a mask that was compressed with loss.
    """
    try:
        with PIL.Image.open(path, formats=_DECODERS) as file:
            if as_mask:
                _refuse_loss(file, path)
            if file.format in ("GIF", "WEBP") and getattr(file, "n_frames", 1) > 1:
                raise ReadError(
                    f"{path} is an animation, of which no frame is the image; save each frame as "
                    "a file of its own."
                )
            deep = file.format == "PNG" and _is_deep_colour(path)
            file.load()
            exif = int(file.getexif().get(_EXIF_ORIENTATION, 1))
            palette = _palette(file) if as_mask and file.mode == "P" else None
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
    return Image(shown, with_exif(Geometry(dimension=2), exif), palette=palette)


def png_header(path: Path) -> tuple[int, int]:
    """Return the bits a sample and the colour type of a PNG file; (0, 0) where it is cut off.

    The header chunk is the first: they stand at bytes 24 and 25.
    """
    with path.open("rb") as file:
        head = file.read(26)
    return (head[24], head[25]) if len(head) == 26 else (0, _GREY)


def png_levels(path: Path) -> int:
    """Return the largest value of a greyscale PNG of 8 or 16 bits; ReadError for any other."""
    depth, colour = png_header(path)
    if depth not in (0, 8, 16) or colour != _GREY:
        raise ReadError(
            f"{path} has {depth} bits a sample and PNG's colour type {colour}; a score needs "
            "greyscale of 8 or 16 bits."
        )
    return int(2 ** (depth or 8)) - 1


def _is_deep_colour(path: Path) -> bool:
    """Whether a PNG has 16 bits a sample and several channels, which Pillow would cut to 8 bits."""
    depth, colour = png_header(path)
    return depth == 16 and colour in (2, 4, 6)


def _samples(file: PIL.Image.Image, path: Path, *, as_mask: bool) -> NDArray[np.generic]:
    """Return (y, x) or (y, x, channel) of the loaded file."""
    if as_mask and file.mode in ("1", "P"):
        return _values_of_palette(file, path) if file.format == "GIF" else _indices(file)
    if as_mask and file.mode in ("LA", "RGBA"):
        low, high = file.getchannel("A").getextrema()
        if low != high:
            raise ReadError(
                f"{path} is a mask with an alpha channel that varies, so it is unclear what marks "
                "a label; export it as a single-channel PNG with one number per class."
            )
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
    return tuple(
        (int(k), (int(r), int(g), int(b))) for k, (r, g, b) in zip(used, colours[used], strict=True)
    )


def _refuse_loss(file: PIL.Image.Image, path: Path) -> None:
    """Raise ReadError where labels would have been blurred by the compression."""
    if file.format in ("JPEG", "MPO") or (file.format == "WEBP" and _is_lossy_webp(path)):
        raise ReadError(
            f"{path} is a mask stored as {file.format}, whose lossy compression blurs "
            "label values; export the mask as PNG from the tool that drew it."
        )


def _is_lossy_webp(path: Path) -> bool:
    """Whether a WebP file holds a lossy frame.

    Chunks of a name, a size (4 bytes each, little-endian) and content of even length follow the
    file's header of 12 bytes (https://developers.google.com/speed/webp/docs/riff_container); the
    lossy one is "VP8 ".
    """
    content, at = path.read_bytes(), 12
    while at + 8 <= len(content):
        if content[at : at + 4] == b"VP8 ":
            return True
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return False


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
)
