"""Worlds in which several networks score the same cases, each with noise of its own.

Each network's score of a case is a signal that all share, plus noise that all share, plus noise of
its own, per object, look-alike, voxel and image. No network has seen any case of a world: what one
has learnt from is said by who asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from rareseg.evaluation.tables.threshold_bins import bin_edges, bins_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

NETWORKS = 5
BINS = np.unique(bins_of(expit(np.arange(-10.0, 10.01, 0.25)).astype(np.float32))).astype(np.int64)
EDGES = bin_edges()[BINS].astype(np.float64)
N_VOXELS, LOOK_ALIKES = 300, 3
GROUP_SPREAD, OFFSET, SLOPES = 0.7, 0.4, 0.15
"""How much groups differ, and networks in bias and slope, all in log-odds."""

USUAL_SHARE = 4 / 5
"""The share of the groups that a network learns from where each leaves out one of five folds."""


@dataclass(frozen=True)
class World:
    """How high regions and look-alikes score in log-odds, and how much cases and networks vary.

    ``own`` is the share of the variance that each network has to itself where it learns from four
    fifths; the variance itself goes with 1 / share^1.5 and the signal with log₂(share) · ``gain``,
    as measured on small networks. ``sure``: log-odds are drawn out to steep steps from −9 to 5, as
    those of networks that know their training cases by heart.
    """

    name: str
    signal: float
    look_alike: float = -1.0
    spread: float = 1.2
    own: float = 0.5
    sure: bool = True
    gain: float = 0.1

    def told(self, odds: Floats) -> Floats:
        """Return the log-odds that networks tell."""
        return -9.0 + 14.0 * expit((odds + 0.5) * 16.0 / 14.0) if self.sure else odds


WORLDS = (
    World("calm", 0.5, look_alike=-1.5, sure=False),
    World("sure", 0.5),
    World("sure, networks differ", 0.8, spread=1.8, own=0.65),
    World("sure, strong", 2.0, spread=1.5),
)


@dataclass(frozen=True, eq=False)
class Scored:
    """Cases scored by a mean of networks: the largest scores (n,), dice or alarms shown (n, t)."""

    top: Floats
    shown: Floats


class Pool:
    """Cases by what each network says of them, which none of those that are asked has seen.

    ``positive`` and ``groups`` (n,), ``inside`` (n, voxels) the region, ``odds`` (n, networks,
    voxels) the networks' log-odds and ``said`` (n, networks) their presences, unscaled.
    """

    def __init__(
        self, positive: Bools, groups: Ints, inside: Bools, odds: Floats, said: Floats
    ) -> None:
        self.positive, self.groups, self.inside = positive, groups, inside
        self.odds, self.said = odds, said
        self.probabilities: Floats = expit(odds)
        self._known: dict[tuple[tuple[int, ...], bool], Scored] = {}

    def mean(self, networks: Sequence[int], *, of_log_odds: bool) -> Scored:
        """Return all cases as scored by the mean of some networks."""
        key = tuple(networks), of_log_odds
        if key not in self._known:
            own = list(networks)
            if of_log_odds:
                scores = expit(self.odds[:, own].mean(axis=1))
            else:
                scores = self.probabilities[:, own].mean(axis=1)
            self._known[key] = Scored(scores.max(axis=1), self._shown(scores))
        return self._known[key]

    def _shown(self, scores: Floats) -> Floats:
        """Return the dice of positive cases, and whether negative ones are alarmed, (n, t)."""
        n, t = len(scores), len(EDGES)
        places = np.searchsorted(EDGES, scores.ravel(), side="right").reshape(scores.shape)
        places += np.arange(n)[:, None] * (t + 1)

        def reaching(of: Bools) -> Ints:
            counts = np.bincount(places[of], minlength=n * (t + 1)).reshape(n, t + 1)
            return counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]

        tp, fp, size = reaching(self.inside), reaching(~self.inside), self.inside.sum(axis=1)
        dice = 2.0 * tp / np.maximum(1, tp + fp + size[:, None])
        return np.where(self.positive[:, None], dice, fp > 0).astype(np.float64)


def draw_pool(world: World, n_groups: int, share: float, rng: np.random.Generator) -> Pool:
    """Return a world's cases where each network learned from such a share of the groups."""
    positive: list[bool] = []
    groups: list[int] = []
    effects: list[float] = []
    for group in range(n_groups):
        kinds = [group % 3 == 0] * int(rng.integers(1, 4))
        if kinds[0] and rng.random() < 0.3:
            kinds.append(False)
        positive += kinds
        groups += [group] * len(kinds)
        effects += [rng.normal(0.0, GROUP_SPREAD)] * len(kinds)
    of = np.array(positive)
    n, effect = len(positive), np.array(effects)
    shared = world.spread * np.sqrt(1.0 - world.own)
    own = world.spread * np.sqrt(world.own) * (USUAL_SHARE / share) ** 0.75
    signal = world.signal + world.gain * np.log2(share / USUAL_SHARE)
    likeness = world.look_alike - 0.8 + effect - of
    likes = likeness[:, None] + rng.normal(0.0, shared, (n, LOOK_ALIKES))
    likes = likes[:, None, :] + rng.normal(0.0, own, (n, NETWORKS, LOOK_ALIKES))
    levels = (signal + effect + rng.normal(0.0, shared, n))[:, None]
    levels = levels + rng.normal(0.0, own, (n, NETWORKS))
    odds = rng.normal(-6.0, 0.8, (n, 1, N_VOXELS)) + effect[:, None, None] / 2.0
    odds = odds + rng.normal(0.0, 0.8, (n, NETWORKS, N_VOXELS))
    inside = np.zeros((n, N_VOXELS), np.bool_)
    for case in range(n):
        if positive[case]:
            size = int(np.clip(rng.lognormal(3.2, 0.8), 3, 150))
            inside[case, :size] = True
            odds[case, :, :size] = _object(levels[case], size, rng)
        end = N_VOXELS
        for place in range(LOOK_ALIKES):
            size = int(np.clip(rng.lognormal(1.8, 0.8), 2, 40))
            seen = _object(likes[case, :, place], size, rng)
            odds[case, :, end - size : end] = np.maximum(odds[case, :, end - size : end], seen)
            end -= size
    highest = np.maximum(likes.max(axis=2), np.where(of[:, None], levels, -np.inf))
    image = 1.0 + highest + rng.normal(0.0, 0.3 * world.spread, (n, NETWORKS))
    slopes = np.exp(rng.normal(0.0, SLOPES, NETWORKS))
    biases = rng.normal(0.0, OFFSET, NETWORKS)
    told = world.told(odds * slopes[:, None] + biases[:, None])
    said = expit(world.told(image * slopes + biases))
    return Pool(of, np.array(groups), inside, told, said)


def _object(levels: Floats, size: int, rng: np.random.Generator) -> Floats:
    """Return the log-odds of an object's voxels by each network, (networks, size)."""
    common = rng.uniform(-2.0, 1.0, size) + rng.normal(0.0, 0.4, size)
    return levels[:, None] + common + rng.normal(0.0, 0.4, (len(levels), size))
