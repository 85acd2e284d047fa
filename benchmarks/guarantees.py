"""Check guarantees: drawn cases, real score tables, thousands of trials, the table in the docs.

A world is a finite set of groups of small images, each with its score table, so that the risk at
every operating point is known exactly. In every trial groups are drawn from it with replacement,
and a guarantee is made from them along a path that other groups, drawn as validation cases, have
fixed. Risk control keeps its word where the mean risk over trials is at most α + 3 standard errors,
Learn then Test where the share of trials whose risk is above α is at most δ + 3 binomial standard
errors. A trial that is refused after its losses were seen guarantees nothing and counts as a risk
of 0; the column "if answered" leaves such trials out, of which the theorems do not speak. Beside
them stand two usual ways that break it: the boldest point whose observed loss is at most α, and
negatives that count as cases without a missed voxel. Needs no data.

    python benchmarks/guarantees.py
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.guarantees.group_losses import Path, is_eligible, losses_along
from rareseg.decision.guarantees.guarantee import Guarantee, make_guarantee
from rareseg.decision.guarantees.point_path import path_to
from rareseg.decision.guarantees.risk_control import needed_groups, reach_of_sums
from rareseg.decision.operating_point import Infeasible, choose_operating_point
from rareseg.evaluation.tables.score_table import CaseScores, ScoreTable, score_case

ALPHA, CONFIDENCE = 0.1, 0.9
SELECT_GROUPS = 40
PATHS = 8
POINTS = 64

GUARANTEES = (
    make_guarantee("false negative rate", ALPHA, confidence=None),
    make_guarantee("false negative rate", ALPHA, confidence=CONFIDENCE),
    make_guarantee(
        "false negative rate", ALPHA, confidence=CONFIDENCE, level="image", within="any"
    ),
    make_guarantee("false alarm rate", ALPHA, confidence=None),
    make_guarantee("false alarm rate", ALPHA, confidence=CONFIDENCE),
    make_guarantee("false alarm rate", ALPHA, confidence=CONFIDENCE, within="mean"),
    make_guarantee("false discovery proportion", ALPHA, confidence=CONFIDENCE),
)


@dataclass(frozen=True)
class World:
    """Groups of images: their prevalence, their size, how good their scores are."""

    prevalence: float
    largest_group: int
    quality: str

    @property
    def title(self) -> str:
        size = "1" if self.largest_group == 1 else f"1–{self.largest_group}"
        return f"{self.prevalence:.0%} positive, {size} per group, {self.quality}"


QUALITIES = {"good": (4.0, 0.6, 1.0), "poor": (1.0, 1.0, 1.0), "saturated": (2.5, 0.8, 8.0)}
"""Mean log-odds of the region's voxels, their spread between groups, and a factor on log-odds."""

WORLDS = [
    World(*world) for world in product((0.1, 0.4, 0.8), (1, 4), ("good", "poor", "saturated"))
]


def draw_group(world: World, name: str, rng: np.random.Generator) -> list[CaseScores]:
    """Return the score tables of one group of images of 20 × 20."""
    mean, spread, factor = QUALITIES[world.quality]
    effect = rng.normal(0, spread)
    rows = []
    for k in range(int(rng.integers(1, world.largest_group + 1))):
        reference = np.zeros((20, 20), np.uint8)
        odds = rng.normal(-5.0 + effect / 2, 1.0, reference.shape)
        if rng.random() < world.prevalence:
            z, y = rng.integers(0, 14, 2)
            side = int(rng.integers(2, 7))
            reference[z : z + side, y : y + side] = 1
            inside = reference == 1
            level = mean + effect + rng.normal(0, spread)
            odds[inside] = rng.normal(level, 1.0, int(inside.sum()))
        if rng.random() < 0.3:  # something that looks like it
            z, y = rng.integers(0, 18, 2)
            look_alike = reference[z : z + 2, y : y + 2] == 0
            odds[z : z + 2, y : y + 2][look_alike] = rng.normal(mean - 3.0 + effect, 1.0)
        scores = 1.0 / (1.0 + np.exp(-np.clip(odds * factor, -80, 80)))
        case = f"{name}-{k}"
        rows.append(
            score_case(scores.astype(np.float32), reference, case_id=case, region="r", group=name)
        )
    return rows


