"""Give advice on strategies from measured data sets that resemble the one at hand.

``measured_datasets.json`` is what ``benchmarks/when_does_it_help.py`` measured on the
built-in data set while it changed one property after the other. Advice is read from the data set
that lies nearest; it is no proof about other data, for which there is ``rareseg compare``.
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
"""Differences of dice below this are noise in datasets of a few seeds."""

ALIKE = 2.5
"""The largest distance at which a measured data set is used: about a tenth of the foreground."""

FAR_BEHIND = 0.2
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
    """A measured data set: its title, what it is like, and by strategy dice and false alarms.

    Both are at each strategy's own chosen point: the mean dice of positive images and the share of
    negative images with anything on.
    """

    title: str
    likeness: Likeness
    dice: Mapping[str, float]
    alarms: Mapping[str, float]

    def leading(self) -> list[str]:
        """Return the strategies that cannot be distinguished from the best, best first."""
        best = max(self.dice.values())
        ranked = sorted(self.dice, key=lambda name: -self.dice[name])
        return [name for name in ranked if self.dice[name] >= best - LEVEL]

    def far_behind(self) -> list[str]:
        """Return the strategies that fall far behind, worst first."""
        best = max(self.dice.values())
        ranked = sorted(self.dice, key=lambda name: self.dice[name])
        return [name for name in ranked if self.dice[name] < best - FAR_BEHIND]


@dataclass(frozen=True)
class MeasuredDatasets:
    """All measured data sets, with the steps and seeds of each strategy in each."""

    steps: int
    seeds: int
    datasets: tuple[MeasuredDataset, ...]


@cache
def measured_datasets() -> MeasuredDatasets:
    """Return what was measured, as it is shipped."""
    text = files("rareseg.training").joinpath("measured_datasets.json").read_text(encoding="utf-8")
    record = json.loads(text)
    datasets = tuple(
        MeasuredDataset(
            entry["title"], Likeness(**entry["likeness"]), entry["dice"], entry["alarms"]
        )
        for entry in record["datasets"]
    )
    return MeasuredDatasets(record["steps"], record["seeds"], datasets)


def likeness(fingerprint: Fingerprint) -> Likeness | None:
    """Return what a data set is like; None where no image holds foreground."""
    positive = [case for case in fingerprint.cases if case.is_positive]
    foreground = sum(sum(case.voxels[1:]) for case in positive)
    voxels = sum(sum(case.voxels) for case in positive)
    if not foreground:
        return None
    n_cases = len(fingerprint.cases)
    return Likeness(foreground / voxels, 1.0 - len(positive) / n_cases, n_cases)


def nearest_dataset(fingerprint: Fingerprint) -> MeasuredDataset | None:
    """Return the measured data set that is most like a data set; None where none is like it."""
    own = likeness(fingerprint)
    if own is None:
        return None
    nearest = min(measured_datasets().datasets, key=lambda dataset: own.distance(dataset.likeness))
    return nearest if own.distance(nearest.likeness) <= ALIKE else None


def advise(fingerprint: Fingerprint) -> str:
    """Return in two sentences what the nearest data set says, or that none is like the data."""
    dataset = nearest_dataset(fingerprint)
    if dataset is None:
        return (
            "No measured data set is like these data; `rareseg compare` says what holds on yours."
        )
    return (
        f"In the measured data set most like these data ({dataset.title}) {_ranking(dataset)} in "
        f"dice of positive images after {measured_datasets().steps} steps ({SOURCE}). It is "
        "another data set: `rareseg compare` says what holds on yours."
    )


def cite(fingerprint: Fingerprint, strategy: str) -> str:
    """Return what a strategy reached in the nearest data set, to end a reason; "" if none."""
    dataset = nearest_dataset(fingerprint)
    if dataset is None or strategy not in dataset.dice:
        return ""
    best = dataset.leading()[0]
    most = "" if best == strategy else f", {best} as the best of them {dataset.dice[best]:.2f}"
    return (
        f"; on {dataset.title} it reached dice {dataset.dice[strategy]:.2f}{most} and random "
        f"sampling {dataset.dice['random']:.2f} ({SOURCE})"
    )


def _ranking(dataset: MeasuredDataset) -> str:
    leading, far_behind = dataset.leading(), dataset.far_behind()
    if len(leading) == len(dataset.dice):
        values = dataset.dice.values()
        return f"all strategies were level, at {min(values):.2f} to {max(values):.2f},"
    said = ", ".join(f"{name} {dataset.dice[name]:.2f}" for name in leading)
    behind = ", ".join(f"{name} {dataset.dice[name]:.2f}" for name in far_behind)
    return f"{said} led" + (f" and {behind} fell far behind" if far_behind else "")


def _log_odds(share: float) -> float:
    """Return the log odds, of shares that are kept off 0 and 1."""
    kept = min(max(share, 0.02), 0.98)
    return math.log(kept / (1.0 - kept))
