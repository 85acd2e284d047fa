"""Judge the numbers in sentences, each with the rule that it follows.

A rule is a function from the content and one region's scorecard to a :class:`Sentence`, or None
where it has nothing to say. :func:`judge` asks every rule in the order in which people read.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rareseg.decision.operating_point import FEWEST_GROUPS, LEAST_AUC, Infeasible
from rareseg.evaluation.measures.scorecard import RegionScorecard
from rareseg.evaluation.statistics.intervals import INDEPENDENT_IMAGES, Estimate
from rareseg.evaluation.statistics.undefined import is_defined
from rareseg.report.report_content import Level, ReportContent, Sentence
from rareseg.report.wording.default_point_text import is_uninformative
from rareseg.report.wording.numbers import (
    count,
    object_noun,
    percent,
    percent_digits,
    score,
    size,
    threshold,
    with_interval,
)
from rareseg.report.wording.point_gain import gain
from rareseg.report.wording.score_findings import (
    against,
    against_others,
    calibration,
    one_bin,
    one_group,
    priority,
    undertrained,
)

GOOD_DICE, GOOD_IOU = 0.8, 0.7
POOR_DICE, POOR_IOU = 0.5, 0.4
FEW_ALARMS, MANY_ALARMS = 0.10, 0.50
PARADOX_GAIN = 0.01
"""Accuracy that gains no more than this over pure background says nothing."""
LOW_RECALL = 0.5
EVERYWHERE_GAIN = 0.02
"""Dice that gains no more than this over foreground everywhere has outlined nothing."""
LARGE = 0.1
"""The dice of foreground everywhere from which that is said: below, all models would be told."""
OVERFITTING_GAP = 0.15
FEW_CASES = 20
SMALL_GAP, SMALL_LEAST = 0.15, 5
"""How far, and on how many objects, the recall of the smallest quarter must fall."""

Rule = Callable[[ReportContent, RegionScorecard], Sentence | None]


def judge(content: ReportContent, *, names: bool = True) -> tuple[Sentence, ...]:
    """Return what is to be said about the judged scorecard, region by region, then of the run.

    The verdicts that ``content`` may already hold are not read. A scorecard without regions gives
    the sentences about the run alone. Without ``names`` what names a case or a group is left out.
    """
    rules = [rule for rule in RULES if names or rule is not one_group]
    found = [rule(content, part) for part in content.scorecard.regions for rule in rules]
    found += [_leakage(content) if names else None, _independence(content)]
    return tuple(sentence for sentence in found if sentence is not None)


def _overlap(content: ReportContent, part: RegionScorecard) -> Sentence:
    """Good, moderate or poor by mean dice and IoU over positive cases."""
    n_positive, region = part.positives.n_cases, part.region
    overlap, shared = part["dice"].value, part["iou"].value
    if not is_defined(overlap) or not is_defined(shared):
        return Sentence(
            "note",
            f"None of the {count(part.negatives.n_cases, 'scored case')} holds {region}, so how "
            "well it is segmented is not known.",
            "Dice and IoU are of cases in which the region is present.",
            region,
        )
    level: Level = "note"
    word = "moderately well"
    if overlap > GOOD_DICE and shared > GOOD_IOU:
        level, word = "good", "well"
    elif overlap < POOR_DICE or shared < POOR_IOU:
        level, word = "bad", "poorly"
    found = round(float(_number(part["found"])) * n_positive)
    return Sentence(
        level,
        f"Where {region} is present it is segmented {word}: mean dice "
        f"{with_interval(part['dice'])} and IoU {score(shared)}; {found} of "
        f"{count(n_positive, 'positive case')} ({percent(found / n_positive)}) found.",
        f"Good: dice above {GOOD_DICE} and IoU above {GOOD_IOU}. Poor: below {POOR_DICE} or "
        f"{POOR_IOU}.",
        region,
    )


def _false_alarms(content: ReportContent, part: RegionScorecard) -> Sentence:
    """How often something is found where nothing is."""
    negatives, region = part.negatives, part.region
    rate = part["false_alarm"]
    if not is_defined(rate.value):
        return Sentence(
            "note",
            f"None of the {count(part.positives.n_cases, 'scored case')} is without {region}, so "
            "false alarms are not known; add images that hold nothing.",
            "The false-alarm rate is of cases in which the region is absent.",
            region,
        )
    level: Level = "warning"
    if rate.value <= FEW_ALARMS:
        level = "good"
    elif rate.value > MANY_ALARMS:
        level = "bad"
    alarms = round(rate.value * negatives.n_cases)
    return Sentence(
        level,
        f"{alarms} of {count(negatives.n_cases, 'case')} without {region} "
        f"{'gives' if alarms == 1 else 'give'} a false alarm: {with_interval(rate, percent)}.",
        f"An alarm is any voxel. Good: at most {percent(FEW_ALARMS)}. Bad: more than "
        f"{percent(MANY_ALARMS)}.",
        region,
    )


def _accuracy(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """The accuracy paradox."""
    reached, trivial = part.accuracy, part.background_accuracy
    recall = part["recall"].value
    if not (is_defined(reached) and is_defined(trivial) and is_defined(recall)):
        return None
    if reached - trivial > PARADOX_GAIN:
        return None
    digits = max(percent_digits(reached), percent_digits(trivial))
    return Sentence(
        "warning" if recall < LOW_RECALL else "note",
        f"Accuracy ({percent(reached, digits=digits)}) says nothing about {part.region}: "
        f"predicting background everywhere reaches {percent(trivial, digits=digits)}. Mean recall "
        f"is {percent(recall)}: {percent(1.0 - recall)} of it is missed in a mean positive case.",
        f"Said where accuracy gains at most {percent(PARADOX_GAIN)} over background alone; a "
        f"warning where recall is below {percent(LOW_RECALL)}.",
        part.region,
    )


def _everywhere(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """Whether predicting foreground everywhere reaches the same dice."""
    cases = [r.counts for r in content.results_of(part.region) if r.stratum == "positive"]
    dice = part["dice"].value
    if not cases or not is_defined(dice):
        return None
    trivial = float(np.mean([2 * (c.tp + c.fn) / (c.tp + c.fn + c.total) for c in cases]))
    if trivial < LARGE or dice - trivial > EVERYWHERE_GAIN:
        return None
    return Sentence(
        "bad",
        f"Predicting {part.region} everywhere reaches a mean dice of {score(trivial)} where the "
        f"model has {score(dice)}: {part.region} fills much of its images, and the model outlines "
        "nothing. Are the masks inverted (--invert-masks)?",
        f"Said where dice gains at most {score(EVERYWHERE_GAIN)} over foreground everywhere, and "
        f"that reaches {score(LARGE)}.",
        part.region,
    )


def _small_objects(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """Whether the smallest quarter of the objects is found less often than the rest."""
    objects = [
        (size * result.voxel_size, hit)
        for result in content.results_of(part.region)
        for size, hit in zip(result.objects.sizes, result.objects.found, strict=True)
    ]
    if not objects:
        return None
    limit = float(np.quantile([size for size, _ in objects], 0.25, method="lower"))
    small = [hit for size, hit in objects if size <= limit]
    rest = [hit for size, hit in objects if size > limit]
    if min(len(small), len(rest)) < SMALL_LEAST:
        return None
    recall, others = float(np.mean(small)), float(np.mean(rest))
    if others - recall < SMALL_GAP:
        return None
    noun = object_noun(part.objects.size_unit)
    return Sentence(
        "warning",
        f"Small {noun}s of {part.region} are missed: {percent(recall)} of the {len(small)} "
        f"smallest (up to {size(limit)} {part.objects.size_unit}) are found, "
        f"{percent(others)} of the other {len(rest)}.",
        f"Said where the smallest quarter's recall is {percent(SMALL_GAP)} or more below the rest, "
        f"on at least {SMALL_LEAST} {noun}s.",
        part.region,
    )


def _overfitting(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """Training cases far above the scored ones."""
    train, scored = content.train_dice.get(part.region), part["dice"].value
    if train is None or not is_defined(scored) or train - scored < OVERFITTING_GAP:
        return None
    return Sentence(
        "warning",
        f"The network overfits {part.region}: mean dice {score(train)} on "
        f"training cases, {score(scored)} on the scored ones. More data, more augmentation, "
        "dropout or fewer steps help.",
        f"Overfitting: dice on training cases {OVERFITTING_GAP} or more above the scored one.",
        part.region,
    )


def _few_scored(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """Few cases behind the scorecard."""
    few = _few(part.positives.n_cases, part.negatives.n_cases)
    if not few:
        return None
    return Sentence(
        "warning",
        f"The scorecard of {part.region} rests on only {few}: read its intervals, not its means.",
        f"Few: fewer than {FEW_CASES} positive or negative cases.",
        part.region,
    )


def _point(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """What makes an operating point uncertain: none found, its edge, its cases, their number."""
    point = content.points.get(part.region)
    if isinstance(point, Infeasible):
        return Sentence(
            "bad",
            f"There is no chosen operating point for {part.region}: {point.reason}. It is cut at "
            f"{threshold(part.threshold)}.",
            "A threshold is chosen on cases that hold the region.",
            part.region,
        )
    if point is None or point.role is None:
        return None
    if point.role == part.role:
        return Sentence(
            "bad",
            f"The threshold {threshold(point.threshold)} of {part.region} was chosen on the same "
            f"{part.role} cases that are scored here, which makes the scorecard optimistic.",
            "A point is chosen on validation cases and judged on test cases.",
            part.region,
        )
    faults = []
    if point.edge_of_grid:
        faults.append("lies at the edge of the scores that occur")
    evidence = point.evidence
    if evidence is not None and evidence.is_uninformative:
        faults.append(f"rests on scores of which {is_uninformative(evidence)}")
    if evidence is not None and evidence.too_few:
        groups = count(evidence.n_positive_groups, "group")
        faults.append(
            f"was chosen on {groups} with a positive case, too few to tell how good it is"
        )
    if few := _few(point.n_positive, point.n_negative):
        faults.append(f"was chosen on only {few}")
    if not faults:
        return None
    return Sentence(
        "warning",
        f"The threshold {threshold(point.threshold)} of {part.region} {' and '.join(faults)}: "
        "other cases may ask for another.",
        "Uncertain: at the edge of its grid, where the upper limit of the area under the "
        f"image-level ROC curve lies below {LEAST_AUC:g}, or chosen on fewer than "
        f"{FEWEST_GROUPS} groups with a positive case or {FEW_CASES} positive or negative cases.",
        part.region,
    )


RULES: tuple[Rule, ...] = (
    _overlap,
    _false_alarms,
    one_bin,
    undertrained,
    gain,
    _accuracy,
    _everywhere,
    priority,
    against,
    against_others,
    _small_objects,
    one_group,
    calibration,
    _overfitting,
    _few_scored,
    _point,
)
"""What is asked about each region, in the order in which it is said."""


def _leakage(content: ReportContent) -> Sentence | None:
    """Cases of different roles that are not independent."""
    leak = content.leakage
    parts = []
    if leak.shared_groups:
        parts.append(f"{count(leak.shared_groups, 'group')} in more than one role")
    if leak.near_duplicates:
        parts.append(f"{count(leak.near_duplicates, 'pair')} of near-duplicates across roles")
    if not parts:
        return None
    return Sentence(
        "bad",
        f"The split may leak: {' and '.join(parts)}, such as {leak.example}. The scorecard may "
        "be optimistic; group what belongs together and train again.",
        "Nothing that a network learnt from may return among the cases it is judged on.",
    )


def _independence(content: ReportContent) -> Sentence | None:
    """What the intervals assume where groups are unknown."""
    card = content.scorecard
    if card.assumption != INDEPENDENT_IMAGES:
        return None
    return Sentence(
        "warning",
        f"Every interval {INDEPENDENT_IMAGES}: of some of the {count(card.n_cases, 'case')} it is "
        "not known which patient or object they show (--group-from or a manifest says it).",
        "Images of one patient or object say less than as many of different ones.",
    )


def _few(n_positive: int, n_negative: int) -> str:
    """Return what there is too little of; none at all is said elsewhere."""
    few = []
    if 0 < n_positive < FEW_CASES:
        few.append(f"{n_positive} positive")
    if 0 < n_negative < FEW_CASES:
        few.append(f"{n_negative} negative")
    last = n_negative if few and few[-1].endswith("negative") else n_positive
    return f"{' and '.join(few)} {'case' if last == 1 else 'cases'}" if few else ""


def _number(estimate: Estimate) -> float:
    """Return an estimate's value where it is known to be defined."""
    assert is_defined(estimate.value)
    return estimate.value
