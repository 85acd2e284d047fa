"""Do 95 % intervals cover 95 %, and how often does a row win that is no better?

* coverage: means of images in groups, of values like dice (also where a third of the groups is
  missed altogether, and where most values are low) and of counts; the jackknife that rareseg
  prints, and a percentile bootstrap over groups of the same images;
* winners: two rows that are equal in truth, four columns, some trainings each: how often one of
  the columns names a winner, and how often a row that is 0.05 better in all is one.

    python benchmarks/intervals.py [--trials 1000] [--only coverage]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.evaluation.comparison import Headline
from rareseg.evaluation.contest import hold_contest
from rareseg.evaluation.jackknife import Scale, mean_interval
from rareseg.evaluation.values import is_defined

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]

WORLDS: dict[str, tuple[Draw, Scale]] = {
    "dice": (lambda rng, n: rng.beta(8, 3, n), "share"),
    "a third missed": (
        lambda rng, n: np.where(rng.random(n) < 1 / 3, 0.0, rng.beta(5, 3, n)),
        "share",
    ),
    "low": (lambda rng, n: rng.beta(0.5, 4, n), "share"),
    "counts": (lambda rng, n: rng.exponential(1.5, n), "count"),
}

COLUMNS = 4
RESAMPLES = 1000


def images(
    draw: Draw, scale: Scale, rng: np.random.Generator, groups: int
) -> tuple[Floats, Floats]:
    """Return the sums and the numbers of images of groups of one to six images."""
    sizes = rng.integers(1, 7, groups)
    level = np.repeat(draw(rng, groups), sizes)
    if scale == "count":
        values = rng.poisson(level).astype(np.float64)
    else:
        values = np.clip(level + rng.normal(0, 0.05, len(level)), 0.0, 1.0)
    return np.bincount(np.repeat(np.arange(groups), sizes), values), sizes.astype(np.float64)


def bootstrap(sums: Floats, sizes: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """Return the percentile interval of the mean over groups drawn with replacement."""
    drawn = rng.integers(len(sums), size=(RESAMPLES, len(sums)))
    low, high = np.quantile(sums[drawn].sum(1) / sizes[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


def coverage(trials: int) -> Iterator[str]:
    """Yield the share of intervals that hold the mean, by world, groups and method."""
    yield "| values | groups | jackknife | bootstrap | no interval |"
    yield "|---|---|---|---|---|"
    for name, (draw, scale) in WORLDS.items():
        rng = np.random.default_rng(0)
        sums, sizes = images(draw, scale, rng, 100_000)
        truth = sums.sum() / sizes.sum()
        for groups in (5, 7, 10, 20, 40):
            ours, theirs, none = [], [], 0
            for _ in range(trials):
                sums, sizes = images(draw, scale, rng, groups)
                low, high = mean_interval(sums, sizes, scale=scale)
                if is_defined(low) and is_defined(high):
                    ours.append(low <= truth <= high)
                else:
                    none += 1
                low, high = bootstrap(sums, sizes, rng)
                theirs.append(low <= truth <= high)
            said = f"{np.mean(ours):.1%}" if len(ours) > trials / 2 else "—"
            yield f"| {name} | {groups} | {said} | {np.mean(theirs):.1%} | {none / trials:.0%} |"


def rows(
    rng: np.random.Generator, groups: int, noise: float, seeds: int, better: float
) -> dict[str, Any]:
    """Return two rows of four columns; each group, column, training and image has its own noise."""
    group = np.repeat(np.arange(groups), rng.integers(1, 5, groups))
    level = 0.5 + 0.15 * rng.normal(size=groups)[group]
    made = {}
    for row, more in (("a", 0.0), ("b", better)):
        own = 0.03 * rng.normal(size=(COLUMNS, groups))[:, group]
        runs = []
        for _ in range(seeds):
            values = level + own + more + noise * rng.normal(size=(COLUMNS, 1))
            values += 0.06 * rng.normal(size=values.shape)
            runs.append(
                [
                    Headline(f"c{i}", f"r{r}", f"g{g}", {"dice": float(values[r, i])})
                    for r in range(COLUMNS)
                    for i, g in enumerate(group)
                ]
            )
        made[row] = {"chosen": runs}
    return made


def winners(trials: int) -> Iterator[str]:
    """Yield how often equal rows have a winner, and how often one that is 0.05 better wins."""
    yield "| groups | seeds | noise of training | false winners | 0.05 better: columns won |"
    yield "|---|---|---|---|---|"
    for groups in (9, 30):
        for seeds in (3, 5):
            for noise in (0.0, 0.02, 0.04):
                rng = np.random.default_rng(0)
                equal = [
                    any(c.winner for c in hold_contest(rows(rng, groups, noise, seeds, 0.0)))
                    for _ in range(trials)
                ]
                won = [
                    c.winner == "b"
                    for _ in range(trials // 4)
                    for c in hold_contest(rows(rng, groups, noise, seeds, 0.05))
                ]
                yield (
                    f"| {groups} | {seeds} | {noise:g} | {np.mean(equal):.1%} | "
                    f"{np.mean(won):.0%} |"
                )


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--only", choices=("coverage", "winners"))
    given = parser.parse_args()
    for name, table in (("coverage", coverage), ("winners", winners)):
        if given.only in (None, name):
            for line in table(given.trials):
                print(line, flush=True)
            print()


if __name__ == "__main__":
    main()
