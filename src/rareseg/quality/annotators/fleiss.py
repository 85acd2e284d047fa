"""Compute Fleiss' kappa from counts of votes.

A voxel is a subject, an annotator a rater, and a region either drawn there or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rareseg.evaluation.statistics.intervals import (
    Estimate,
    count_groups,
    group_numbers,
    independence,
)
from rareseg.evaluation.statistics.jackknife import TOO_FEW, jackknife_interval, method_name
from rareseg.evaluation.statistics.undefined import Undefined, Value, is_defined

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

    Pᵢ = (Σⱼ nᵢⱼ² − nᵢ) / (nᵢ·(nᵢ − 1)) is the share of pairs that agree on voxel i, P̄ its mean
    over voxels, P̄ₑ = Σⱼ pⱼ² with pⱼ the share of all votes that category j got (Fleiss 1971,
    Psychological Bulletin 76, 378–382). Where the number nᵢ of annotators differs from case to
    case, each voxel keeps its own in Pᵢ and brings as many votes to pⱼ; with one number for all
    this is Fleiss' formula. It is computed as 1 − (1 − P̄) / (2·p·(1 − p)), which keeps its digits
    where p is tiny. Undefined where nobody drew anything, where everyone drew everything, or where
    fewer than two looked.
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
    cases: Sequence[KappaSums], groups: Sequence[str | None], *, confidence: float = 0.95
) -> Estimate:
    """Return κ over all voxels of the cases together, with a jackknife interval over groups.

    Bounds are Undefined below five effective groups (by their voxels), and where κ is undefined
    without one of the groups. Cases without voxels, or with one annotator, are left out.
    """
    kept = [i for i, part in enumerate(cases) if part.voxels > 0]
    own_groups = [groups[i] for i in kept]
    value = fleiss_kappa(cases[i] for i in kept)
    numbers = group_numbers(own_groups)
    n_groups = count_groups(own_groups)
    low: Value
    high: Value
    if isinstance(value, Undefined):
        low = high = value
    elif n_groups < 2:
        low = high = TOO_FEW
    else:
        without = [
            fleiss_kappa(
                cases[i] for i, number in zip(kept, numbers, strict=True) if number != group
            )
            for group in range(n_groups)
        ]
        sizes = np.bincount(numbers, [cases[i].voxels for i in kept]).astype(np.float64)
        left_out = np.array([part for part in without if is_defined(part)])
        if len(left_out) < n_groups:
            low = high = Undefined("one group alone decides")
        else:
            low, high = jackknife_interval(
                value, left_out, sizes, scale="plain", confidence=confidence
            )
    method = method_name("plain") + independence(own_groups)
    return Estimate(value, low, high, len(kept), n_groups, 0, method)
