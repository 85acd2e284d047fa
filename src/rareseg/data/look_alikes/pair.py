"""Record of two look-alike cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rareseg.data.look_alikes.registration import Placement

IDENTICAL = "identical"


@dataclass(frozen=True)
class LookAlike:
    """Two cases that show almost the same.

    ``a`` comes before ``b``. ``similarity`` in [0, 1] is the correlation of their fine structure
    where they lie best on each other, as ``placement`` says (``None`` in records of earlier
    versions). ``how`` says what relates them: "identical" where every value is equal, "as they
    are", "shifted", "mirrored left to right and rescaled". ``copy`` tells two views of one thing
    from two things of one kind (see :mod:`rareseg.data.look_alikes.copies`).
    """

    a: str
    b: str
    similarity: float
    how: str
    copy: bool
    placement: Placement | None

    def to_list(self) -> list[Any]:
        """Return what JSON can hold, without names: a data set may have 100,000 pairs."""
        lain = self.placement
        box = None if lain is None else [lain.order, lain.flips, lain.low, lain.high]
        return [self.a, self.b, self.similarity, self.how, self.copy, box]

    @classmethod
    def from_list(cls, entry: list[Any]) -> LookAlike:
        """Read what :meth:`to_list` wrote, or the (id, id, correlation) of earlier versions."""
        a, b, similarity, *rest = entry
        how, copy, box = rest or ("as they are", True, None)
        lain = None if box is None else Placement(*map(tuple, box))
        return cls(a, b, float(similarity), how, bool(copy), lain)


def across_groups(
    pairs: Iterable[LookAlike], groups: Mapping[str, str | None]
) -> tuple[LookAlike, ...]:
    """Return the pairs that no known group unites; ``groups`` leads from case id to group."""
    return tuple(
        pair for pair in pairs if groups.get(pair.a) is None or groups[pair.a] != groups.get(pair.b)
    )
