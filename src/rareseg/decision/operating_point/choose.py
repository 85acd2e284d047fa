"""Choose a region's operating point from score tables or component tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from rareseg.data.records import Role
from rareseg.decision.default_point.case_curves import group_shares
from rareseg.decision.default_point.choose_default import choose_default
from rareseg.decision.default_point.point_evidence import PointEvidence
from rareseg.decision.default_point.smoothed_objective import alarm_weight
from rareseg.decision.operating_point.frontier import Frontier, frontier_of
from rareseg.decision.operating_point.point import Infeasible, OperatingPoint
from rareseg.decision.point_search.candidate_grid import candidates_near
from rareseg.decision.point_search.component_sizes import fitting_sizes, usual_sizes
from rareseg.decision.point_search.criteria import (
    CLEAN,
    DICE,
    SPECIFICITY,
    Criterion,
    DefaultObjective,
    Grid,
    Ints,
    LinearObjective,
    Row,
    limit_measure,
    terms_of,
)
from rareseg.decision.point_search.grid_search import (
    TIE,
    Best,
    PointSearch,
    find_best,
    keeps,
    over_gates,
)
from rareseg.decision.point_search.image_costs import ImageCosts, image_costs, why_refused
from rareseg.decision.point_search.least_cost import find_least_cost
from rareseg.decision.point_search.objectives import Goal, Limit
from rareseg.errors import UsageError
from rareseg.evaluation.metrics.overlap import occurring_bins
from rareseg.evaluation.statistics.intervals import count_groups, group_numbers
from rareseg.evaluation.statistics.undefined import Undefined, Value
from rareseg.evaluation.tables.component_table import ComponentTable
from rareseg.evaluation.tables.score_table import CaseScores, ScoreTable
from rareseg.evaluation.tables.single_bin import OneBin, find_one_bin
from rareseg.evaluation.tables.threshold_bins import N_BINS, bin_edges, bin_of
from rareseg_runner.decision.component_size import ANY_SIZE, Size, SizeLike, as_sizes

Table: TypeAlias = ScoreTable | ComponentTable

SILENCE_MARGIN = 0.01
"""By how much F-beta and Youden's J must beat predicting nothing anywhere."""


@dataclass(frozen=True)
class PointChoice:
    """What was chosen for a region, and the frontier: what can be had instead.

    ``costs``, of a goal that costs images, compare the point with flagging every image, or none.
    ``one_bin`` is known where the scores hardly differ, so that every threshold takes all or none.
    """

    found: OperatingPoint | Infeasible
    frontier: Frontier
    costs: ImageCosts | None = None
    one_bin: OneBin | None = None


