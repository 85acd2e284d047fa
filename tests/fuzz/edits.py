"""Edits of bytes, of fields of headers and of values in texts, each a Hypothesis strategy.

A strategy yields functions from bytes to bytes. An edit that does not fit what it is given returns
it as it is, so that edits can be left out and reordered while an input is shrunk.
"""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

import yaml
from hypothesis import strategies as st

from corpus.smallest import chunk

Edit = Callable[[bytes], bytes]
NUMBERS = (0, 1, -1, 2, 7, 255, 256, 32767, -32768, 65535, 2**31 - 1, -(2**31), 2**32 - 1)
FLOATS = (0.0, -1.0, 1e-30, 1e9, 1e30, float("nan"), float("inf"), float("-inf"))
WORDS = (
    *("", "0", "-1", "1", "3", "100", "65536", "99999999999", "9" * 5000, "nan", "inf", "1e999"),
    *("a b c", "LIST", "%d", "../../etc/passwd", "/dev/zero", "\x00", "é", "True", "gzip", "ascii"),
    *("uint8", "double", "MET_FLOAT", "(1,0,0) (0,1,0) (0,0,nan)", "0 0 0", "16 12 4 1"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2**40, 10**30, 0.5, -0.0, 1e300, float("nan"), float("inf"), "", "a"),
    *(
        "../../x",
        "/etc/passwd",
        "a\x00b",
        "CON",
        "e\u0301",
        "\ud800",
        [],
        {},
        [[]],
        [1, 2],
        {"a": 1},
    ),
    *(["a", None], {"": []}, [[0, 0], [1, 1]], "9" * 5000),
)
PLACES = st.integers(0, 1 << 16)


def _flip(place: int, mask: int) -> Edit:
    def edit(content: bytes) -> bytes:
        if not content:
            return content
        at = place % len(content)
        return content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :]

    return edit


def _cut(place: int) -> Edit:
    return lambda content: content[: place % (len(content) + 1)]


def _splice(start: int, stop: int, target: int) -> Edit:
    """Copy one part of the content to another place, over what is there."""

    def edit(content: bytes) -> bytes:
        if not content:
            return content
        first, last = sorted((start % len(content), stop % len(content)))
        at = target % len(content)
        return content[:at] + content[first:last] + content[at + last - first :]

    return edit


def _insert(place: int, added: bytes) -> Edit:
    def edit(content: bytes) -> bytes:
        at = place % (len(content) + 1)
        return content[:at] + added + content[at:]

    return edit


def _drop(start: int, stop: int) -> Edit:
    def edit(content: bytes) -> bytes:
        first, last = sorted(place % (len(content) + 1) for place in (start, stop))
        return content[:first] + content[last:]

    return edit


def packed(kind: str, value: float) -> bytes:
    """Return a number in this format of struct, cut to what it holds."""
    if kind[-1] in "fde":
        return struct.pack(kind, value)
    size = struct.calcsize(kind)
    whole = int(value) % (1 << 8 * size)
    return whole.to_bytes(size, "little" if kind[0] == "<" else "big")


def overwritten(content: bytes, place: int, new: bytes) -> bytes:
    """Return content with some bytes replaced, of the same length."""
    if not content:
        return content
    at = place % len(content)
    return (content[:at] + new + content[at + len(new) :])[: len(content)]


def _number(place: int, kind: str, value: float) -> Edit:
    return lambda content: overwritten(content, place, packed(kind, value))


CUTS = st.builds(_cut, PLACES)
BYTES = st.one_of(
    st.builds(_flip, PLACES, st.integers(1, 255)),
    CUTS,
    st.builds(_splice, PLACES, PLACES, PLACES),
    st.builds(_insert, PLACES, st.binary(min_size=1, max_size=8)),
    st.builds(_drop, PLACES, PLACES),
    st.builds(
        _number, PLACES, st.sampled_from(["<h", ">h", "<i", ">i", "<q"]), st.sampled_from(NUMBERS)
    ),
)


