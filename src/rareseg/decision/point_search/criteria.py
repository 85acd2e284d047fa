"""Compute counts and criteria at every point of a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.point_search.objectives import Goal, Level, Limit
from rareseg.evaluation.metrics.object_matching import match_objects
from rareseg.evaluation.metrics.overlap import cumulative
from rareseg.evaluation.metrics.point_grid import counts_over_sizes
from rareseg.evaluation.tables.component_table import CaseComponents
from rareseg.evaluation.tables.score_table import CaseScores
from rareseg_runner.decision.component_size import Size

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Row: TypeAlias = CaseScores | CaseComponents


@dataclass(frozen=True, eq=False)
class Grid:
    """Thresholds × smallest components: ``bins`` (t,) int64 and ``sizes`` (s,), ascending.

    ``levels`` (t,) int64 are the bins' places in the component table's own grid of ``n_levels``;
    None where score tables are read, which know the size 0 alone. ``matches``: whether components
    are matched to objects, which takes time.
    """

    bins: Ints
    sizes: tuple[Size, ...]
    levels: Ints | None = None
    n_levels: int = 0
    matches: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """How many thresholds and how many sizes there are."""
        return len(self.bins), len(self.sizes)

    def voxels(self, row: CaseComponents) -> Ints:
        """Return the sizes in voxels of a case, (s,) int64."""
        return np.array([size.voxels(row.spacing) for size in self.sizes], np.int64)

    def at(self, bins: Ints) -> Grid:
        """Return the grid with other thresholds, which must be of the table's where it has some."""
        if self.levels is None:
            return Grid(bins, self.sizes)
        levels = self.levels[np.searchsorted(self.bins, bins)]
        return replace(self, bins=bins, levels=levels)


@dataclass(frozen=True, eq=False)
class GridCounts:
    """What is on in one case at every point of a grid, before any gate; counts are (t, s) int64.

    ``found`` counts the objects touched and ``false_components`` the components that touch none;
    ``matched`` the components that are an object, one to one, and ``components`` all of them
    (:func:`~rareseg.evaluation.metrics.object_matching.match_objects`; where no goal asks for it,
    and where a score table cannot tell, all of these are 0). ``share`` is 1 / the number of cases
    of the same group that are positive, or negative, like this one.
    """

    n_inside: int
    n_outside: int
    n_objects: int
    tp: Ints
    fp: Ints
    found: Ints
    false_components: Ints
    matched: Ints
    components: Ints
    share: float = 1.0

    @property
    def is_positive(self) -> bool:
        """Whether the case holds the region."""
        return self.n_inside > 0


def tally(row: Row, grid: Grid, share: float = 1.0) -> GridCounts:
    """Return what a case shows at every point of a grid."""
    n_inside = row.n_inside
    if isinstance(row, CaseScores):
        tp, fp = (counts[:, None] for counts in cumulative(row, grid.bins))
        none = np.zeros_like(tp)
        n_outside = row.n_voxels - n_inside
        return GridCounts(n_inside, n_outside, 0, tp, fp, none, none, none, none, share)
    voxels = grid.voxels(row)
    counts = counts_over_sizes(row, grid.n_levels, voxels)
    tp, fp, found, false = (column[grid.levels] for column in counts)
    matched = components = np.zeros_like(tp)
    if grid.matches:
        both = match_objects(row, grid.n_levels, voxels)
        matched, components = (column[grid.levels] for column in both)
    return GridCounts(
        n_inside,
        row.n_voxels - n_inside,
        row.n_objects,
        tp,
        fp,
        found,
        false,
        matched,
        components,
        share,
    )


def empty_counts(row: Row, share: float = 1.0) -> GridCounts:
    """Return what a case shows behind a gate that it does not reach: nothing, as (1, 1)."""
    none = np.zeros((1, 1), np.int64)
    n_objects = row.n_objects if isinstance(row, CaseComponents) else 0
    n_inside = row.n_inside
    n_outside = row.n_voxels - n_inside
    return GridCounts(n_inside, n_outside, n_objects, none, none, none, none, none, none, share)


@dataclass(frozen=True)
class Criterion:
    """Σ numerator / Σ denominator over cases, and the two numbers of one case.

    ``of`` gives (numerator, denominator), each (t, s) or a number that holds at every point. Cases
    that it is not about give 0 and 0.
    """

    name: str
    of: Callable[[GridCounts], tuple[Floats | float, Floats | float]]


def f_beta(beta: float) -> Criterion:
    """Mean over positive cases of (1+β²)·TP / ((1+β²)·TP + β²·FN + FP)."""
    square = beta**2

    def of(t: GridCounts) -> tuple[Floats | float, Floats | float]:
        if not t.is_positive:
            return 0.0, 0.0
        hits = (1.0 + square) * t.tp
        return hits / (hits + square * (t.n_inside - t.tp) + t.fp), 1.0

    return Criterion("dice" if beta == 1.0 else f"F{beta:g}", of)


DICE = f_beta(1.0)

CLEAN = Criterion(
    "specificity",
    lambda t: (0.0, 0.0) if t.is_positive else (np.asarray(t.fp == 0, np.float64), 1.0),
)

ALARMS = Criterion(
    "false alarm rate",
    lambda t: (0.0, 0.0) if t.is_positive else (np.asarray(t.fp > 0, np.float64), 1.0),
)


