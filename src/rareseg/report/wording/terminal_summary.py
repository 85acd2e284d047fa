"""Sum up a scorecard in a few lines for the terminal."""

from __future__ import annotations

from rareseg.decision.operating_point import Infeasible, OperatingPoint
from rareseg.evaluation.measures.measure_table import shown_in
from rareseg.evaluation.statistics.intervals import Estimate
from rareseg.evaluation.statistics.undefined import is_defined
from rareseg.report.report_content import ReportContent
from rareseg.report.wording.default_point_text import evidence_lines
from rareseg.report.wording.numbers import FORMS, Form, count, threshold, with_interval


def short_scorecard(content: ReportContent) -> list[str]:
    """Return plain lines: per region the strata under each label, the point, and the verdicts.

    Of the sentences of level "note" only those that come first for their region are given; the
    page has them all. No line ends in a newline.
    """
    lines: list[str] = []
    for region in content.regions:
        lines += [*_table(content, region), *_point(content.points.get(region)), ""]
    marks = {"good": "+", "note": "-", "warning": "!", "bad": "x"}
    first = {sentence.region: sentence for sentence in reversed(content.verdicts)}
    lines += [
        f"{marks[sentence.level]} {sentence.text}"
        for sentence in content.verdicts
        if sentence.level != "note"
        or sentence.headline
        or (sentence.region and sentence is first[sentence.region])
    ]
    return lines if lines and lines[-1] else lines[:-1]


def _table(content: ReportContent, region: str) -> list[str]:
    """Return a line about the cases, a head, and one row per label."""
    main = content.scorecard.region(region)
    cases = f"{main.role} cases" if main.role else "cases"
    positive, negative = (
        f"{part.n_cases} {word} ({count(part.n_groups, 'group')})"
        if part.n_groups < part.n_cases
        else f"{part.n_cases} {word}"
        for part, word in ((main.positives, "positive"), (main.negatives, "negative"))
    )
    head = f"{region}, on {positive} and {negative} {cases} (95 % intervals in brackets)"
    shown = shown_in("summary")
    rows = [("", *(measure.heading for measure in shown))]
    rows += [
        (label, *(_cell(part[measure.name], FORMS[measure.unit]) for measure in shown))
        for label, part in content.parts(region)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [head] + [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _cell(estimate: Estimate, form: Form) -> str:
    """Return the number with its interval; what is undefined keeps only its reason."""
    if is_defined(estimate.value):
        return with_interval(estimate, form)
    return str(estimate.value).removeprefix("undefined ").strip("()")


def _point(point: OperatingPoint | Infeasible | None) -> list[str]:
    """Return one line on how the region is cut, and what is known of that point."""
    if point is None:
        return []
    if isinstance(point, Infeasible):
        return [f"  no operating point: {point.reason}"]
    gate = f", where the image score reaches {threshold(point.gate)}" if point.gate > 0 else ""
    small = (
        f", components of {point.smallest_component} or more"
        if point.smallest_component.removes
        else ""
    )
    role = f"{point.role} " if point.role else ""
    chosen = f" (chosen on {count(point.n_positive + point.n_negative, f'{role}case')})"
    known = chosen if point.n_positive else f" ({point.objective})"
    cut = f"cut at score >= {threshold(point.threshold)}{gate}{small}{known}"
    return [f"  {cut}", *(f"    {line}" for line in evidence_lines(point))]
