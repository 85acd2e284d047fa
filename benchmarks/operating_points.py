"""How good is a point that is chosen from few groups? Simulated worlds, and your own score tables.

A world is a pool of thousands of groups, so that dice D and alarms A at every threshold and gate
are known exactly. In every run a few groups are drawn from it, each rule chooses a point on them,
and the point is judged on the whole world: its regret is D·(1 − A) at the best point that there
is, less what the chosen one reaches. A choice is silent where it finds nothing in the world.
Of a score table (`scores/validation.npz` or `scores/out-of-fold.npz` in a run) points are chosen on
one half of the groups, drawn anew each time, and judged on the other half.

    python benchmarks/operating_points.py
    python benchmarks/operating_points.py --tables run/scores/validation.npz --region defect
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.default_point.case_curves import (
    CaseCurves,
    case_curves,
    group_shares,
    threshold_bins,
)
from rareseg.decision.default_point.group_sums import GroupSums, GroupSurfaces, surfaces_of
from rareseg.decision.default_point.smoothed_objective import (
    GridCell,
    alarm_weight,
    find_default,
    find_non_empty,
    largest,
)
from rareseg.decision.default_point.smoothing import log_odds, smoothing_width
from rareseg.decision.point_search.criteria import Grid
from rareseg.evaluation.tables.score_table import CaseScores, score_case
from rareseg.evaluation.tables.score_table_io import load_table

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """How high the region and what looks like it score, in log-odds, and how much cases vary."""

    name: str
    signal: float
    look_alike: float
    case_spread: float = 1.2
    scale: float = 1.0
    shift: float = 0.0


WORLDS = (
    World("weak", -1.9, -1.5, case_spread=1.5),
    World("medium", 0.5, -1.5),
    World("strong", 2.5, -2.0),
    World("medium, log-odds × ¼", 0.5, -1.5, scale=0.25),
    World("medium, log-odds × 4", 0.5, -1.5, scale=4.0),
    World("strong, saturated", 2.5, -2.0, scale=4.0, shift=8.0),
)
GROUP_SPREAD, N_VOXELS = 0.7, 400


def draw_case(world: World, rng: np.random.Generator, positive: bool, effect: float) -> CaseScores:
    """Return one case: background, in a positive one a region of varying depth, look-alikes."""
    odds = rng.normal(-6.0 + effect / 2, 1.0, N_VOXELS)
    inside = np.zeros(N_VOXELS, np.bool_)
    if positive:
        n = int(np.clip(rng.lognormal(3.2, 0.8), 3, 200))
        inside[:n] = True
        level = rng.normal(world.signal, world.case_spread) + effect
        odds[:n] = level + rng.uniform(-2.0, 1.0, n) + rng.normal(0.0, 0.7, n)
    n = int(np.clip(rng.lognormal(2.2, 0.8), 2, 100))
    level = rng.normal(world.look_alike, world.case_spread) + effect - positive
    odds[-n:] = np.maximum(odds[-n:], level + rng.uniform(-2.0, 1.0, n) + rng.normal(0.0, 0.5, n))
    scores = 1.0 / (1.0 + np.exp(-(odds * world.scale + world.shift)))
    return score_case(scores.astype(np.float32), inside, case_id="", region="r")


def draw_group(
    world: World, name: str, rng: np.random.Generator, *, positive: bool
) -> list[CaseScores]:
    """Return one to three cases of a kind; with positive ones sometimes a negative one."""
    effect = rng.normal(0.0, GROUP_SPREAD)
    kinds = [positive] * int(rng.integers(1, 4))
    if positive and rng.random() < 0.3:
        kinds.append(False)
    cases = [draw_case(world, rng, kind, effect) for kind in kinds]
    return [replace(case, case_id=f"{name}-{i}", group=name) for i, case in enumerate(cases)]


@dataclass(frozen=True, eq=False)
class Truth:
    """D, A and the share found of a whole set of cases, (n + 1, t): so many cases pass the gate."""

    curves: CaseCurves
    dice: Floats
    alarms: Floats
    found: Floats

    @classmethod
    def of(cls, curves: CaseCurves) -> Truth:
        """Return the truth of a set of cases."""
        shown, positive = curves.shown[:, :, 0], curves.positive[:, np.newaxis]
        share = curves.share[:, np.newaxis]

        def over_gates(terms: Floats, count: float) -> Floats:
            return np.vstack([np.zeros(terms.shape[1]), terms.cumsum(axis=0)]) / max(1.0, count)

        return cls(
            curves,
            over_gates(share * shown * positive, curves.n_groups(positive=True)),
            over_gates(share * shown * ~positive, curves.n_groups(positive=False)),
            over_gates((shown > 0) * positive, positive.sum()),
        )

    @property
    def best(self) -> float:
        """The largest D·(1 − A)."""
        return float((self.dice * (1.0 - self.alarms)).max())

    def at(self, threshold: int, gate: float) -> tuple[float, float, float]:
        """Return (D, found, A) at a threshold of the grid and a gate."""
        passing = int((self.curves.image_scores >= np.float32(gate)).sum())
        place = passing, threshold
        return float(self.dice[place]), float(self.found[place]), float(self.alarms[place])


Width = Callable[[CaseCurves], float]


@dataclass(frozen=True)
class Rule:
    """A way of choosing: how wide it smooths, how alarms weigh, or the old objective."""

    name: str
    width: Width
    weight: Callable[[int], float] = alarm_weight
    is_old: bool = False
    plain_without_gate: bool = False

    def choose(
        self, curves: CaseCurves, known: dict[float, GroupSurfaces]
    ) -> tuple[int, float] | None:
        """Return (threshold's place, gate), or None for silence."""
        width = self.width(curves)
        if width not in known:
            known[width] = surfaces_of(curves, width)
        surfaces = known[width]
        sums = surfaces.sums(np.ones(len(curves.positive), np.bool_))
        cell = self._cell(surfaces, sums)
        return None if cell is None else (cell.threshold, float(surfaces.gates[cell.gate]))

    def _cell(self, surfaces: GroupSurfaces, sums: GroupSums) -> GridCell | None:
        if self.is_old:
            alarms = sums.alarms / max(1, sums.n_negative)
            value = (sums.dice / sums.n_positive + 1.0 - alarms) / 2.0
            return largest(surfaces, value) if value.max() >= 0.51 else None
        if self.weight is alarm_weight and not self.plain_without_gate:
            return find_default(surfaces, sums)
        weight = self.weight(sums.n_negative)
        smooth, plain = (sums.value(weight, smooth=kind) for kind in (True, False))
        if self.plain_without_gate:
            smooth[-1] = plain[-1]
        return find_non_empty(surfaces, sums, smooth, plain, None)


def default_width(curves: CaseCurves) -> float:
    """Return the width of the default point."""
    return smoothing_width(log_odds(curves.image_scores), curves.positive)


def iqr_width(share: float, most: float = 1.0) -> Width:
    """Return widths as a share of the range of all image scores together."""

    def width(curves: CaseCurves) -> float:
        low, high = np.quantile(log_odds(curves.image_scores), [0.25, 0.75])
        return float(min(most, share * (high - low)))

    return width


RULES = (
    Rule("½(D + 1 − A), silent below 0.51", lambda _: 0.0, is_old=True),
    Rule("D·(1 − A), unsmoothed", lambda _: 0.0, lambda n: 1.0),
    Rule("**default**: w = n/(n + ¼), σ = min(1, ½ IQR within strata)", default_width),
    Rule("w = 1", default_width, lambda n: 1.0),
    Rule("w = n/(n + 1)", default_width, lambda n: n / (n + 1)),
    Rule("w = n/(n + 5)", default_width, lambda n: n / (n + 5)),
    Rule("σ = min(1, ¼ IQR of all)", iqr_width(0.25)),
    Rule("σ = min(1, ½ IQR of all)", iqr_width(0.5)),
    Rule("σ = ¼ IQR of all", iqr_width(0.25, np.inf)),
    Rule("σ = 1", lambda _: 1.0),
    Rule("no gate not smoothed over the threshold", default_width, plain_without_gate=True),
)


@dataclass(frozen=True)
class Outcome:
    """What a rule's choices reach, (runs, 3): dice, found, alarms; ``best`` is the best value."""

    setting: str
    rule: str
    reached: Floats
    best: float | None = None

    @property
    def row(self) -> str:
        """The line of the table."""
        dice, found, alarms = self.reached.T
        value = 1000.0 * dice * (1.0 - alarms)
        shown = value if self.best is None else 1000.0 * self.best - value
        error = shown.std() / np.sqrt(len(shown))
        return (
            f"| {self.setting} | {self.rule} | {shown.mean():.1f} ± {error:.1f} | "
            f"{np.quantile(shown, 0.9):.0f} | {dice.mean():.3f} | {found.mean():.0%} | "
            f"{alarms.mean():.0%} | {(found < 0.01).mean():.1%} | {(found < 0.1).mean():.1%} |"
        )


def part_of(curves: CaseCurves, cases: NDArray[np.int64]) -> CaseCurves:
    """Return the curves of some cases."""
    positive, groups = curves.positive[cases], curves.groups[cases]
    return CaseCurves(
        curves.grid,
        curves.image_scores[cases],
        positive,
        groups,
        group_shares(positive, groups),
        curves.shown[cases],
    )


def curves_of(rows: Sequence[CaseScores]) -> CaseCurves:
    """Return the curves of all rows, on one grid of thresholds."""
    ordered = sorted(rows, key=lambda row: -row.image_score)
    positive = np.array([row.n_inside > 0 for row in ordered])
    width = smoothing_width(log_odds([row.image_score for row in ordered]), positive)
    grid = Grid(threshold_bins(ordered, width), np.zeros(1, np.int64))
    return case_curves(ordered, grid)


def kinds_of(curves: CaseCurves) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the groups with a positive case, and the others."""
    positive = np.unique(curves.groups[curves.positive])
    return positive, np.setdiff1d(np.unique(curves.groups), positive)


def judge(
    setting: str,
    draws: Iterator[tuple[CaseCurves, Truth]],
    best: float | None,
) -> list[Outcome]:
    """Return the outcome of every rule over drawn sets, each with what it is judged by."""
    reached: dict[str, list[tuple[float, float, float]]] = {rule.name: [] for rule in RULES}
    for drawn, truth in draws:
        known: dict[float, GroupSurfaces] = {}
        for rule in RULES:
            point = rule.choose(drawn, known)
            reached[rule.name].append((0.0, 0.0, 0.0) if point is None else truth.at(*point))
    return [Outcome(setting, name, np.array(values), best) for name, values in reached.items()]


def simulate(
    world: World,
    *,
    pool: int,
    groups: Sequence[int],
    negatives: float,
    runs: int,
    rng: np.random.Generator,
) -> Iterator[Outcome]:
    """Yield the outcome of every rule, for every number of groups with a positive case."""
    rows = [
        row
        for number in range(pool)
        for row in draw_group(world, f"{number:05}", rng, positive=number % 3 == 0)
    ]
    whole = curves_of(rows)
    truth, (positive, others) = Truth.of(whole), kinds_of(whole)
    for n in groups:

        def draws(n: int = n) -> Iterator[tuple[CaseCurves, Truth]]:
            for _ in range(runs):
                mine = rng.choice(positive, n, replace=False)
                theirs = rng.choice(others, max(1, round(n * negatives)), replace=False)
                kept = np.isin(whole.groups, np.concatenate([mine, theirs]))
                yield part_of(whole, np.flatnonzero(kept)), truth

        yield from judge(f"{world.name}, {n}", draws(), truth.best)


def redraw(
    table: Path, region: str | None, groups: Sequence[int], runs: int, rng: np.random.Generator
) -> Iterator[Outcome]:
    """Yield the outcome of every rule on halves of a table's groups."""
    loaded = load_table(table)
    rows = loaded.select(region=region or loaded.regions[0]).rows
    curves = curves_of([row for row in rows if row.n_voxels > 0])
    positive, others = kinds_of(curves)
    half = len(positive) // 2
    for n in sorted({min(n, half) for n in groups} | {half}):

        def draws(n: int = n) -> Iterator[tuple[CaseCurves, Truth]]:
            for _ in range(runs):
                mine, theirs = rng.permutation(positive), rng.permutation(others)
                few = round(len(theirs) // 2 * n / half)
                chosen_on = np.concatenate([mine[:n], theirs[:few]])
                judged_on = np.concatenate([mine[half:], theirs[len(theirs) // 2 :]])
                first, second = (
                    part_of(curves, np.flatnonzero(np.isin(curves.groups, part)))
                    for part in (chosen_on, judged_on)
                )
                yield first, Truth.of(second)

        yield from judge(f"{table.stem}, {n}", draws(), None)


def pooled(outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
    """Yield the outcomes of every rule over all tables together, by how many groups were drawn."""
    kinds = dict.fromkeys((one.setting.split(", ")[-1], one.rule) for one in outcomes)
    for groups, rule in kinds:
        same = [
            one for one in outcomes if (one.setting.split(", ")[-1], one.rule) == (groups, rule)
        ]
        yield Outcome(f"all tables, {groups}", rule, np.concatenate([one.reached for one in same]))


def main() -> None:
    """Simulate, or redraw the tables that are given, and print the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, nargs="+", default=[])
    parser.add_argument("--region")
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--groups", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--negatives", type=float, default=2.0, help="groups to a positive one")
    parser.add_argument("--pool", type=int, default=3000, help="groups in a world")
    parser.add_argument("--worlds", type=int, default=len(WORLDS))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    first = "D·(1 − A)" if asked.tables else "regret"
    head = ("positive groups", "rule", f"{first} / 1000", "90 %", "dice", "found", "alarms")
    print(f"| {' | '.join(head)} | silent | finds < 10 % |")
    print("|---|---|---|---|---|---|---|---|---|")
    outcomes: list[Outcome] = []
    for number, table in enumerate(asked.tables):
        rng = np.random.default_rng([asked.seed, number])
        outcomes += redraw(table, asked.region, asked.groups, asked.runs, rng)
    if outcomes:
        outcomes += pooled(outcomes)
    else:
        for number, world in enumerate(WORLDS[: asked.worlds]):
            print(f"{number + 1}/{asked.worlds}: {world.name}", file=sys.stderr, flush=True)
            rng = np.random.default_rng([asked.seed, number])
            outcomes += simulate(
                world,
                pool=asked.pool,
                groups=asked.groups,
                negatives=asked.negatives,
                runs=asked.runs,
                rng=rng,
            )
    for outcome in outcomes:
        print(outcome.row)


if __name__ == "__main__":
    main()