@dataclass(frozen=True)
class Outcome:
    """What one guarantee came to in one world with so many groups drawn."""

    guarantee: Guarantee
    world: World
    n_drawn: int
    trials: int
    too_few: int
    refused: int
    risks: NDArray[np.float64]
    answered: NDArray[np.bool_]
    naive: NDArray[np.float64]
    diluted: NDArray[np.float64]

    @property
    def limit(self) -> float:
        """What the figure may reach at most."""
        if self.guarantee.confidence is None:
            return ALPHA + 3 * float(self.risks.std()) / math.sqrt(max(1, len(self.risks)))
        delta = 1 - self.guarantee.confidence
        return delta + 3 * math.sqrt(delta * (1 - delta) / max(1, len(self.risks)))

    def figure(self, risks: NDArray[np.float64]) -> float:
        """Return the mean risk, or the share of trials above α."""
        if len(risks) == 0:
            return math.nan
        above = risks > ALPHA + 1e-9
        return float(risks.mean() if self.guarantee.confidence is None else above.mean())

    @property
    def kept(self) -> bool:
        return len(self.risks) == 0 or self.figure(self.risks) <= self.limit


def simulate(
    world: World, *, groups: int, drawn: tuple[int, ...], trials: int, rng: np.random.Generator
) -> Iterator[Outcome]:
    """Yield the outcome of every guarantee in one world, for every number of groups drawn."""
    members = [draw_group(world, f"{group:04}", rng) for group in range(groups)]
    choices = [rng.choice(groups, SELECT_GROUPS, replace=False) for _ in range(PATHS)]
    known: dict[tuple[str, str, str], list[Population]] = {}
    for guarantee in GUARANTEES:
        about = (guarantee.kind, guarantee.level, guarantee.within)
        if about not in known:
            known[about] = [
                population(members, path, guarantee)
                for choice in choices
                if (path := path_of([row for group in choice for row in members[group]], guarantee))
            ]
        populations = known[about]
        for n_drawn in drawn:
            yield run_trials(world, guarantee, populations, n_drawn, trials, rng)


def path_of(validation: list[CaseScores], guarantee: Guarantee) -> Path | None:
    """Return the path that validation cases fix, or None where they hold no positive.

    It ends far bolder than anyone would choose, so that it is the guarantee that stops.
    """
    table = ScoreTable(tuple(validation))
    point = choose_operating_point(table, region="r")
    if isinstance(point, Infeasible):
        return None
    if guarantee.kind == "false negative rate":
        path = path_to(replace(point, threshold=1 - 2.0**-12), table, guarantee)
    else:
        path = path_to(replace(point, threshold=2.0**-7, gate=0.0), table, guarantee)
    # Part of a path is a path, and faster to walk.
    some = np.unique(np.linspace(0, len(path) - 1, POINTS).round().astype(np.int64))
    return replace(
        path,
        threshold_bins=path.threshold_bins[some],
        gates=path.gates[some],
        worth=path.worth[some],
    )


@dataclass(frozen=True)
class Population:
    """The losses of all groups that a guarantee is about, and where each group lies among them.

    ``place`` is −1 for groups without an eligible case.
    """

    path: Path
    losses: NDArray[np.float64]
    place: NDArray[np.int64]


def population(members: list[list[CaseScores]], path: Path, guarantee: Guarantee) -> Population:
    """Return what a path does to a whole world."""
    eligible = np.array([any(is_eligible(row, guarantee) for row in rows) for rows in members])
    losses = losses_along([row for rows in members for row in rows], path, guarantee).losses
    return Population(path, losses, np.where(eligible, np.cumsum(eligible) - 1, -1))


def run_trials(
    world: World,
    guarantee: Guarantee,
    populations: list[Population],
    n_drawn: int,
    trials: int,
    rng: np.random.Generator,
) -> Outcome:
    """Make the guarantee again and again, from groups drawn anew each time."""
    needed = needed_groups(ALPHA, confidence=guarantee.confidence, binary=guarantee.binary) or 0
    too_few = refused = 0
    risks, answered, naive, diluted = [], [], [], []
    for whole in populations:
        exact = whole.losses.mean(axis=0)
        places = whole.place[rng.integers(len(whole.place), size=(trials, n_drawn))]
        for drawn in places:
            times = np.bincount(drawn[drawn >= 0], minlength=len(whole.losses))
            n, sums = int(times.sum()), times @ whole.losses
            if n < needed:
                too_few += 1
                continue
            reach = reach_of(sums, n, guarantee)
            refused += reach == 0
            answered.append(reach > 0)
            risks.append(risk_of(exact, reach, guarantee))
            holds = np.flatnonzero(sums / n <= ALPHA)
            naive.append(exact[holds[-1]] if len(holds) else 0.0)
            if guarantee.kind == "false negative rate":
                diluted.append(risk_of(exact, reach_of(sums, n_drawn, guarantee), guarantee))
    arrays = (np.array(values) for values in (risks, answered, naive, diluted))
    return Outcome(guarantee, world, n_drawn, trials * len(populations), too_few, refused, *arrays)


