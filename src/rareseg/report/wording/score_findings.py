"""Describe what lies behind the numbers: overconfidence, groups that err, what was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from rareseg.evaluation.comparisons.better_run import RULE, Outcome, falls_short, lost, weigh
from rareseg.evaluation.comparisons.paired_test import PairedComparison
from rareseg.evaluation.measures.measure_table import measure_named
from rareseg.evaluation.measures.scorecard import RegionScorecard
from rareseg.evaluation.metrics.calibration_curve import calibration_curve, overconfidence
from rareseg.evaluation.statistics.undefined import is_defined
from rareseg.evaluation.tables.single_bin import NEARLY_ALL, find_one_bin
from rareseg.report.report_content import Level, ReportContent, Sentence
from rareseg.report.wording.numbers import count, difference, percent, score, with_interval
from rareseg.training.plan.plan_learning import usual_steps

OVERCONFIDENT = 0.10
CARRIES, MOST_CASES, LEAST_GROUPS = 0.5, 0.25, 5
"""One group carries the errors: so much of them, with so few of the cases, of so many groups."""
AGAINST: Mapping[Outcome, str] = {
    "better": "is better than",
    "worse": "is worse than",
    "trades": "trades one error for another against",
    "cannot tell": "cannot be distinguished from",
}
"""What comes of a comparison, in words."""
UNLEARNT, STILL_FALLING = 0.5, 0.95
"""Dice on training cases, and how the loss of the last fifth of the steps is to the one before."""
GOOD_RECALL = GOOD_PRECISION = 0.8


def level_of(outcome: Outcome, lines: Sequence[PairedComparison]) -> Level:
    """Return how loud a comparison is: a loss beyond its margin is loud, proven or not."""
    if outcome == "better":
        return "good"
    if outcome == "worse" or any(lost(line) or falls_short(line) for line in lines):
        return "warning"
    return "note"


def calibration(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """Whether scores above one half are overconfident."""
    over = overconfidence(calibration_curve(content.table, region=part.region))
    if not is_defined(over) or over < OVERCONFIDENT:
        return None
    return Sentence(
        "warning",
        f"The scores of {part.region} are overconfident: above 0.5 they are in the mean "
        f"{100 * over:.0f} percentage points higher than the share of {part.region} there. Cut by "
        "the chosen threshold, and read them as ranks.",
        f"Said where the mean score above 0.5 exceeds the share that is right by {OVERCONFIDENT:g} "
        "or more.",
        part.region,
    )


def one_bin(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """Whether the scores hardly differ, so that no threshold can tell voxels apart."""
    known = part.region in content.table.regions
    found = find_one_bin(content.table, region=part.region) if known else None
    if found is None:
        return None
    return Sentence(
        "bad",
        f"The scores of {part.region} hardly differ: {found.sentence}.",
        f"Said where one bin holds all positive and at least {percent(NEARLY_ALL)} of the negative "
        "voxels.",
        part.region,
    )


def undertrained(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """Whether the network has learnt too little to be judged by anything else."""
    train = content.train_dice.get(part.region)
    if train is None or train >= UNLEARNT or content.recipe is None:
        return None
    steps = content.recipe.training.steps
    usual = usual_steps(sum(role.n_cases for role in content.roles.values()))
    loss = np.asarray(content.history.steps.get("loss", ()), np.float64)
    fifth = len(loss) // 5
    falls = fifth > 0 and loss[-fifth:].mean() < STILL_FALLING * loss[-2 * fifth : -fifth].mean()
    few = steps < usual / 2
    if not (few or falls):
        return None
    why = [
        *([f"it made {steps:,} steps, where {usual:,} are usual for so many cases"] if few else []),
        *(["its loss was still falling"] if falls else []),
    ]
    return Sentence(
        "warning",
        f"The network is undertrained on {part.region}: mean dice is {score(train)} on training "
        f"cases, and {' and '.join(why)}. Train longer before you read anything else.",
        f"Said where dice on training cases is below {UNLEARNT:g}, and the steps are fewer than "
        f"half of what is planned, or the loss fell by {1 - STILL_FALLING:.0%} or more between the "
        "last two fifths.",
        part.region,
    )


def one_group(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """Whether a single group carries most of the wrong voxels."""
    results = [r for r in content.results_of(part.region) if r.stratum != "ignored"]
    wrong: Counter[str] = Counter()
    cases: Counter[str] = Counter()
    for result in results:
        group = result.case_id if result.group is None else result.group
        wrong[group] += result.counts.fp + result.counts.fn
        cases[group] += 1
    total = sum(wrong.values())
    if len(cases) < LEAST_GROUPS or not total:
        return None
    group, most = wrong.most_common(1)[0]
    if most < CARRIES * total or cases[group] > MOST_CASES * len(results):
        return None
    return Sentence(
        "warning",
        f"One of {count(len(cases), 'group')}, {group}, carries {percent(most / total)} of what "
        f"is wrong in {part.region}, with {cases[group]} of {count(len(results), 'case')}: look at "
        "it before you change anything else.",
        f"Said where one of {LEAST_GROUPS} groups or more holds at least {percent(CARRIES)} of the "
        f"wrong voxels with at most {percent(MOST_CASES)} of the cases.",
        part.region,
    )


def against(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """What changed against an earlier evaluation of the same cases."""
    found = content.comparisons.get(part.region)
    if not found:
        return None
    told = []
    for line in found:
        if is_defined(line.difference.value):
            p = f", p = {line.p_value:.2g}" if is_defined(line.p_value) else ""
            change = with_interval(line.difference, difference)[:-1]
            told.append(f"{measure_named(line.measure).phrase} {change}{p})")
    if not told:
        return None
    outcome = weigh(found, priority=content.priority)
    n_groups = max(line.difference.n_groups for line in found)
    return Sentence(
        level_of(outcome, found),
        f"{part.region} {AGAINST[outcome]} {content.against}, on the same cases of "
        f"{count(n_groups, 'group')}: {', '.join(told)}.",
        f"{RULE} p is that of a permutation test over groups.",
        part.region,
        headline=True,
    )


def against_others(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """What is different from an earlier evaluation of other cases, in results and in the data."""
    found = content.other_cases.get(part.region)
    if not found:
        return None
    worse = False
    told: dict[bool, list[str]] = {False: [], True: []}
    for line in found:
        if not line.differs:
            continue
        assert is_defined(line.difference), "with an interval"
        what = line.measure if line.of_data else measure_named(line.measure).phrase
        told[line.of_data].append(f"{what} is {'higher' if line.difference > 0 else 'lower'}")
        if not line.of_data:
            better = measure_named(line.measure).higher_is_better == (line.difference > 0)
            worse = worse or not better
    results = ", ".join(told[False]) or "no measure surely differs"
    data = ", ".join(told[True]) or "nothing surely differs"
    return Sentence(
        "warning" if worse else "note",
        f"{part.region} against {content.against}, on other cases: {results}. Of the cases "
        f"themselves: {data}.",
        "Said where the 95 % interval of a difference leaves 0 out, each by itself; nothing is "
        "paired, and what changed in the cases may be what changed the results.",
        part.region,
        headline=True,
    )


def priority(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """What the user said matters, answered."""
    recall, precision, alarms = part["recall"], part["precision"], part["false_alarm"]
    if content.priority is None:
        return None
    if content.priority == "recall":
        if not is_defined(recall.value):
            return None
        good = recall.value >= GOOD_RECALL
        told = (
            f"{with_interval(recall)} of a mean positive case is found, and "
            f"{with_interval(part['found'], percent)} of the positive cases"
        )
        remedy = "`rareseg tune RUN --min-recall 0.9` moves the point, at the price of alarms"
        bound = f"recall of at least {GOOD_RECALL:g}"
    elif content.priority == "precision":
        if not is_defined(precision.value):
            return None
        good = precision.value >= GOOD_PRECISION
        told = f"{with_interval(precision)} of what is predicted in a mean positive case is right"
        if is_defined(alarms.value):
            told += f", and {with_interval(alarms, percent)} of the negative cases give an alarm"
        remedy = "`rareseg tune RUN --min-precision 0.9` moves the point, at the price of misses"
        bound = f"precision of at least {GOOD_PRECISION:g}"
    else:
        if not (is_defined(recall.value) and is_defined(precision.value)):
            return None
        low, high = sorted((recall.value, precision.value))
        good = high - low <= 0.1
        told = f"recall is {score(recall.value)} and precision {score(precision.value)}"
        remedy = "`rareseg tune RUN --maximize f-beta --beta 2` leans to recall, 0.5 to precision"
        bound = "recall and precision at most 0.1 apart"
    return Sentence(
        "good" if good else "warning",
        f"You asked for {content.priority} in {part.region}: {told}."
        + ("" if good else f" {remedy}."),
        f"Good: {bound}.",
        part.region,
    )
