"""Draw FROC, recall by size, image-level ROC and calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rareseg.decision.operating_point import Infeasible, OperatingPoint
from rareseg.evaluation.measures.case_result import CaseResult
from rareseg.evaluation.metrics.calibration_curve import (
    calibration_curve,
    expected_calibration_error,
    overconfidence,
)
from rareseg.evaluation.metrics.froc import RATES, band_recall, froc, sensitivity_at
from rareseg.evaluation.metrics.image_level_roc import image_level
from rareseg.evaluation.statistics.undefined import Undefined, Value, format_value, is_defined
from rareseg.evaluation.tables.score_table import CaseScores, ScoreTable
from rareseg.report.figures.plotly_parts import (
    Figure,
    MissingFigure,
    Trace,
    axis,
    dot,
    layout,
    line,
    log_odds,
    log_odds_ticks,
)
from rareseg.report.report_content import ReportContent
from rareseg.report.wording.numbers import count, percent, quantity, size, with_interval

MOST_FALSE = 8.0
"""The FROC is drawn up to so many false positives per case, LUNA16's last rate."""


def detection_figures(content: ReportContent, region: str) -> tuple[Figure | MissingFigure, ...]:
    """Return FROC, recall by object size, image-level ROC and calibration of one region."""
    results = content.results_of(region)
    point = content.points.get(region)
    return (
        froc_figure(content, region, point, results),
        size_figure(results),
        image_figure(content.table, region, point),
        calibration_figure(content.table, region),
    )


def froc_figure(
    content: ReportContent,
    region: str,
    point: OperatingPoint | Infeasible | None,
    results: Sequence[CaseResult],
) -> Figure | MissingFigure:
    """Return the recall of objects against false components per case, over the thresholds."""
    title = "FROC"
    if content.components is None:
        return MissingFigure(title, "components were not counted")
    cut = point if isinstance(point, OperatingPoint) else OperatingPoint(region, 0.5)
    curve = froc(content.components, region=region, smallest=cut.smallest_component, gate=cut.gate)
    if curve.n_objects == 0:
        return MissingFigure(title, "no object in any case")
    rates = [(rate, sensitivity_at(curve, rate)) for rate in RATES["LUNA16"]]
    data: list[Trace] = [line("", curve.false_positives, curve.recall, "main")]
    data[0]["customdata"] = [f"{threshold:.4g}" for threshold in curve.thresholds]
    data[0]["hovertemplate"] = "threshold %{customdata}: %{y:.3f} found, %{x:.3g} false"
    counted = [result for result in results if result.stratum != "ignored"]
    n_false = sum(len(result.objects.false_positive_sizes) for result in counted)
    n_found = sum(result.objects.n_found for result in counted)
    false, found = n_false / max(1, len(counted)), n_found / curve.n_objects
    name = "chosen point" if isinstance(point, OperatingPoint) else "0.5"
    data.append(dot(name, false, found, "chosen", "circle"))
    told = ", ".join(
        f"{percent(value)} at {rate:g}" for rate, value in rates[::2] if is_defined(value)
    )
    return Figure(
        "froc",
        title,
        f"{count(curve.n_objects, 'object')} in {count(curve.n_cases, 'case')}; an object is found "
        f"where one voxel of it is predicted. Found with at most so many false per case: {told}.",
        "Share of objects found against false components per case, over thresholds.",
        data,
        layout(
            axis(
                "false components per case",
                [0, _far_end(data[0], false)],
            ),
            axis("objects found", [0, 1.02]),
        ),
    )


def _far_end(curve: Trace, false: float) -> float:
    """Return where the axis ends: a little behind the point and where recall is largest."""
    points = [(x, y) for x, y in zip(curve["x"], curve["y"], strict=True) if x is not None]
    most = max(y for _, y in points)
    reached = min(x for x, y in points if y == most)
    return float(min(MOST_FALSE, max(1.0, 1.3 * reached, 1.3 * false)))


def size_figure(results: Sequence[CaseResult]) -> Figure | MissingFigure:
    """Return the recall of objects at the chosen point by their size, in four bands."""
    title = "Objects found, by size"
    bands = band_recall(
        [np.array(result.objects.sizes, np.float64) * result.voxel_size for result in results],
        [np.array(result.objects.found, np.bool_) for result in results],
        [result.group for result in results],
    )
    if not bands:
        return MissingFigure(title, "no object in any case")
    unit = results[0].size_unit
    names = [
        size(band.low) if band.low == band.high else f"{size(band.low)}–{size(band.high)}"
        for band in bands
    ]
    values = [float(band.recall.value) if is_defined(band.recall.value) else 0.0 for band in bands]
    bars: Trace = {
        "type": "bar",
        "name": "",
        "x": names,
        "y": values,
        "marker": {"color": "token:dice"},
        "text": [f"{band.n_objects}" for band in bands],
        "textposition": "none",
        "hovertemplate": "%{x} " + unit + ": %{y:.0%} of %{text}",
        "error_y": _whiskers([(band.recall.low, band.recall.high) for band in bands], values),
    }
    told = ", ".join(
        f"{percent(value)} of {band.n_objects}" for value, band in zip(values, bands, strict=True)
    )
    return Figure(
        "size",
        title,
        f"From the smallest quarter to the largest: {told}; with 95 % intervals over groups.",
        "Share of objects found, by size in four bands.",
        [bars],
        layout(axis(unit, type="category"), axis("objects found", [0, 1.02])),
    )


