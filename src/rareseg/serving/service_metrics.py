"""Count what a service does, for Prometheus."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from rareseg.serving.watch_metrics import WatchCollector
from rareseg_runner.decision.detection import Detection

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder in which the workers of one service add up."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SCORES = tuple(step / 20 for step in range(1, 21))


class Metrics:
    """Requests, latencies, flags and image scores by region, and how many requests wait.

    With ``watch``, the folder of one, also what `rareseg monitor` has found in its stream.
    """

    def __init__(self, watch: Path | None = None) -> None:
        self._registry = CollectorRegistry()
        self._watch = None if watch is None else WatchCollector(watch)
        if self._watch is not None and MULTIPROCESS not in os.environ:
            self._registry.register(self._watch)
        names = {"registry": self._registry}
        self._requests = Counter(
            "rareseg_requests", "Requests by path and status.", ["path", "status"], **names
        )
        self._seconds = Histogram(
            "rareseg_request_seconds", "Seconds to an answer.", ["path"], buckets=_SECONDS, **names
        )
        self._images = Counter("rareseg_images", "Images that were predicted.", **names)
        self._flagged = Counter(
            "rareseg_flagged_images", "Images in which a region was found.", ["region"], **names
        )
        self._scores = Histogram(
            "rareseg_image_score", "Image scores.", ["region"], buckets=_SCORES, **names
        )
        self.waiting = Gauge(
            "rareseg_requests_in_progress",
            "Requests that are worked on or wait.",
            multiprocess_mode="livesum",
            **names,
        )

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def found(self, found: Detection) -> None:
        """Count an image and what was found in it."""
        self._images.inc()
        for region, on in found.flagged.items():
            self._flagged.labels(region).inc(int(on))
            self._scores.labels(region).observe(found.image_scores[region])

    def text(self) -> bytes:
        """Return all counts as Prometheus reads them, of all workers of the service."""
        if MULTIPROCESS not in os.environ:
            return bytes(generate_latest(self._registry))
        together = CollectorRegistry()
        MultiProcessCollector(together)
        if self._watch is not None:
            together.register(self._watch)
        return bytes(generate_latest(together))
