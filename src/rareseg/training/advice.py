"""Give advice on strategies from measured data sets that resemble the one at hand.

``worlds.json`` is what ``benchmarks/when_does_it_help.py`` measured on the built-in data set while
it turned one knob after the other. Advice is a reading of the world that lies nearest; it is no
proof about other data, for which there is ``rareseg compare``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from rareseg.data.checks.fingerprint import Fingerprint

SOURCE = "docs/sampling-study.md"

LEVEL = 0.05
"""Differences of dice below this are noise in worlds of a few seeds."""

ALIKE = 2.5
"""The largest distance at which a measured world says anything: about a tenth of the foreground."""

STARVED = 0.2
"""Dice below the best by which a strategy has not learned what it could."""


@dataclass(frozen=True)
class Likeness:
    """What data sets are compared by.

    ``foreground`` is the share of foreground voxels in the images that hold any, ``empty`` the
    share of images that hold none, ``images`` their number.
    """

    foreground: float
    empty: float
    images: int

    def distance(self, other: Likeness) -> float:
        """Return how far another data set is, 0 for one that is alike; twice the images count half.

        Shares are compared by their logarithms and their odds, since a half and a quarter per cent
        differ as much as one and two.
        """
        return (
            abs(math.log(self.foreground / other.foreground))
            + abs(_log_odds(self.empty) - _log_odds(other.empty))
            + 0.5 * abs(math.log(self.images / other.images))
        )


@dataclass(frozen=True)
class MeasuredDataset:
    """A measured data set: its knob, what it is like, and by strategy dice and false alarms.

    Both are at each strategy's own chosen point: the mean dice of positive images and the share of
    negative images with anything on.
    """

    title: str
    likeness: Likeness
    dice: Mapping[str, float]
    alarms: Mapping[str, float]

    def leading(self) -> list[str]:
        """Return the strategies that cannot be told from the best, best first."""
        best = max(self.dice.values())
        ranked = sorted(self.dice, key=lambda name: -self.dice[name])
        return [name for name in ranked if self.dice[name] >= best - LEVEL]

    def starved(self) -> list[str]:
        """Return the strategies that fall far behind, worst first."""
        best = max(self.dice.values())
        ranked = sorted(self.dice, key=lambda name: self.dice[name])
        return [name for name in ranked if self.dice[name] < best - STARVED]


@dataclass(frozen=True)
class MeasuredDatasets:
    """All measured worlds, with the steps and seeds of each strategy in each."""

    steps: int
    seeds: int
    worlds: tuple[MeasuredDataset, ...]


@cache
def measured_worlds() -> MeasuredDatasets:
    """Return what was measured, as it is shipped."""
    text = files("rareseg.training").joinpath("worlds.json").read_text(encoding="utf-8")
    record = json.loads(text)
    worlds = tuple(
        MeasuredDataset(
            entry["title"], Likeness(**entry["likeness"]), entry["dice"], entry["alarms"]
        )
        for entry in record["worlds"]
    )
    return MeasuredDatasets(record["steps"], record["seeds"], worlds)


def likeness(fingerprint: Fingerprint) -> Likeness | None:
    """Return what a data set is like; None where no image holds foreground."""
    positive = [case for case in fingerprint.cases if case.is_positive]
    foreground = sum(sum(case.voxels[1:]) for case in positive)
    voxels = sum(sum(case.voxels) for case in positive)
    if not foreground:
        return None
    n_cases = len(fingerprint.cases)
    return Likeness(foreground / voxels, 1.0 - len(positive) / n_cases, n_cases)


def nearest_world(fingerprint: Fingerprint) -> MeasuredDataset | None:
    """Return the measured world that is most like a data set; None where none is like it."""
    own = likeness(fingerprint)
    if own is None:
        return None
    nearest = min(measured_worlds().worlds, key=lambda world: own.distance(world.likeness))
    return nearest if own.distance(nearest.likeness) <= ALIKE else None


def advise(fingerprint: Fingerprint) -> str:
    """Return in two sentences what the nearest world says, or that none is like the data."""
    world = nearest_world(fingerprint)
    if world is None:
        return "No measured world is like these data; `rareseg compare` says what holds on yours."
    return (
        f"In the measured world most like these data ({world.title}) {_said(world)} in dice of "
        f"positive images after {measured_worlds().steps} steps ({SOURCE}). It is another data "
        "set: `rareseg compare` says what holds on yours."
    )


def cite(fingerprint: Fingerprint, strategy: str) -> str:
    """Return, as the end of a reason, what a strategy reached in the nearest world; "" for none."""
    world = nearest_world(fingerprint)
    if world is None or strategy not in world.dice:
        return ""
    best = world.leading()[0]
    most = "" if best == strategy else f", {best} as the best of them {world.dice[best]:.2f}"
    return (
        f"; on {world.title} it reached dice {world.dice[strategy]:.2f}{most} and random sampling "
        f"{world.dice['random']:.2f} ({SOURCE})"
    )


def _said(world: MeasuredDataset) -> str:
    leading, starved = world.leading(), world.starved()
    if len(leading) == len(world.dice):
        values = world.dice.values()
        return f"all strategies were level, at {min(values):.2f} to {max(values):.2f},"
    said = ", ".join(f"{name} {world.dice[name]:.2f}" for name in leading)
    behind = ", ".join(f"{name} {world.dice[name]:.2f}" for name in starved)
    return f"{said} led" + (f" and {behind} fell far behind" if starved else "")


def _log_odds(share: float) -> float:
    """Return the log odds, of shares that are kept off 0 and 1."""
    kept = min(max(share, 0.02), 0.98)
    return math.log(kept / (1.0 - kept))
