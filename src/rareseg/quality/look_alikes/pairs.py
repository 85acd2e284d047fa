"""Cases that show almost the same, and the groups that keep them on one side of a split.

Two cases are look-alikes where fine structure, freed of exposure, contrast and gamma, correlates
after the two have been laid on each other: shifted, mirrored, turned by quarter turns, rescaled
or resampled, cropped a little. What is compared is in
:mod:`~rareseg.quality.look_alikes.portraits`, which pairs are in
:mod:`~rareseg.quality.look_alikes.candidates`, and how in
:mod:`~rareseg.quality.look_alikes.registration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from joblib import Parallel, delayed

from rareseg.data.records import Case, Dataset
from rareseg.progress import Track, silent
from rareseg.quality.look_alikes.candidates import Candidate, Spectra, clusters
from rareseg.quality.look_alikes.portraits import Portrait, Symmetry, portray
from rareseg.quality.look_alikes.registration import Fit, lay

ALIKE = {2: 0.72, 3: 0.75}
"""Correlation from which two photographs (two volumes) are look-alikes."""
COMPLETED = 64
"""In clusters of at most so many cases every pair is laid on each other."""
PROCESSES_FROM = 2000
"""From this many cases on, processes work in parallel; below it, threads."""
_TOGETHER = 24


@dataclass(frozen=True)
class LookAlike:
    """Two cases that show almost the same.

    ``a`` comes before ``b``. ``similarity`` in [0, 1] is the correlation of their fine structure
    where they lie best on each other. ``how`` says what relates them: "as they are", "shifted",
    "mirrored left to right and rescaled".
    """

    a: str
    b: str
    similarity: float
    how: str


def find_look_alikes(
    dataset: Dataset, *, jobs: int = -1, track: Track = silent
) -> tuple[LookAlike, ...]:
    """Return all pairs of cases that show almost the same, the most alike first.

    Pairs within a group are among them. Cases that cannot be read, and those without structure,
    pair with nothing; photographs are never held against volumes. The same cases give the same
    pairs. Each case is laid on the 16 whose spectra are closest, and every two cases that a chain
    of pairs links on each other, up to ``COMPLETED`` of them: a thousand copies of one picture are
    linked, but not every two of them are listed.
    """
    cases = dataset.cases
    prefer = "threads" if len(cases) < PROCESSES_FROM else "processes"
    parallel = Parallel(n_jobs=jobs, prefer=prefer, return_as="generator")
    seen = parallel(delayed(portray)(case) for case in cases)
    portraits = list(track(seen, "Making small pictures", len(cases)))
    found: list[LookAlike] = []
    for dimension in ALIKE:
        members = [
            (case.id, portrait)
            for case, portrait in zip(cases, portraits, strict=True)
            if portrait is not None and portrait.picture.ndim == dimension
        ]
        if len(members) > 1:
            found += _among(members, dimension, parallel, track)
    return tuple(sorted(found, key=lambda pair: (-pair.similarity, pair.a, pair.b)))


def propose_groups(cases: Sequence[Case], pairs: Sequence[LookAlike]) -> dict[str, str]:
    """Return a group for every case, such that no two groups hold look-alikes.

    Groups that exist are kept and united where a pair links them; their name is then made of
    theirs ("p1+p2"; "p1+4 more" from four on). Cases of no group are named after the first of
    those they look like, or after themselves.
    """
    number = {case.id: k for k, case in enumerate(cases)}
    first_of: dict[str, int] = {}
    links = [(number[pair.a], number[pair.b]) for pair in pairs]
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


def _group_name(members: Sequence[Case]) -> str:
    known = sorted({case.group for case in members if case.group})
    if not known:
        return min(case.id for case in members)
    return "+".join(known) if len(known) < 4 else f"{known[0]}+{len(known) - 1} more"


def _among(
    members: Sequence[tuple[str, Portrait]], dimension: int, parallel: Parallel, track: Track
) -> list[LookAlike]:
    """Return the look-alikes among cases of one dimension."""
    portraits = [portrait for _, portrait in members]
    spectra = Spectra(portraits)
    least = ALIKE[dimension]
    fits: dict[tuple[int, int], Fit] = {}
    looked = spectra.candidates()
    _lay_all(fits, looked, portraits, least, parallel, track)
    # What looks like the same third case is looked at as well.
    alike = [pair for pair, fit in fits.items() if fit.similarity >= least]
    root = clusters(len(members), alike)
    missing: list[Candidate] = []
    for name in np.unique(root):
        cluster = np.flatnonzero(root == name).tolist()
        if 2 < len(cluster) <= COMPLETED:
            pairs = (pair for pair in combinations(cluster, 2) if pair not in fits)
            missing += [(i, j, spectra.likeliest(i, j)) for i, j in pairs]
    _lay_all(fits, missing, portraits, least, parallel, track)
    found = []
    for (i, j), fit in fits.items():
        (a, first), (b, second) = members[i], members[j]
        if fit.similarity >= least and a != b:
            words = _in_words(fit, first, second)
            found.append(LookAlike(min(a, b), max(a, b), min(1.0, fit.similarity), words))
    return found


def _lay_all(
    fits: dict[tuple[int, int], Fit],
    candidates: Sequence[Candidate],
    portraits: Sequence[Portrait],
    least: float,
    parallel: Parallel,
    track: Track,
) -> None:
    """Lay every candidate and keep the best fit of each pair in ``fits``."""
    work: list[tuple[int, list[tuple[int, Symmetry]]]] = []
    for i, j, symmetry in candidates:
        if not work or work[-1][0] != i or len(work[-1][1]) == _TOGETHER:
            work.append((i, []))
        work[-1][1].append((j, symmetry))
    if not work:
        return
    calls = (
        delayed(lay)(portraits[i], [(portraits[j], s) for j, s in others], clear=least)
        for i, others in work
    )
    for (i, others), laid in zip(
        work, track(parallel(calls), "Laying pairs on each other", len(work)), strict=True
    ):
        for (j, _), fit in zip(others, laid, strict=True):
            if (i, j) not in fits or fit.similarity > fits[i, j].similarity:
                fits[i, j] = fit


def _in_words(fit: Fit, first: Portrait, second: Portrait) -> str:
    """Say what has to be done to the second to make it look like the first."""
    dimension = first.picture.ndim
    words = []
    order, turned = fit.symmetry
    round_ = {axis for axis in range(dimension) if (axis in turned) != fit.reversed_}
    if order != tuple(range(dimension)):
        words.append("turned by 90°" if len(turned) == 1 else "mirrored along a diagonal")
    elif dimension == 2 and round_:
        mirrored = "mirrored top to bottom" if 0 in round_ else "mirrored left to right"
        words.append("turned by 180°" if len(round_) == 2 else mirrored)
    elif round_:
        words.append("mirrored along " + " and ".join("zyx"[axis] for axis in sorted(round_)))
    if max(map(abs, fit.shift)) > 0.02 * max(first.picture.shape):
        words.append("shifted")
    sizes = np.array(second.shape)[list(order)] / np.array(first.shape)
    if np.abs(np.log(sizes / fit.scale)).max() > 0.1:
        words.append("rescaled" if dimension == 2 else "resampled")
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words) or "as they are"
