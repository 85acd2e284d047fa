"""Check the lengths that a DICOM file states before a library takes memory for them."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO

from rareseg_runner.errors import ReadError

_PREAMBLE = 132
_SYNTAX, _PIXELS = (0x0002, 0x0010), (0x7FE0, 0x0010)
_FRAMES, _ROWS, _COLUMNS = (0x0028, 0x0008), (0x0028, 0x0010), (0x0028, 0x0011)
_SAMPLES, _BITS = (0x0028, 0x0002), (0x0028, 0x0100)
_SIDES = (_FRAMES, _ROWS, _COLUMNS, _SAMPLES, _BITS)
"""What the bytes of uncompressed pixels follow from; ``_BITS`` are those of a stored sample."""
_OPTIONAL = (_FRAMES, _SAMPLES)
_LONGEST = 64
_IMPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""Value representations with a length of four bytes; the others have one of two."""
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_UNDEFINED = 0xFFFFFFFF
MOST_ELEMENTS = 10_000
"""Elements that are walked over at most; the data elements of an image are some hundreds."""


def check_elements(path: Path) -> None:
    """Raise ReadError where a data element states more bytes than the file has behind it.

    Elements at the outermost level are walked over up to the pixels; what stands behind a sequence
    of undefined length is left to the reader. A file without DICOM's preamble is walked over from
    its beginning where it begins as those of DICOM's predecessor did, and is not looked into else.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        explicit, order = True, "<"
        if stream.read(_PREAMBLE)[-4:] != b"DICM":
            stream.seek(0)
            begin = stream.read(8)
            stream.seek(0)
            if not _begins_plainly(begin):
                return
            explicit = begin[4:6] in _LONG | _SHORT
        syntax = ""
        sides: dict[tuple[int, int], int] = {}
        for _ in range(MOST_ELEMENTS):
            place = stream.tell()
            if syntax and stream.read(2) != b"\x02\x00":
                explicit, order = syntax != _IMPLICIT, ">" if syntax == _BIG_ENDIAN else "<"
                syntax = ""
            stream.seek(place)
            found = _header(stream, path, explicit=explicit, order=order)
            if found is None:
                return
            tag, length = found
            if length == _UNDEFINED:
                return
            if length > size - stream.tell():
                raise ReadError(
                    f"{path} is truncated or damaged: its element ({tag[0]:04x},{tag[1]:04x}) "
                    f"states {length} bytes and {max(size - stream.tell(), 0)} are there; copy or "
                    "export it again."
                )
            if tag == _PIXELS:
                _check_pixels(path, sides, length)
                return
            if tag in _SIDES and length <= _LONGEST:
                sides[tag] = _number(stream.read(length), tag, order)
            elif tag == _SYNTAX:
                syntax = stream.read(length).decode("ascii", "replace").strip(" \0")
            else:
                stream.seek(length, 1)


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does: by its word, or an element of the first groups."""
    with path.open("rb") as stream:
        content = stream.read(_PREAMBLE)
    return content[-4:] == b"DICM" or _begins_plainly(content[:8])


def _begins_plainly(head: bytes) -> bool:
    """Whether the first 8 bytes are an element of group 2 or 8, in little-endian order."""
    return len(head) == 8 and head[:2] in (b"\x02\0", b"\x08\0")


def _number(content: bytes, tag: tuple[int, int], order: str) -> int:
    """Return a whole number: the count of frames stands there as text; 0 for what is none."""
    if tag == _FRAMES:
        text = content.strip(b" \0")
        return int(text) if text.isdigit() else 0
    return int(struct.unpack(f"{order}H", content)[0]) if len(content) == 2 else 0


def _check_pixels(path: Path, sides: dict[tuple[int, int], int], length: int) -> None:
    """Raise ReadError where the pixels have fewer bytes than the image's sides need.

    Readers fill what is missing with zeros.
    """
    stated = {tag: sides.get(tag, 1 if tag in _OPTIONAL else 0) for tag in _SIDES}
    needed = -(-math.prod(stated.values()) // 8)
    if needed > length:
        raise ReadError(
            f"{path} is truncated or damaged: it states {stated[_ROWS]} × {stated[_COLUMNS]} "
            f"pixels in {needed} bytes and {length} are there; copy or export it again."
        )


def _header(
    stream: BinaryIO, path: Path, *, explicit: bool, order: str
) -> tuple[tuple[int, int], int] | None:
    """Return the tag and the length of the next element; None at the end of the file.

    Raises ReadError for a value representation that DICOM does not have: readers then take what
    stands behind it for a length, of a gigabyte as a rule.
    """
    head = stream.read(8)
    if not head:
        return None
    if len(head) < 8:
        raise ReadError(f"{path} is truncated: it ends within an element; copy or export it again.")
    tag = struct.unpack(f"{order}HH", head[:4])
    if not explicit:
        return (tag[0], tag[1]), struct.unpack(f"{order}I", head[4:])[0]
    if head[4:6] not in _LONG | _SHORT:
        raise ReadError(
            f"{path} is damaged: its element ({tag[0]:04x},{tag[1]:04x}) has a value "
            f"representation {head[4:6]!r} that DICOM does not have; copy or export it again."
        )
    if head[4:6] in _LONG:
        rest = stream.read(4)
        return None if len(rest) < 4 else ((tag[0], tag[1]), struct.unpack(f"{order}I", rest)[0])
    return (tag[0], tag[1]), struct.unpack(f"{order}H", head[6:])[0]
