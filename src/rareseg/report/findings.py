"""Sentences on what lies behind the numbers: what scores mean, who errs, what was asked for."""

from __future__ import annotations

from collections import Counter

from rareseg.evaluation.calibration_curve import calibration_curve, overconfidence
from rareseg.evaluation.scorecard import RegionScorecard
from rareseg.evaluation.values import is_defined
from rareseg.report.content import ReportContent, Sentence
from rareseg.report.wording import count, difference, percent, score, with_interval

OVERCONFIDENT = 0.10
CARRIES, MOST_CASES, LEAST_GROUPS = 0.5, 0.25, 5
"""One group carries the errors: so much of them, with so few of the cases, of so many groups."""
_NAMES = {
    "dice": "mean dice",
    "false alarm": "false alarms",
    "lesion recall": "recall of lesions",
    "false positive components": "false components per case",
}
GOOD_RECALL = GOOD_PRECISION = 0.8


def calibration(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """Whether scores above one half promise too much."""
    over = overconfidence(calibration_curve(content.table, region=part.region))
    if not is_defined(over) or over < OVERCONFIDENT:
        return None
    return Sentence(
        "warning",
        f"The scores of {part.region} promise too much: where they are above 0.5, they say "
        f"{percent(over)} more than is so. Cut by the chosen threshold, and read them as ranks.",
        f"Said where the mean score above 0.5 exceeds the share that is right by {OVERCONFIDENT:g} "
        "or more.",
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
    better = worse = False
    told = []
    for line in found:
        change = line.difference
        if not is_defined(change.value):
            continue
        p = f", p = {line.p_value:.2g}" if is_defined(line.p_value) else ""
        told.append(f"{_NAMES[line.measure]} {with_interval(change, difference)[:-1]}{p})")
        up = change.value > 0
        good = up if line.measure in ("dice", "lesion recall") else not up
        better, worse = better or (line.differs and good), worse or (line.differs and not good)
    if not told:
        return None
    words = {
        (True, False): "better than",
        (False, True): "worse than",
        (True, True): "better in one thing and worse in another than",
        (False, False): "not clearly different from",
    }
    n_groups = max(line.difference.n_groups for line in found)
    return Sentence(
        "good" if better and not worse else "warning" if worse else "note",
        f"{part.region} is {words[better, worse]} {content.against}, on the same cases of "
        f"{count(n_groups, 'group')}: {', '.join(told)}.",
        "Two evaluations differ where the paired 95 % bootstrap interval over groups excludes 0; p "
        "is that of a permutation test over groups.",
        part.region,
    )


def priority(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """What the user said matters, answered."""
    recall, precision = part.positives.recall, part.positives.precision
    alarms = part.negatives.false_alarm_rate
    if content.priority is None:
        return None
    if content.priority == "recall":
        if not is_defined(recall.value):
            return None
        good = recall.value >= GOOD_RECALL
        told = (
            f"{with_interval(recall)} of a mean positive case is found, and "
            f"{with_interval(part.positives.found, percent)} of the positive cases"
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