def choose_operating_point(
    table: Table,
    *,
    region: str,
    maximize: str | Goal = "dice",
    smallest: Sequence[SizeLike] | None = None,
) -> OperatingPoint | Infeasible:
    """Return the threshold, smallest component and gate to use, from the cases of ``table``.

    ``maximize`` is a :class:`Goal`, or the name of an objective. The usual one, "dice", is the
    default point,

        (t, g) = argmax D̃(t, g)·(1 − w·Ã(t, g)),   w = n / (n + ¼),

    over threshold t and gate g, with D the mean over groups of the mean dice of their positive
    cases, A the mean over groups of the share of their negative cases with anything on, n the
    number of groups that have one, and ˜ a Gaussian over the log-odds of t and g, of
    σ = min(1, ½ of the interquartile range of the cases' image scores in log-odds, each less the
    median of the positive, or of the negative, cases). "No gate" is not smoothed over g. A case
    that the gate holds back has dice 0, or no alarm. If nothing is found at the point as it stands,
    unsmoothed, the best unsmoothed point is taken. Where the upper limit of the area under the
    image-level ROC curve lies below 0.6, scores do not tell positive cases from negative ones, and
    the point is 0.5, if it finds anything. Limits are kept unsmoothed, and the same is maximised
    among the points that keep them. ``evidence`` says what the point reaches on groups left out of
    the choice.

    For "cost" the point of most dice within one standard error (over groups) of the least cost is
    taken; by images it is refused where the images that it flags may be positive no more often than
    all are (:func:`~rareseg.decision.point_search.image_costs.why_refused`). The other
    objectives are maximised as they stand, each case weighing the same. Where they do not beat
    predicting nothing (F-beta and Youden's J by :data:`SILENCE_MARGIN`), the threshold lies above
    all scores that occur and there is no gate.

    Searched are, jointly: of a :class:`ScoreTable` every bin that occurs, for "dice" bins at most
    ⅛ apart in log-odds, × the gates between two neighbouring image scores; of a
    :class:`ComponentTable` the thresholds of its grid × the sizes ``smallest`` (where None, 0 for
    "dice" and :func:`usual_sizes` for the others; "5 mm³", "5 mm²", or plain numbers of voxels) ×
    the gates. Ties go to the middle of the widest
    plateau; a gate is set only where it gains something.

    Infeasible where no case holds the region, or no point keeps the goal's limits. Raises
    UsageError where the region is not in the table, an objective is unknown, a goal counts objects
    and the table does not, or the cases have several roles (choosing on test cases must be meant:
    ``table.select(roles=["validation"])``).
    """
    return choose_with_frontier(table, region=region, maximize=maximize, smallest=smallest).found


def choose_with_frontier(
    table: Table,
    *,
    region: str,
    maximize: str | Goal = "dice",
    smallest: Sequence[SizeLike] | None = None,
) -> PointChoice:
    """Return what :func:`choose_operating_point` does, and the frontier that it was chosen from."""
    goal = maximize if isinstance(maximize, Goal) else Goal(maximize)  # type: ignore[arg-type]
    _require_possible(goal, table, smallest)
    rows = [row for row in table.select(region=region).rows if row.n_voxels > 0]
    role = only_role(rows, region)
    problem = _pose(table, rows, goal, smallest)
    if isinstance(problem, str):
        return PointChoice(Infeasible(region, problem), Frontier())
    evidence = None
    if isinstance(problem.terms, DefaultObjective):
        chosen = choose_default(problem)
        best, evidence = (None, None) if chosen is None else chosen
    else:
        best = find_least_cost(problem) if goal.maximize == "cost" else find_best(problem)
    if best is None:
        return PointChoice(Infeasible(region, _out_of_reach(problem)), Frontier())
    found = _point_of(problem, best, region=region, goal=goal, role=role, evidence=evidence)
    candidates = candidates_near(problem, best, Frontier.measures(table))
    share_positive = found.n_positive / len(problem.rows)
    costs = image_costs(goal, share_positive=share_positive, least=-best.value)
    refused = None
    if goal.maximize == "cost" and goal.level == "image" and found.mean_dice != 0.0:
        cut = _cut_at(problem, best.threshold, best.smallest_component)
        refused = why_refused(problem, cut, best.gate, goal.prevalence or share_positive)
    frontier = frontier_of(
        problem,
        candidates,
        found,
        name="chosen" if refused is None else "refused",
        by_cost=goal.maximize == "cost",
    )
    one_bin = find_one_bin(table, region=region) if isinstance(table, ScoreTable) else None
    return PointChoice(Infeasible(region, refused) if refused else found, frontier, costs, one_bin)


