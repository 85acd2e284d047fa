"""What a chosen operating point changes against the usual 0.5, on the same cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rareseg.evaluation.cases import CaseResult
from rareseg.evaluation.intervals import Estimate, estimate_mean
from rareseg.evaluation.metrics import counts_at
from rareseg.evaluation.scorecard import RegionScorecard
from rareseg.evaluation.values import Value, is_defined
from rareseg.report.content import Level, ReportContent, Sentence
from rareseg.report.wording import difference, percent, with_interval

MATERIAL_LOSS = 0.05
"""A fall of the mean dice by more counts as a loss, however wide its interval is."""

Pair = tuple[CaseResult, CaseResult]
"""A case at the chosen point and at 0.5."""


def gain(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """What the chosen point changes against 0.5, on the same cases."""
    pairs = _at_one_half(content, part.region)
    if (part.threshold, part.gate, part.smallest_component) == (0.5, 0.0, 0) or not pairs:
        return None
    positives = [pair for pair in pairs if pair[0].stratum == "positive"]
    negatives = [pair for pair in pairs if pair[0].stratum == "negative"]
    changes: list[str] = []
    better = worse = False
    if positives:
        gained = _paired(positives, lambda result: result.metric("dice"))
        changes.append(f"mean dice changes by {with_interval(gained, difference)}")
        better, worse = _excludes_zero(gained)
        # Few groups make wide intervals: a loss that would matter is never called a gain.
        worse = worse or (is_defined(gained.value) and gained.value < -MATERIAL_LOSS)
    if negatives:
        fewer = _paired(negatives, lambda result: float(result.false_alarm))
        before = sum(other.false_alarm for _, other in negatives) / len(negatives)
        after = sum(result.false_alarm for result, _ in negatives) / len(negatives)
        changes.append(f"false alarms {_move(before, after)} of the cases")
        more_alarms, fewer_alarms = _excludes_zero(fewer)
        better, worse = better or fewer_alarms, worse or more_alarms
    kinds: dict[tuple[bool, bool], tuple[Level, str]] = {
        (True, False): ("good", "beats 0.5"),
        (False, True): ("warning", "is worse than 0.5"),
        (True, True): ("note", "trades one error for another against 0.5"),
        (False, False): ("note", "does not clearly differ from 0.5"),
    }
    level, claim = kinds[better, worse]
    return Sentence(
        level,
        f"For {part.region} the chosen point {claim}: {', '.join(changes)}.",
        "Two points differ where the paired 95 % interval over groups excludes 0, or where the "
        f"mean dice falls by more than {MATERIAL_LOSS:g}.",
        part.region,
    )


def _at_one_half(content: ReportContent, region: str) -> list[Pair]:
    """Return each of a region's results beside that of the plain cut at 0.5, from the table."""
    rows = {row.case_id: row for row in content.table if row.region == region}
    return [
        (result, replace(result, counts=counts_at(rows[result.case_id], 0.5)))
        for result in content.results_of(region)
        if result.case_id in rows
    ]


def _paired(pairs: list[Pair], value: Callable[[CaseResult], Value]) -> Estimate:
    """Return the mean difference over cases, chosen point less 0.5, with its interval."""
    differences = []
    for result, other in pairs:
        here, there = value(result), value(other)
        assert is_defined(here)
        assert is_defined(there)
        differences.append(here - there)
    return estimate_mean(
        differences,
        [result.group for result, _ in pairs],
        none="no case",
        scale="plain",
    )


def _excludes_zero(estimate: Estimate) -> tuple[bool, bool]:
    """Tell whether the whole interval lies above 0, and whether it lies below."""
    low, high = estimate.low, estimate.high
    if not (is_defined(low) and is_defined(high)):
        return False, False
    return low > 0.0, high < 0.0


def _move(before: float, after: float) -> str:
    """Return ``fall from 20 % to 5 %``, or how else a share moves."""
    if before == after:
        return f"stay at {percent(after)}"
    return f"{'fall' if after < before else 'rise'} from {percent(before)} to {percent(after)}"