def of_fields(fields: dict[int, str]) -> st.SearchStrategy[Edit]:
    """Edits of a header of fixed places: ``fields`` are formats of struct by their first byte."""

    def one(place: int) -> st.SearchStrategy[Edit]:
        kind = fields[place]
        values = st.sampled_from(FLOATS if kind[-1] in "fd" else NUMBERS)
        return values.map(lambda value: lambda c: overwritten(c, place, packed(kind, value)))

    return st.sampled_from(sorted(fields)).flatmap(one)


NIFTI_FIELDS = {
    **{0: "<i", 70: "<h", 72: "<h", 108: "<f", 112: "<f", 116: "<f", 123: "<b", 344: "<i"},
    **{40 + 2 * axis: "<h" for axis in range(8)},
    **{76 + 4 * axis: "<f" for axis in range(8)},
    **{252: "<h", 254: "<h", 348: "<i", 352: "<i"},
    **{256 + 4 * number: "<f" for number in range(18)},
}
MGH_FIELDS = {
    **{4 * number: ">i" for number in range(7)},
    28: ">h",
    **{30 + 4 * number: ">f" for number in range(15)},
}
BMP_FIELDS = {
    2: "<i",
    10: "<i",
    14: "<i",
    18: "<i",
    22: "<i",
    26: "<h",
    28: "<h",
    30: "<i",
    46: "<i",
}


def _line(number: int, word: str) -> Edit:
    """Replace the value of a line ``name: value`` or ``name = value`` of a text header."""

    def edit(content: bytes) -> bytes:
        head, blank, rest = content.partition(b"\n\n")
        lines = head.split(b"\n")
        at = number % len(lines)
        found = re.match(rb"([^:=]{1,40}(?::=|[:=]) ?)", lines[at])
        if found is None:
            return content
        lines[at] = found[1] + word.encode("utf-8", "surrogatepass")
        return b"\n".join(lines) + blank + rest

    return edit


def _move_line(number: int, times: int) -> Edit:
    """Leave a line out, or write it more than once."""

    def edit(content: bytes) -> bytes:
        lines = content.split(b"\n")
        at = number % min(len(lines), 20)
        return b"\n".join([*lines[:at], *[lines[at]] * times, *lines[at + 1 :]])

    return edit


LINES = st.one_of(
    st.builds(_line, st.integers(0, 20), st.sampled_from(WORDS)),
    st.builds(_move_line, st.integers(0, 20), st.sampled_from([0, 2])),
)


def _tiff_tag(number: int, part: int, value: int) -> Edit:
    """Change the tag, the type, the number or the value of an entry of the first page."""

    def edit(content: bytes) -> bytes:
        if len(content) < 10:
            return content
        (page,) = struct.unpack_from("<I", content, 4)
        if page + 2 > len(content):
            return content
        (tags,) = struct.unpack_from("<H", content, page)
        at = page + 2 + 12 * (number % max(tags, 1))
        start, kind = ((0, "<h"), (2, "<h"), (4, "<i"), (8, "<i"))[part]
        if at + 12 > len(content):
            return content
        return overwritten(content, at + start, packed(kind, value))

    return edit


