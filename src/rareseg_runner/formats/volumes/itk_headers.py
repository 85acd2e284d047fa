"""Check the headers of NRRD and MetaImage before ITK sees them.

ITK allocates what a header states and ends the whole process on some (NDims = 100). Formats:
https://teem.sourceforge.net/nrrd/format.html and https://itk.org/Wiki/MetaIO/Documentation.
"""

from __future__ import annotations

import bz2
import gzip
import math
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from rareseg_runner.errors import ReadError
from rareseg_runner.formats.reader_guard import check_size

_MOST_AXES = 5
_STEP = 1 << 20
_LONGEST = 1 << 20
"""The longest header, in bytes; one of 3D Slicer with a hundred segments has some 50,000."""
_LONGEST_FIELD = 512
"""Of a field of NRRD in characters: ones of 1,500 end the whole process in ITK (SimpleITK 2.5).
Pairs of key and value, comments and content may be longer."""
_ANY_LENGTH = ("content", "data file", "datafile")
_ITEM_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8"), 1),
    **dict.fromkeys(("uint8_t", "char", "met_char", "met_uchar"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16"), 2),
    **dict.fromkeys(("int16_t", "ushort", "unsigned short", "unsigned short int", "uint16"), 2),
    **dict.fromkeys(("uint16_t", "met_short", "met_ushort"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int"), 4),
    **dict.fromkeys(("uint32", "uint32_t", "float", "met_int", "met_uint", "met_float"), 4),
    **dict.fromkeys(("met_long", "met_ulong"), 4),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long"), 8),
    **dict.fromkeys(("signed long long int", "int64", "int64_t", "ulonglong"), 8),
    **dict.fromkeys(("unsigned long long", "unsigned long long int", "uint64", "uint64_t"), 8),
    **dict.fromkeys(("double", "met_double", "met_long_long", "met_ulong_long"), 8),
}


def check_header(path: Path) -> dict[str, str]:
    """Return the fields of an NRRD or MetaImage header by their names in lower case.

    Raises:
        ReadError: another file, a number of axes or sizes that no image has, an unknown number
            type, or more values than the file or its data file has bytes for.
    """
    with path.open("rb") as stream:
        content = stream.read(_LONGEST)
    return _nrrd(content, path) if content.startswith(b"NRRD0") else _meta_image(content, path)


def _nrrd(content: bytes, path: Path) -> dict[str, str]:
    end = re.search(rb"\r?\n\r?\n", content)
    text = content[: end.start()] if end else content
    fields = _fields(text, r"([^:#\r\n]+):[= ]?([^\r\n]*)")
    _require_short_fields(text, path)
    sizes = _numbers(fields.get("sizes", ""))
    axes = _numbers(fields.get("dimension", ""))
    start = end.end() if end else len(content)
    data = fields.get("data file", fields.get("datafile"))
    packed = fields.get("encoding", "").strip().lower()
    needed = _check(path, axes, sizes, fields.get("type", ""))
    _check_stored(path, _stored(path, data, start), packed.replace("raw", ""), needed)
    return fields


def _require_short_fields(text: bytes, path: Path) -> None:
    """Raise ReadError for a field of NRRD that is longer than any that a tool writes."""
    for line in text.splitlines():
        name, colon, value = line.partition(b":")
        if line.startswith(b"#") or not colon or value.startswith(b"="):
            continue
        field = name.decode("utf-8", "replace").strip()
        if len(value) > _LONGEST_FIELD and field.lower() not in _ANY_LENGTH:
            raise ReadError(
                f"{path} has a field '{field[:40]}' of {len(value):,} characters, where at most "
                f"{_LONGEST_FIELD} are read: it is damaged; export it again."
            )


def _meta_image(content: bytes, path: Path) -> dict[str, str]:
    end = re.search(rb"ElementDataFile[ \t]*=[^\r\n]*\r?\n?", content)
    if end is None:
        raise ReadError(f"{path} has no header of NRRD or MetaImage; export it again.")
    fields = _fields(content[: end.end()], r"(\w+)[ \t]*=[ \t]*([^\r\n]*)")
    sizes = _numbers(fields.get("dimsize", ""))
    channels = _numbers(fields.get("elementnumberofchannels", "1"))
    data = fields["elementdatafile"].strip()
    packed = fields.get("compresseddata", "").strip().lower() == "true"
    inside = data.upper() == "LOCAL"
    axes, kind = _numbers(fields.get("ndims", "")), fields.get("elementtype", "")
    needed = _check(path, axes, sizes, kind, channels)
    stored = _stored(path, None if inside else data, end.end())
    _check_stored(path, stored, "zlib" if packed else "", needed)
    return fields


def _fields(text: bytes, pattern: str) -> dict[str, str]:
    lines = text.decode("utf-8", "replace")
    found = re.finditer(rf"^[ \t]*{pattern}", lines, re.MULTILINE)
    return {match[1].strip().lower(): match[2].strip() for match in found}


def _numbers(text: str) -> list[int]:
    words = text.split()
    return [int(word) for word in words] if all(re.fullmatch(r"\d{1,12}", w) for w in words) else []


def _stored(path: Path, data: str | None, start: int) -> tuple[Path, int] | None:
    """Return in which file the values begin at which byte; None where several files are named."""
    if data is None:
        return path, start
    if _leads_out(data):
        raise ReadError(
            f"{path} names the data file '{data[:80]}' outside of its folder; put the data beside "
            "the header and name them without folders."
        )
    named = path.parent / data
    return (named, 0) if named.is_file() else None


def _leads_out(data: str) -> bool:
    """Whether the name of a data file, or of a pattern of such, leaves the header's folder."""
    parts = re.split(r"[/\\\\]", data)
    return ".." in parts or parts[0] == "" or ":" in parts[0]


def _check(
    path: Path,
    axes: list[int],
    sizes: list[int],
    kind: str,
    channels: list[int] | None = None,
) -> int:
    """Return how many bytes the values have; ReadError where no image has such sizes."""
    wide = _ITEM_BYTES.get(kind.strip().lower())
    shape = [*sizes, *(channels or [])]
    whole = len(axes) == 1 and 1 <= axes[0] <= _MOST_AXES and len(sizes) == axes[0]
    if not whole or 0 in shape or (channels is not None and len(channels) != 1):
        raise ReadError(
            f"{path} states {' '.join(map(str, axes)) or 'no'} axes of the sizes "
            f"{' × '.join(map(str, sizes)) or '(none)'}, which no image has (one to {_MOST_AXES} "
            "axes, one size each): it is damaged; export it again."
        )
    if wide is None:
        raise ReadError(
            f"{path} holds numbers of the type '{kind[:40]}', which are no intensities; export it "
            "as integers or floats."
        )
    check_size(path, shape, wide, is_measured=True)
    return math.prod(shape) * wide


def _check_stored(path: Path, stored: tuple[Path, int] | None, packed: str, needed: int) -> None:
    """Raise ReadError where fewer bytes than needed are stored, or a packed stream is cut.

    A packed one is unpacked and dropped, for ITK fills in silence what is missing at its end.
    """
    if stored is None:
        return
    file, start = stored
    found = file.stat().st_size - start
    if packed in _UNPACKED:
        found = 0
        with file.open("rb") as stream:
            stream.seek(start)
            try:
                for step in _UNPACKED[packed](stream):
                    found += len(step)
                    if found > needed:
                        break
            except (OSError, EOFError, zlib.error) as error:
                raise ReadError(
                    f"{path} cannot be decompressed ({error}): it is truncated or damaged; copy or "
                    "export it again."
                ) from error
    elif packed:
        return
    if found < needed:
        raise ReadError(
            f"{path} is truncated: its header states values in {needed} bytes and "
            f"{max(found, 0)} are there; copy or export it again."
        )


def _gunzipped(stream: BinaryIO) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=stream) as unpacking:
        while step := unpacking.read(_STEP):
            yield step


def _bunzipped(stream: BinaryIO) -> Iterator[bytes]:
    with bz2.BZ2File(stream) as unpacking:
        while step := unpacking.read(_STEP):
            yield step


def _inflated(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the content of a stream as MetaImage packs it, without gzip's header."""
    unpacking = zlib.decompressobj()
    step = b""
    while not unpacking.eof:
        step = unpacking.unconsumed_tail or stream.read(_STEP)
        if not step:
            raise EOFError("its stream has no end")
        yield unpacking.decompress(step, _STEP)


_UNPACKED: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    **dict.fromkeys(("gzip", "gz"), _gunzipped),
    **dict.fromkeys(("bzip2", "bz2"), _bunzipped),
    "zlib": _inflated,
}
