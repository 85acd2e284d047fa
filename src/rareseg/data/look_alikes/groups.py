"""Unite the groups of look-alike cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rareseg.data.look_alikes.pair import LookAlike
from rareseg.data.records import Case


class DisjointSets:
    """Members 0 to ``count`` - 1 in sets that can be united; a set is named by its smallest."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))
        self._size = [1] * count

    def name(self, member: int) -> int:
        """Return the smallest member of the set that ``member`` is in."""
        parent = self._parent
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    def unite(self, i: int, j: int, *, most: int | None = None) -> bool:
        """Unite the sets of two members and return True; False where ``most`` would be exceeded."""
        first, second = sorted((self.name(i), self.name(j)))
        size = self._size[first] + self._size[second]
        if first != second:
            if most is not None and size > most:
                return False
            self._parent[second], self._size[first] = first, size
        return True


def clusters(count: int, pairs: Iterable[tuple[int, int]]) -> NDArray[np.int_]:
    """Return for each of ``count`` members the smallest member that pairs link it with."""
    sets = DisjointSets(count)
    for i, j in pairs:
        sets.unite(i, j)
    return np.array([sets.name(k) for k in range(count)], np.int_)


def propose_groups(
    cases: Sequence[Case], pairs: Sequence[LookAlike], *, copies_alone: bool = True
) -> dict[str, str]:
    """Return a group for every case, such that no two groups hold copies of one thing.

    With ``copies_alone=False`` such that no two hold look-alikes of any sort.

    Groups that exist are kept and united where a pair links them; their name is then made of
    theirs ("p1+p2"; "p1+4 more" from four on). Cases of no group are named after the first of
    those they look like, or after themselves.
    """
    number = {case.id: k for k, case in enumerate(cases)}
    first_of: dict[str, int] = {}
    links = [(number[pair.a], number[pair.b]) for pair in pairs if pair.copy or not copies_alone]
    for k, case in enumerate(cases):
        if case.group:
            links.append((first_of.setdefault(case.group, k), k))
    together: dict[int, list[Case]] = {}
    for case, root in zip(cases, clusters(len(cases), links).tolist(), strict=True):
        together.setdefault(root, []).append(case)
    # Names that exist come first, so that no made name takes theirs.
    ordered = sorted(together.values(), key=lambda m: len({c.group for c in m if c.group} or "xx"))
    names: dict[str, str] = {}
    taken: set[str] = set()
    for members in ordered:
        name = plain = _group_name(members)
        tries = 1
        while name in taken:
            tries += 1
            name = f"{plain} ({tries})"
        taken.add(name)
        names |= {case.id: name for case in members}
    return {case.id: names[case.id] for case in cases}


def united_copies(cases: Sequence[Case], pairs: Sequence[LookAlike]) -> dict[str, str]:
    """Return the groups of :func:`propose_groups` for those cases alone that a copy unites."""
    return _united(cases, propose_groups(cases, pairs))


def united_look_alikes(cases: Sequence[Case], pairs: Sequence[LookAlike]) -> dict[str, str]:
    """Return the groups of those cases alone that any look-alike unites, copy or not."""
    return _united(cases, propose_groups(cases, pairs, copies_alone=False))


def _united(cases: Sequence[Case], proposed: Mapping[str, str]) -> dict[str, str]:
    sizes = Counter(proposed.values())
    own = Counter(case.group for case in cases if case.group)
    return {
        case.id: group
        for case in cases
        if sizes[group := proposed[case.id]] > (own[case.group] if case.group else 1)
    }


def _group_name(members: Sequence[Case]) -> str:
    known = sorted({case.group for case in members if case.group})
    if not known:
        return min(case.id for case in members)
    return "+".join(known) if len(known) < 4 else f"{known[0]}+{len(known) - 1} more"
