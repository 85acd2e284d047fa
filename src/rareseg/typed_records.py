"""Hold the fields of records that were read from JSON against their declared types."""

from __future__ import annotations

from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError


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
