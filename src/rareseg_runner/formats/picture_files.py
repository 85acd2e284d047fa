"""Open pictures by named decoders, and read from their headers what Pillow does not tell.

Pillow's own ``open`` hands a file to whichever of some 40 decoders claims it (a PostScript file to
Ghostscript) and refuses more than 179 megapixels, by one number for the whole process.
Here the decoders are named and the size has a limit of ours.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import PIL.Image

from rareseg_runner.errors import ReadError
from rareseg_runner.formats.reader_guard import check_size

DECODERS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "JPEG2000", "AVIF")
"""What Pillow may open, also JPEG with a preview (MPO)."""
GREY = 0
"""PNG's colour type of one channel."""
_MOST_PIXELS = {"PNG": 1032 * 8, "GIF": 4096}
"""Pixels that one byte can stand for: deflate packs 1032 bytes, LZW one string of 4096 values."""
_ADAM7 = (
    *((8, 8, 0, 0), (8, 8, 4, 0), (4, 8, 0, 4), (4, 4, 2, 0)),
    *((2, 4, 0, 2), (2, 2, 1, 0), (1, 2, 0, 1)),
)
"""Steps and starts (x, y) of the seven passes of an interlaced PNG, as (x, y, x0, y0)."""
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples a pixel of PNG's colour types."""
_STEP = 1 << 18
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
PIL.Image.init()


def open_picture(
    stream: BinaryIO, path: Path, decoders: Sequence[str] = DECODERS
) -> PIL.Image.Image:
    """Return the picture in ``stream``, not loaded yet, by the first named decoder that knows it.

    Raises ReadError where none does, where Pillow was built without the decoder, and where the
    header states more than can be read at once.
    """
    prefix = stream.read(16)
    said = "no picture that is read"
    for name in decoders:
        factory, accepts = PIL.Image.OPEN.get(name, (None, None))
        if factory is None:
            continue
        known = accepts is None or accepts(prefix)
        if isinstance(known, str):
            said = known
        elif known:
            stream.seek(0)
            picture = factory(stream, str(path))
            width, height = picture.size
            wide = 4 if picture.mode in ("I", "F") else 2 if "16" in picture.mode else 1
            check_size(path, (len(picture.getbands()), height, width), wide)
            _check_packing(path, name, width * height)
            return picture
    raise ReadError(
        f"{path} cannot be read ({said}): it is empty, damaged or another format; "
        "copy or export it again."
    )


def _check_packing(path: Path, name: str, pixels: int) -> None:
    """Raise ReadError for more pixels than the compression could have packed into the file."""
    stored = path.stat().st_size
    if pixels > stored * _MOST_PIXELS.get(name, pixels):
        raise ReadError(
            f"{path} states {pixels} pixels, for which its {stored} bytes are too few: it is "
            "truncated or damaged; copy or export it again."
        )


def is_heif(stream: BinaryIO) -> bool:
    """Whether a file begins as the photographs of telephones do (HEIC), whatever its name says.

    The stream is read from its begin and put back to it.
    """
    head = stream.read(12)
    stream.seek(0)
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def check_png(stream: BinaryIO) -> tuple[int, int]:
    """Return the bits a sample and the colour type; the stream stands where it stood.

    Raise ValueError where a part of a PNG file is missing or its checksum is another.

    Pillow looks at the checksums of the header alone; a flipped bit would give another mask. It
    fills rows that are missing with zeros, so they are counted. Parts
    are a length, a name, content and a checksum of name and content (https://www.w3.org/TR/png-3/).
    """
    unpacking, found, needed, kind = zlib.decompressobj(), 0, 0, (0, GREY)
    before = stream.tell()
    stream.seek(8)
    while True:
        head = stream.read(8)
        if len(head) < 8:
            raise ValueError("its end is missing")
        content = stream.read(int.from_bytes(head[:4]))
        if zlib.crc32(content, zlib.crc32(head[4:])) != int.from_bytes(stream.read(4)):
            raise ValueError("a checksum is wrong")
        if head[4:] == b"IHDR":
            needed, kind = _png_bytes(content), (content[8], content[9])
        while head[4:] == b"IDAT" and content and not unpacking.eof and found < needed:
            found += len(unpacking.decompress(content, _STEP))
            content = unpacking.unconsumed_tail
        if head[4:] == b"IEND":
            break
    if found < needed:
        raise ValueError(f"its header states {needed} bytes of rows and {found} are there")
    stream.seek(before)
    return kind


