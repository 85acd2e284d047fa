"""Draw a watch: the evidence of a change over time, and each feature then and now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rareseg.monitoring.change_test import ChangeTest
from rareseg.monitoring.observed_features import ObservedFeature
from rareseg.monitoring.watch_state import WatchCall
from rareseg.report.figures.plotly_parts import (
    MOST_POINTS,
    Figure,
    MissingFigure,
    axis,
    layout,
    line,
)

Floats = NDArray[np.float64]

MOST_LINES = 4
"""Features whose evidence is drawn: those with most."""

_COLOURS = ("chosen", "dice", "clean", "half")
_BINS = 24
_MOST_TICKS = 8
_LOWEST = -6.0
"""Powers of ten below which evidence is drawn as this."""


def evidence_figure(test: ChangeTest, calls: Sequence[WatchCall]) -> Figure | MissingFigure:
    """Return the evidence over the groups of the stream, with the level of the alarm."""
    title = "Evidence of a change"
    if test.n_groups == 0:
        return MissingFigure(title, "no group of the stream has been observed yet")
    highest = sorted(test.features, key=lambda feature: -test.highest(feature))[:MOST_LINES]
    groups = np.arange(1, test.n_groups + 1, dtype=np.float64)
    shown = np.unique(np.linspace(0, test.n_groups - 1, MOST_POINTS).round().astype(int))
    tens = np.maximum(test.log_evidence / np.log(10.0), _LOWEST)
    data = [
        line(feature.words, groups[shown], tens[shown, test.features.index(feature)], colour)
        for feature, colour in zip(highest, _COLOURS, strict=False)
    ]
    alarm = test.alarm_at / np.log(10.0)
    ends = np.array([0.5, test.n_groups + 0.5])
    data.append(line(f"alarm at {1.0 / test.alpha:g}", ends, np.full(2, alarm), "ink", "dot"))
    top = max(float(tens.max()), alarm) + 0.5
    low = max(_LOWEST, min(float(tens[:, [test.features.index(f) for f in highest]].min()), -2.0))
    words = ", ".join(feature.words for feature in highest)
    return Figure(
        name="evidence",
        title=title,
        caption=(
            "E-value of each feature over the groups of the stream, times its share, as powers "
            f"of ten; the {len(highest)} features with most evidence. Without "
            f"a change any of them ever reaches {1.0 / test.alpha:g} with a probability of at most "
            f"{test.alpha:g}, however often it is looked at."
        ),
        alt=f"Evidence of a change over {test.n_groups} groups, of {words}",
        data=data,
        layout=layout(
            axis("groups of the stream", [0.5, test.n_groups + 0.5], **_ticks(calls)),
            axis("power of ten", [low, top]),
        ),
    )


def feature_figures(
    features: Sequence[ObservedFeature], reference: Floats, stream: Floats
) -> tuple[Figure, ...]:
    """Return a figure for each feature: the groups of the reference, and those of the stream.

    ``reference`` and ``stream`` are (groups, features). Features that are one value are left out.
    """
    found = []
    for k, feature in enumerate(features):
        then, now = reference[:, k], stream[:, k]
        both = np.concatenate([then, now])
        if len(now) == 0 or len(then) == 0 or float(np.ptp(both)) == 0.0:
            continue
        edges = np.linspace(both.min(), both.max(), _BINS + 1)
        name = f"then-and-now-{k}"
        found.append(
            Figure(
                name=name,
                title=feature.words,
                caption=f"Share of the groups: {len(then)} of the reference, {len(now)} now.",
                alt=(
                    f"{feature.words}: median {np.median(then):.3g} in the reference, "
                    f"{np.median(now):.3g} now"
                ),
                data=[
                    line("reference", *_steps(then, edges), "half"),
                    line("now", *_steps(now, edges), "chosen"),
                ],
                layout=layout(axis(feature.name), axis("share", rangemode="tozero")),
            )
        )
    return tuple(found)


def _steps(values: Floats, edges: Floats) -> tuple[Floats, Floats]:
    """Return the outline of a histogram as a line."""
    shares = np.histogram(values, edges)[0] / len(values)
    return np.repeat(edges, 2), np.concatenate([[0.0], np.repeat(shares, 2), [0.0]])


def _ticks(calls: Sequence[WatchCall]) -> dict[str, object]:
    """Return ticks with the dates of calls at their first groups, those of some where many."""
    starts = np.cumsum([1, *(call.n_groups for call in calls)])[: len(calls)]
    step = -(-len(calls) // _MOST_TICKS) or 1
    return {
        "tickvals": [int(start) for start in starts[::step]],
        "ticktext": [
            f"{start}<br>{call.at[:10]}"
            for start, call in zip(starts[::step], calls[::step], strict=True)
        ],
    }