def _point_of(
    problem: PointSearch,
    best: Best,
    *,
    region: str,
    goal: Goal,
    role: Role | None,
    evidence: PointEvidence | None,
) -> OperatingPoint:
    """Return the record of the best point, or of silence where that is no worse."""
    threshold, smallest, gate = best.threshold, best.smallest_component, best.gate
    plateau, at_edge = (best.low, best.high), best.at_edge
    edges = bin_edges()
    silence = _silence(problem, best, goal)
    if silence is not None:
        threshold, smallest, gate = float(edges[silence]), ANY_SIZE, 0.0
        plateau, at_edge = (silence, silence), True
    value, dice, clean = _at(problem, threshold, smallest, gate)
    groups = [row.group for row in problem.rows]
    n_positive = sum(row.n_inside > 0 for row in problem.rows)
    return OperatingPoint(
        region=region,
        threshold=threshold,
        gate=gate,
        smallest_component=smallest,
        objective=_words(goal, n_positive / len(groups)),
        value=value,
        mean_dice=dice,
        share_clean=clean,
        plateau=(float(edges[plateau[0]]), float(edges[plateau[1]])),
        role=role,
        n_positive=n_positive,
        n_negative=len(groups) - n_positive,
        n_groups=count_groups(groups),
        assumes_independent_images=None in groups,
        edge_of_grid=at_edge,
        evidence=evidence,
    )


def _words(goal: Goal, share_positive: float) -> str:
    """Return the goal's name; costs name the prevalence that they were weighed at."""
    if goal.maximize != "cost" or goal.prevalence is not None:
        return goal.name
    return f"{goal.name}, where {share_positive:.3g} of the images are positive, as here"


def _silence(problem: PointSearch, best: Best, goal: Goal) -> int | None:
    """Return the bin above all scores, where cutting there is no worse than the best point.

    What wins by so little is an accident: a gate that one case passes, and fills.
    """
    if isinstance(problem.terms, DefaultObjective):
        return None
    has_negatives = any(row.n_inside == 0 for row in problem.rows)
    above = int(problem.grid.bins[-1]) + 1
    if problem.grid.levels is not None:
        above = max(bin_of(row.top) for row in problem.rows) + 1
    if above >= N_BINS or not (has_negatives or goal.maximize == "cost"):
        return None
    _, ratios = next(over_gates(problem, problem.grid, problem.measures))
    silent = float(problem.value(ratios)[0, 0])
    margin = TIE if goal.maximize == "cost" else SILENCE_MARGIN
    return above if best.value < silent + margin else None


def _at(
    problem: PointSearch, threshold: float, smallest_component: Size, gate: float
) -> tuple[float, Value, Value]:
    """Return (objective, mean dice, specificity) at one point."""
    admitted = sum(np.float32(row.image_score) >= np.float32(gate) for row in problem.rows)
    if problem.grid.levels is not None and bin_of(threshold) > problem.grid.bins[-1]:
        threshold, admitted = float(bin_edges()[problem.grid.bins[0]]), 0  # nothing is on
    cut = _cut_at(problem, threshold, smallest_component)
    measures = (*problem.terms.measures, DICE, CLEAN)
    ratios = next(ratios for n, ratios in over_gates(problem, cut, measures) if n == admitted)
    dice, clean = (float(ratio[0, 0]) for ratio in ratios[-2:])
    value = float(problem.terms.value(ratios[:-2])[0, 0])
    negative = Undefined("no negative case to choose on")
    return value, dice, negative if np.isnan(clean) else clean


def _cut_at(problem: PointSearch, threshold: float, smallest_component: Size) -> Grid:
    """Return one point of the problem's grid as a grid of its own."""
    bins = np.array([bin_of(threshold)], np.int64)
    return replace(problem.grid.at(bins), sizes=(smallest_component,))


