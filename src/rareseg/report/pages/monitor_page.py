"""Write the page of a watch: what is found, the evidence, each feature then and now, images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs

from rareseg.monitoring.change_test import ChangeTest
from rareseg.monitoring.observed_features import ObservedFeature
from rareseg.monitoring.watch_state import WatchCall
from rareseg.report.figures.case_pictures import PictureChoice, image_uri, take_picture
from rareseg.report.figures.monitor_figures import evidence_figure, feature_figures
from rareseg.report.figures.plotly_parts import Figure
from rareseg.report.pages.report_page import SCRIPTS, asset, environment
from rareseg.report.wording.monitor_text import evidence_text
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.image_records import Image

Floats = NDArray[np.float64]

NOW = 100
"""The last groups of the stream, which are shown as "now"."""


@dataclass(frozen=True)
class PicturedImage:
    """An image as a data URI, "" where it cannot be read; ``words`` say why it is shown."""

    name: str
    uri: str
    words: str


@dataclass(frozen=True)
class UnlikePair:
    """An image of the stream beside the known image that it is nearest to, if there is one."""

    image: PicturedImage
    nearest: PicturedImage | None


@dataclass(frozen=True, eq=False)
class MonitorContent:
    """What the page shows.

    ``sentences`` are the answer and what follows from it, ``expected`` the estimates without
    labels, ``ranked`` (image, region, doubt) the images to look at first. ``reference`` and
    ``stream`` are the groups (groups, features), ``counted`` what was counted and what was not.
    """

    title: str
    test: ChangeTest
    calls: tuple[WatchCall, ...]
    reference_name: str
    sentences: tuple[str, ...]
    counted: tuple[str, ...]
    expected: tuple[str, ...]
    drawn: tuple[str, ...]
    reference: Floats
    stream: Floats
    pairs: tuple[UnlikePair, ...]
    pairs_said: str
    ranked: tuple[tuple[str, str, float], ...]


@dataclass(frozen=True)
class FeatureRow:
    """One feature in words: median and ends in the reference and now, and its evidence."""

    name: str
    then: str
    now: str
    evidence: str
    changed: bool
    at: str


def write_monitor_page(path: Path, content: MonitorContent) -> None:
    """Write the page, atomically; it loads nothing. Raises WorkError where that fails."""
    text = render_monitor_page(content)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def render_monitor_page(content: MonitorContent) -> str:
    """Return the page as HTML."""
    now = content.stream[-NOW:]
    return (
        environment()
        .get_template("monitor.html.j2")
        .render(
            content=content,
            test=content.test,
            rows=feature_rows(content),
            evidence=evidence_figure(content.test, content.calls),
            figures=_figures(content, now),
            n_now=len(now),
            css=asset("page.css") + asset("audit.css") + asset("monitor.css"),
            scripts=[asset(name) for name in SCRIPTS],
            plotly=Markup(get_plotlyjs()),  # noqa: S704 - plotly's own file, not a user's text
        )
    )


def _figures(content: MonitorContent, now: Floats) -> tuple[Figure, ...]:
    """Return each feature then and now, those with most evidence first."""
    order = [content.test.features.index(feature) for feature in _by_evidence(content.test)]
    ordered = [content.test.features[k] for k in order]
    return feature_figures(ordered, content.reference[:, order], now[:, order])


def _by_evidence(test: ChangeTest) -> list[ObservedFeature]:
    return sorted(test.features, key=lambda feature: -test.highest(feature))


def feature_rows(content: MonitorContent) -> tuple[FeatureRow, ...]:
    """Return the table of features, those with most evidence first."""
    now = content.stream[-NOW:]
    return tuple(_row(content, feature, now) for feature in _by_evidence(content.test))


def picture_of(image: Image) -> str:
    """Return an image as a data URI; of a volume its middle slice."""
    nothing = np.zeros(image.array.shape[1:], np.bool_)
    shot = PictureChoice("", "", "negative", "")
    plane = len(nothing) // 2
    return image_uri(take_picture(shot, image.array, nothing, nothing, plane=plane))


def _row(content: MonitorContent, feature: ObservedFeature, now: Floats) -> FeatureRow:
    test = content.test
    k = test.features.index(feature)
    at = test.noticed_at.get(feature)
    return FeatureRow(
        feature.words,
        _spread(content.reference[:, k]),
        _spread(now[:, k]),
        evidence_text(test.highest(feature)),
        at is not None,
        "–" if at is None else f"group {at}",
    )


def _spread(values: Sequence[float] | Floats) -> str:
    """Return "median (5 % to 95 %)"."""
    if len(values) == 0:
        return "–"
    low, middle, high = np.percentile(values, (5, 50, 95)).tolist()
    return f"{_number(middle)} ({_number(low)} to {_number(high)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}".replace("-", "−")
