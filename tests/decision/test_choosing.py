"""Goals, limits and joint search, against the masks themselves."""

from __future__ import annotations

import json
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rareseg.decision.operating_point import (
    Goal,
    Infeasible,
    Limit,
    OperatingPoint,
    choose_operating_point,
    choose_with_frontier,
    make_goal,
    usual_sizes,
)
from rareseg.errors import UsageError
from rareseg.evaluation.metrics.objects import match_objects
from rareseg.evaluation.metrics.overlap import count_masks
from rareseg.evaluation.tables.component_table import ComponentTable, components_of_case
from rareseg.evaluation.tables.score_table import ScoreTable, score_case
from rareseg.evaluation.tables.threshold_bins import bin_edges, bin_of
from rareseg_runner.components import label_components
from rareseg_runner.decision.component_size import ANY_SIZE, Size
from rareseg_runner.decision.cut_point import apply_point

GRID = tuple(bin_of(x) for x in (0.125, 0.25, 0.5, 0.75))
THRESHOLDS = tuple(float(bin_edges()[at]) for at in GRID)
SIZES = (0, 2, 3)

drawings = st.lists(
    st.tuples(
        hnp.arrays(np.float32, (3, 4), elements=st.sampled_from([0.0, 0.2, 0.3, 0.6, 0.8, 0.9])),
        hnp.arrays(np.bool_, (3, 4), elements=st.sampled_from([False, False, True])),
        st.booleans(),
    ).map(lambda drawn: (drawn[0], drawn[1] & drawn[2])),
    min_size=1,
    max_size=5,
)

GOALS = (
    Goal(),
    Goal("f-beta", beta=2.0),
    Goal("youden"),
    Goal("youden", level="image"),
    Goal("cost", cost_false_negative=10.0),
    Goal("cost", cost_false_positive=2.0, level="object"),
    Goal("cost", cost_false_negative=3.0, level="image"),
    Goal(limits=(Limit("recall", 0.6, "voxel"),)),
    Goal(limits=(Limit("precision", 0.7, "voxel"), Limit("recall", 0.5, "object"))),
    Goal(limits=(Limit("false positives per case", 0.3, "object"),)),
    Goal("f-beta", beta=0.5, limits=(Limit("false alarm rate", 0.4, "image"),)),
)


def scores_of(cases, group=None):
    return ScoreTable(
        tuple(
            score_case(s, r, case_id=f"{i:03}", region="r", group=group and group(i))
            for i, (s, r) in enumerate(cases)
        )
    )


def components_of(cases):
    rows = (
        components_of_case(s, r, case_id=f"{i:03}", region="r", grid=GRID)
        for i, (s, r) in enumerate(cases)
    )
    return ComponentTable(tuple(rows), GRID)


def share(hits, trials):
    return sum(hits) / sum(trials) if sum(trials) else np.nan


def unmatched(reference, mask):
    """Components that are no object and objects that are no component, one to one by overlap."""
    components, n_components = label_components(mask)
    objects, n_objects = label_components(reference)
    pairs = []
    for k in range(1, n_components + 1):
        for component in range(1, n_objects + 1):
            both = ((components == k) & (objects == component)).sum()
            iou = both / ((components == k) | (objects == component)).sum()
            pairs += [(-iou, k, component)] if iou >= 0.1 else []
    components_left, objects_left = set(range(1, n_components + 1)), set(range(1, n_objects + 1))
    for _, k, component in sorted(pairs):
        if k in components_left and component in objects_left:
            components_left.remove(k)
            objects_left.remove(component)
    return len(components_left), len(objects_left)


def costs_by_masks(cases, point, goal):
    """What each case costs, read off finished masks."""
    costs = []
    for scores, reference in cases:
        mask = apply_point(scores, point)
        counts = count_masks(mask, reference)
        wrong, missed = {
            "voxel": (counts.fp, counts.fn),
            "object": unmatched(reference, mask),
            "image": (
                counts.fp > 0 and not reference.any(),
                counts.tp == 0 and reference.any(),
            ),
        }[goal.level]
        costs.append(goal.cost_false_positive * wrong + goal.cost_false_negative * missed)
    return np.array(costs, float)