def reach_of(sums: NDArray[np.float64], n: int, guarantee: Guarantee) -> int:
    """Return how many points of the path the guarantee holds for."""
    return reach_of_sums(
        sums, n, alpha=guarantee.alpha, confidence=guarantee.confidence, binary=guarantee.binary
    )


def risk_of(exact: NDArray[np.float64], reach: int, guarantee: Guarantee) -> float:
    """Return the risk of what was guaranteed, 0 where nothing was.

    Risk control guarantees the boldest point that it reaches, Learn then Test all of them at once.
    """
    if reach == 0:
        return 0.0
    return float(exact[reach - 1] if guarantee.confidence is None else exact[:reach].max())


def name_of(guarantee: Guarantee) -> str:
    """Return a guarantee in short."""
    kind = f"{guarantee.kind} ({guarantee.level}, {guarantee.within})"
    return kind if guarantee.confidence else f"{kind}, expectation"


def table_lines(outcomes: list[Outcome]) -> Iterator[str]:
    """Yield one row for every guarantee and world, drawn numbers side by side."""
    yield (
        "| guarantee | world | groups drawn | answered | figure | at most | if answered | naive "
        "| diluted |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for o in outcomes:
        answered = 1 - (o.too_few + o.refused) / o.trials
        if len(o.risks) == 0:
            cells = "too few | – | – | – | –"
        else:
            is_fnr = o.guarantee.kind == "false negative rate"
            sure = o.figure(o.risks[o.answered])
            figures = [f"{x:.3f}" for x in (o.figure(o.risks), o.limit, sure, o.figure(o.naive))]
            figures.append(f"{o.figure(o.diluted):.3f}" if is_fnr else "–")
            cells = " | ".join(figures)
        mark = "" if o.kept else " BROKEN"
        yield (
            f"| {name_of(o.guarantee)} | {o.world.title} | {o.n_drawn} | {answered:.0%} | "
            f"{cells}{mark} |"
        )


def summary_lines(outcomes: list[Outcome]) -> Iterator[str]:
    """Yield one row for every guarantee: the worst of all worlds."""
    yield (
        "| guarantee | settings answered | mean figure | largest figure | its limit | kept in | "
        "if answered, largest | naive, largest | diluted, largest |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for guarantee in GUARANTEES:
        # Of a share that a hundred trials gave, nothing can be said.
        own = [o for o in outcomes if o.guarantee == guarantee and len(o.risks) >= o.trials / 2]
        if not own:
            yield f"| {name_of(guarantee)} | 0 | – | – | – | – | – | – | – |"
            continue
        figures = [o.figure(o.risks) for o in own]
        worst = max(own, key=lambda o: o.figure(o.risks) - o.limit)
        is_fnr = guarantee.kind == "false negative rate"
        diluted = f"{max(o.figure(o.diluted) for o in own):.3f}" if is_fnr else "–"
        yield (
            f"| {name_of(guarantee)} | {len(own)} | {np.mean(figures):.3f} | "
            f"{worst.figure(worst.risks):.3f} | {worst.limit:.3f} | "
            f"{sum(o.kept for o in own)} of {len(own)} | "
            f"{max(o.figure(o.risks[o.answered]) for o in own):.3f} | "
            f"{max(o.figure(o.naive) for o in own):.3f} | {diluted} |"
        )


def main() -> None:
    """Simulate and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500, help=f"for each of {PATHS} paths")
    parser.add_argument("--groups", type=int, default=500, help="groups in a world")
    parser.add_argument("--drawn", type=int, nargs="+", default=[60, 240])
    parser.add_argument("--worlds", type=int, default=len(WORLDS))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    outcomes: list[Outcome] = []
    for number, world in enumerate(WORLDS[: arguments.worlds]):
        print(f"{number + 1}/{len(WORLDS)}: {world.title}", file=sys.stderr, flush=True)
        rng = np.random.default_rng([arguments.seed, number])
        drawn = tuple(arguments.drawn)
        outcomes += simulate(
            world, groups=arguments.groups, drawn=drawn, trials=arguments.trials, rng=rng
        )
    for line in (*summary_lines(outcomes), "", *table_lines(outcomes)):
        print(line)


if __name__ == "__main__":
    main()