def _whiskers(bounds: Sequence[tuple[Value, Value]], values: Sequence[float]) -> Trace:
    """Return error bars; a bound that is undefined has none."""
    high = [
        h - v if isinstance(h, float) else 0.0 for (_, h), v in zip(bounds, values, strict=True)
    ]
    low = [v - w if isinstance(w, float) else 0.0 for (w, _), v in zip(bounds, values, strict=True)]
    return {
        "type": "data",
        "symmetric": False,
        "array": high,
        "arrayminus": low,
        "color": "token:ink",
        "thickness": 1.2,
    }


def image_figure(
    table: ScoreTable, region: str, point: OperatingPoint | Infeasible | None
) -> Figure | MissingFigure:
    """Return the ROC of whole images by their image score.

    Where images have a presence, the chosen point lies below the curve as far as its threshold
    silences images that its gate lets pass.
    """
    title = "Image-level ROC"
    curve = image_level(table, region=region)
    told = (
        ", the root of presence times largest score"
        if table.has_presence(region)
        else ", their largest score"
    )
    if isinstance(curve.auc.value, Undefined):
        return MissingFigure(title, curve.auc.value.reason)
    data = [line("", curve.false_positive_rate, curve.true_positive_rate, "main")]
    data[0]["line"]["shape"] = "hv"
    if isinstance(point, OperatingPoint):
        alarms, found = _shares_on(table.select(region=region).rows, point)
        data.append(
            dot(
                "chosen threshold and gate, before small components go",
                alarms,
                found,
                "chosen",
                "circle",
            )
        )
    return Figure(
        "images",
        title,
        f"{curve.n_positive} positive and {count(curve.n_negative, 'negative case')} by their "
        f"image score{told}. Area {with_interval(curve.auc)}.",
        "Share of positive cases against share of negative cases whose image score reaches a gate.",
        data,
        layout(
            axis("negative cases with an alarm", [-0.02, 1.02]),
            axis("positive cases with anything", [0, 1.02]),
        ),
    )


def _shares_on(rows: Sequence[CaseScores], point: OperatingPoint) -> tuple[float, float]:
    """Return the shares of negative and of positive cases with anything on at a point."""
    on: dict[bool, list[bool]] = {True: [], False: []}
    for row in rows:
        if row.n_voxels > 0:
            passes = np.float32(row.image_score) >= np.float32(point.gate)
            shows = np.float32(row.top) >= np.float32(point.threshold)
            on[row.n_inside > 0].append(bool(passes and shows))
    return float(np.mean(on[False])), float(np.mean(on[True]))


def calibration_figure(table: ScoreTable, region: str) -> Figure | MissingFigure:
    """Return how often a score is right, in octaves of the score, on log-odds axes."""
    title = "Calibration curve"
    octaves = calibration_curve(table, region=region, intervals="octaves")
    if not len(octaves.lows):
        return MissingFigure(title, "no voxel counts")
    even = calibration_curve(table, region=region)
    error, over = expected_calibration_error(even), overconfidence(even)
    seen = (octaves.frequency > 0) & (octaves.frequency < 1)
    if not seen.any():
        return MissingFigure(title, "the scores never err within an interval")
    x, y = log_odds(octaves.confidence[seen]), log_odds(octaves.frequency[seen])
    ends = [float(min(x.min(), y.min())) - 0.3, float(max(x.max(), y.max())) + 0.3]
    diagonal = np.array(ends)
    data = [
        line("a score that means what it says", diagonal, diagonal, "half", "dot"),
        line("these scores", x, y, "main"),
    ]
    data[1]["mode"] = "lines+markers"
    told = ""
    if is_defined(over):
        told = (
            f" Above 0.5 the scores say {percent(abs(over))} "
            f"{'more' if over > 0 else 'less'} than is so."
        )
    ticks = log_odds_ticks()
    return Figure(
        "calibration",
        title,
        f"{quantity(octaves.n_voxels)} voxels of {count(octaves.n_cases, 'case')}. Expected "
        f"calibration error {format_value(error, 4)}.{told}",
        "Share of voxels in the region against their mean score.",
        data,
        layout(axis("mean score", ends, **ticks), axis("share in the region", ends, **ticks)),
    )
