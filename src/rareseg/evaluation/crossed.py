"""Is one way of training better than another? Paired over groups and over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.errors import ScoreError
from rareseg.evaluation.intervals import Estimate, group_numbers, independence
from rareseg.evaluation.values import Undefined, Value, is_defined

Floats = NDArray[np.float64]

_BLOCK = 2**22
"""How many drawn numbers are held at a time."""

BySeed = Sequence[Mapping[str, float]]
"""For each seed, the value of every case that has one."""


@dataclass(frozen=True)
class CrossedDifference:
    """The mean difference second − first of one measure, over the same cases and seeds.

    ``first`` and ``second`` are the means; ``difference`` has the bootstrap interval.
    """

    first: Value
    second: Value
    difference: Estimate
    n_seeds: int

    @property
    def differs(self) -> bool:
        """Whether the interval of the difference excludes 0; never without an interval."""
        low, high = self.difference.low, self.difference.high
        return is_defined(low) and is_defined(high) and (low > 0.0 or high < 0.0)


def compare_crossed(
    first: BySeed,
    second: BySeed,
    groups: Mapping[str, str | None],
    *,
    measure: str,
    seed: int = 0,
    resamples: int = 4000,
    confidence: float = 0.95,
) -> CrossedDifference:
    """Return how one measure differs between two ways of training.

    Entry k of ``first`` and of ``second`` are runs of seed k on the same cases; ``groups`` leads
    from a case to its group, and a case that it does not name is its own. Cases and seeds weigh
    equally. The interval draws groups and, apart from them, seeds with replacement (Owen 2007, the
    pigeonhole bootstrap), so that it spans new cases and new trainings; with one seed it spans new
    cases alone, and says so. Where no case differs there is no interval; without a case everything
    is Undefined. Raises ScoreError where the
    runs do not hold the same cases.
    """
    cases = sorted(first[0]) if first else []
    for values in (*first, *second):
        if sorted(values) != cases or len(first) != len(second):
            raise ScoreError(
                f"{measure} is compared on the same cases and seeds, but the runs hold others; "
                "evaluate all on one set."
            )
    one, two = (
        np.array([[values[case] for case in cases] for values in by_seed], np.float64)
        for by_seed in (first, second)
    )
    own_groups = [groups.get(case) for case in cases]
    n_seeds = len(first)
    drawn = "groups and seeds" if n_seeds > 1 else "groups, of one seed alone"
    method = f"bootstrap over {drawn}, {resamples} resamples{independence(own_groups)}"
    if not cases:
        nothing = Undefined(f"no case has a {measure}")
        empty = Estimate(nothing, nothing, nothing, 0, 0, 0, method)
        return CrossedDifference(nothing, nothing, empty, n_seeds)
    numbers = group_numbers(own_groups)
    sums = np.stack([np.bincount(numbers, row) for row in two - one]).astype(np.float64)
    sizes = np.bincount(numbers).astype(np.float64)
    low: Value
    high: Value
    if len(sizes) < 2:
        low = high = Undefined("one group alone")
    elif not (two - one).any():
        # Every resample would be 0 too, which is no knowledge of other cases.
        low = high = Undefined("no case differs")
    else:
        generator = np.random.default_rng(seed)
        means = _resampled(sums, sizes, generator=generator, resamples=resamples)
        tail = (1.0 - confidence) / 2.0
        low, high = (float(bound) for bound in np.quantile(means, [tail, 1.0 - tail]))
    value = float((two - one).mean())
    estimate = Estimate(value, low, high, len(cases), len(sizes), 0, method)
    return CrossedDifference(float(one.mean()), float(two.mean()), estimate, n_seeds)


def _resampled(
    sums: Floats, sizes: Floats, *, generator: np.random.Generator, resamples: int
) -> Floats:
    """Return the mean over drawn groups and seeds, once per resample.

    ``sums`` (seeds, groups) are those of the cases of a group, ``sizes`` (groups,) their numbers.
    """
    n_seeds, n_groups = sums.shape
    rows = max(1, _BLOCK // max(n_seeds, n_groups))
    parts = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        in_groups = generator.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=count)
        in_seeds = generator.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=count)
        totals = np.einsum("bs,sg,bg->b", in_seeds, sums, in_groups, optimize=True)
        parts.append(totals / (n_seeds * (in_groups @ sizes)))
    return np.concatenate(parts)
