"""Export what a watch has found, for Prometheus: as `rareseg monitor` left it in its state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client.core import GaugeMetricFamily

from rareseg.errors import UsageError, WorkError
from rareseg.monitoring.watch_state import NAME, read_noted

OF_IMAGES = "images"
"""The label of what the images show by themselves."""


class WatchCollector:
    """Reads the state of a watch whenever metrics are asked for.

    Where it cannot be read then, ``rareseg_watch_readable`` is 0 and nothing else is told.
    """

    def __init__(self, folder: Path) -> None:
        self._state = folder / NAME

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges."""
        readable = GaugeMetricFamily(
            "rareseg_watch_readable", "Whether the state of the watch could be read."
        )
        try:
            found = read_noted(self._state, "result")
        except WorkError:
            found = None
        readable.add_metric([], 0.0 if found is None else 1.0)
        yield readable
        if found is not None:
            yield from _gauges(found)


def require_watch(folder: Path, weights: str) -> None:
    """Raise :class:`UsageError` where a folder holds no watch, or that of another model."""
    try:
        about = read_noted(folder / NAME, "watched")
    except WorkError as error:
        raise UsageError(f"--watch {folder} cannot be read: {error}") from error
    if about is None:
        raise UsageError(
            f"--watch {folder} holds no watch; name a folder that `rareseg monitor --out` wrote."
        )
    if about.get("weights") != weights:
        raise UsageError(
            f"--watch {folder} watches another model than the one that is served; name its own."
        )


def _gauges(found: dict[str, Any]) -> Iterator[GaugeMetricFamily]:
    changed = GaugeMetricFamily(
        "rareseg_watch_changed",
        "Whether a feature of the stream has changed, by region.",
        labels=["region", "feature"],
    )
    evidence = GaugeMetricFamily(
        "rareseg_watch_evidence",
        "The largest share of an e-value that was reached; the alarm is at 1 / alpha.",
        labels=["region", "feature"],
    )
    for region, part in {OF_IMAGES: found["images"], **found["regions"]}.items():
        for feature, own in part["features"].items():
            changed.add_metric([region, feature], float(own["changed"]))
            evidence.add_metric([region, feature], own["evidence"])
    groups = GaugeMetricFamily(
        "rareseg_watch_groups", "Groups that were observed.", labels=["part"]
    )
    groups.add_metric(["stream"], found["groups"])
    groups.add_metric(["reference"], found["reference_groups"])
    yield from (changed, evidence, groups)