def by_masks(cases, point, goal):
    """The goal's definition read off finished masks: (objective, whether the limits are kept)."""
    masks = [apply_point(scores, point) for scores, _ in cases]
    counts = [count_masks(m, r) for m, (_, r) in zip(masks, cases, strict=True)]
    objects = [match_objects(r, m) for m, (_, r) in zip(masks, cases, strict=True)]
    positive = [r.any() for _, r in cases]
    pos = [c for c, p in zip(counts, positive, strict=True) if p]
    neg = [c for c, p in zip(counts, positive, strict=True) if not p]
    false = [len(x.false_positive_sizes) for x in objects]
    recalls = {
        "voxel": np.mean([c.tp / (c.tp + c.fn) for c in pos]),
        "object": share([x.n_found for x in objects], [len(x.sizes) for x in objects]),
        "image": np.mean([c.tp > 0 for c in pos]),
    }
    found = sum(x.n_found for x in objects)
    precisions = {
        "voxel": share([c.tp for c in counts], [c.tp + c.fp for c in counts]),
        "object": share([found], [found + sum(false)]),
    }
    alarms = np.mean([c.fp > 0 for c in neg]) if neg else np.nan
    if goal.maximize == "dice":  # every case is its own group
        overlap = np.mean([2 * c.tp / (2 * c.tp + c.fn + c.fp) for c in pos])
        weight = len(neg) / (len(neg) + 0.25)
        value = overlap * (1 - weight * alarms) if neg else overlap
    elif goal.maximize == "f-beta":
        b = goal.beta**2
        overlap = np.mean([(1 + b) * c.tp / ((1 + b) * c.tp + b * c.fn + c.fp) for c in pos])
        value = (overlap + 1 - alarms) / 2 if neg else overlap
    elif goal.maximize == "youden" and goal.level == "image":
        value = recalls["image"] - alarms
    elif goal.maximize == "youden":
        outside = [c for c in counts if c.tn + c.fp]
        value = recalls["voxel"] + np.mean([c.tn / (c.tn + c.fp) for c in outside]) - 1
    else:
        value = -costs_by_masks(cases, point, goal).mean()
    kept = True
    for limit in goal.limits:
        number = {
            "recall": recalls.get(limit.level),
            "precision": precisions.get(limit.level),
            "false positives per case": np.mean(false),
            "false alarm rate": alarms,
        }[limit.kind]
        inside = number >= limit.bound - 1e-9 if limit.at_least else number <= limit.bound + 1e-9
        kept = kept and bool(inside)
    return value, kept


@settings(max_examples=25)
@given(cases=drawings, goal=st.sampled_from(GOALS))
def test_no_point_that_keeps_the_limits_is_better(cases, goal):
    table = components_of(cases)
    answer = choose_operating_point(table, region="r", maximize=goal, smallest=SIZES)
    gates = np.unique([0.0, *(s.max() for s, _ in cases)])
    reachable = []
    if any(r.any() for _, r in cases) and (
        goal.level == "voxel" or any(not r.all() for _, r in cases)
    ):
        for t, s, g in product(THRESHOLDS, SIZES, gates):
            value, kept = by_masks(cases, OperatingPoint("r", t, float(g), s), goal)
            if kept and not np.isnan(value):
                reachable.append(value)
    if isinstance(answer, Infeasible):
        nothing = goal.maximize == "dice" and max(reachable, default=0.0) == 0.0
        assert nothing or not reachable or "needs" in answer.reason or "flagged" in answer.reason
        return
    value, kept = by_masks(cases, answer, goal)
    assert kept
    assert answer.value == pytest.approx(value)
    if goal.maximize == "dice":  # smoothed, so that another point can be better as it stands
        assert 0 < value <= max(reachable) + 1e-9
        return
    if goal.maximize == "cost":
        assert_among_the_cheapest(cases, answer, goal, gates)
        return
    silent, silent_kept = by_masks(cases, OperatingPoint("r", 1.0), goal)
    if answer.threshold not in THRESHOLDS:  # silence is taken where it is no worse
        assert max(reachable) < silent + 0.01 + 1e-9
        assert silent_kept
    else:
        assert value == pytest.approx(max(reachable))


def assert_among_the_cheapest(cases, answer, goal, gates):
    """No dearer than the least by one standard error, and of those of most dice; or silent."""
    points = [OperatingPoint("r", t, float(g), s) for t, s, g in product(THRESHOLDS, SIZES, gates)]
    costs = [costs_by_masks(cases, point, goal) for point in points]
    kept = [by_masks(cases, point, goal)[1] for point in points]
    means = [own.mean() for own, ok in zip(costs, kept, strict=True) if ok]
    silent = costs_by_masks(cases, OperatingPoint("r", 1.0), goal).mean()
    if answer.threshold not in THRESHOLDS:
        assert silent <= min(means) + 1e-9
        return
    n = len(cases)
    # Of several points of least cost any may be the one whose error counts.
    errors = [
        own.std(ddof=1) / np.sqrt(n) if n > 1 else 0.0
        for own, ok in zip(costs, kept, strict=True)
        if ok and own.mean() <= min(means) + 1e-9
    ]
    own = costs_by_masks(cases, answer, goal).mean()
    assert own <= min(min(means) + max(errors), silent) + 1e-9
    floor = min(min(means) + min(errors), silent - 1e-9) + 1e-12
    positives = [case for case in cases if case[1].any()]
    best = max(
        (
            mean_dice(positives, point)
            for point, cost, ok in zip(points, costs, kept, strict=True)
            if ok and cost.mean() <= floor
        ),
        default=0.0,
    )
    assert mean_dice(positives, answer) >= best - 1e-9


