"""Estimate the usual scores of a model on labelled objects, to compare single ones with.

A log-odds of −3 is a hint of doubt for one network and utter certainty for another, and a small
object that is not seen says little where small objects are rarely seen. So how sure a network is
gets measured in units of how sure it usually is, and each component is compared with others of
about its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from rareseg.quality.suspects.place import SEEN, ComponentEvidence

Floats = NDArray[np.float64]

FEW = 5
"""With fewer objects of its own a network is compared with all networks' objects."""

UNKNOWN = 2.0
"""The log-odds that a network is taken to be sure by where there is nothing to learn it from."""

LEAST_UNIT = 0.5
"""No network is taken to be usually less sure than this, in log-odds."""

SIMILAR = float(np.log(3.0))
"""Sizes whose logarithms differ by this are similar: the width of a Gaussian weight."""

AS_SURE = 0.25
"""The width of the step from less sure to at least as sure, in units of usual sureness."""

MOST_COMPARED = 2000
"""At so many others, evenly taken, a component is compared at most."""


@dataclass(frozen=True)
class Units:
    """How far one network's log-odds usually lie from the cut in one region, all above 0.

    ``present`` of what it sees where it is drawn, above; ``absent`` of the ground around drawn
    objects, below.
    """

    present: float
    absent: float


def measure_units(own: Sequence[ComponentEvidence], everyone: Sequence[ComponentEvidence]) -> Units:
    """Return the units of a network from its evidence of what is drawn, of one region or class.

    Medians, so that the few objects whose labels are wrong do not matter. ``everyone`` are the
    evidence of all networks, which is asked where there are fewer than :data:`FEW` of its own.
    """

    def usual(values: list[float], of_all: list[float]) -> float:
        asked = values if len(values) >= FEW else of_all
        return max(LEAST_UNIT, float(np.median(asked))) if asked else UNKNOWN

    return Units(
        present=usual(_present(own), _present(everyone)),
        absent=usual(_absent(own), _absent(everyone)),
    )


def _present(all_evidence: Sequence[ComponentEvidence]) -> list[float]:
    return [s.odds for s in all_evidence if s.met >= SEEN and s.odds > 0]


def _absent(all_evidence: Sequence[ComponentEvidence]) -> list[float]:
    return [-odds for s in all_evidence if (odds := s.ground_odds) is not None and odds < 0]


@dataclass(frozen=True)
class OtherComponents:
    """The components that one is compared with: ``sizes`` (n,), what is asked of each (n,) 0/1.

    ``sureness`` (n,) is in units of :class:`Units`.
    """

    sizes: NDArray[np.int64]
    holds: Floats
    sureness: Floats

    def share(self, index: int, *, as_sure: bool = False) -> float:
        """Return the share, in (0, 1), of the others of similar size of which it holds.

        Of those at least as sure alone, where asked for. The component ``index`` itself is left
        out. A weighted mean, drawn towards the share of all others by the weight of one, so that
        nothing is certain because nothing is like it; of nothing, one half.
        """
        rest = np.delete(np.arange(len(self.sizes)), index)
        rest = rest[np.linspace(0, len(rest) - 1, min(len(rest), MOST_COMPARED)).astype(np.int64)]
        holds = self.holds[rest]
        weights = _similar(self.sizes[rest], self.sizes[index])
        if as_sure:
            weights = weights * expit((self.sureness[rest] - self.sureness[index]) / AS_SURE)
        overall = (holds.sum() + 0.5) / (len(rest) + 1.0)
        return float((weights @ holds + overall) / (weights.sum() + 1.0))


def spread_of_similar(values: Floats, sizes: NDArray[np.int64], index: int) -> tuple[float, float]:
    """Return the median and the spread of the values of the others of similar size.

    The spread is 1.4826 times the median distance from the median, which for a normal distribution
    is its standard deviation. NaN where there are no others.
    """
    rest = np.delete(np.arange(len(values)), index)
    if len(rest) == 0:
        return float("nan"), float("nan")
    weights = _similar(sizes[rest], sizes[index])
    median = _weighted_median(values[rest], weights)
    return median, 1.4826 * _weighted_median(np.abs(values[rest] - median), weights)


def _similar(sizes: NDArray[np.int64], size: np.int64) -> Floats:
    return np.asarray(np.exp(-0.5 * ((np.log(sizes) - np.log(size)) / SIMILAR) ** 2), np.float64)


def _weighted_median(values: Floats, weights: Floats) -> float:
    order = np.argsort(values, kind="stable")
    # Where nothing is similar all are as like it as any.
    running = np.cumsum(weights[order] + 1e-9)
    return float(values[order][np.searchsorted(running, running[-1] / 2.0)])
