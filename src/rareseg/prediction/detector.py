"""Open a trained model with its decisions, to be called on images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from rareseg.decision.decisions import Decisions
from rareseg.decision.operating_point import OperatingPoint
from rareseg.prediction.bundle import bundle_at, load_decisions, load_model
from rareseg.prediction.model import Model
from rareseg.prediction.scorer import ModelScorer
from rareseg_runner.image_detector import ImageDetector


class Detector(ImageDetector):
    """A model and what is decided about its scores; call it on an image, or on a list of them.

    ``model`` and ``decisions`` are immutable; a region without an operating point is cut at 0.5.
    Threads may share one: its network scores one image at a time.
    """

    points: Mapping[str, OperatingPoint]

    def __init__(
        self, model: Model, decisions: Decisions, *, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__(ModelScorer(model, device=device), decisions.points_in_use)
        self.model = model
        self.decisions = decisions
        self.device = torch.device(device)


def load(run: Path | str, *, device: str | torch.device = "cpu") -> Detector:
    """Return the detector of a run's folder, of its bundle alone, or of a bundle in one file.

    ``device`` is torch's name of one. Raises :class:`BundleError` where there is no finished model,
    or it is damaged.
    """
    with bundle_at(Path(run)) as folder:
        return Detector(load_model(folder), load_decisions(folder), device=device)
