"""Do 95 % intervals cover what they say, and how often does a row win that is no better?

* coverage: means of images in groups, of values like dice (also where a third of the groups is
  missed altogether, and where most values are low) and of counts; the jackknife that rareseg
  prints, and a percentile bootstrap over groups of the same images;
* winners: two rows that are equal in truth, four columns, some trainings each: how often one of
  the columns names a winner, and how often a row that is 0.05 better in all is one;
* prevalence: the share of positive images, estimated from unlabelled ones: how often the interval
  holds it, how often there is none, how often a drift is told where there is none, and where the
  negative images score half a standard deviation higher than the labelled ones.

    python benchmarks/intervals.py [--trials 1000] [--only coverage]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from rareseg.decision.calibration.image_sample import ImageSample, mixture_p_value
from rareseg.decision.calibration.prevalence import DRIFTED, estimate_prevalence
from rareseg.evaluation.comparisons.comparison_table import tabulate_runs
from rareseg.evaluation.comparisons.paired_test import Headline
from rareseg.evaluation.statistics.jackknife import Scale, mean_interval
from rareseg.evaluation.statistics.undefined import is_defined
from rareseg.evaluation.tables.score_table import CaseScores, ScoreTable, score_case

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
                    any(c.winner for c in tabulate_runs(rows(rng, groups, noise, seeds, 0.0)))
                    for _ in range(trials)
                ]
                won = [
                    c.winner == "b"
                    for _ in range(trials // 4)
                    for c in tabulate_runs(rows(rng, groups, noise, seeds, 0.05))
                ]
                yield (
                    f"| {groups} | {seeds} | {noise:g} | {np.mean(equal):.1%} | "
                    f"{np.mean(won):.0%} |"
                )


IMAGES_PER_GROUP = 4
DRIFT = 0.5


def image_scores(
    rng: np.random.Generator, positive: NDArray[np.bool_], per_group: int, apart: float
) -> Floats:
    """Return image scores whose log-odds are normal, of unit spread, ``apart`` between the kinds.

    ``positive`` (n,) is of whole groups; images of a group share half of their variance.
    """
    own = rng.normal(size=len(positive))
    if per_group > 1:
        shared = np.repeat(rng.normal(size=len(positive) // per_group), per_group)
        own = (own + shared) / np.sqrt(2.0)
    return np.asarray(expit(own + apart * positive - apart / 2))


def labelled_table(scores: Floats, positive: NDArray[np.bool_], per_group: int) -> ScoreTable:
    """Return a table of cases with these image scores."""
    kinds = [score_case([0.0], [inside], case_id="c", region="r") for inside in (0, 1)]
    return ScoreTable(
        tuple(
            replace(
                kinds[int(own)], case_id=f"c{i:04d}", group=f"g{i // per_group}", top=float(top)
            )
            for i, (top, own) in enumerate(zip(scores, positive, strict=True))
        )
    )


def sample_of(rows: list[CaseScores]) -> ImageSample:
    """Return the image scores of cases with their groups."""
    return ImageSample.of([row.image_score for row in rows], [row.group for row in rows])


def prevalences(trials: int) -> Iterator[str]:
    """Yield how the prevalence from unlabelled images fares, by world."""
    yield (
        "| images a group | apart | prevalence | groups labelled + and −, unlabelled | covered "
        "| width | no answer | drift told without one | with one |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    worlds = [
        (per_group, apart, share, sizes)
        for per_group, all_apart in ((1, (0.5, 1.5, 2.0, 3.0, 4.0)), (IMAGES_PER_GROUP, (2.0, 4.0)))
        for apart in all_apart
        for share in (0.02, 0.2)
        for sizes in ((15, 40, 100), (60, 150, 500))
    ]
    for per_group, apart, share, (n_positive, n_negative, n_unlabelled) in worlds:
        rng = np.random.default_rng(0)
        covered, widths, told, drifted = [], [], [], []
        for _ in range(trials):
            positive = np.repeat(np.arange(n_positive + n_negative) < n_positive, per_group)
            scores = image_scores(rng, positive, per_group, apart)
            table = labelled_table(scores, positive, per_group)
            holds = np.repeat(rng.random(n_unlabelled) < share, per_group)
            new = image_scores(rng, holds, per_group, apart)
            groups = [f"u{i // per_group}" for i in range(len(new))]
            found = estimate_prevalence(
                table, new.tolist(), region="r", groups=groups, generator=rng
            )
            if is_defined(found.low) and is_defined(found.high):
                covered.append(found.low <= share <= found.high)
                widths.append(found.high - found.low)
            kinds = [sample_of([row for row in table if row.n_inside == n]) for n in (1, 0)]
            brighter = expit(np.log(new / (1 - new)) + DRIFT * ~holds)
            for seen, images in ((told, new), (drifted, brighter)):
                p = mixture_p_value(ImageSample.of(images, groups), *kinds)
                seen.append(p < DRIFTED)
        yield (
            f"| {per_group} | {apart:g} | {share:g} | {n_positive} + {n_negative}, {n_unlabelled} "
            f"| {np.mean(covered):.1%} | {np.mean(widths):.2f} | {1 - len(covered) / trials:.0%} "
            f"| {np.mean(told):.1%} | {np.mean(drifted):.0%} |"
        )


TABLES = {"coverage": coverage, "winners": winners, "prevalence": prevalences}


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--only", choices=tuple(TABLES))
    given = parser.parse_args()
    for name, table in TABLES.items():
        if given.only in (None, name):
            for line in table(given.trials):
                print(line, flush=True)
            print()


if __name__ == "__main__":
    main()
