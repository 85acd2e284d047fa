"""Time whole predictions of models on images: from a file to its decision."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rareseg.data.input_images import open_images
from rareseg.errors import UsageError
from rareseg.prediction.detector import Detector, load
from rareseg.progress import Track, silent
from rareseg_runner.formats import read_image
from rareseg_runner.image_records import Image


@dataclass(frozen=True)
class Timing:
    """How fast a model is on some images.

    ``seconds`` are those of each call, reading the file left out: their median ``p50`` and 95th
    percentile ``p95``; ``images_per_second`` is of all calls together. ``peak_bytes`` is the most
    memory that the process has had so far, of whichever model.
    """

    model: str
    computed_by: str
    n_calls: int
    images_per_second: float
    p50: float
    p95: float
    peak_bytes: int

    def record(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def benchmark(
    models: Sequence[Path | str],
    images: Path | str,
    *,
    rounds: int = 3,
    device: str = "cpu",
    track: Track = silent,
) -> list[Timing]:
    """Return the timing of every model, in their order, on all images ``rounds`` times.

    Models take turns on every image, so that other work on the machine counts for all alike; the
    first round is not counted. Raises :class:`UsageError` where no model is named or ``rounds`` is
    below 1, :class:`DataError` where there is no image, and as :func:`rareseg.load` does.
    """
    if not models or rounds < 1:
        raise UsageError("Name at least one model, and at least one round.")
    detectors = [load(model, device=device) for model in models]
    cases = open_images(Path(images), channels=detectors[0].model.training.files_per_case)
    seconds: list[list[float]] = [[] for _ in detectors]
    turns = [(number, case) for number in range(rounds + 1) for case in cases]
    for number, case in track(turns, "timing", len(turns)):
        image = read_image(case.images)
        for own, detector in zip(seconds, detectors, strict=True):
            taken = _timed(detector, image)
            if number > 0:
                own.append(taken)
    return [
        _timing(str(model), detector, own)
        for model, detector, own in zip(models, detectors, seconds, strict=True)
    ]


def _timed(detector: Detector, image: Image) -> float:
    begun = time.perf_counter()
    detector(image)
    return time.perf_counter() - begun


def _timing(name: str, detector: Detector, seconds: Sequence[float]) -> Timing:
    p50, p95 = np.percentile(seconds, (50, 95))
    arithmetic = detector.model.arithmetic(detector.device.type)
    precision = "bfloat16" if arithmetic["precision"] == "bf16" else "float32"
    return Timing(
        model=name,
        computed_by=f"{arithmetic['backend']}, {precision}",
        n_calls=len(seconds),
        images_per_second=len(seconds) / sum(seconds),
        p50=float(p50),
        p95=float(p95),
        peak_bytes=_peak_bytes(),
    )


def _peak_bytes() -> int:
    """Return the largest resident memory of the process: Linux counts KiB, macOS bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
