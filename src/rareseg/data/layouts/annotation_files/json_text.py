"""Read large JSON files member by member, and tell from their ends what they are."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from rareseg.data.layouts.file_tree import FileTree
from rareseg.errors import DataError
from rareseg_runner.text_files import RepeatedNameError, once_each, parse_json, read_bytes

MOST_BYTES = 4 << 30
"""Larger annotation files are refused before they are read."""
LOOKED_AT = 1 << 16
"""Bytes from the begin and from the end of a file by which it is recognised."""
MOST_PER_FOLDER = 3
"""Files of a folder that are looked at, beside those with a typical name."""
MOST_LEVELS = 3
"""Folders below this depth are not searched for annotation files."""

_SPACE = re.compile(r"[ \t\r\n]*")
_TYPICAL_NAMES = re.compile(
    r"coco|instance|annotation|result|label|train|val|test|project|export", re.I
)
_KINDS = {
    "labelme": (r'"shapes"\s*:\s*\[',),
    "coco": (r'"images"\s*:\s*\[', r'"annotations"\s*:\s*\[', r'"categories"\s*:\s*\['),
}


_Members = Generator[tuple[str, Any], None, int]
"""Members of an object or a list; returns where it ends."""


def read_text(path: Path) -> str:
    """Return the text of an annotation file; raises DataError for one that is not UTF-8."""
    try:
        return read_bytes(path, MOST_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); export it again as UTF-8.") from error
    except ValueError as error:
        raise DataError(f"{path} is not read: {error}; export it in parts.") from error


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; raises DataError where it is none."""
    try:
        return parse_json(read_text(path))
    except (ValueError, RecursionError) as error:
        raise _broken(path, error) from error


def members(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (key, value) of the object in a JSON file, a list being yielded entry by entry.

    An empty list yields nothing, and a file that holds a list yields its entries under "". Only the
    text and one entry are in memory at a time. Raises DataError where the file is no JSON.
    """
    text = read_text(path)
    decoder = json.JSONDecoder(object_pairs_hook=once_each)
    try:
        at = _skip(text, 0)
        if text[at : at + 1] == "[":
            at = yield from _entries(text, at, "", decoder)
        elif text[at : at + 1] == "{":
            at = yield from _pairs(text, at, decoder)
        else:
            raise ValueError(f"it begins with {text[at : at + 10]!r}")
        if text[(at := _skip(text, at)) :]:
            raise ValueError(f"it goes on after its end with {text[at : at + 10]!r}")
    except (ValueError, RecursionError) as error:
        raise _broken(path, error) from error


def _pairs(text: str, at: int, decoder: json.JSONDecoder) -> _Members:
    """Yield the members of the object that begins at ``at``; returns where it ends."""
    at = _skip(text, at + 1)
    known: set[str] = set()
    while text[at : at + 1] != "}":
        key, at = decoder.raw_decode(text, at)
        at = _skip(text, at)
        if not isinstance(key, str) or text[at : at + 1] != ":":
            raise ValueError(f"no key and value at character {at}")
        if key in known:
            raise RepeatedNameError(f"the key '{key[:80]}' stands there twice; keep one")
        known.add(key)
        at = _skip(text, at + 1)
        if text[at : at + 1] == "[":
            at = yield from _entries(text, at, key, decoder)
        else:
            value, at = decoder.raw_decode(text, at)
            yield key, value
        at = _next(text, at, "}")
    return at + 1


def _entries(text: str, at: int, key: str, decoder: json.JSONDecoder) -> _Members:
    """Yield the entries of the list that begins at ``at``; returns where it ends."""
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        value, at = decoder.raw_decode(text, at)
        yield key, value
        at = _next(text, at, "]")
    return at + 1


def _next(text: str, at: int, end: str) -> int:
    """Return where the next entry begins, or where ``end`` stands."""
    at = _skip(text, at)
    if text[at : at + 1] == end:
        return at
    if text[at : at + 1] != ",":
        raise ValueError(f"',' or '{end}' is missing at character {at}")
    at = _skip(text, at + 1)
    if text[at : at + 1] == end:
        raise ValueError(f"an entry is missing at character {at}")
    return at


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None, "no space is a match as well"
    return found.end()


def _broken(path: Path, error: Exception) -> DataError:
    if isinstance(error, RepeatedNameError):
        return DataError(f"{path} cannot be read: {error}.")
    said = "it is nested too deeply" if isinstance(error, RecursionError) else error
    return DataError(
        f"{path} is no valid JSON ({said}); it is damaged or cut off: export it again."
    )


def kind_of(path: Path) -> str | None:
    """Return "coco", "labelme" or "label_studio" as the ends of a JSON file say; None else."""
    if not path.is_file():
        return None  # whoever opens a pipe waits until somebody writes into it
    try:
        with path.open("rb") as file:
            head = file.read(LOOKED_AT)
            size = path.stat().st_size
            file.seek(max(len(head), size - LOOKED_AT))
            ends = (head + b" " + file.read(LOOKED_AT)).decode("utf-8", "replace")
    except OSError:
        return None
    start = ends.lstrip("\ufeff \t\r\n")[:1]
    if start == "[":
        said = ('"annotations"' in ends and '"data"' in ends) or '"lead_time"' in ends
        return "label_studio" if said or '"annotator"' in ends else None
    if start != "{":
        return None
    if re.search(_KINDS["labelme"][0], ends) and '"file_name"' not in ends:
        return "labelme"
    if '"segments_info"' in ends:
        return None
    lists = sum(re.search(pattern, ends) is not None for pattern in _KINDS["coco"])
    words = ('"file_name"', '"image_id"', '"category_id"', '"segmentation"')
    return "coco" if lists >= 2 or (lists and sum(word in ends for word in words) >= 1) else None


def json_files(tree: FileTree, kind: str) -> list[Path]:
    """Return the JSON files of a kind, outer folders first; a file that was named alone.

    Of a folder with many, those with typical names and the first few others are looked at.
    """
    if tree.file is not None:
        is_json = tree.file.suffix.lower() == ".json"
        return [tree.file] if is_json and kind_of(tree.file) == kind else []
    found = []
    for folder, files in tree.walk():
        if folder.count("/") >= MOST_LEVELS:
            continue
        names = [name for name in files if name.lower().endswith(".json")]
        typical = [name for name in names if _TYPICAL_NAMES.search(name)][:50]
        others = [name for name in names if name not in typical][:MOST_PER_FOLDER]
        paths = [tree.path(folder, name) for name in names if name in {*typical, *others}]
        found += [path for path in paths if kind_of(path) == kind]
    return found
