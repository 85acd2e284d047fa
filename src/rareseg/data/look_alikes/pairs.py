"""Find near-duplicates among the cases of a data set, for inspection, training and audit.

Two cases are look-alikes where fine structure, freed of exposure, contrast and gamma, correlates
after the two have been laid on each other: shifted, mirrored, turned by quarter turns, rescaled
or resampled, cropped a little. What is compared is in
:mod:`~rareseg.data.look_alikes.thumbnails`, which pairs are in
:mod:`~rareseg.data.look_alikes.candidates`, how in
:mod:`~rareseg.data.look_alikes.registration`, and which are copies of one thing in
:mod:`~rareseg.data.look_alikes.copies`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from joblib import Parallel, delayed

from rareseg.data.look_alikes.candidates import Candidate, Spectra
from rareseg.data.look_alikes.copies import find_copies
from rareseg.data.look_alikes.groups import DisjointSets, clusters
from rareseg.data.look_alikes.pair import IDENTICAL, LookAlike
from rareseg.data.look_alikes.registration import Placement, Registration, could_fit, register
from rareseg.data.look_alikes.thumbnails import Symmetry, Thumbnail
from rareseg.progress import Track, silent

ALIKE = {2: 0.72, 3: 0.75}
"""Correlation from which two photographs (two volumes) are look-alikes."""
COMPLETED = 64
"""In clusters of at most so many cases every pair is laid on each other."""
MOST_IDENTICAL = 200
"""Of so many identical images at most, every pair is named."""
PROCESSES_FROM = 2000
"""From this many cases on, processes work in parallel; below it, threads."""
_TOGETHER = 24


@dataclass(frozen=True, eq=False)
class ComparedCase:
    """What is known of one case: its thumbnail (``None`` without structure), and more.

    ``digest`` is a hash of all values, "" where all are equal; ``group`` is ``None`` where none is
    known.
    """

    id: str
    group: str | None
    digest: str
    thumbnail: Thumbnail | None


def find_look_alikes(
    seen: Sequence[ComparedCase], *, jobs: int = -1, track: Track = silent
) -> tuple[LookAlike, ...]:
    """Return all pairs of cases that show almost the same, the most alike first.

    ``seen`` has each id once; their order changes nothing. Pairs within a group are among them.
    Cases without structure pair with nothing, nor do photographs with volumes. Each case
    is laid on up to 16 whose spectra are closest, and every two cases that a chain of pairs links
    on each other, up to ``COMPLETED`` of them: a thousand copies of one picture are linked, but not
    every two of them are listed. Of identical images the first 200 are.
    """
    seen = sorted(seen, key=lambda case: case.id)
    prefer = "threads" if len(seen) < PROCESSES_FROM else "processes"
    parallel = Parallel(n_jobs=jobs, prefer=prefer, return_as="generator")
    found: list[LookAlike] = []
    for dimension in ALIKE:
        members = [
            case
            for case in seen
            if case.thumbnail is not None and case.thumbnail.picture.ndim == dimension
        ]
        if len(members) > 1:
            found += _PairSearch(members, dimension, parallel, track).look_alikes()
    alike = {(pair.a, pair.b): pair for pair in found} | _identical(seen)
    return tuple(
        sorted(alike.values(), key=lambda p: (p.how != IDENTICAL, -p.similarity, p.a, p.b))
    )


def _identical(seen: Sequence[ComparedCase]) -> dict[tuple[str, str], LookAlike]:
    """Return the pairs of cases whose values are all equal, by their ids; flat images are none."""
    same: defaultdict[str, list[ComparedCase]] = defaultdict(list)
    for case in seen:
        if case.digest:
            same[case.digest].append(case)
    pairs = {}
    for alike in same.values():
        for first, second in combinations(alike[:MOST_IDENTICAL], 2):
            lain = None if first.thumbnail is None else Placement.same(first.thumbnail.picture.ndim)
            pair = LookAlike(first.id, second.id, 1.0, IDENTICAL, copy=True, placement=lain)
            pairs[pair.a, pair.b] = pair
    return pairs


def _units(seen: Sequence[ComparedCase]) -> list[int]:
    """Return for each case the first that a group or equal values unite it with."""
    sets = DisjointSets(len(seen))
    first: dict[tuple[str, str], int] = {}
    for k, case in enumerate(seen):
        for what, name in (("group", case.group), ("digest", case.digest)):
            if name:
                sets.unite(first.setdefault((what, name), k), k)
    return [sets.name(k) for k in range(len(seen))]


class _PairSearch:
    """The search among cases of one dimension, in order of their ids."""

    def __init__(
        self, members: Sequence[ComparedCase], dimension: int, parallel: Parallel, track: Track
    ) -> None:
        self._members = members
        self._thumbnails = [case.thumbnail for case in members if case.thumbnail is not None]
        self._least = ALIKE[dimension]
        self._parallel, self._track = parallel, track
        self._spectra = Spectra(self._thumbnails)
        self._similar: dict[tuple[int, int], float] = {}
        self._fits: dict[tuple[int, int], Registration] = {}  # of those that are alike

    def look_alikes(self) -> list[LookAlike]:
        """Lay what may be alike on each other and return the pairs that are."""
        self._keep(self._spectra.candidates())
        # What looks like the same third case is looked at as well.
        root = clusters(len(self._members), self._fits)
        missing: list[tuple[int, int]] = []
        for name, size in zip(*np.unique(root, return_counts=True), strict=True):
            if 2 < size <= COMPLETED:
                missing += combinations(np.flatnonzero(root == name).tolist(), 2)
        self._keep(self._likeliest(pair for pair in missing if pair not in self._similar))
        pairs = [(i, j, self._fits[i, j].similarity) for i, j in self._fits]
        copies = find_copies(pairs, _units(self._members), least=self._least, measure=self._measure)
        return [self._pair(i, j, copy=(i, j) in copies) for i, j, _ in pairs]

    def _pair(self, i: int, j: int, *, copy: bool) -> LookAlike:
        fit, first, second = self._fits[i, j], self._members[i], self._members[j]
        return LookAlike(
            a=first.id,
            b=second.id,
            similarity=round(min(1.0, fit.similarity), 4),
            how=_in_words(fit, self._thumbnails[i], self._thumbnails[j]),
            copy=copy,
            placement=fit.placement,
        )

    def _measure(self, pairs: Sequence[tuple[int, int]]) -> list[float]:
        """Return the similarity of pairs, looking at those that were not looked at yet."""
        new = self._likeliest(pair for pair in pairs if pair not in self._similar)
        found = {pair: fit.similarity for pair, fit in self._lay(new, screened=False)}
        return [self._similar[p] if p in self._similar else found[p] for p in pairs]

    def _likeliest(self, pairs: Iterable[tuple[int, int]]) -> list[Candidate]:
        return [(i, j, self._spectra.likeliest(i, j)) for i, j in pairs]

    def _keep(self, candidates: Sequence[Candidate]) -> None:
        """Lay every candidate and keep the best fit of each pair."""
        for pair, fit in self._lay(candidates, screened=True):
            if fit.similarity > self._similar.get(pair, -1.0):
                self._similar[pair] = fit.similarity
                if fit.similarity >= self._least:
                    self._fits[pair] = fit

    def _lay(
        self, candidates: Sequence[Candidate], *, screened: bool
    ) -> Iterator[tuple[tuple[int, int], Registration]]:
        """Yield how each candidate's second case lies on its first.

        With ``screened`` only of those that half the size does not show to be something else.
        """
        work: list[tuple[int, list[tuple[int, Symmetry]]]] = []
        for i, j, symmetry in candidates:
            if not work or work[-1][0] != i or len(work[-1][1]) == _TOGETHER:
                work.append((i, []))
            work[-1][1].append((j, symmetry))
        if not work:
            return
        thumbnails = self._thumbnails
        calls = (
            delayed(_lay_on)(
                thumbnails[i],
                [(thumbnails[j], s) for j, s in others],
                clear=self._least,
                screened=screened,
            )
            for i, others in work
        )
        laid = self._track(self._parallel(calls), "Laying pairs on each other", len(work))
        for (i, others), fits in zip(work, laid, strict=True):
            for k, fit in fits:
                yield (i, others[k][0]), fit


def _lay_on(
    first: Thumbnail, others: Sequence[tuple[Thumbnail, Symmetry]], *, clear: float, screened: bool
) -> list[tuple[int, Registration]]:
    """Return the numbers of those of ``others`` that are laid on the first, and how they lie."""
    could = could_fit(first, others) if screened else [True] * len(others)
    laid = [k for k, could_lie in enumerate(could) if could_lie]
    return list(zip(laid, register(first, [others[k] for k in laid], clear=clear), strict=True))


def _in_words(fit: Registration, first: Thumbnail, second: Thumbnail) -> str:
    """Say what has to be done to the second to make it look like the first."""
    dimension = first.picture.ndim
    words = []
    order, flips = fit.placement.order, fit.placement.flips
    if order != tuple(range(dimension)):
        words.append("turned by 90°" if len(flips) == 1 else "mirrored along a diagonal")
    elif dimension == 2 and flips:
        mirrored = "mirrored top to bottom" if 0 in flips else "mirrored left to right"
        words.append("turned by 180°" if len(flips) == 2 else mirrored)
    elif flips:
        words.append("mirrored along " + " and ".join("zyx"[axis] for axis in flips))
    if max(map(abs, fit.shift)) > 0.02 * max(first.picture.shape):
        words.append("shifted")
    sizes = np.array(second.shape)[list(order)] / np.array(first.shape)
    if np.abs(np.log(sizes / fit.scale)).max() > 0.1:
        words.append("rescaled" if dimension == 2 else "resampled")
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words) or "as they are"
