"""Choose the operating points of a run's model from its select cases."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from rareseg.data.files import atomic_write
from rareseg.data.records import Case, Role
from rareseg.decision.operating_point import (
    BY_HAND,
    Choice,
    Frontier,
    FrontierPoint,
    Goal,
    Infeasible,
    OperatingPoint,
    choose_with_frontier,
    fixed_point,
    usual_sizes,
)
from rareseg.errors import UsageError, nearest
from rareseg.evaluation.component_storage import load_components, save_components
from rareseg.evaluation.component_table import ComponentTable
from rareseg.evaluation.scores import ScoreTable
from rareseg.evaluation.storage import load_table, save_table
from rareseg.evaluation.values import Value, format_value, is_defined
from rareseg.prediction.bundle import Bundle, load_bundle, save_points
from rareseg.prediction.predictor import Predictor
from rareseg.progress import Track, silent
from rareseg.report.evidence import evidence_lines
from rareseg.run.folder import DataOptions, RunFolder, open_run, read_about, read_split
from rareseg.run.model_card import write_model_card
from rareseg.run.prepare import Say, nobody
from rareseg.run.scoring import score_all

Chosen = Mapping[str, OperatingPoint | Infeasible]
"""What was found for each region: a point, or why there is none."""


@dataclass(frozen=True)
class Rule:
    """What is maximised, and over which smallest components; see :func:`tune`.

    With ``threshold`` nothing is searched: the cut is this one, with ``gate`` and the one smallest
    component that is given.
    """

    goal: Goal
    smallest: tuple[int, ...] | Literal["search"] | None = None
    threshold: float | None = None
    gate: float = 0.0

    @classmethod
    def of(cls, maximize: str | Goal, smallest: Sequence[int] | str | None = None) -> Rule:
        """Return the rule; raises :class:`UsageError` for what is none."""
        if isinstance(smallest, str) and smallest != "search":
            raise UsageError(
                f"Smallest components are numbers of voxels, or 'search'; got {smallest!r}."
            )
        goal = maximize if isinstance(maximize, Goal) else Goal(maximize)  # type: ignore[arg-type]
        if smallest is None:
            return cls(goal)
        return cls(goal, "search" if isinstance(smallest, str) else tuple(smallest))

    @classmethod
    def by_hand(cls, threshold: float, *, smallest: int = 0, gate: float = 0.0) -> Rule:
        """Return the rule that takes a cut as it is given."""
        return cls(Goal("dice"), (smallest,), threshold, gate)

    def choose(self, tables: tuple[ScoreTable, ComponentTable], region: str) -> Choice:
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
            return Choice(found, Frontier())
        if self.smallest is None and not self.goal.needs_components:
            return choose_with_frontier(scores, region=region, maximize=self.goal)
        sizes = (0,) if self.smallest is None else self.smallest
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
    smallest: Sequence[int] | str | None = None,
    device: str | torch.device = "cpu",
    track: Track = silent,
    say: Say = nobody,
) -> Chosen:
    """Choose the operating point of every region, or of one, and store it in the run's bundle.

    As :func:`choose_points`, without the frontier. ``maximize`` is an objective or a :class:`Goal`
    with its limits. ``smallest`` are the smallest components to choose from: None keeps components
    of any size, "search" tries 0 and the powers of two up to half the median lesion. With sizes,
    and for goals that count lesions, thresholds are those of the component table's grid.
    """
    rule = Rule.of(maximize, smallest)
    choices = choose_points(run, rule, region=region, device=device, track=track, say=say)
    return {name: choice.found for name, choice in choices.items()}


def choose_points(
    run: Path | str,
    rule: Rule,
    *,
    region: str | None = None,
    device: str | torch.device = "cpu",
    track: Track = silent,
    say: Say = nobody,
) -> Mapping[str, Choice]:
    """Choose the operating point of every region, or of one; store it and what it was chosen from.

    Points are chosen on the select cases alone. A region without a positive select case, or whose
    cases keep no limit, gets no point and the reason. The frontier of each region is said, and
    written to ``decision.json``. Raises :class:`UsageError` for an unknown region and
    :class:`RunError` for a folder that is no finished run.
    """
    folder = open_run(Path(run))
    bundle = load_bundle(folder.bundle)
    regions = asked_regions(bundle.classes.regions, region)
    tables = select_tables(folder, bundle, device=device, track=track)
    choices = {name: rule.choose(tables, name) for name in regions}
    points = {name: choice.found for name, choice in choices.items()}
    save_points(
        folder.bundle,
        {name: point for name, point in points.items() if isinstance(point, OperatingPoint)},
    )
    write_choices(folder.decision, choices)
    write_model_card(folder)
    for choice in choices.values():
        for line in describe_choice(choice):
            say(line)
    return choices


def asked_regions(regions: Collection[str], region: str | None) -> tuple[str, ...]:
    """Return all regions, or the one that is asked for; UsageError where it is none of them."""
    if region is None:
        return tuple(regions)
    if region not in regions:
        raise UsageError(
            f"--region {region!r} is not a region of this model{nearest(region, regions)}; "
            f"allowed are {', '.join(regions)}."
        )
    return (region,)


def choice_record(choice: Choice) -> dict[str, Any]:
    """Return a choice as plain JSON values: the point or why there is none, and the frontier."""
    found = choice.found
    return {
        "found": {"infeasible": found.reason} if isinstance(found, Infeasible) else found.to_dict(),
        "frontier": [point.to_dict() for point in choice.frontier.points],
    }


def write_choices(path: Path, choices: Mapping[str, Choice]) -> None:
    """Write what was chosen from, in place of what was written for these regions before."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known |= {name: choice_record(choice) for name, choice in choices.items()}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def select_tables(
    folder: RunFolder, bundle: Bundle, *, device: str | torch.device, track: Track = silent
) -> tuple[ScoreTable, ComponentTable]:
    """Return the scores and the components of the run's select cases, which are found once.

    Of a run in folds, those of the cases that were learnt from, each by the network that had not
    seen it; training wrote them.
    """
    if folder.folds.is_file():
        return load_table(folder.scores("out-of-fold")), load_components(
            folder.components("out-of-fold")
        )
    scores, components = folder.scores("select"), folder.components("select")
    if scores.is_file() and components.is_file():
        return load_table(scores), load_components(components)
    scored = score_all(
        Predictor(bundle, device=device),
        cases_of(folder, "select"),
        role="select",
        closely=True,
        track=track,
        doing="scoring select cases",
    )
    save_components(scored.components, components)
    save_table(scored.table, scores)
    return scored.table, scored.components