def mean_dice(cases, point):
    counts = [count_masks(apply_point(scores, point), reference) for scores, reference in cases]
    return np.mean([2 * c.tp / (2 * c.tp + c.fn + c.fp) for c in counts])


def test_costs_by_image_do_not_ask_for_masks_over_everything():
    """Of 12 photographs six hold a scratch that scores 0.6 where it is seen, and 0.01 elsewhere."""
    rng = np.random.default_rng(0)
    cases = []
    for k in range(12):
        reference = np.zeros((16, 16), bool)
        scores = rng.uniform(1e-4, 0.02, (16, 16)).astype(np.float32)
        if k % 2:
            reference[4:8, 4:8] = True
            seen = slice(4, 8) if k % 3 else slice(10, 14)  # two are seen elsewhere
            scores[seen, seen] = 0.6
        cases.append((scores, reference))
    goal = make_goal("cost", cost_false_positive=1, cost_false_negative=20, level="image")
    point = choose_operating_point(scores_of(cases), region="r", maximize=goal)
    on = [apply_point(scores, point).mean() for scores, _ in cases]
    assert max(on) < 0.2
    assert "where 0.5 of the images are positive, as here" in point.objective


class TestPrevalence:
    CASES = tuple(
        (np.full((2, 2), score, np.float32), np.array([[label, 0], [0, 0]], bool))
        for score, label in [(0.9, 1), (0.5, 1), (0.5, 0), (0.4, 0), (0.3, 0), (0.2, 0)] * 12
    )

    def point(self, prevalence):
        goal = make_goal(
            "cost",
            cost_false_positive=1,
            cost_false_negative=1,
            level="image",
            prevalence=prevalence,
        )
        return choose_operating_point(scores_of(self.CASES), region="r", maximize=goal)

    def test_where_positives_are_common_more_is_found(self):
        assert self.point(0.9).threshold <= 0.5
        assert self.point(0.02).threshold > 0.5
        assert "where 0.02 of the images are positive" in self.point(0.02).objective

    def test_the_value_is_the_cost_at_that_prevalence(self):
        point = self.point(0.02)
        # Half of the positives are missed and no negative alarms.
        assert point.value == pytest.approx(-0.02 * 0.5)

    def test_it_needs_negatives_and_costs(self):
        positives = scores_of([case for case in self.CASES if case[1].any()])
        goal = make_goal("cost", level="image", prevalence=0.1)
        found = choose_operating_point(positives, region="r", maximize=goal)
        assert isinstance(found, Infeasible)
        assert "need a negative case" in found.reason
        with pytest.raises(UsageError, match="changes nothing"):
            make_goal("dice", prevalence=0.1)
        with pytest.raises(UsageError, match="above 0 and below 1"):
            make_goal("cost", prevalence=1.0)


@settings(max_examples=25)
@given(cases=drawings)
def test_a_goal_without_components_needs_only_scores(cases):
    on_grid = [(np.where(s > 0, s, 0), r) for s, r in cases]
    goal = Goal("cost", cost_false_negative=4.0)
    from_scores = choose_operating_point(scores_of(on_grid), region="r", maximize=goal)
    if isinstance(from_scores, Infeasible):
        return
    value, _ = by_masks(on_grid, from_scores, goal)
    assert from_scores.value == pytest.approx(value)


def test_a_small_component_is_removed_where_that_alone_helps():
    reference = np.zeros((8, 8), bool)
    reference[:3, :3] = True
    scores = np.where(reference, 0.8, 0.1).astype(np.float32)
    scores[6, 6] = 0.9  # a speck that scores more than the object
    alarm = np.full((8, 8), 0.1, np.float32)
    alarm[2, 2] = 0.8
    cases = [(scores, reference), (alarm, np.zeros((8, 8), bool))]
    table = components_of(cases)
    point = choose_operating_point(table, region="r", smallest=(0, 2, 4))
    assert (point.smallest_component, point.value) == (Size(2, "pixels"), 1.0)
    # Components of any size stay unless sizes are asked for.
    assert choose_operating_point(table, region="r").smallest_component == ANY_SIZE
    assert usual_sizes(table, "r") == (
        ANY_SIZE,
        Size(2, "pixels"),
        Size(4, "pixels"),
    )


