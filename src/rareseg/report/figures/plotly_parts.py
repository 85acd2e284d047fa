"""Make Plotly figures as plain dictionaries.

Colours are tokens such as ``token:chosen`` that the page replaces by its own, in light and in
dark. Names are escaped, since Plotly reads some HTML in texts.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Trace = dict[str, Any]
Axis = dict[str, Any]

MOST_POINTS = 300
"""Points of one line: more than a screen can tell apart."""


@dataclass(frozen=True)
class KeyEntry:
    """One line of a legend: ``style`` is solid, dot, circle, diamond or band."""

    name: str
    colour: str
    style: str


@dataclass(frozen=True)
class Figure:
    """A Plotly figure with its heading, its caption and what a screen reader says of it."""

    name: str
    title: str
    caption: str
    alt: str
    data: list[Trace]
    layout: dict[str, Any]
    more_key: tuple[KeyEntry, ...] = ()

    @property
    def key(self) -> tuple[KeyEntry, ...]:
        """What each line and mark is, for the legend below the figure."""
        named = [trace for trace in self.data if trace["name"]]
        return (*(_key_entry(trace) for trace in named), *self.more_key)

    @property
    def plotly(self) -> dict[str, Any]:
        """What ``Plotly.newPlot`` takes."""
        return {"data": self.data, "layout": self.layout}


@dataclass(frozen=True)
class MissingFigure:
    """A figure that cannot be drawn, and why."""

    title: str
    reason: str


def line(name: str, x: Floats, y: Floats, colour: str, dash: str = "solid") -> Trace:
    """Return a line through points, in the order given; without a name it is in no legend."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": html.escape(name),
        "x": rounded(x),
        "y": rounded(y),
        "line": {"color": f"token:{colour}", "width": 2, "dash": dash},
    }


def dot(name: str, x: float, y: float, colour: str, symbol: str) -> Trace:
    """Return one marked point."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": html.escape(name),
        "x": [x],
        "y": [y],
        "marker": {"color": f"token:{colour}", "size": 11, "symbol": symbol, "line": {"width": 2}},
    }


def _key_entry(trace: Trace) -> KeyEntry:
    drawn = trace["line"] if trace["mode"].startswith("lines") else trace["marker"]
    style = drawn["dash"] if "dash" in drawn else drawn["symbol"].removesuffix("-open")
    colour = drawn["color"].removeprefix("token:")
    return KeyEntry(html.unescape(trace["name"]), colour, style)


def rounded(values: Floats) -> list[float | None]:
    """Return five digits of every value; what is not finite is a gap."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values]


def axis(title: str, limits: list[float] | None = None, **more: Any) -> Axis:
    """Return an axis with its title and range; ``more`` is passed on to Plotly."""
    return {"title": {"text": title}, **({"range": limits} if limits else {}), **more}


def layout(x: Axis, y: Axis) -> dict[str, Any]:
    """Return a layout of two axes; everything else is the page's."""
    return {"xaxis": x, "yaxis": y}


LOWEST = 1e-6
"""On a log-odds axis values lie between this and one less it."""


def log_odds(values: Floats) -> Floats:
    """Return log10(p / (1 − p)), which stretches both ends of [0, 1]."""
    inside = np.clip(values, LOWEST, 1.0 - LOWEST)
    return np.asarray(np.log10(inside / (1.0 - inside)))


def log_odds_ticks() -> Axis:
    """Return the ticks of such an axis."""
    values = [1e-6, 1e-4, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999, 1 - 1e-6]
    return {
        "tickvals": [round(float(x), 4) for x in log_odds(np.array(values))],
        "ticktext": ["10<sup>−6</sup>", "10<sup>−4</sup>", *(f"{v:g}" for v in values[2:])],
    }
