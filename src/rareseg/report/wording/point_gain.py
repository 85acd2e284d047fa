"""Describe what the chosen operating point changes against 0.5."""

from __future__ import annotations

from dataclasses import replace

from rareseg.evaluation.comparisons.better_run import RULE, WEIGHED, weigh
from rareseg.evaluation.comparisons.paired_test import PairedComparison, compare_results
from rareseg.evaluation.measures.case_result import CaseResult
from rareseg.evaluation.measures.measure_table import measure_named
from rareseg.evaluation.measures.scorecard import RegionScorecard
from rareseg.evaluation.metrics.overlap import counts_at
from rareseg.evaluation.statistics.undefined import is_defined
from rareseg.report.report_content import ReportContent, Sentence
from rareseg.report.wording.numbers import difference, percent, with_interval
from rareseg.report.wording.score_findings import AGAINST, level_of
from rareseg_runner.decision.component_size import ANY_SIZE


def gain(content: ReportContent, part: RegionScorecard) -> Sentence | None:
    """What the chosen point changes against 0.5, on the same cases."""
    if (part.threshold, part.gate, part.smallest_component) == (0.5, 0.0, ANY_SIZE):
        return None
    chosen, half = _at_both(content, part.region)
    if not chosen:
        return None
    lines = compare_results(half, chosen, region=part.region)
    if all(result.counts == other.counts for result, other in zip(chosen, half, strict=True)):
        text = f"For {part.region} the chosen point gives the same masks as 0.5 in every case."
        return Sentence("note", text, RULE, part.region, headline=True)
    outcome = weigh(lines, priority=content.priority)
    told = [_measure_sentence(line) for line in lines if line.measure in WEIGHED]
    changes = ", ".join(text for text in told if text)
    return Sentence(
        level_of(outcome, lines),
        f"For {part.region} the chosen point {AGAINST[outcome]} 0.5: {changes}.",
        RULE,
        part.region,
        headline=True,
    )


def _at_both(content: ReportContent, region: str) -> tuple[list[CaseResult], list[CaseResult]]:
    """Return a region's results and those of the plain cut at 0.5, from the table.

    Of the latter counts alone hold: the table knows no components.
    """
    rows = {row.case_id: row for row in content.table if row.region == region}
    chosen = [result for result in content.results_of(region) if result.case_id in rows]
    half = [replace(one, counts=counts_at(rows[one.case_id], 0.5)) for one in chosen]
    return chosen, half


def _measure_sentence(line: PairedComparison) -> str:
    """Return ``false alarms fall from 20 % to 5 %``, or the change of the mean dice."""
    if not (is_defined(line.first) and is_defined(line.second)):
        return ""
    measure = measure_named(line.measure)
    name = measure.phrase
    if measure.unit == "score":
        return f"{name} changes by {with_interval(line.difference, difference)}"
    verb = "stay" if name.endswith("s") else "stays"
    if line.first != line.second:
        verb = "fall" if line.second < line.first else "rise"
        verb += "" if name.endswith("s") else "s"
        return f"{name} {verb} from {percent(line.first)} to {percent(line.second)}"
    return f"{name} {verb} at {percent(line.second)}"