def _pose(
    table: Table, rows: Sequence[Row], goal: Goal, smallest: Sequence[SizeLike] | None
) -> PointSearch | str:
    """Return what is to be searched, or why there is nothing to choose on."""
    n_positive = sum(row.n_inside > 0 for row in rows)
    if n_positive == 0:
        region = rows[0].region if rows else None
        held = f"holds the region '{region}'" if region else "is there"
        return f"none of the {len(rows)} cases {held}; a threshold needs at least one positive case"
    has_negatives = n_positive < len(rows)
    if goal.maximize == "youden" and goal.level == "image" and not has_negatives:
        return "Youden's J of images needs a negative case, and there is none"
    # The gate admits the first m of them: those whose image score reaches it.
    ordered = tuple(sorted(rows, key=lambda row: (-row.image_score, row.case_id)))
    positive = np.array([row.n_inside > 0 for row in ordered], np.bool_)
    groups = group_numbers([row.group for row in ordered])
    terms: LinearObjective | DefaultObjective
    if goal.maximize == "dice":
        terms = DefaultObjective(alarm_weight(len(np.unique(groups[~positive]))))
    else:
        terms = terms_of(goal, share_positive=n_positive / len(rows))
    if goal.prevalence is not None and not has_negatives:
        return "costs at another prevalence need a negative case, and there is none"
    if SPECIFICITY in terms.measures and not any(row.n_voxels > row.n_inside for row in rows):
        return "Youden's J needs voxels outside the region, and there are none"
    if any(limit.kind == "false alarm rate" for limit in goal.limits) and not has_negatives:
        return "a false alarm rate needs a negative case, and there is none"
    if isinstance(table, ScoreTable):
        scores = [row for row in rows if isinstance(row, CaseScores)]
        grid = Grid(occurring_bins(scores), (ANY_SIZE,))
    else:
        bins: Ints = np.array(table.grid, np.int64)
        sizes: tuple[Size, ...] = (ANY_SIZE,)
        if smallest is not None:
            sizes = fitting_sizes(smallest, table)
        elif goal.maximize != "dice":
            sizes = usual_sizes(table, rows[0].region)
        matches = goal.maximize == "cost" and goal.level == "object"
        grid = Grid(bins, sizes, np.arange(len(bins)), len(bins), matches)
    return PointSearch(ordered, terms, goal.limits, grid, group_shares(positive, groups))


def _out_of_reach(problem: PointSearch) -> str:
    """Return which limits no point keeps, and how near the cases at hand come."""
    alone = []
    for limit in problem.limits:
        reached = _nearest(problem, limit, limit_measure(limit))
        if np.isnan(reached) or not keeps(limit, np.array(reached)):
            alone.append(f"{limit.sentence} is out of reach: these cases come to {reached:.4g}")
    if alone:
        return "; ".join(alone)
    both = " and ".join(limit.sentence for limit in problem.limits)
    _, silent = next(over_gates(problem, problem.grid, problem.measures))
    if problem.value(silent).max() > -np.inf:
        return f"only predicting nothing at all keeps {both}"
    return f"no threshold, size and gate keeps {both} together; each alone can be kept"


def _nearest(problem: PointSearch, limit: Limit, measure: Criterion) -> float:
    """Return the best value that a limited measure takes anywhere, silence among it."""
    reached = np.nan
    pick = np.fmax if limit.at_least else np.fmin
    for _, ratios in over_gates(problem, problem.grid, (measure,)):
        reached = float(pick(reached, pick.reduce(ratios[0], axis=None)))
    return reached


def _require_possible(goal: Goal, table: Table, smallest: Sequence[SizeLike] | None) -> None:
    """Raise UsageError where the call cannot be answered from such a table."""
    if isinstance(table, ComponentTable):
        return
    sizes = (ANY_SIZE,) if smallest is None else as_sizes(smallest)
    if goal.needs_components or sizes != (ANY_SIZE,):
        what = goal.name if goal.needs_components else "A smallest component"
        raise UsageError(
            f"{what[0].upper()}{what[1:]} is counted in components, which score tables do not see; "
            "give a component table (rareseg.evaluation.tables.component_table)."
        )


def only_role(rows: Sequence[Row], region: str) -> Role | None:
    """Return the role that all rows share."""
    roles = {row.role for row in rows}
    if len(roles) > 1:
        names = ", ".join(sorted(str(role) for role in roles))
        raise UsageError(
            f"The cases of region '{region}' have the roles {names}; choose on one role, such as "
            'table.select(roles=["validation"]).'
        )
    return next(iter(roles), None)
