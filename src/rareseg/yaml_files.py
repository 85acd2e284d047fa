"""Read YAML of unknown origin, within bounds of size, depth and repetition.

As :mod:`rareseg_runner.text_files`: what is wrong is a ValueError without the file's name, and a
key that stands twice is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rareseg_runner.text_files import MOST_LEVELS, RepeatedNameError, read_bytes, repeated

SETTINGS_BYTES = 1 << 20
"""Of a recipe, and of the names of classes."""


MOST_NODES = 100_000
"""Values in a YAML file, each counted as often as aliases repeat it."""


_MERGE = "tag:yaml.org,2002:merge"


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
            raise RepeatedNameError(repeated("key", plain))
        for key, value in node.value:
            size += _check_node(key, sizes, level + 1) + _check_node(value, sizes, level + 1)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_check_node(value, sizes, level + 1) for value in node.value)
    if size > MOST_NODES:
        raise ValueError(f"it holds more than {MOST_NODES:,} values, with aliases counted out")
    sizes[id(node)] = size
    return size
