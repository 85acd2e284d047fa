"""Costs by images: flagging every image or none is named, flags that say nothing are refused."""

from __future__ import annotations

import numpy as np
import pytest

from rareseg.decision.operating_point import (
    Infeasible,
    OperatingPoint,
    choose_with_frontier,
    make_goal,
)
from rareseg.decision.point_search.image_costs import ImageCosts
from rareseg.evaluation.statistics.intervals import clopper_pearson
from rareseg.evaluation.tables.component_table import components_of_cases
from rareseg.evaluation.tables.score_table import score_cases
from rareseg_runner.decision.cut_point import apply_point

SHAPE = (8, 8)


def world(positive, negative):
    """Images by their highest score; of a positive one a square of four pixels has it."""
    scores, references = {}, {}
    for k, (top, holds) in enumerate([*((t, 1) for t in positive), *((t, 0) for t in negative)]):
        score = np.full(SHAPE, 0.02, np.float32)
        score[2:4, 2:4] = top
        mask = np.zeros(SHAPE, bool)
        mask[2:4, 2:4] = bool(holds)
        scores[f"c{k:03}"], references[f"c{k:03}"] = score, mask
    return scores, references


def goal(false, missed, prevalence=None, **limits):
    return make_goal(
        "cost",
        cost_false_positive=false,
        cost_false_negative=missed,
        level="image",
        prevalence=prevalence,
        **limits,
    )


def choose(arrays, wanted):
    return choose_with_frontier(score_cases(*arrays, region="r"), region="r", maximize=wanted)


GOOD = world([0.9] * 18 + [0.3] * 2, [0.1] * 27 + [0.8] * 3)
WEAK = world([0.9, 0.6, 0.3] * 5, [0.9, 0.6, 0.3] * 5)


def test_a_point_that_is_cheaper_than_both_is_chosen_and_both_are_told():
    choice = choose(GOOD, goal(1, 1))
    assert isinstance(choice.found, OperatingPoint)
    # 2 of 20 positives are missed, no negative is flagged; of 50 images 0.4 are positive.
    assert choice.costs == ImageCosts(pytest.approx(2 / 50), pytest.approx(0.6), pytest.approx(0.4))
    assert choice.costs.cheapest is None


def test_costs_at_another_prevalence():
    choice = choose(GOOD, goal(1, 10, prevalence=0.02))
    assert choice.costs.everything == pytest.approx(0.98)
    assert choice.costs.nothing == pytest.approx(0.2)
    assert choice.costs.least == pytest.approx(10 * 0.02 * 0.1)


def test_flagging_none_is_named_where_it_is_cheapest():
    choice = choose(WEAK, goal(100, 1))
    assert choice.costs.cheapest == "nothing"
    assert choice.found.mean_dice == 0.0
    assert choice.costs.nothing == pytest.approx(0.5)


def test_flagging_every_image_is_named_and_refused():
    choice = choose(WEAK, goal(1, 100))
    assert choice.costs.cheapest == "everything"
    assert choice.costs.everything == pytest.approx(0.5)
    assert isinstance(choice.found, Infeasible)
    # All 15 of 15 positive and negative images are flagged.
    low = clopper_pearson(15, 15)[0]
    precision = low * 0.5 / (low * 0.5 + 1.0 * 0.5)
    assert f"as few as {100 * precision:.3g} % may be positive, where 50 % of all" in (
        choice.found.reason
    )
    assert "label more images" in choice.found.reason
    [refused] = [point for point in choice.frontier.points if "refused" in point.notes]
    assert (refused.found, refused.false_alarm_rate) == (1.0, 1.0)


def test_too_few_images_cannot_show_that_flags_mean_anything():
    few = world([0.9] * 3, [0.1] * 3)
    assert isinstance(choose(few, goal(1, 1)).found, Infeasible)
    enough = world([0.9] * 8, [0.1] * 8)
    assert isinstance(choose(enough, goal(1, 1)).found, OperatingPoint)
    # Groups count, not images.
    table = score_cases(*enough, region="r", groups={name: name[-1] for name in enough[0]})
    grouped = score_cases(
        *enough, region="r", groups={name: str(int(name[1:]) % 2) for name in enough[0]}
    )
    for cases, kind in ((table, OperatingPoint), (grouped, Infeasible)):
        found = choose_with_frontier(cases, region="r", maximize=goal(1, 1)).found
        assert isinstance(found, kind)


def test_other_levels_and_limits_compare_no_images():
    assert choose(GOOD, make_goal("cost", cost_false_negative=2.0)).costs is None
    limited = choose(GOOD, goal(1, 1, false_alarm_rate=0.5))
    assert limited.costs is None
    assert isinstance(limited.found, OperatingPoint)
    assert choose(GOOD, make_goal("dice")).costs is None
    everywhere = world([0.9] * 6, [])
    assert isinstance(choose(everywhere, goal(1, 1)).found, OperatingPoint)


@pytest.mark.parametrize("level", ["voxel", "object", "image"])
def test_the_alternatives_show_found_alarms_dice_and_cost_of_their_masks(level):
    scores, references = GOOD
    table = components_of_cases(scores, references, region="r")
    wanted = make_goal("cost", cost_false_positive=1, cost_false_negative=5, level=level)
    choice = choose_with_frontier(table, region="r", maximize=wanted)
    assert len(choice.frontier.points) > 1
    for point in choice.frontier.points:
        cut = OperatingPoint("r", point.threshold, point.gate, point.smallest_component)
        masks = {name: apply_point(scores[name], cut) for name in scores}
        positive = [name for name in scores if references[name].any()]
        negative = [name for name in scores if not references[name].any()]
        found = [(masks[n] & references[n]).any() for n in positive]
        alarms = [masks[n].any() for n in negative]
        dice = [2 * (masks[n] & references[n]).sum() / (masks[n].sum() + 4) for n in positive]
        # A square is one object and one component; all on is one component without a match.
        costs = {
            "image": 5 * (20 - sum(found)) + sum(alarms),
            "voxel": sum(
                5 * (references[n] & ~masks[n]).sum() + (masks[n] & ~references[n]).sum()
                for n in scores
            ),
            "object": sum(
                5 * references[n].any() + masks[n].any()
                if not masks[n].any() or masks[n].all() or not references[n].any()
                else 0
                for n in scores
            ),
        }
        assert point.found == pytest.approx(np.mean(found))
        assert point.false_alarm_rate == pytest.approx(np.mean(alarms))
        assert point.mean_dice == pytest.approx(np.mean(dice))
        assert point.cost == pytest.approx(costs[level] / len(scores))
        assert set(point.to_dict()) > {"found", "cost", "mean_dice", "false_alarm_rate"}
