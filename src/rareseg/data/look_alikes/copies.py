"""Tell copies of one image from different objects of one kind.

Where one part after the other leaves a production line, every picture looks like every other, and
a chain of pairs leads from any to any. Similarity that means "the same" elsewhere then means only
"of this kind". So many independent groups linked by pairs are therefore taken for a kind, and only
those of their pairs for copies that stand out from the kind's own pairs: fewer than one in 1,000
pairs of different parts should, and about one for every hundred parts, so that chance links no
chain either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rareseg.data.look_alikes.groups import DisjointSets, clusters

MOST_OF_ONE = 24
"""More groups than these show no one thing; of few groups, more than half of them."""
KIN = 0.15
"""Pairs that are less alike than look-alikes, but not by more, tell a kind as well."""
FEWEST_OF_A_KIND = 8
"""So many groups and fewer may always show one thing."""
FALSE_COPIES = 1e-3
"""The share of a kind's pairs that may be taken for copies by mistake."""
FALSE_LINKS = 0.02
"""How many such mistakes there may be for every group of a kind, where that is less."""
SAMPLED = 500
"""Pairs of a kind by which its usual similarity is known."""

Pair = tuple[int, int]
Measure = Callable[[list[Pair]], list[float]]


def find_copies(
    pairs: Sequence[tuple[int, int, float]],
    units: Sequence[int],
    *,
    least: float,
    measure: Measure,
) -> set[Pair]:
    """Return those of ``pairs`` (i, j, similarity) that show one thing.

    ``units[i]`` is the number of the known group (or set of identical images) of case i, one of its
    own where none is known; pairs within one are copies. ``least`` is the similarity from which
    pairs are look-alikes, others tell kinds; ``measure`` returns the similarity of any pairs.

    A kind's limit is the median of its pairs' similarity plus so many deviations as leave the
    allowed share above, on Fisher's scale (artanh), where correlations are nearly normal. The
    deviation is that below the median, which copies among the pairs do not widen.
    """
    _, unit = np.unique(np.asarray(units, np.int_), return_inverse=True)
    n_units = int(unit.max(initial=-1)) + 1
    kin = ((unit[i], unit[j]) for i, j, similarity in pairs if similarity >= least - KIN)
    cluster = clusters(n_units, kin)
    most = min(MOST_OF_ONE, max(FEWEST_OF_A_KIND, n_units // 2))
    limits = {
        int(name): kind_limit(unit, cluster == name, least=least, measure=measure)
        for name, size in zip(*np.unique(cluster, return_counts=True), strict=True)
        if size > most
    }
    together = DisjointSets(n_units)
    copies: set[Pair] = set()
    for i, j, similarity in sorted(pairs, key=lambda pair: (-pair[2], pair[:2])):
        first, second = int(unit[i]), int(unit[j])
        limit = limits.get(int(cluster[first]), least)
        if first == second or (similarity >= limit and together.unite(first, second, most=most)):
            copies.add((i, j))
    return copies


def kind_limit(
    unit: NDArray[np.int_], of_kind: NDArray[np.bool_], *, least: float, measure: Measure
) -> float:
    """Return the similarity from which two things of one kind are copies, at least ``least``.

    ``unit`` (cases) are numbers of units, ``of_kind`` (units) says which are of the kind.
    """
    members = np.flatnonzero(of_kind[unit])
    drawn = members[np.random.default_rng(0).integers(len(members), size=(2 * SAMPLED, 2))]
    drawn = np.unique(np.sort(drawn[unit[drawn[:, 0]] != unit[drawn[:, 1]]], 1), axis=0)
    if len(drawn) > SAMPLED:
        drawn = drawn[np.linspace(0, len(drawn) - 1, SAMPLED).astype(int)]
    usual = np.arctanh(np.clip(measure([(int(i), int(j)) for i, j in drawn]), -1, 1 - 1e-6))
    low, middle = np.quantile(usual, (stats.norm.cdf(-1), 0.5))
    share = min(FALSE_COPIES, FALSE_LINKS / int(of_kind.sum()))
    return max(least, float(np.tanh(middle + stats.norm.isf(share) * (middle - low))))