def _png_bytes(header: bytes) -> int:
    """Return how many bytes the rows of a PNG have, each with its filter byte."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    bits = depth * _SAMPLES[colour]
    passes = _ADAM7 if interlaced else ((1, 1, 0, 0),)
    sides = [(-(-(width - x) // dx), -(-(height - y) // dy)) for dx, dy, x, y in passes]
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sides if columns > 0)


def png_header(path: Path) -> tuple[int, int]:
    """Return the bits a sample and the colour type of a PNG file; (0, 0) where it is cut off.

    The header chunk is the first: they stand at bytes 24 and 25.
    """
    with path.open("rb") as file:
        head = file.read(26)
    return (head[24], head[25]) if len(head) == 26 else (0, GREY)


def png_levels(path: Path) -> int:
    """Return the largest value of a greyscale PNG of 8 or 16 bits; ReadError for any other."""
    depth, colour = png_header(path)
    if depth not in (0, 8, 16) or colour != GREY:
        raise ReadError(
            f"{path} has {depth} bits a sample and PNG's colour type {colour}; a score needs "
            "greyscale of 8 or 16 bits."
        )
    return int(2 ** (depth or 8)) - 1


def is_deep_colour(depth: int, colour: int) -> bool:
    """Whether a PNG has 16 bits a sample and several channels, which Pillow would cut to 8 bits."""
    return depth == 16 and colour in (2, 4, 6)


def is_lossy_webp(path: Path) -> bool:
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


def check_jpeg2000(path: Path) -> None:
    """Raise ReadError where the codestream does not reach its end, which its decoder lets pass.

    A codestream ends with the mark EOC; in a JP2 file it fills a box that states its length
    (ISO 15444-1, annexes A and I).
    """
    content = path.read_bytes()
    start, end = content.find(b"\xff\x4f\xff\x51"), len(content)
    if content[start - 4 : start] == b"jp2c" and start >= 8:
        stated = struct.unpack_from(">I", content, start - 8)[0]
        end = start - 8 + stated if stated else end
    elif content[start - 12 : start - 8] == b"jp2c" and start >= 16:
        end = start - 16 + struct.unpack_from(">Q", content, start - 8)[0]
    if end > len(content) or content[max(end - 2, 0) : end] != b"\xff\xd9":
        raise ReadError(
            f"{path} is truncated: its JPEG 2000 codestream does not end where it should; copy or "
            "export it again."
        )


def jpeg2000_header(path: Path) -> tuple[int, int, bool]:
    """Return the bits a sample, the number of components and whether the transform is lossless.

    After the mark of the codestream's begin, segments of a mark and a length follow (ISO 15444-1,
    annex A): SIZ states the samples, COD the transform, of which the 5-3 one is reversible.
    """
    content = path.read_bytes()
    at = content.find(b"\xff\x4f\xff\x51") + 2
    bits, components, lossless = 8, 1, False
    while 2 <= at <= len(content) - 16:
        mark, length = struct.unpack_from(">HH", content, at)
        if mark == 0xFF51:
            components, depth = struct.unpack_from(">HB", content, at + 38)
            bits = (depth & 127) + 1
        elif mark == 0xFF52:
            lossless = content[at + 13] == 1
        elif mark == 0xFF90 or length < 2:
            break
        at += 2 + length
    return bits, components, lossless
