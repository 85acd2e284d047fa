"""Does a point that is chosen out of fold suit the mean of all networks? Simulated worlds.

Five networks learn, each without some of five folds, and their mean is used. Points are chosen on
cases scored by those that had not seen them, which are fewer than all: single networks are surer
than their mean, and err more often. A rule says how many folds each network leaves out, what is
averaged and how presences are scaled (or that some groups are held out from all networks), and
chooses the default point on a few groups. Counted is what the mean of all networks reaches on the
whole world at that point, and how far found and alarms lie from what was told at the choice, each
group at the point chosen without it.

    python benchmarks/member_points.py
    python benchmarks/member_points.py --worlds 2 --groups 10 --runs 50
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from member_worlds import (
    BINS,
    EDGES,
    NETWORKS,
    WORLDS,
    Bools,
    Floats,
    Ints,
    Pool,
    Scored,
    draw_pool,
)
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from rareseg.decision.default_point.case_curves import CaseCurves, group_shares
from rareseg.decision.default_point.group_sums import GroupSums, surfaces_of
from rareseg.decision.default_point.point_evidence import judge_without, reached_at
from rareseg.decision.default_point.smoothed_objective import GridCell, find_default
from rareseg.decision.default_point.smoothing import log_odds, smoothing_width
from rareseg.decision.point_search.criteria import Grid
from rareseg_runner.decision.component_size import ANY_SIZE


@dataclass(frozen=True)
class Rule:
    """How a point is chosen and used.

    ``held_out`` folds are left out by each network; or a share ``aside`` of the groups by all.
    ``scaled``: presences are scaled after the mean over networks, each before it by one scaling, or
    each by its own; "ranks" takes the mean of each image score's rank among the network's own
    negatives, and "log-odds" averages maps and presences in log-odds, and scales after that.
    ``moved``: the image scores that points are chosen on are brought to those of the mean of all,
    as far as the step from one network to several shows it: the gate by the negatives alone, so
    that alarms stay, or the scores of positive and of negative cases each for themselves.
    """

    name: str
    held_out: int = 0
    scaled: Literal["after", "each", "own", "ranks", "log-odds"] = "after"
    moved: Literal["", "gate", "scores"] = ""
    aside: float = 0.0

    @property
    def share(self) -> float:
        """The share of the groups that each network learns from."""
        return 1.0 - (self.aside or self.held_out / NETWORKS)


RULES = (
    Rule("1 fold left out, mean of probabilities", 1),
    Rule("1, each presence scaled", 1, "each"),
    Rule("1, each scaled by its own fold", 1, "own"),
    Rule("1, ranks", 1, "ranks"),
    Rule("**1, mean of log-odds**", 1, "log-odds"),
    Rule("2, mean of probabilities", 2),
    Rule("2, each presence scaled", 2, "each"),
    Rule("2, each scaled by its own folds", 2, "own"),
    Rule("2, ranks", 2, "ranks"),
    Rule("**2, mean of log-odds**", 2, "log-odds"),
    Rule("2, log-odds, gate moved to equal alarms", 2, "log-odds", "gate"),
    Rule("2, log-odds, scores moved", 2, "log-odds", "scores"),
    Rule("3, mean of probabilities", 3),
    Rule("3, mean of log-odds", 3, "log-odds"),
    Rule("a fifth of the groups held out from all, probabilities", aside=1 / 5),
    Rule("two fifths held out from all, probabilities", aside=2 / 5),
    Rule("two fifths held out from all, log-odds", 0, "log-odds", aside=2 / 5),
)


@dataclass(frozen=True)
class Draw:
    """The cases that are learnt from, and the fold of each."""

    cases: Ints
    fold: Ints

    @classmethod
    def of(cls, pool: Pool, n: int, negatives: float, rng: np.random.Generator) -> Draw:
        """Draw n groups with a positive case and ``negatives`` times as many others."""
        with_positive = np.unique(pool.groups[pool.positive])
        others = np.setdiff1d(np.unique(pool.groups), with_positive)
        fold_of = {}
        for part in (
            rng.choice(with_positive, n, replace=False),
            rng.choice(others, max(1, round(n * negatives)), replace=False),
        ):
            first = int(rng.integers(NETWORKS))
            fold_of |= {group: (first + k) % NETWORKS for k, group in enumerate(part.tolist())}
        cases = np.flatnonzero(np.isin(pool.groups, list(fold_of)))
        return cls(cases, np.array([fold_of[group] for group in pool.groups[cases].tolist()]))

    def unseen_by(self, network: int, held_out: int) -> Bools:
        """Return which cases a network has not seen."""
        return (self.fold - network) % NETWORKS < held_out


def scaling(said: Floats, positive: Bools, groups: Ints) -> Callable[[Floats], Floats]:
    """Return the scaling of a presence as rareseg fits it, however few the groups are."""
    share = np.array(group_shares(positive, groups))
    counts = [len(np.unique(groups[of])) for of in (positive, ~positive)]
    if not all(counts):
        return lambda q: q
    targets = np.where(positive, (counts[0] + 1) / (counts[0] + 2), 1 / (counts[1] + 2))
    odds = log_odds(said)

    def loss(at: Floats) -> float:
        z = at[0] * odds + at[1]
        costs = -(targets * log_expit(z) + (1.0 - targets) * log_expit(-z))
        return float((share * costs).sum() + (at[0] - 1.0) ** 2 / 2 + at[1] ** 2 / 8)

    slope, bias = minimize(loss, [1.0, 0.0], method="L-BFGS-B", bounds=[(0, None), (None, None)]).x
    return lambda q: np.asarray(expit(slope * log_odds(q) + bias))


@dataclass(frozen=True, eq=False)
class Chosen:
    """A point, and what is told of it at the choice: dice, found, alarms without each group."""

    threshold: int
    gate: float
    told: tuple[float, float, float]


def choose(image: Floats, shown: Floats, positive: Bools, groups: Ints) -> Chosen | None:
    """Return the default point of some cases."""
    order = np.argsort(-image, kind="stable")
    numbers = np.unique(groups[order], return_inverse=True)[1]
    shares = np.array(group_shares(positive[order], numbers))
    scores = image[order].astype(np.float32)
    grid = Grid(BINS, (ANY_SIZE,))
    curves = CaseCurves(grid, scores, positive[order], numbers, shares, shown[order][:, :, None])
    surfaces = surfaces_of(curves, smoothing_width(log_odds(scores), curves.positive))
    total = surfaces.sums(np.ones(len(order), np.bool_))

    def find(_: Bools, rest: GroupSums) -> GridCell | None:
        return find_default(surfaces, rest)

    cell = find_default(surfaces, total)
    if cell is None:
        return None
    (means,) = judge_without(surfaces, total, [find])
    told = reached_at(surfaces, cell, means)
    values = (told.dice, told.found, told.alarms)
    known = tuple(value if isinstance(value, float) else np.nan for value in values)
    return Chosen(cell.threshold, float(surfaces.gates[cell.gate]), known)


Values = tuple[float, ...]
"""Dice, found and alarms that are reached, then those that were told at the choice."""


def apply(rule: Rule, pool: Pool, draw: Draw, judged: Ints | None = None) -> Values | None:
    """Choose on what is drawn; return what is reached on cases of the pool, all where not said."""
    used = pool.mean(range(NETWORKS), of_log_odds=rule.scaled == "log-odds")
    cases, positive, groups = draw.cases, pool.positive[draw.cases], pool.groups[draw.cases]
    if rule.aside:
        said = averaged(rule, pool.said)
        deployed = np.sqrt(scaling(said[cases], positive, groups)(said) * used.top)
        point = choose(deployed[cases], used.shown[cases], positive, groups)
    else:
        image, shown, deployed = out_of_fold(rule, pool, draw, used)
        point = choose(image, shown, positive, groups)
    if point is None:
        return None
    on = np.arange(len(pool.groups)) if judged is None else judged
    seen = used.shown[on, point.threshold] * (deployed[on].astype(np.float32) >= point.gate)
    positive, groups = pool.positive[on], pool.groups[on]
    terms = seen * np.array(group_shares(positive, groups))
    dice, alarms = (
        float(terms[of].sum() / len(np.unique(groups[of]))) for of in (positive, ~positive)
    )
    return dice, float((seen[positive] > 0).mean()), alarms, *point.told


def out_of_fold(rule: Rule, pool: Pool, draw: Draw, used: Scored) -> tuple[Floats, Floats, Floats]:
    """Return image scores and what is shown of the drawn cases, and all cases' deployed scores."""
    cases = draw.cases
    blind = np.stack([(draw.fold - back) % NETWORKS for back in range(rule.held_out)], axis=1)
    top, shown = np.empty(len(cases)), np.empty((len(cases), len(EDGES)))
    for fold in range(NETWORKS):
        networks = sorted((fold - back) % NETWORKS for back in range(rule.held_out))
        scored = pool.mean(networks, of_log_odds=rule.scaled == "log-odds")
        own = draw.fold == fold
        top[own], shown[own] = scored.top[cases[own]], scored.shown[cases[own]]
    tops = pool.probabilities.max(axis=2)
    if rule.scaled == "ranks":
        ranks = ranks_of(np.sqrt(pool.said * tops), pool, draw, rule.held_out)
        return ranks[cases[:, None], blind].mean(axis=1), shown, ranks.mean(axis=1)
    presence, deployed, scaled = presences(rule, pool, draw, blind)
    image = np.sqrt(presence * top)
    if rule.moved:
        alone = np.sqrt(scaled[cases[:, None], blind] * tops[cases[:, None], blind])
        image = moved(rule, image, alone, pool.positive[cases], pool.groups[cases])
    return image, shown, np.sqrt(deployed * used.top)


