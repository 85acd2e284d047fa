"""Draw the curves of one region: dice against threshold, precision–recall, ROC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.operating_point import Infeasible, OperatingPoint
from rareseg.evaluation.metrics.overlap import (
    Curve,
    average_precision,
    cumulative,
    pooled_curve,
    precision_recall,
    roc,
    roc_auc,
)
from rareseg.evaluation.statistics.undefined import Undefined, format_value
from rareseg.evaluation.tables.score_table import CaseScores, ScoreTable
from rareseg.evaluation.tables.threshold_bins import bin_edges, bin_of
from rareseg.report.figures.plotly_parts import (
    LOWEST,
    MOST_POINTS,
    Figure,
    Floats,
    KeyEntry,
    MissingFigure,
    Trace,
    axis,
    dot,
    layout,
    line,
    log_odds,
    log_odds_ticks,
)
from rareseg.report.wording.numbers import threshold as threshold_text


def region_figures(
    table: ScoreTable, region: str, point: OperatingPoint | Infeasible | None
) -> tuple[Figure | MissingFigure, ...]:
    """Return dice against threshold, precision–recall and ROC of one region's scored cases.

    Where the table has no row of the region, or no positive (or negative) voxel, a figure is
    missing with its reason.
    """
    rows = [row for row in table if row.region == region and row.n_voxels > 0]
    chosen = point if isinstance(point, OperatingPoint) else None
    curve = pooled_curve(rows, weighting="case")
    return (
        threshold_figure(rows, chosen),
        precision_recall_figure(curve, chosen),
        roc_figure(curve, chosen),
    )


def threshold_figure(
    rows: Sequence[CaseScores], point: OperatingPoint | None
) -> Figure | MissingFigure:
    """Return mean dice over positive cases, and the share of clean negatives, by threshold.

    The horizontal axis is log-odds: thresholds of rare classes lie near 0 or near 1.
    """
    title = "Dice against threshold"
    if not rows:
        return MissingFigure(title, "no case was scored")
    marks = [0.5, *([point.threshold] if point else [])]
    bins = _shown_bins(marks)
    gate = point.gate if point else 0.0
    data: list[Trace] = []
    shown: list[Floats] = []
    for level, dash in ((gate, "solid"), *(((0.0, "dot"),) if gate > 0 else ())):
        for name, values, colour in (
            ("mean dice of positive cases", _mean_dice(rows, bins, level), "dice"),
            (
                "specificity of images",
                _share_clean(rows, bins, level),
                "clean",
            ),
        ):
            if values is not None:
                shown.append(values)
                data.append(
                    line(name if dash == "solid" else "", _log_odds(bins), values, colour, dash)
                )
                data[-1]["customdata"] = [threshold_text(float(edge)) for edge in bin_edges()[bins]]
                data[-1]["hovertemplate"] = "threshold %{customdata}: %{y:.3f}"
    low, high = _interesting(bins, shown, marks)
    frame = layout(
        axis("threshold (log-odds scale)", [low, high], **log_odds_ticks()),
        axis("", [0, 1.02]),
    )
    frame["shapes"], frame["annotations"] = _threshold_marks(point)
    return Figure(
        "threshold",
        title,
        "Every case of equal weight. The horizontal axis is stretched where the thresholds of rare "
        "classes lie.",
        "Mean dice of positive cases and specificity of images, by threshold.",
        data,
        frame,
        _threshold_key(point),
    )


def precision_recall_figure(curve: Curve, point: OperatingPoint | None) -> Figure | MissingFigure:
    """Return precision against recall of all cases pooled, each of equal weight."""
    title = "Precision and recall"
    if not curve.positives:
        return MissingFigure(title, "no positive voxel in any case")
    precisions, recalls = precision_recall(curve)
    data = [_thinned(recalls, precisions, "main")]
    for mark in _marks(point):
        k = _position(curve, mark.threshold)
        if k >= 0:
            data.append(mark.dot(float(recalls[k]), float(precisions[k])))
    return Figure(
        "precision_recall",
        title,
        "All cases pooled, each of equal weight. Average precision "
        f"{format_value(average_precision(curve))}.",
        "Precision against recall at every threshold.",
        data,
        layout(axis("recall", [0, 1.02]), axis("precision", [0, 1.02])),
    )


def roc_figure(curve: Curve, point: OperatingPoint | None) -> Figure | MissingFigure:
    """Return the ROC with a logarithmic false-positive axis: the left edge is where rare is."""
    title = "ROC"
    area = roc_auc(curve)
    if isinstance(area, Undefined):
        return MissingFigure(title, f"{area.reason} in any case")
    false_rate, true_rate = roc(curve)
    floor = max(1e-7, float(false_rate[false_rate > 0].min(initial=1.0)))
    shown = np.log10(np.maximum(false_rate, floor))
    data = [_thinned(shown, true_rate, "main")]
    for mark in _marks(point):
        k = _position(curve, mark.threshold) + 1
        data.append(mark.dot(float(shown[k]), float(true_rate[k])))
    lowest = int(np.floor(np.log10(floor)))
    decades = range(0, lowest - 1, -2 if lowest < -4 else -1)
    return Figure(
        "roc",
        title,
        "All cases pooled, each of equal weight; false positives on a logarithmic axis. Area on "
        f"linear axes {format_value(area, 4)}.",
        "True-positive rate against false-positive rate at every threshold.",
        data,
        layout(
            axis(
                "false-positive rate",
                [lowest, 0.05],
                tickvals=list(decades),
                ticktext=[f"{10.0**k:.6g}" if k > -3 else f"10<sup>−{-k}</sup>" for k in decades],
            ),
            axis("true-positive rate", [0, 1.02]),
        ),
    )


@dataclass(frozen=True)
class _Mark:
    """A threshold that is marked on a curve."""

    name: str
    threshold: float
    colour: str
    symbol: str

    def dot(self, x: float, y: float) -> Trace:
        return dot(f"{self.name} {threshold_text(self.threshold)}", x, y, self.colour, self.symbol)


def _marks(point: OperatingPoint | None) -> list[_Mark]:
    marks = []
    if point is None or point.threshold != 0.5:
        marks.append(_Mark("threshold", 0.5, "half", "diamond-open"))
    if point is not None:
        marks.append(_Mark("chosen threshold", point.threshold, "chosen", "circle"))
    return marks


def _position(curve: Curve, threshold: float) -> int:
    """Return the index of the lowest threshold of the curve at or above the given one, or -1."""
    return int(np.searchsorted(-curve.thresholds, -np.float32(threshold), side="right")) - 1


def _mean_dice(rows: Sequence[CaseScores], bins: NDArray[np.int64], gate: float) -> Floats | None:
    positives = [row for row in rows if row.n_inside]
    total = np.zeros(len(bins))
    for row in positives:
        if np.float32(row.image_score) >= np.float32(gate):
            tp, fp = cumulative(row, bins)
            total += 2.0 * tp / (tp + fp + row.n_inside)
    return total / len(positives) if positives else None


def _share_clean(rows: Sequence[CaseScores], bins: NDArray[np.int64], gate: float) -> Floats | None:
    negatives = [row for row in rows if not row.n_inside]
    alarms = np.zeros(len(bins))
    for row in negatives:
        if np.float32(row.image_score) >= np.float32(gate):
            alarms += row.top_bin >= bins
    return 1.0 - alarms / len(negatives) if negatives else None


def _shown_bins(marks: Sequence[float]) -> NDArray[np.int64]:
    """Return bins at equal steps of log-odds, and those of the marks."""
    end = np.log(1.0 / LOWEST - 1.0)
    odds = np.linspace(-end, end, MOST_POINTS)
    wanted = [*(1.0 / (1.0 + np.exp(-odds))), *marks]
    return np.unique([bin_of(float(value)) for value in wanted]).astype(np.int64)


def _log_odds(bins: NDArray[np.int64]) -> Floats:
    return log_odds(bin_edges()[bins].astype(np.float64))


def _interesting(
    bins: NDArray[np.int64], lines: Sequence[Floats], marks: Sequence[float]
) -> tuple[float, float]:
    """Return the range of log-odds outside which no line changes by more than 0.5 %."""
    x = _log_odds(bins)
    changes = np.zeros(len(bins), np.bool_)
    for values in lines:
        changes |= (np.abs(values - values[0]) > 0.005) & (np.abs(values - values[-1]) > 0.005)
    where = x[changes] if changes.any() else x
    marked = log_odds(np.array(marks))
    low, high = min(where.min(), marked.min()), max(where.max(), marked.max())
    return float(max(x[0], min(low - 0.3, -2.1))), float(min(x[-1], max(high + 0.3, 2.1)))


def _threshold_marks(point: OperatingPoint | None) -> tuple[list[Trace], list[Trace]]:
    """Return the vertical lines of 0.5 and of the chosen threshold, and their labels."""
    shapes: list[Trace] = []
    labels: list[Trace] = []
    if point is not None and point.plateau is not None:
        low, high = (float(x) for x in log_odds(np.array(point.plateau)))
        shapes.append(
            {"type": "rect", "x0": low, "x1": high, "y0": 0, "y1": 1, "yref": "paper",
             "fillcolor": "token:band", "line": {"width": 0}, "layer": "below"}
        )  # fmt: skip
    marks = _marks(point)
    for mark in marks:
        x = float(log_odds(np.array([mark.threshold]))[0])
        left = mark.threshold == min(other.threshold for other in marks)
        shapes.append(
            {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper",
             "line": {"color": f"token:{mark.colour}", "width": 1.5}}
        )  # fmt: skip
        labels.append(
            {"x": x, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False,
             "xanchor": "center" if len(marks) == 1 else "right" if left else "left",
             "xshift": 0 if len(marks) == 1 else 4 if left else -4,
             "text": threshold_text(mark.threshold), "font": {"color": f"token:{mark.colour}"}}
        )  # fmt: skip
    return shapes, labels


def _threshold_key(point: OperatingPoint | None) -> tuple[KeyEntry, ...]:
    """Return what the vertical lines and the band are."""
    key = [
        KeyEntry(
            f"{mark.name} {threshold_text(mark.threshold)}",
            mark.colour,
            "solid",
        )
        for mark in _marks(point)
    ]
    if point is not None and point.gate > 0:
        key.append(KeyEntry("without the gate", "half", "dot"))
    if point is not None and point.plateau is not None:
        key.append(KeyEntry("equally good when it was chosen", "band", "band"))
    return tuple(key)


def _thinned(x: Floats, y: Floats, colour: str) -> Trace:
    """Return a line of a monotone curve with the points that stand apart on it."""
    span = max(float(np.ptp(x)), 1e-9)
    path = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x) / span, np.diff(y)))])
    wanted = np.linspace(0.0, path[-1], MOST_POINTS)
    kept = np.unique(np.searchsorted(path, wanted).clip(0, len(x) - 1))
    return line("", x[kept], y[kept], colour)