def of_groups(criterion: Criterion) -> Criterion:
    """Return a mean over cases as the mean over groups of the mean over their cases."""

    def of(t: GridCounts) -> tuple[Floats | float, Floats | float]:
        top, bottom = criterion.of(t)
        return t.share * top, t.share * bottom

    return Criterion(f"{criterion.name}, groups weighing equally", of)


FALSE_PER_CASE = Criterion(
    "false positives per case", lambda t: (t.false_components.astype(np.float64), 1.0)
)

SPECIFICITY = Criterion(
    "specificity",
    lambda t: (1.0 - t.fp / t.n_outside, 1.0) if t.n_outside else (0.0, 0.0),
)


def recall(level: Level) -> Criterion:
    """Mean share of a positive case's voxels, share of all objects, or of positive cases found."""

    def of(t: GridCounts) -> tuple[Floats | float, Floats | float]:
        if not t.is_positive:
            return 0.0, 0.0
        if level == "object":
            return t.found.astype(np.float64), float(t.n_objects)
        if level == "image":
            return np.asarray(t.tp > 0, np.float64), 1.0
        return t.tp / t.n_inside, 1.0

    return Criterion("recall", of)


def precision(level: Level) -> Criterion:
    """Share that is right of all voxels, components or cases that are on."""

    def of(t: GridCounts) -> tuple[Floats | float, Floats | float]:
        if level == "object":
            right, wrong = t.found, t.false_components
        elif level == "image":
            right = (t.tp > 0).astype(np.int64)
            wrong = np.zeros_like(t.fp) if t.is_positive else (t.fp > 0).astype(np.int64)
        else:
            right, wrong = t.tp, t.fp
        return right.astype(np.float64), (right + wrong).astype(np.float64)

    return Criterion("precision", of)


def cost(goal: Goal, *, share_positive: float) -> Criterion:
    """Mean cost of a case where the goal's prevalence holds; ``share_positive`` is that at hand.

    With a prevalence π of positive cases, and the share p at hand, a positive case weighs π/p and a
    negative one (1 − π)/(1 − p). Objects cost where no component is matched to them, and components
    where they are matched to none.
    """
    prevalence = share_positive if goal.prevalence is None else goal.prevalence
    weights = (
        (1.0 - prevalence) / (1.0 - share_positive) if share_positive < 1.0 else 0.0,
        prevalence / share_positive,
    )

    def of(t: GridCounts) -> tuple[Floats | float, Floats | float]:
        if goal.level == "object":
            wrong, missed = t.components - t.matched, t.n_objects - t.matched
        elif goal.level == "image":
            wrong = np.zeros_like(t.fp) if t.is_positive else (t.fp > 0).astype(np.int64)
            missed = (t.tp == 0).astype(np.int64) * int(t.is_positive)
        else:
            wrong, missed = t.fp, t.n_inside - t.tp
        total = goal.cost_false_positive * wrong + goal.cost_false_negative * missed
        return weights[t.is_positive] * total, 1.0

    return Criterion("cost", of)


def limit_measure(limit: Limit) -> Criterion:
    """Return what a limit bounds."""
    if limit.kind == "recall":
        return recall(limit.level)
    if limit.kind == "precision":
        return precision(limit.level)
    return FALSE_PER_CASE if limit.kind == "false positives per case" else ALARMS


@dataclass(frozen=True)
class LinearObjective:
    """An objective as Σ weight · criterion + constant; every denominator is a count of cases."""

    measures: tuple[Criterion, ...]
    weights: tuple[float, ...]
    constant: float = 0.0

    def value(self, ratios: Sequence[Floats]) -> Floats:
        """Return the objective from the ratios of its criteria, of any one shape."""
        total = np.full(np.shape(ratios[0]), self.constant)
        for weight, ratio in zip(self.weights, ratios, strict=True):
            total += weight * ratio
        return total


@dataclass(frozen=True)
class DefaultObjective:
    """D·(1 − w·A), the default objective as the cases stand, with w = ``alarm_weight``.

    D and A are means over groups; without a negative case D alone.
    """

    alarm_weight: float

    @property
    def measures(self) -> tuple[Criterion, ...]:
        """D and, where it counts, A."""
        return (of_groups(DICE), of_groups(ALARMS)) if self.alarm_weight else (of_groups(DICE),)

    def value(self, ratios: Sequence[Floats]) -> Floats:
        """Return the objective from the ratios of its criteria, of any one shape."""
        if not self.alarm_weight:
            return ratios[0].copy()
        return np.asarray(ratios[0] * (1.0 - self.alarm_weight * ratios[1]))


def terms_of(goal: Goal, *, share_positive: float) -> LinearObjective:
    """Return the terms of a goal's objective; without negative cases, those of positives alone.

    Of every objective but "dice", which is a :class:`DefaultObjective`. ``share_positive``,
    above 0, is that of the cases at hand.
    """
    has_negatives = share_positive < 1.0
    if goal.maximize == "cost":
        return LinearObjective((cost(goal, share_positive=share_positive),), (-1.0,))
    if goal.maximize == "youden":
        spared = CLEAN if goal.level == "image" else SPECIFICITY
        return LinearObjective((recall(goal.level), spared), (1.0, 1.0), -1.0)
    overlap = f_beta(goal.beta)
    if not has_negatives:
        return LinearObjective((overlap,), (1.0,))
    return LinearObjective((overlap, CLEAN), (0.5, 0.5))