def ranks_of(scores: Floats, pool: Pool, draw: Draw, held_out: int) -> Floats:
    """Return the rank of each network's score among the negatives that it has not seen, (n, k)."""
    ranks = np.empty_like(scores)
    for network in range(NETWORKS):
        negative = draw.cases[draw.unseen_by(network, held_out) & ~pool.positive[draw.cases]]
        known = np.sort(scores[negative, network])
        sides = [np.searchsorted(known, scores[:, network], s) for s in ("left", "right")]
        ranks[:, network] = (sides[0] + sides[1] + 1.0) / (2.0 * len(known) + 2.0)
    return ranks


def averaged(rule: Rule, said: Floats) -> Floats:
    """Return the mean over networks of what they say, (n,), in what the rule averages."""
    if rule.scaled == "log-odds":
        return np.asarray(expit(log_odds(said).mean(axis=1)))
    return np.asarray(said.mean(axis=1))


def presences(rule: Rule, pool: Pool, draw: Draw, blind: Ints) -> tuple[Floats, Floats, Floats]:
    """Return the presence of the drawn cases out of fold, of all by all, and of single networks."""
    cases = draw.cases
    positive, groups = pool.positive[cases], pool.groups[cases]
    said = pool.said[cases[:, None], blind]
    if rule.scaled in ("after", "log-odds"):
        few = averaged(rule, said)
        fitted = scaling(few, positive, groups)
        return fitted(few), fitted(averaged(rule, pool.said)), fitted(pool.said)
    if rule.scaled == "each":
        times = blind.shape[1]
        fitted = scaling(said.ravel(), np.repeat(positive, times), np.repeat(groups, times))
        scaled = fitted(pool.said)
    else:
        scaled = np.empty_like(pool.said)
        for network in range(NETWORKS):
            own = draw.unseen_by(network, rule.held_out)
            fitted = scaling(pool.said[cases[own], network], positive[own], groups[own])
            scaled[:, network] = fitted(pool.said[:, network])
    return scaled[cases[:, None], blind].mean(axis=1), scaled.mean(axis=1), scaled


