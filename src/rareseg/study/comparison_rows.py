"""Rows of a comparison: a strategy, or any settings of a recipe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rareseg.errors import RecipeError, UsageError, nearest
from rareseg.recipe import check_values, parse_settings
from rareseg.sampling.strategies.strategy import strategies

SHARED = ("data", "split", "decision")
"""Sections that every row has in common, or it would be judged on something else."""

SHARED_KEYS = (
    "training.seed",
    "training.steps",
    "training.threads",
    "training.precision",
    "prediction.precision",
)
"""Keys that every row has in common."""


@dataclass(frozen=True)
class ComparisonRow:
    """One way to train: its name and the values in which it departs from the others."""

    name: str
    settings: Mapping[str, Mapping[str, Any]]


def strategy_row(name: str) -> ComparisonRow:
    """Return the row of a registered sampling strategy; RecipeError for an unknown one."""
    if name not in strategies():
        raise RecipeError(
            f"--strategies names {name!r}{nearest(name, strategies())}; allowed are "
            f"{', '.join(strategies())}, or give any other row with --row NAME:KEY=VALUE."
        )
    return ComparisonRow(name, {"sampling": {"strategy": name}})


def parse_row(text: str) -> ComparisonRow:
    """Return the row that ``NAME:section.key=value,section.key=value`` describes.

    Commas within brackets belong to a value. Raises :class:`RecipeError` for anything else, for
    unknown keys, impossible values, and keys that all rows must share.
    """
    name, colon, rest = text.partition(":")
    if not (colon and name.strip() and rest.strip()):
        raise RecipeError(
            f"--row {text!r} is not of the form NAME:section.key=value,section.key=value, such as "
            "hard-0.9:sampling.strategy=hard,mining.confidence=0.9."
        )
    row = ComparisonRow(name.strip(), parse_settings(_split_outside_brackets(rest)))
    require_own(row.settings, f"--row {row.name}")
    check_values(row.settings, source=f"--row {row.name}")
    return row


def require_own(settings: Mapping[str, Mapping[str, Any]], source: str) -> None:
    """Raise :class:`RecipeError` where one training sets what all of a study share."""
    for section, values in settings.items():
        for key in values:
            if section in SHARED or f"{section}.{key}" in SHARED_KEYS:
                raise RecipeError(
                    f"{source} sets {section}.{key}, which all trainings share, or they would not "
                    "be compared on equal terms; set it for all with --set."
                )


def make_rows(names: Iterable[str], texts: Sequence[str]) -> tuple[ComparisonRow, ...]:
    """Return the rows of strategies and of ``--row`` in their order.

    Raises :class:`UsageError` for a name that comes twice, and where there is no row.
    """
    rows = (*(strategy_row(name) for name in names), *(parse_row(text) for text in texts))
    known: set[str] = set()
    for row in rows:
        if row.name in known:
            raise UsageError(f"Two rows are called {row.name!r}; give each a name of its own.")
        known.add(row.name)
    if not rows:
        raise UsageError("There is no row to compare; name --strategies or give a --row.")
    return rows


def _split_outside_brackets(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for match in re.finditer(r"[\[\]{},]", text):
        character = match.group()
        depth += (character in "[{") - (character in "]}")
        if character == "," and depth == 0:
            parts.append(text[start : match.start()])
            start = match.end()
    return [part.strip() for part in (*parts, text[start:])]
