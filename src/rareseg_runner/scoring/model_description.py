"""Record of everything but the weights that the scores of a model depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rareseg_runner.image_records import Classes
from rareseg_runner.preprocessing.image_facts import ImageFacts
from rareseg_runner.preprocessing.preprocess import Preprocessing
from rareseg_runner.scoring.cascade_model import Cascade
from rareseg_runner.scoring.presence_scaling import PresenceScaling


@dataclass(frozen=True)
class ScoringSettings:
    """How whole images are scored: the recipe's ``prediction``, and what the network asks for.

    ``dimension`` is that of the network's windows. Images larger than ``tile`` (voxels along each
    axis; None: never) are taken in windows of it that overlap by the share ``overlap``; with
    ``mirror`` the mean over mirror images is taken. ``mean_of`` is what several networks are
    averaged in. ``stride`` is the number of voxels of which each side of a window is a multiple.
    """

    dimension: Literal[2, 3]
    stride: int
    tile: tuple[int, ...] | None = None
    overlap: float = 0.5
    mirror: bool = False
    mean_of: Literal["probabilities", "log_odds"] = "probabilities"

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ScoringSettings:
        """Make the record from plain JSON values; TypeError or ValueError for anything else."""
        tile = record["tile"]
        return cls(**{**record, "tile": None if tile is None else tuple(map(int, tile))})


@dataclass(frozen=True)
class ModelDescription:
    """What a model is beside its weights.

    ``channels`` is the number of image channels, ``members`` that of its networks, ``presence`` how
    what they tell of whole images becomes each region's presence. ``images`` say what the images
    of the training were like, None in models of earlier versions.
    """

    classes: Classes
    channels: int
    preprocessing: Preprocessing
    settings: ScoringSettings
    members: int = 1
    cascade: Cascade | None = None
    presence: Mapping[str, PresenceScaling] = field(default_factory=dict)
    images: ImageFacts | None = None

    @property
    def takes_volumes(self) -> bool:
        """Whether the images are volumes: arrays are then (z, y, x[, channel])."""
        return (self.settings.dimension if self.images is None else self.images.dimension) == 3

    @property
    def nodata_value(self) -> str | None:
        """The number in images that means that nothing was measured, None where none was named."""
        return None if self.images is None else self.images.nodata_value