def test_limits_out_of_reach_say_how_near_the_cases_come():
    cases = [(np.array([[0.6, 0.2]], np.float32), np.array([[True, False]]))] * 2
    cases.append((np.array([[0.9, 0.2]], np.float32), np.zeros((1, 2), bool)))
    table = scores_of(cases)
    goal = make_goal(recall=0.5, false_alarm_rate=0.1)
    answer = choose_operating_point(table, region="r", maximize=goal)
    assert isinstance(answer, Infeasible)
    assert answer.reason == (
        "no threshold, size and gate keeps recall at least 0.5 and false alarm rate at most 0.1 "
        "together; each alone can be kept"
    )
    low = choose_operating_point(table, region="r", maximize=make_goal(precision=0.9))
    assert isinstance(low, Infeasible)
    assert low.reason.endswith("precision at least 0.9 is out of reach: these cases come to 0.6667")
    quiet = choose_operating_point(table, region="r", maximize=make_goal(false_alarm_rate=0.1))
    assert isinstance(quiet, Infeasible)
    assert quiet.reason == "only predicting nothing at all keeps false alarm rate at most 0.1"


def test_a_limit_is_kept():
    rng = np.random.default_rng(3)
    cases = noisy_cases(rng, 24)
    table = scores_of(cases)
    goal = make_goal(recall=0.8)
    point = choose_operating_point(table, region="r", maximize=goal)
    assert by_masks(cases, point, goal)[1]
    assert point.objective == "dice, recall at least 0.8"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Goal("dcie"), "did you mean 'dice'"),
        (lambda: Goal("youden", level="object"), "true negatives"),
        (lambda: Goal("cost", cost_false_positive=0.0, cost_false_negative=0.0), "both 0"),
        (lambda: make_goal(beta=2.0), "ask for 'f-beta'"),
        (lambda: make_goal("youden", cost_false_positive=1.0), "contradict"),
        (lambda: make_goal(recall=1.2), "recall of 1.2"),
        (lambda: make_goal(level="pixel"), "level 'pixel'"),
        (lambda: Limit("false alarm rate", 0.1, "voxel"), "level 'image'"),
        (lambda: Limit("recal", 0.1, "voxel"), "did you mean 'recall'"),
    ],
)
def test_goals_that_cannot_be_are_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def test_calls_that_the_table_cannot_answer_are_refused():
    table = scores_of([(np.array([[0.5]], np.float32), np.array([[True]]))])
    with pytest.raises(UsageError, match="components, which score tables do not see"):
        choose_operating_point(table, region="r", maximize=make_goal(false_positives_per_case=1.0))
    with pytest.raises(UsageError, match="components, which score tables do not see"):
        choose_operating_point(table, region="r", smallest=(0, 5))
    answer = choose_operating_point(table, region="r", maximize=Goal("youden", level="image"))
    assert isinstance(answer, Infeasible)
    assert "needs a negative case" in answer.reason


def noisy_cases(rng, n, side=10, shift=0.0):
    """Every second case holds an object, well or hardly seen; a case has its own level of noise."""
    cases = []
    for i in range(n):
        reference = np.zeros((side, side), bool)
        if i % 2:
            y, x = rng.integers(0, side - 3, 2)
            reference[y : y + 3, x : x + 3] = True
        odds = rng.normal(-4.0 + shift, 1.0, (side, side)) + rng.normal(0.0, 1.0)
        odds += reference * rng.normal(4.5, 2.0)
        cases.append(((1.0 / (1.0 + np.exp(-odds))).astype(np.float32), reference))
    return cases


def test_the_frontier_holds_what_no_other_point_beats():
    cases = noisy_cases(np.random.default_rng(2), 30)
    choice = choose_with_frontier(scores_of(cases), region="r")
    points = choice.frontier.points
    notes = {note for point in points for note in point.notes}
    assert notes == {"chosen", "usual"}
    plain = [point for point in points if not point.notes]
    for a, b in pairwise(plain):
        assert a.false_alarm_rate < b.false_alarm_rate
        assert a.recall < b.recall
    for point in points:
        cut = OperatingPoint("r", point.threshold, point.gate, point.smallest_component)
        assert point.value == pytest.approx(by_masks(cases, cut, Goal())[0])
    record = json.loads(json.dumps([point.to_dict() for point in points]))
    assert record[0]["false_positives_per_case"] == {
        "undefined": "score tables do not see components"
    }
