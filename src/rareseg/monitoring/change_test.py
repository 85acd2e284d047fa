"""Test whether groups of a stream are exchangeable with reference groups, at any time.

A conformal test martingale (Vovk, Nouretdinov & Gammerman 2003; Vovk, Gammerman & Shafer 2022,
chapter 8): each new group has a rank among the reference *and the stream so far*, ties broken at
random. Where all groups are exchangeable, these ranks of one feature are independent and uniform,
and :func:`rareseg.monitoring.betting.log_capital` is a martingale of them. Ranks among a fixed
reference are not independent: its accidents stay, and a long stream that never changed alarms.

Ranks of two features of one group depend on each other, so that their martingales have no history
in common: their mean is an e-value at a time that was fixed beforehand and not at one that looking
chose (Choe & Ramdas, arXiv 2402.09698). So each feature begins with its share of the capital, and
the alarm is raised where one feature alone has turned its share into 1/α: by Ville's inequality and
a union bound P(ever, without a change) ≤ α, and each feature that has is named rightly, all
together with confidence 1 − α. (Where the share of one feature is there, the mean over all of them
is too: where one feature changed, nothing is lost by not adding the others up.)
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rareseg.monitoring.betting import log_capital
from rareseg.monitoring.observed_features import ObservedFeature

Floats = NDArray[np.float64]

ALPHA = 0.05
"""The probability that a stream which never changes is ever called changed."""

SEED = 0
"""Of the random ranks among ties; any fixed number will do."""


@dataclass(frozen=True, eq=False)
class ChangeTest:
    """What the test says of a stream.

    ``log_evidence`` (groups, features) is the natural logarithm of the e-value that each feature
    has reached with each group, times its share (:func:`shares_of`): 1/α is the alarm.
    """

    features: tuple[ObservedFeature, ...]
    log_evidence: Floats
    n_reference: int
    alpha: float = ALPHA

    @property
    def n_groups(self) -> int:
        """Groups of the stream."""
        return len(self.log_evidence)

    @property
    def alarm_at(self) -> float:
        """The natural logarithm of 1/α."""
        return -float(np.log(self.alpha))

    @cached_property
    def noticed_at(self) -> dict[ObservedFeature, int]:
        """The features that changed, each with the number (from 1) of the group that showed it."""
        above = self.log_evidence >= self.alarm_at
        return {
            feature: int(above[:, k].argmax()) + 1
            for k, feature in enumerate(self.features)
            if above[:, k].any()
        }

    @property
    def changed(self) -> bool:
        """Whether the stream ever was unlike the reference."""
        return bool(self.noticed_at)

    def highest(self, feature: ObservedFeature) -> float:
        """Return the largest evidence (natural logarithm) that a feature ever reached."""
        own = self.log_evidence[:, self.features.index(feature)]
        start = np.log(shares_of(self.features)[self.features.index(feature)])
        return float(own.max(initial=start))


def find_change(
    reference: Floats,
    stream: Floats,
    features: Sequence[ObservedFeature],
    *,
    alpha: float = ALPHA,
    seed: int = SEED,
) -> ChangeTest:
    """Test the groups of a stream, in their order, against reference groups.

    ``reference`` (m, d) and ``stream`` (n, d) hold a finite value of each of the d features a
    group. A longer stream gives the same evidence for its first groups. Without a reference group
    the stream is held against itself alone.
    """
    ranks = np.stack(
        [
            sequential_ranks(reference[:, k], stream[:, k], np.random.default_rng([seed, k]))
            for k in range(len(features))
        ]
    )
    evidence = log_capital(ranks) + np.log(shares_of(features))[:, np.newaxis]
    return ChangeTest(tuple(features), evidence.T, len(reference), alpha)


def shares_of(features: Sequence[ObservedFeature]) -> Floats:
    """Return the share of the capital that each feature begins with; they add up to 1.

    Half of it is on what the images show by themselves, half on the regions, of which each has as
    much, so that a model of many regions is not the slower to notice darker images.
    """
    sizes = Counter(feature.region for feature in features)
    regions = sum(1 for region in sizes if region)
    whole = 1.0 if "" not in sizes or not regions else 0.5
    return np.array(
        [whole / sizes[feature.region] / (regions if feature.region else 1) for feature in features]
    )


def sequential_ranks(reference: Floats, stream: Floats, generator: np.random.Generator) -> Floats:
    """Return the rank in (0, 1) of each stream value (n,) among reference, stream so far, itself.

    p = (#{larger} + θ·#{equal}) / (m + k), the value itself among the equal ones, θ uniform: a
    value above all others has a p below 1/(m + k).
    """
    known = sorted(reference.tolist())
    theta = generator.random(len(stream))
    ranks = np.empty(len(stream))
    for k, value in enumerate(stream.tolist()):
        insort(known, value)
        low, high = bisect_left(known, value), bisect_right(known, value)
        ranks[k] = (len(known) - high + theta[k] * (high - low)) / len(known)
    return ranks
