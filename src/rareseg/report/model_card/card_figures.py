"""Write the part of a model card on operating points, results and guarantees."""

from __future__ import annotations

from rareseg.decision.operating_point import Infeasible, OperatingPoint
from rareseg.evaluation.measures.scorecard import RegionScorecard
from rareseg.evaluation.statistics.intervals import INDEPENDENT_IMAGES
from rareseg.evaluation.statistics.undefined import is_defined
from rareseg.report.model_card.card_content import CardContent
from rareseg.report.model_card.markdown import markdown_table
from rareseg.report.tables.strata import Number, stratum_tables
from rareseg.report.wording.default_point_text import evidence_lines
from rareseg.report.wording.numbers import count, percent, score, threshold

_AGAIN = "`rareseg evaluate RUN DATA --out DIR` on the data of the run measures it"


def metrics(content: CardContent) -> list[str]:
    """Return what is measured, where each region is cut, and what its scores mean."""
    lines = [
        "Dice, IoU, precision and recall are means over the cases in which the region is present; "
        "false alarms are the share of the other cases in which anything is left on; objects are "
        "connected parts of the region. Operating points:",
        "",
    ]
    for region, found in content.decisions.found.items():
        if isinstance(found, Infeasible):
            lines.append(f"- {region}: no operating point: {found.reason}.")
            continue
        lines.append(f"- {region}: {_cut(found)}.")
        lines += [f"  - {line}." for line in evidence_lines(found)]
    lines += ["", "Scores as probabilities:", ""]
    for region, decision in content.decisions.regions.items():
        fitted = decision.calibration
        said = f"{region}: not calibrated, read them as ranks"
        lines.append(f"- {said if fitted is None else fitted.sentence}.")
    return lines


def measured(content: CardContent) -> list[str]:
    """Return the figures on the test cases, by region and stratum."""
    figures = content.figures
    if figures is None:
        return [f"Nothing was measured; {_AGAIN}."]
    lines: list[str] = []
    methods: set[str] = set()
    for region in content.model.classes.regions:
        parts = figures.parts(region)
        lines += [f"### {region}", ""]
        if not parts:
            lines += [f"Nothing was measured; {_AGAIN}.", ""]
            continue
        main = parts[0][1]
        lines += [_where(content, main), ""]
        for stratum in stratum_tables([part for _, part in parts], main):
            lines += [f"{stratum.title} ({stratum.meaning}): {stratum.rests_on}.", ""]
            if stratum.rows:
                rows = [
                    (f"{row.name} ({row.meaning})", *(_number(own) for own in row.numbers))
                    for row in stratum.rows
                ]
                lines += [*markdown_table(("", *(label for label, _ in parts)), rows), ""]
        methods |= {main["dice"].method, main["false_alarm"].method}
    return [*lines, f"Brackets hold 95 % intervals: {'; '.join(sorted(methods))}."]


def certificates(content: CardContent) -> list[str]:
    """Return what is guaranteed of the points in use, and under which arithmetic."""
    lines = []
    for region, decision in content.decisions.regions.items():
        point, statements = decision.point, decision.statements
        own = [one for one in statements if point is not None and one.holds_for(point)]
        for statement in own:
            sentence = statement.sentence
            under = ", ".join(f"{key} {value}" for key, value in statement.arithmetic.items())
            lines.append(
                f"- {sentence[:1].upper()}{sentence[1:]}. Cases: {statement.cases}. Holds under: "
                f"{under}."
            )
        if not own:
            lines.append(f"- {region}: none.")
        if former := len(statements) - len(own):
            lines.append(
                f"- {region}: {count(former, 'earlier statement')} about other points, no longer "
                "in use."
            )
    return lines


def findings(content: CardContent) -> list[str]:
    """Return what the verdict warns of, and what was not measured."""
    figures = content.figures
    lines = []
    for region, decision in content.decisions.regions.items():
        parts = () if figures is None else figures.parts(region)
        if figures is None or not parts:
            lines.append(f"- {region} was not measured on cases that the model had not seen.")
            continue
        point = decision.point
        if point is not None and not figures.are_at(point):
            lines.append(f"- {region} was not measured at the point in use; {_AGAIN}.")
            continue
        main = parts[0][1]
        if not main.positives.n_cases:
            lines.append(f"- No test case holds {region}: what is missed is not known.")
        if not main.negatives.n_cases:
            lines.append(f"- Each test case holds {region}: false alarms are not known.")
        lines += [
            f"- {sentence.text}"
            for sentence in figures.verdicts
            if sentence.region == region and sentence.level in ("bad", "warning")
        ]
    return lines


def _cut(point: OperatingPoint) -> str:
    """Return how a region is cut, how that was chosen, and what it reached there."""
    text = f"on where the score is at or above {threshold(point.threshold)}"
    if point.smallest_component.removes:
        text += f"; components smaller than {point.smallest_component} removed"
    if point.gate > 0:
        text += f"; nothing in an image whose image score is below {threshold(point.gate)}"
    if point.role is None:
        return f"{text}; {point.objective}"
    text += (
        f"; chosen for {point.objective} on {count(point.n_positive, 'positive case')} and "
        f"{point.n_negative:,} negative of role {point.role} ({count(point.n_groups, 'group')}"
        + (f", {INDEPENDENT_IMAGES}" if point.assumes_independent_images else "")
        + ")"
    )
    if is_defined(point.mean_dice):
        text += f"; on these cases, which is optimistic, dice {score(point.mean_dice)}"
    if is_defined(point.mean_dice) and is_defined(point.share_clean):
        text += f", {percent(point.share_clean)} of the negative cases without an alarm"
    return text


def _where(content: CardContent, part: RegionScorecard) -> str:
    """Return the cut of the figures, and whether it is still in use."""
    cut = f"Measured at threshold {threshold(part.threshold)}"
    if part.gate > 0:
        cut += f", gate {threshold(part.gate)}"
    if part.smallest_component.removes:
        cut += f", smallest component {part.smallest_component}"
    point, figures = content.decisions.regions[part.region].point, content.figures
    if point is None:
        return f"{cut}; no operating point is in use."
    if figures is not None and not figures.are_at(point):
        return f"{cut}, before the point that is now in use was chosen; {_AGAIN}."
    return f"{cut}, the point in use."


def _number(number: Number) -> str:
    if number.reason:
        return number.reason
    undefined = f", {number.n_undefined} undefined" if number.n_undefined else ""
    return f"{number.value} ({number.interval}{undefined})"
