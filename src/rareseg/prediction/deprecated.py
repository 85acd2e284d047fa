"""Deprecated names, kept for one release: `load_bundle` and `Predictor`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rareseg.decision.decisions import Decisions
from rareseg.decision.operating_point import OperatingPoint
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.prediction.model import Model
from rareseg.prediction.scorer import ModelScorer
from rareseg.recipe import Recipe
from rareseg_runner.decision.region_scores import region_scores
from rareseg_runner.image_records import Classes, Image


@dataclass(frozen=True, eq=False)
class Bundle:
    """A model and its decisions under the names that they had in one record."""

    model: Model
    decisions: Decisions

    @property
    def recipe(self) -> Recipe:
        """Everything that the run was told."""
        return self.model.recipe

    @property
    def classes(self) -> Classes:
        """The classes and regions."""
        return self.model.classes

    @property
    def channels(self) -> int:
        """The number of image channels."""
        return self.model.channels

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The weights of the networks."""
        return self.model.weights

    @property
    def points(self) -> Mapping[str, OperatingPoint]:
        """The operating points of the regions that have one."""
        return self.decisions.points

    @property
    def trained(self) -> Mapping[str, Any]:
        """How the weights came about, as plain values."""
        return self.model.training.to_dict()


def load_bundle(folder: Path | str) -> Bundle:
    """Read a bundle. Deprecated: :func:`rareseg.load` returns a detector that holds the same.

    Raises :class:`BundleError` where it is missing, incomplete or damaged.
    """
    _warn("load_bundle", "rareseg.load(RUN), which has .model and .decisions")
    return Bundle(load_model(Path(folder)), load_decisions(Path(folder)))


class Predictor:
    """Scores whole images. Deprecated: call the detector of :func:`rareseg.load` on them."""

    def __init__(self, bundle: Bundle, *, device: str | torch.device = "cpu") -> None:
        _warn("Predictor", "rareseg.load(RUN) and call what it returns on an image")
        self.bundle = bundle
        self._scorer = ModelScorer(bundle.model, device=device)

    def probabilities(self, image: Image) -> NDArray[np.float32]:
        """Return the probabilities of the classes (class, z, y, x) on the image's own grid."""
        return self._scorer.probabilities(image)

    def region_scores(self, image: Image) -> dict[str, NDArray[np.float32]]:
        """Return the score (z, y, x) of every region, in [0, 1], on the image's own grid."""
        return region_scores(self.probabilities(image), self.bundle.classes)


def _warn(name: str, instead: str) -> None:
    warnings.warn(
        f"{name} will be removed in the next release; use {instead}.",
        DeprecationWarning,
        stacklevel=3,
    )