def moved(rule: Rule, image: Floats, alone: Floats, positive: Bools, groups: Ints) -> Floats:
    """Return image scores with the mean and variance, in log-odds, of the mean of all networks.

    Both go with 1 / networks, as far as single networks and the mean of several show it.
    """
    few = alone.shape[1]
    further = (1.0 / few - 1.0 / NETWORKS) / (1.0 - 1.0 / few)
    odds, single = log_odds(image), log_odds(alone)
    share = np.array(group_shares(positive, groups))
    found = odds.copy()
    for of in (~positive,) if rule.moved == "gate" else (positive, ~positive):
        weights = share[of] / share[of].sum()
        mean = weights @ odds[of]
        variance = weights @ (odds[of] - mean) ** 2
        means = weights @ single[of]
        centre = mean + (mean - means.mean()) * further
        wider = (weights @ (single[of] - means) ** 2).mean()
        spread = np.clip(variance + (variance - wider) * further, variance / 4.0, variance)
        if variance > 0.0:
            cases = np.ones(len(image), np.bool_) if rule.moved == "gate" else of
            found[cases] = centre + (odds[cases] - mean) * np.sqrt(spread / variance)
    return np.asarray(expit(found))


def simulate(given: argparse.Namespace, number: int) -> Iterator[str]:
    """Yield a line for every number of groups and rule in one world."""
    world = WORLDS[number]
    reached: dict[tuple[int, Rule], list[Values]] = defaultdict(list)
    for training in range(given.trainings):
        seed = [given.seed, number, training]
        shares = {round(rule.share, 3) for rule in RULES}
        pools = {s: draw_pool(world, given.pool, s, np.random.default_rng(seed)) for s in shares}
        for n in given.groups:
            for run in range(given.runs):
                for rule in RULES:
                    pool = pools[round(rule.share, 3)]
                    drawn = max(1, round(n * rule.aside)) if rule.aside else n
                    rng = np.random.default_rng([*seed, n, run])
                    got = apply(rule, pool, Draw.of(pool, drawn, given.negatives, rng))
                    if got is not None:
                        reached[n, rule].append(got)
    for (n, rule), values in sorted(reached.items(), key=lambda item: item[0][0]):
        yield line_of(f"{world.name}, {n}", rule, values)


