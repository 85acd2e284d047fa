"""Compare strategies by paired differences over groups and seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import nct
from scipy.stats import t as student

from rareseg.errors import ScoreError
from rareseg.evaluation.statistics.intervals import Estimate, group_numbers, independence
from rareseg.evaluation.statistics.jackknife import (
    FEWEST_GROUPS,
    TOO_FEW,
    effective_groups,
    standard_error,
    without_each,
)
from rareseg.evaluation.statistics.undefined import Undefined, Value, is_defined

FEWEST_SEEDS = 3
"""Trainings of each way below which nothing is called better: two say little of their spread."""

MOST_SEEDS = 50
"""Up to so many seeds it is looked for how many a difference would take."""

BySeed = Sequence[Mapping[str, float]]
"""For each seed, the value of every case that has one."""


@dataclass(frozen=True)
class VarianceParts:
    """What a mean difference varies by.

    ``groups`` is its variance over groups, which both ways of training share; ``trainings`` that of
    one training of each, s₁² + s₂², NaN of one seed. ``kish`` is the effective number of groups.
    """

    groups: float
    trainings: float
    kish: float

    def error(self, n_seeds: int) -> float:
        """Return the standard error with so many seeds; of one seed that over groups alone."""
        if math.isnan(self.trainings):
            return math.sqrt(self.groups)
        return math.sqrt(self.groups + self.trainings / n_seeds)

    def degrees(self, n_seeds: int) -> float:
        """Return Satterthwaite's degrees of freedom of that error (Satterthwaite 1946)."""
        if math.isnan(self.trainings) or self.trainings == 0.0:
            return self.kish - 1.0
        share = self.trainings / n_seeds
        return (self.groups + share) ** 2 / (
            self.groups**2 / (self.kish - 1.0) + share**2 / (2.0 * (n_seeds - 1))
        )

    def bar(self, n_seeds: int, *, confidence: float) -> float:
        """Return by how many errors a difference must lie from 0.

        Cochran's mean of the two Student's t, at Kish − 1 and at 2(S − 1) degrees of freedom, each
        weighing as its variance (Cochran 1964, Biometrics 20, 191-195). Satterthwaite's degrees are
        themselves estimated, and of three trainings too many: by them 1.9 % of differences were
        told at 98.75 % where there was none (in simulation), by this 1.3 % at most.
        """
        tail = (1.0 + confidence) / 2.0
        of_groups = float(student.ppf(tail, self.kish - 1.0))
        if math.isnan(self.trainings) or self.trainings == 0.0:
            return of_groups
        share = self.trainings / n_seeds
        of_trainings = float(student.ppf(tail, 2.0 * (n_seeds - 1)))
        return (self.groups * of_groups + share * of_trainings) / (self.groups + share)

    def power(self, difference: float, n_seeds: int, *, confidence: float) -> float:
        """Return the share of such comparisons in which ``difference`` would be told from 0."""
        error = self.error(n_seeds)
        if error == 0.0:
            return 1.0
        bar = self.bar(n_seeds, confidence=confidence)
        return float(nct.sf(bar, self.degrees(n_seeds), difference / error))

    def seeds_for(self, difference: float, power: float, *, confidence: float) -> int | None:
        """Return the fewest seeds with that power, None where fifty are not enough."""
        return next(
            (
                n
                for n in range(FEWEST_SEEDS, MOST_SEEDS + 1)
                if self.power(difference, n, confidence=confidence) >= power
            ),
            None,
        )


@dataclass(frozen=True)
class SeedDifference:
    """The mean difference second − first of one measure, over the same cases and seeds.

    ``first`` and ``second`` are the means; ``difference`` has the interval, and ``spread`` what it
    is made of, None where there is none.
    """

    first: Value
    second: Value
    difference: Estimate
    n_seeds: int
    spread: VarianceParts | None = None

    @property
    def differs(self) -> bool:
        """Whether the interval excludes 0; never without one, or of fewer than three seeds."""
        low, high = self.difference.low, self.difference.high
        if self.n_seeds < FEWEST_SEEDS or not (is_defined(low) and is_defined(high)):
            return False
        return low > 0.0 or high < 0.0


def compare_over_seeds(
    first: BySeed,
    second: BySeed,
    groups: Mapping[str, str | None],
    *,
    measure: str,
    confidence: float = 0.95,
) -> SeedDifference:
    """Return how one measure differs between two ways of training.

    Entry k of ``first`` and of ``second`` are runs of seed k on the same cases; ``groups`` leads
    from a case to its group, and a case that it does not name is its own. Cases and seeds weigh
    equally. With the jackknife's variance over groups of the difference that is averaged over
    seeds, and the variances s₁² and s₂² of each way's mean over its S seeds, the interval is
    difference ± t · √(variance over groups + (s₁² + s₂²)/S), t as in
    :meth:`VarianceParts.bar`. Of one seed it spans new cases alone, and says so. Undefined
    below five effective groups and where no case differs; without a case everything is. Raises
    ScoreError where the runs do not hold the same cases.
    """
    cases = sorted(first[0]) if first else []
    for values in (*first, *second):
        if sorted(values) != cases or len(first) != len(second):
            raise ScoreError(
                f"{measure} is compared on the same cases and seeds, but the runs hold others; "
                "evaluate all on one set."
            )
    own_groups = [groups.get(case) for case in cases]
    n_seeds = len(first)
    over = "groups and seeds" if n_seeds > 1 else "groups, of one seed alone"
    method = f"variance over {over}, Student's t{independence(own_groups)}"
    if not cases:
        nothing = Undefined(f"no case has a {measure}")
        empty = Estimate(nothing, nothing, nothing, 0, 0, 0, method)
        return SeedDifference(nothing, nothing, empty, n_seeds)
    one, two = (
        np.array([[values[case] for case in cases] for values in by_seed], np.float64)
        for by_seed in (first, second)
    )
    numbers = group_numbers(own_groups)
    sums = np.bincount(numbers, (two - one).mean(axis=0)).astype(np.float64)
    sizes = np.bincount(numbers).astype(np.float64)
    value = float((two - one).mean())
    low: Value
    high: Value
    spread = None
    if effective_groups(sizes) < FEWEST_GROUPS:
        low = high = TOO_FEW
    elif not (two - one).any():
        # No difference here is no knowledge of other cases.
        low = high = Undefined("no case differs")
    else:
        spread = VarianceParts(
            groups=standard_error(without_each(sums, sizes)) ** 2,
            trainings=_training_variance(one.mean(axis=1)) + _training_variance(two.mean(axis=1)),
            kish=effective_groups(sizes),
        )
        reach = spread.bar(n_seeds, confidence=confidence) * spread.error(n_seeds)
        low, high = value - reach, value + reach
    estimate = Estimate(value, low, high, len(cases), len(sizes), 0, method)
    return SeedDifference(float(one.mean()), float(two.mean()), estimate, n_seeds, spread)


def _training_variance(means: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Return the variance over trainings of a mean (seeds,), NaN of one."""
    return float(means.var(ddof=1)) if len(means) > 1 else math.nan
