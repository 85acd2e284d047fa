"""Keys and words of settings under their earlier names, which stay readable."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from rareseg.errors import RecipeError

RENAMED: Mapping[tuple[str, str], str] = {("split", "select"): "validation"}
"""The name of today of a (section, key) of earlier versions."""

LEVELS: Mapping[str, str] = {"lesion": "object"}
"""The name of today of a level of counting of earlier versions."""

_LOG = logging.getLogger(__name__)


def with_current_keys(
    values: Mapping[str, Mapping[str, Any]], source: str, *, notice: bool = False
) -> dict[str, dict[str, Any]]:
    """Return nested values with every key under its name of today.

    With ``notice`` one line is logged for each earlier name that was met. Raises RecipeError where
    a key is given under both names.
    """
    current = {
        name: dict(part) if isinstance(part, Mapping) else part for name, part in values.items()
    }
    for (section, earlier), today in RENAMED.items():
        part = current.get(section)
        if not isinstance(part, dict) or earlier not in part:
            continue
        if today in part:
            raise RecipeError(
                f"{source}: {section}.{earlier} and {section}.{today} are one setting; leave "
                f"{section}.{earlier} out."
            )
        if notice:
            _LOG.warning("%s: %s.%s is called %s.%s now.", source, section, earlier, section, today)
        # In its place, so that the order of keys stays.
        current[section] = {today if k == earlier else k: v for k, v in part.items()}
    return current


def current_level(level: str) -> str:
    """Return a level of counting under its name of today, with a line where it had an earlier one.

    Unknown words come back as they are.
    """
    if level in LEVELS:
        _LOG.warning("The level '%s' is called '%s' now.", level, LEVELS[level])
    return LEVELS.get(level, level)
