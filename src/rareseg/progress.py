"""Report the progress of long work to whoever listens.

Library functions take a ``track`` argument and wrap the iterable that they work through. The
default says nothing; the command line passes one that draws a bar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


def nothing() -> str:
    """Have nothing to add."""
    return ""


class Track(Protocol):
    """Wrap ``items`` (``total`` of them) and report each one as it passes."""

    def __call__(
        self,
        items: Iterable[T],
        description: str,
        total: int,
        *,
        note: Callable[[], str] = nothing,
    ) -> Iterator[T]:
        """Return an iterator over ``items`` that tells how far it is, and what ``note`` says."""
        ...


def silent(
    items: Iterable[T], description: str, total: int, *, note: Callable[[], str] = nothing
) -> Iterator[T]:
    """Pass the items on and tell nobody."""
    return iter(items)
