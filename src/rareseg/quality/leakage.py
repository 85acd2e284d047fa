"""Cases that show the same thing: pairs of look-alikes, and groups that keep them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from rareseg.data.formats import read_image
from rareseg.data.near_duplicates import find_near_duplicates, thumbnail
from rareseg.data.records import Case, Dataset
from rareseg.errors import ReadError
from rareseg.progress import Track, silent


@dataclass(frozen=True)
class LookAlike:
    """Two cases that look almost alike: ``similarity`` in [0, 1], and ``how`` they correspond."""

    a: str
    b: str
    similarity: float
    how: str


def find_look_alikes(
    dataset: Dataset, *, jobs: int = -1, track: Track = silent
) -> tuple[LookAlike, ...]:
    """Return all pairs of cases that look almost alike, also within a group, most alike first.

    Images that cannot be read match nothing; inspection reports them.
    """
    cases = dataset.cases
    read = Parallel(n_jobs=jobs, prefer="threads", return_as="generator")(
        delayed(_small)(case) for case in cases
    )
    found = list(track(read, "Looking for look-alikes", len(cases)))
    known = [(case, small) for case, small in zip(cases, found, strict=True) if small is not None]
    if len(known) < 2:
        return ()
    pairs, _ = find_near_duplicates(np.stack([small for _, small in known]), [None] * len(known))
    return tuple(LookAlike(known[i][0].id, known[j][0].id, r, "as it is") for i, j, r in pairs)


def propose_groups(cases: Sequence[Case], pairs: Sequence[LookAlike]) -> dict[str, str]:
    """Return a group for every case, so that look-alikes and what was grouped stay together.

    A united group is called after the first case that it holds, or by its one known name; a case
    that nothing unites is a group of its own.
    """
    parent = {case.id: case.id for case in cases}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first: dict[str, str] = {}
    known = [(first.setdefault(case.group, case.id), case.id) for case in cases if case.group]
    for a, b in [*known, *((pair.a, pair.b) for pair in pairs)]:
        parent[root(b)] = root(a)
    names: dict[str, str] = {}
    for case in cases:
        if case.group:
            names.setdefault(root(case.id), case.group)
    return {case.id: names.get(root(case.id), root(case.id)) for case in cases}


def _small(case: Case) -> NDArray[np.float32] | None:
    try:
        return thumbnail(read_image(case.images).array)
    except ReadError:
        return None
