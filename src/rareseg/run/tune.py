"""Choose the operating points of a run's model, or of another tool's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from rareseg.data.folder_lock import one_writer
from rareseg.decision.operating_point import (
    BY_HAND,
    Frontier,
    FrontierPoint,
    Goal,
    ImageCosts,
    Infeasible,
    OperatingPoint,
    PointChoice,
    choose_with_frontier,
    fixed_point,
    usual_sizes,
)
from rareseg.evaluation.statistics.undefined import Value, format_value, is_defined
from rareseg.evaluation.tables.component_table import ComponentTable
from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg.progress import Track, silent
from rareseg.recipe import DecisionSection
from rareseg.report.wording.default_point_text import evidence_lines
from rareseg.run.scores.network_source import NetworkSource
from rareseg.run.scores.score_source import ScoreSource, asked_regions
from rareseg.run.setup.prepare import Say, say_nothing
from rareseg_runner.decision.component_size import ANY_SIZE, Size, SizeLike, as_sizes

Chosen = Mapping[str, OperatingPoint | Infeasible]
"""What was found for each region: a point, or why there is none."""


Smallest: TypeAlias = SizeLike | Sequence[SizeLike] | None
"""Smallest components to choose from: one, several, "search", or None for any size."""


@dataclass(frozen=True)
class Rule:
    """What is maximised, and over which smallest components; see :func:`tune`.

    With ``threshold`` nothing is searched: the cut is this one, with ``gate`` and the one smallest
    component that is given.
    """

    goal: Goal
    smallest: tuple[Size, ...] | Literal["search"] | None = None
    threshold: float | None = None
    gate: float = 0.0

    @classmethod
    def of(cls, maximize: str | Goal, smallest: Smallest = None) -> Rule:
        """Return the rule; raises :class:`UsageError` for what is none."""
        goal = maximize if isinstance(maximize, Goal) else Goal(maximize)  # type: ignore[arg-type]
        if smallest is None:
            return cls(goal)
        if smallest == "search":
            return cls(goal, "search")
        if isinstance(smallest, Size | str | int | float):
            smallest = [smallest]
        return cls(goal, as_sizes(smallest))

    @classmethod
    def usual(cls, decision: DecisionSection) -> Rule:
        """Return the rule that a recipe asks for."""
        return cls.of(decision.maximize, decision.sizes)

    @classmethod
    def by_hand(cls, threshold: float, *, smallest: SizeLike = 0, gate: float = 0.0) -> Rule:
        """Return the rule that takes a cut as it is given."""
        return cls(Goal("dice"), as_sizes([smallest]), threshold, gate)

    def choose(self, tables: tuple[ScoreTable, ComponentTable], region: str) -> PointChoice:
        """Choose the point of one region, from scores or where needed from components."""
        scores, components = tables
        if self.threshold is not None:
            assert isinstance(self.smallest, tuple), "made by by_hand"
            found = fixed_point(
                scores,
                components,
                region=region,
                threshold=self.threshold,
                smallest_component=self.smallest[0],
                gate=self.gate,
            )
            return PointChoice(found, Frontier())
        if self.smallest is None and not self.goal.needs_components:
            return choose_with_frontier(scores, region=region, maximize=self.goal)
        sizes = (ANY_SIZE,) if self.smallest is None else self.smallest
        return choose_with_frontier(
            components,
            region=region,
            maximize=self.goal,
            smallest=usual_sizes(components, region) if sizes == "search" else sizes,
        )


def tune(
    run: Path | str,
    *,
    maximize: str | Goal = "dice",
    region: str | None = None,
    smallest: Smallest = None,
    device: str | torch.device = "cpu",
    track: Track = silent,
    say: Say = say_nothing,
) -> Chosen:
    """Choose the operating point of every region of a run, or of one, and store it.

    As :func:`tune_source`. ``maximize`` is an objective or a :class:`Goal` with its limits.
    ``smallest`` are the smallest components to choose from: None keeps components of any size,
    "search" tries 0 and the powers of two up to half the median object, and others are plain
    numbers of voxels, "5 mm³", or of photographs "5 mm²". With sizes, and for goals that count
    objects, thresholds are those of the component table's grid. Raises :class:`RunError` for a
    folder that is no finished run.
    """
    source = NetworkSource.open(run, device=device)
    rule = Rule.of(maximize, smallest)
    choices = tune_source(source, rule, region=region, track=track, say=say)
    return {name: choice.found for name, choice in choices.items()}


@one_writer("source.root")
def tune_source(
    source: ScoreSource,
    rule: Rule | None = None,
    *,
    region: str | None = None,
    track: Track = silent,
    say: Say = say_nothing,
) -> Mapping[str, PointChoice]:
    """Choose the operating point of every region of some scores, or of one, and store it.

    Points are chosen on the validation cases alone, by the source's own objective where no rule is
    given. A region without a positive validation case, or whose cases keep no limit, gets no point
    and the reason; a point that was in use stays. The frontier of each region is said, and kept
    with the point. Raises :class:`UsageError` for an unknown region.
    """
    asked_regions(source.classes.regions, region)
    tables = source.tables(track)
    rule = rule or Rule.usual(source.decision)
    names = asked_regions(source.regions(track), region)
    choices = {name: rule.choose(tables, name) for name in names}
    source.keep(source.decisions().choose(choices))
    for choice in choices.values():
        for line in describe_choice(choice):
            say(line)
    return choices


def describe(found: OperatingPoint | Infeasible) -> str:
    """Return one line that says where the cut lies, what it reaches and on how many cases."""
    if isinstance(found, Infeasible):
        return f"{found.region}: no operating point: {found.reason}."
    negatives = f", {found.n_negative} negative" if found.n_negative else ""
    groups = "images taken as independent" if found.assumes_independent_images else "groups"
    return (
        f"{found.region}: {_cut(found)}; on {found.n_positive} positive"
        f"{negatives} {found.role or 'scored'} cases ({found.n_groups} {groups}): dice "
        f"{format_value(found.mean_dice)}"
        + (f", {format_value(found.share_clean)} of negatives without alarm" if negatives else "")
    )


def describe_choice(choice: PointChoice) -> list[str]:
    """Return what was chosen, what is known of it, and one line for every point of the frontier."""
    found = choice.found
    lines = [describe(found)]
    if choice.one_bin is not None:
        lines.append(f"  {found.region}: {choice.one_bin.sentence}.")
    if choice.costs is not None:
        lines.append(f"  {_cost_line(choice.costs)}")
    if isinstance(found, Infeasible):
        lines += [f"  {_frontier_line(point)}" for point in choice.frontier.points]
    elif found.objective != BY_HAND:
        best = "the value there" if found.evidence is not None else "the largest value"
        lines.append(f"  {best}: {format_value(found.value)} for {found.objective}")
        lines += [f"  {line}" for line in evidence_lines(found)]
        lines += [f"  {_frontier_line(point)}" for point in choice.frontier.points]
    return lines


def _cost_line(costs: ImageCosts) -> str:
    """Return what flagging every image, or none, costs beside the cheapest point."""
    told = f"every image {costs.everything:.4g}, none {costs.nothing:.4g}"
    beside = f"flagging {told}, the cheapest point {costs.least:.4g} an image"
    if costs.cheapest is None:
        return beside
    which = {"everything": "every image", "nothing": "no image"}[costs.cheapest]
    return f"flagging {which} is cheapest ({beside})"


def _cut(point: OperatingPoint | FrontierPoint) -> str:
    """Return where a cut lies: "threshold 0.3, components of 5 or more, gate 0.9"."""
    size = point.smallest_component
    return (
        f"threshold {point.threshold:.4g}"
        + (f", components of {size} or more" if size.removes else "")
        + (f", gate {point.gate:.4g}" if point.gate > 0 else "")
    )


def _frontier_line(point: FrontierPoint) -> str:
    """Return one point of the frontier in words; what is undefined is left out."""
    told: list[tuple[str, Value]] = [
        ("cost", point.cost),
        ("dice", point.mean_dice),
        ("found", point.found),
        ("recall", point.recall),
        ("precision", point.precision),
        ("false alarms", point.false_alarm_rate),
        ("false components per case", point.false_positives_per_case),
    ]
    numbers = ", ".join(f"{name} {value:.3f}" for name, value in told if is_defined(value))
    notes = f" ← {', '.join(point.notes)}" if point.notes else ""
    return f"{_cut(point)}: {numbers}{notes}"