TIFF_TAGS = st.builds(
    _tiff_tag,
    st.integers(0, 15),
    st.integers(0, 3),
    st.sampled_from((*NUMBERS, 3, 4, 5, 8, 16, 258, 259, 273, 277, 317, 338, 32946, 34712)),
)


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return the names and contents of the parts of a PNG file."""
    found, at = [], 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4])
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def _png(number: int, what: str, inner: Edit, name: bytes) -> Edit:
    """Change one part of a PNG file; its checksum is made anew."""

    def edit(content: bytes) -> bytes:
        parts = png_chunks(content)
        if not parts:
            return content
        at = number % len(parts)
        kind, body = parts[at]
        if what == "drop":
            del parts[at]
        elif what == "repeat":
            parts.insert(at, parts[at])
        elif what == "first":
            parts.insert(0, parts.pop(at))
        elif what == "rename":
            parts[at] = name, body
        elif what == "unpacked" and kind == b"IDAT":
            try:
                parts[at] = kind, zlib.compress(inner(zlib.decompress(body)))
            except zlib.error:
                return content
        else:
            parts[at] = kind, inner(body)
        return content[:8] + b"".join(chunk(*part) for part in parts)

    return edit


PNG_CHUNKS = st.builds(
    _png,
    st.integers(0, 5),
    st.sampled_from(["change", "unpacked", "drop", "repeat", "first", "rename"]),
    BYTES,
    st.sampled_from([b"IDAT", b"PLTE", b"tRNS", b"iTXt", b"gAMA", b"acTL", b"fdAT", b"eXIf"]),
)


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(node, dict):
        for key, value in node.items():
            found += _places(value, (*path, key))
    elif isinstance(node, list):
        for key, value in enumerate(node[:6]):
            found += _places(value, (*path, key))
    return found


def _changed(node: Any, path: tuple[Any, ...], what: str, value: Any) -> Any:
    """Return a document with one value replaced, left out, repeated or wrapped."""
    if not path:
        return [node] if what == "wrap" else value
    key, *rest = path
    if rest:
        changed = _changed(node[key], tuple(rest), what, value)
        if isinstance(node, dict):
            return {**node, key: changed}
        return [*node[:key], changed, *node[key + 1 :]]
    if isinstance(node, dict):
        if what == "leave out":
            return {name: one for name, one in node.items() if name != key}
        if what == "rename":
            return {str(value) if name == key else name: one for name, one in node.items()}
        return {**node, key: [node[key]] if what == "wrap" else value}
    if what == "leave out":
        return [*node[:key], *node[key + 1 :]]
    if what == "rename":
        return [*node[: key + 1], *node[key:]]
    return [*node[:key], [node[key]] if what == "wrap" else value, *node[key + 1 :]]


def _document(number: int, what: str, value: Any, *, as_yaml: bool) -> Edit:
    def edit(content: bytes) -> bytes:
        try:
            known = yaml.safe_load(content) if as_yaml else json.loads(content)
        except (ValueError, RecursionError, yaml.YAMLError):
            return content
        places = _places(known)
        changed = _changed(known, places[number % len(places)], what, value)
        if as_yaml:
            return yaml.safe_dump(changed).encode("utf-8", "replace")
        return json.dumps(changed).encode()

    return edit


def documents(*, as_yaml: bool) -> st.SearchStrategy[Edit]:
    """Edits of one value of a JSON or YAML document."""
    values = [v for v in VALUES if not as_yaml or v != "\ud800"]
    return st.builds(
        lambda number, what, value: _document(number, what, value, as_yaml=as_yaml),
        st.integers(0, 400),
        st.sampled_from(["replace", "leave out", "rename", "wrap"]),
        st.sampled_from(values),
    )


def _cell(row: int, column: int, word: str) -> Edit:
    def edit(content: bytes) -> bytes:
        text = content.decode("utf-8", "replace").replace("\0", "")
        try:
            rows = list(csv.reader(io.StringIO(text)))
        except csv.Error:  # an edit before made one field of all: it stays as it is
            return content
        if not rows or not rows[row % len(rows)]:
            return content
        cells = rows[row % len(rows)]
        cells[column % len(cells)] = word
        target = io.StringIO()
        csv.writer(target).writerows(rows)
        return target.getvalue().encode("utf-8", "replace")

    return edit


TABLES = st.one_of(
    st.builds(
        _cell,
        st.integers(0, 8),
        st.integers(0, 5),
        st.sampled_from((*WORDS, "..", "id", "image", "test", "empty", "x" * 140_000, '"', "a,b")),
    ),
    st.builds(_move_line, st.integers(0, 8), st.sampled_from([0, 2])),
)
