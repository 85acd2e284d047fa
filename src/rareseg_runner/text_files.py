"""Read JSON and tables of unknown origin, within bounds of size, depth and repetition.

What is wrong with a file is a ValueError without its name: whoever reads the file says what it is
for, and what to do. A name that stands twice is an error, since either value could be meant; the
parsers of the standard library would take the last one in silence.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

RECORD_BYTES = 256 << 20
"""Of what describes a data set, a run, a model or its decisions."""
TABLE_BYTES = 1 << 30
"""Of a split, a manifest or a table of cases."""
MOST_LEVELS = 64
"""Objects and lists within each other."""


class RepeatedNameError(ValueError):
    """A key or a column stands twice."""


_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


def read_bytes(path: Path, most_bytes: int) -> bytes:
    """Return what a file holds.

    Raises OSError where it cannot be read, ValueError where it is larger or no file, as a pipe is.
    """
    if not path.is_file():
        # Whoever opens a pipe waits until somebody writes into it.
        if path.exists():
            raise ValueError("it is a folder, a pipe or a device, and no file")
        path.stat()
    with path.open("rb") as stream:
        content = stream.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"it has more than {in_words(most_bytes)}, which is the limit")
    return content


def in_words(size: int) -> str:
    """Return a number of bytes in the unit that fits: "512 bytes", "4 MiB", "1.5 GiB"."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size} bytes"


def read_json(path: Path, most_bytes: int = RECORD_BYTES) -> Any:
    """Return the content of a JSON file in UTF-8, with or without a byte order mark.

    Raises OSError where it cannot be read, ValueError where it is no JSON, is too large or nested
    too deeply, or holds a key twice in one object.
    """
    return parse_json(read_bytes(path, most_bytes).decode("utf-8-sig"))


def parse_json(text: str) -> Any:
    """Return the content of a JSON text; raises ValueError as :func:`read_json`."""
    level = 0
    is_flat = text.count("[") + text.count("{") <= MOST_LEVELS
    for found in () if is_flat else _BRACKETS.finditer(text):
        sign = found[0]
        level += (sign in "[{") - (sign in "]}")
        if level > MOST_LEVELS:
            raise ValueError(f"it is nested deeper than {MOST_LEVELS} levels")
    return json.loads(text, object_pairs_hook=once_each)


def once_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object; raises ValueError for a key that stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise RepeatedNameError(repeated("key", (key for key, _ in pairs)))
    return found


def read_table(path: Path, most_bytes: int = TABLE_BYTES) -> list[dict[str, str]]:
    """Return the rows of a comma-separated table in UTF-8 by the names in its first line.

    A row that is too short has None in its last columns. Raises OSError where it cannot be read,
    ValueError where it is no such table, is too large, or has two columns of one name.
    """
    return read_columns_and_rows(path, most_bytes)[1]


def read_columns_and_rows(
    path: Path, most_bytes: int = TABLE_BYTES
) -> tuple[list[str], list[dict[str, str]]]:
    """Return the names in the first line of a table, and its rows as :func:`read_table` does."""
    return parse_table(read_bytes(path, most_bytes).decode("utf-8-sig"))


def parse_table(text: str, separator: str = ",") -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of a table; raises ValueError as :func:`read_table`."""
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        names = [name.strip() for name in reader.fieldnames or () if name.strip()]
        if len(set(names)) < len(names):
            raise RepeatedNameError(repeated("column", names))
        return list(reader.fieldnames or ()), list(reader)
    except csv.Error as error:
        raise ValueError(str(error)) from error


def repeated(what: str, names: Iterable[str]) -> str:
    """Say which of the names stands twice."""
    name = next(name for name, number in Counter(names).items() if number > 1)
    return f"the {what} '{name[:80]}' stands there twice; keep one"
