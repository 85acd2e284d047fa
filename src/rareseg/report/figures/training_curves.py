"""Draw the curves of a training: loss and validation score."""

from __future__ import annotations

import numpy as np

from rareseg.report.figures.plotly_parts import MOST_POINTS, Figure, Floats, axis, dot, layout, line
from rareseg.report.report_content import Columns, History
from rareseg.report.wording.numbers import percent


def training_figures(history: History) -> tuple[Figure, ...]:
    """Return the loss by step and the validation score by step, where there are any."""
    figures = []
    if history.steps.get("step"):
        figures.append(_loss_figure(history.steps))
    if history.validations.get("step"):
        figures.append(_validation_figure(history.validations))
    return tuple(figures)


def _loss_figure(steps: Columns) -> Figure:
    x, loss = np.asarray(steps["step"], np.float64), np.asarray(steps["loss"], np.float64)
    size = -(-len(x) // MOST_POINTS)
    blocks = [slice(start, start + size) for start in range(0, len(x), size)]
    mean_x = np.array([x[block].mean() for block in blocks])
    mean_loss = np.array([loss[block].mean() for block in blocks])
    data = [
        line("loss", mean_x, mean_loss, "faint"),
        line("running mean", mean_x, _running_mean(mean_loss), "main"),
    ]
    waiting = steps.get("waiting_share")
    note = f" Waiting for data: {percent(float(np.mean(waiting)))} of the time." if waiting else ""
    return Figure(
        "loss",
        "Loss on training patches",
        f"{int(x[-1]):,} steps.{note}",
        f"Loss by step, from {mean_loss[0]:.3g} to {mean_loss[-1]:.3g}.",
        data,
        layout(axis("step"), axis("loss", rangemode="tozero")),
    )


def _validation_figure(validations: Columns) -> Figure:
    x, values = np.asarray(validations["step"], np.float64), np.asarray(validations["score"])
    data = [line("validation cases", x, values, "main")]
    data[0]["mode"] = "lines+markers"
    best = int(np.nanargmax(values)) if np.isfinite(values).any() else 0
    data.append(dot("kept checkpoint", float(x[best]), float(values[best]), "chosen", "circle"))
    return Figure(
        "validation",
        "Score on whole validation cases",
        "Average precision pooled over positive and negative cases of equal weight, mean over "
        f"regions. Best {values[best]:.3f} after {int(x[best]):,} steps, which is what is used.",
        f"Score of the validation cases by step; best {values[best]:.3f}.",
        data,
        layout(axis("step"), axis("average precision", [0, 1.02])),
    )


def _running_mean(values: Floats) -> Floats:
    """Return the mean over the neighbouring tenth of the values, shorter at both ends."""
    half = max(1, len(values) // 20)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))