HEAD = (
    "| positive groups | rule | D·(1 − A) / 1000 | 10 % | dice | found | alarms | "
    "found less told (size) | alarms less told (size) |\n|---|---|---|---|---|---|---|---|---|"
)


def line_of(setting: str, rule: Rule, values: Sequence[Values]) -> str:
    """Return the line of the table."""
    dice, found, alarms, _, told_found, told_alarms = np.array(values).T
    value = 1000.0 * dice * (1.0 - alarms)
    error = value.std() / np.sqrt(len(value))
    gaps = (100.0 * (found - told_found), 100.0 * (alarms - told_alarms))
    told = " | ".join(
        "—" if np.isnan(gap).any() else f"{gap.mean():+.0f} ({abs(gap).mean():.0f})" for gap in gaps
    )
    return (
        f"| {setting} | {rule.name} | {value.mean():.0f} ± {error:.0f} | "
        f"{np.quantile(value, 0.1):.0f} | {dice.mean():.3f} | {found.mean():.0%} | "
        f"{alarms.mean():.0%} | {told} |"
    )


def main() -> None:
    """Simulate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=25, help="draws of groups in each training")
    parser.add_argument("--trainings", type=int, default=5, help="sets of networks in each world")
    parser.add_argument("--groups", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--negatives", type=float, default=2.0, help="groups to a positive one")
    parser.add_argument("--pool", type=int, default=600, help="groups in a world")
    parser.add_argument("--worlds", type=int, default=len(WORLDS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(HEAD)
    for number in range(given.worlds):
        print(f"{number + 1}/{given.worlds}: {WORLDS[number].name}", file=sys.stderr, flush=True)
        for line in simulate(given, number):
            print(line, flush=True)


if __name__ == "__main__":
    main()
