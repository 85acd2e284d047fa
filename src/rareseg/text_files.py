"""Read JSON, YAML and tables of unknown origin, within bounds of size, depth and repetition.

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
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

SETTINGS_BYTES = 1 << 20
"""Of a recipe, and of the names of classes."""
RECORD_BYTES = 256 << 20
"""Of what describes a data set, a run, a model or its decisions."""
TABLE_BYTES = 1 << 30
"""Of a split, a manifest or a table of cases."""
MOST_LEVELS = 64
"""Objects and lists within each other."""
MOST_NODES = 100_000
"""Values in a YAML file, each counted as often as aliases repeat it."""


class RepeatedNameError(ValueError):
    """A key or a column stands twice."""


_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)
_MERGE = "tag:yaml.org,2002:merge"


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


def require_types(record: Any) -> None:
    """Raise TypeError where a field of a dataclass, read from JSON, is not of its declared type."""
    kind: Any = type(record)
    for name, adapter in _adapters(kind).items():
        value = getattr(record, name)
        try:
            adapter.validate_python(value, strict=True)
        except ValidationError as error:
            raise TypeError(f"its {name} is {str(value)[:60]!r}") from error


@cache
def _adapters(kind: type[Any]) -> dict[str, TypeAdapter[Any]]:
    return {name: TypeAdapter(hint) for name, hint in get_type_hints(kind).items()}


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
        raise RepeatedNameError(_twice("key", (key for key, _ in pairs)))
    return found


def read_yaml(path: Path, most_bytes: int = SETTINGS_BYTES) -> Any:
    """Return the content of a YAML file of plain values.

    Raises OSError where it cannot be read, ValueError where it is no YAML, is too large or nested
    too deeply, repeats too much by aliases, or holds a key twice in one mapping.
    """
    return parse_yaml(read_bytes(path, most_bytes).decode("utf-8-sig"))


def parse_yaml(text: str) -> Any:
    """Return the content of a YAML text; raises ValueError as :func:`read_yaml`."""
    try:
        loader = yaml.SafeLoader(text)
    except yaml.YAMLError as error:  # of a character that YAML does not allow
        raise ValueError(" ".join(str(error).split())) from error
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_node(node, {}, 0)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError(f"it is nested deeper than {MOST_LEVELS} levels") from error
    finally:
        loader.dispose()


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
            raise RepeatedNameError(_twice("column", names))
        return list(reader.fieldnames or ()), list(reader)
    except csv.Error as error:
        raise ValueError(str(error)) from error


def _twice(what: str, names: Iterable[str]) -> str:
    name = next(name for name, number in Counter(names).items() if number > 1)
    return f"the {what} '{name[:80]}' stands there twice; keep one"


def _check_node(node: yaml.Node, sizes: dict[int, int], level: int) -> int:
    """Return how many values a node is, with aliases counted out; ValueError beyond the bounds.

    ``sizes`` are those of the nodes seen so far, 0 of those that are not finished.
    """
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise ValueError("an alias repeats what it stands in")
        return sizes[id(node)]
    if level >= MOST_LEVELS and isinstance(node, yaml.CollectionNode):
        raise ValueError(f"it is nested deeper than {MOST_LEVELS} levels")
    sizes[id(node)] = 0
    size = 1
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if key.tag != _MERGE]
        plain = [key for key in keys if isinstance(key, str)]
        if len(set(plain)) < len(plain):
            raise RepeatedNameError(_twice("key", plain))
        for key, value in node.value:
            size += _check_node(key, sizes, level + 1) + _check_node(value, sizes, level + 1)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_check_node(value, sizes, level + 1) for value in node.value)
    if size > MOST_NODES:
        raise ValueError(f"it holds more than {MOST_NODES:,} values, with aliases counted out")
    sizes[id(node)] = size
    return size
