"""The value of a ratio without a denominator, and how it is written and read.

A metric is either a number or :class:`Undefined` with the reason. It is never silently 0, 1 or
dropped: it stands as an empty cell beside its reason in CSV, as ``{"undefined": reason}`` in JSON
and as ``undefined (reason)`` in sentences.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard


@dataclass(frozen=True)
class Undefined:
    """A number that does not exist, and why."""

    reason: str

    def __str__(self) -> str:
        return f"undefined ({self.reason})"


Value: TypeAlias = float | Undefined
JsonValue: TypeAlias = float | dict[str, str]


def is_defined(value: Value) -> TypeGuard[float]:
    """Tell whether the value is a number."""
    return not isinstance(value, Undefined)


def ratio(numerator: float, denominator: float, *, undefined: str) -> Value:
    """Return numerator / denominator, or ``Undefined(undefined)`` where the denominator is 0."""
    if denominator == 0:
        return Undefined(undefined)
    return float(numerator / denominator)


def mean_of_defined(values: Iterable[Value], *, undefined: str) -> Value:
    """Return the mean of those values that are numbers, or Undefined where none is.

    Whoever prints it also prints how many were numbers (:func:`count_defined`).
    """
    numbers = [value for value in values if is_defined(value)]
    return ratio(sum(numbers), len(numbers), undefined=undefined)


def count_defined(values: Iterable[Value]) -> int:
    """Return how many of the values are numbers."""
    return sum(1 for value in values if is_defined(value))


def format_value(value: Value, digits: int = 3) -> str:
    """Return the value as text: ``0.812``, or ``undefined (no positive voxel)``."""
    return f"{value:.{digits}f}" if is_defined(value) else str(value)


def value_to_json(value: Value) -> JsonValue:
    """Return the number itself, or ``{"undefined": reason}``."""
    return {"undefined": value.reason} if isinstance(value, Undefined) else value


def value_from_json(value: JsonValue) -> Value:
    """Return the value that :func:`value_to_json` wrote."""
    return Undefined(value["undefined"]) if isinstance(value, dict) else float(value)