def cases_of(folder: RunFolder, role: Role) -> list[Case]:
    """Return the run's cases that play ``role``."""
    roles = read_split(folder.split)
    dataset = DataOptions(**read_about(folder)).open()
    return [case for case in dataset.cases if roles.get(case.id) == role]


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
        + (f", {format_value(found.share_clean)} of negatives left clean" if negatives else "")
    )


def describe_choice(choice: Choice) -> list[str]:
    """Return what was chosen, what is known of it, and one line for every point of the frontier."""
    found = choice.found
    lines = [describe(found)]
    if choice.one_bin is not None:
        lines.append(f"  {found.region}: {choice.one_bin.sentence}.")
    if isinstance(found, OperatingPoint) and found.objective != BY_HAND:
        best = "the value there" if found.evidence is not None else "the largest value"
        lines.append(f"  {best}: {format_value(found.value)} for {found.objective}")
        lines += [f"  {line}" for line in evidence_lines(found)]
        lines += [f"  {_frontier_line(point)}" for point in choice.frontier.points]
    return lines


def _cut(point: OperatingPoint | FrontierPoint) -> str:
    """Return where a cut lies: "threshold 0.3, components of 5 or more, gate 0.9"."""
    size = point.smallest_component
    return (
        f"threshold {point.threshold:.4g}"
        + (f", components of {size} voxels or more" if size else "")
        + (f", gate {point.gate:.4g}" if point.gate > 0 else "")
    )


def _frontier_line(point: FrontierPoint) -> str:
    """Return one point of the frontier in words; what is undefined is left out."""
    told: list[tuple[str, Value]] = [
        ("dice", point.mean_dice),
        ("recall", point.recall),
        ("precision", point.precision),
        ("false alarms", point.false_alarm_rate),
        ("false components per case", point.false_positives_per_case),
    ]
    numbers = ", ".join(f"{name} {value:.3f}" for name, value in told if is_defined(value))
    notes = f" ← {', '.join(point.notes)}" if point.notes else ""
    return f"{_cut(point)}: {numbers}{notes}"
