"""Fleiss' kappa from counts of votes: agreement beyond what chance alone would give.

A voxel is a subject, an annotator a rater, and a region either drawn there or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.evaluation.intervals import Estimate, count_groups, group_numbers, independence
from rareseg.evaluation.values import Undefined, Value

_BLOCK = 2**20
"""How many drawn group numbers are held at a time."""

NOTHING_DRAWN = "nobody drew anything"
NO_PAIR = "no voxel that two annotators looked at"


@dataclass(frozen=True)
class Votes:
    """How many voxels got how many votes: ``counts[k]`` were drawn by k of the annotators.

    With n annotators there are n + 1 counts. Votes of cases with as many annotators can be added.
    """

    counts: tuple[int, ...]

    @property
    def n_annotators(self) -> int:
        """The number of annotators who looked."""
        return len(self.counts) - 1

    @property
    def voxels(self) -> int:
        """All voxels that count."""
        return sum(self.counts)

    @property
    def drawn(self) -> int:
        """The voxels that anyone drew."""
        return sum(self.counts[1:])

    @property
    def disagreed(self) -> int:
        """The voxels that some drew and some did not."""
        return sum(self.counts[1:-1])


@dataclass(frozen=True)
class KappaSums:
    """What kappa is made of, and what can be added over cases with any number of annotators.

    ``voxels`` seen by two or more, Σ of the share of pairs that disagree there, Σ of the votes for
    the region, and Σ of all votes.
    """

    voxels: int
    disagreement: float
    votes_for: int
    votes: int


def kappa_sums(votes: Votes) -> KappaSums:
    """Return the sums of one case; voxels with fewer than two annotators say nothing of agreement.

    The share of pairs that disagree where x of n drew is 2·x·(n − x) / (n·(n − 1)).
    """
    n = votes.n_annotators
    if n < 2:
        return KappaSums(0, 0.0, 0, 0)
    return KappaSums(
        voxels=votes.voxels,
        disagreement=sum(
            2.0 * x * (n - x) / (n * (n - 1)) * count for x, count in enumerate(votes.counts)
        ),
        votes_for=sum(x * count for x, count in enumerate(votes.counts)),
        votes=n * votes.voxels,
    )


def fleiss_kappa(sums: Iterable[KappaSums]) -> Value:
    """Return κ = (P̄ − P̄ₑ) / (1 − P̄ₑ), at most 1, over all voxels of the cases together.

    Pᵢ = (Σⱼ nᵢⱼ² − nᵢ) / (nᵢ·(nᵢ − 1)) is the share of pairs that agree on voxel i, P̄ its mean over
    voxels, P̄ₑ = Σⱼ pⱼ² with pⱼ the share of all votes that category j got (Fleiss 1971,
    Psychological Bulletin 76, 378–382).
    Where the number nᵢ of annotators differs from case to case, each voxel keeps its own in Pᵢ and
    brings as many votes to pⱼ; with one number for all this is Fleiss' formula. It is computed as
    1 − (1 − P̄) / (2·p·(1 − p)), which keeps its digits where p is tiny. Undefined where nobody
    drew anything, where everyone drew everything, or where fewer than two looked.
    """
    sums = list(sums)
    votes, votes_for = sum(part.votes for part in sums), sum(part.votes_for for part in sums)
    if votes == 0:
        return Undefined(NO_PAIR)
    if votes_for in (0, votes):
        return Undefined(NOTHING_DRAWN if votes_for == 0 else "everyone drew everything")
    disagreement = sum(part.disagreement for part in sums) / sum(part.voxels for part in sums)
    share = votes_for / votes
    return 1.0 - disagreement / (2.0 * share * (1.0 - share))


def estimate_kappa(
    cases: Sequence[KappaSums],
    groups: Sequence[str | None],
    *,
    generator: np.random.Generator,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Estimate:
    """Return κ over all voxels of the cases together, with a percentile bootstrap over groups.

    Resamples in which κ is undefined are left out of the interval; with fewer than two groups the
    bounds are Undefined. Cases without voxels, or with one annotator, are left out.
    """
    kept = [i for i, part in enumerate(cases) if part.voxels > 0]
    own_groups = [groups[i] for i in kept]
    value = fleiss_kappa(cases[i] for i in kept)
    n_groups = count_groups(own_groups)
    low: Value
    high: Value
    low = high = Undefined("an interval needs two groups or more")
    if isinstance(value, Undefined):
        low = high = value
    elif n_groups >= 2:
        drawn = _resampled([cases[i] for i in kept], own_groups, generator, resamples)
        tail = (1.0 - confidence) / 2.0
        low, high = (float(bound) for bound in np.nanquantile(drawn, [tail, 1.0 - tail]))
    method = f"bootstrap over groups, {resamples} resamples" + independence(own_groups)
    return Estimate(value, low, high, len(kept), n_groups, 0, method)


def _resampled(
    cases: Sequence[KappaSums],
    groups: Sequence[str | None],
    generator: np.random.Generator,
    resamples: int,
) -> NDArray[np.float64]:
    """Return κ of groups drawn with replacement, (resamples,), NaN where it is undefined."""
    numbers = group_numbers(groups)
    table = np.array(
        [[part.voxels, part.disagreement, part.votes_for, part.votes] for part in cases], np.float64
    )
    sums = np.stack([np.bincount(numbers, column) for column in table.T], axis=1)
    n = len(sums)
    rows = max(1, _BLOCK // n)
    parts = []
    for start in range(0, resamples, rows):
        picks = generator.integers(n, size=(min(rows, resamples - start), n))
        voxels, disagreement, votes_for, votes = np.moveaxis(sums[picks].sum(axis=1), -1, 0)
        share = votes_for / votes
        with np.errstate(divide="ignore", invalid="ignore"):
            kappa = 1.0 - disagreement / voxels / (2.0 * share * (1.0 - share))
        parts.append(np.where(np.isfinite(kappa), kappa, np.nan))
    return np.concatenate(parts)
