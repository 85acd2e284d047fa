"""Call a model with its decisions on an image: masks, objects, flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from rareseg.data.formats import read_image
from rareseg.data.records import Geometry, Image
from rareseg.decision.decisions import Decisions
from rareseg.decision.operating_point import apply_point
from rareseg.errors import DataError
from rareseg.evaluation.tables.image_score import image_score
from rareseg.evaluation.tables.score_table import region_scores
from rareseg.prediction.bundle import DESCRIPTION, load_decisions, load_model
from rareseg.prediction.found_objects import FoundObject, find_objects
from rareseg.prediction.model import Model
from rareseg.prediction.scorer import ImageScorer, label_map

Picture: TypeAlias = Image | NDArray[np.generic] | Path | str | Sequence[Path | str]
"""What a detector takes: a file or several (its channels), an array, or an image that was read."""


@dataclass(frozen=True, eq=False)
class Found:
    """What a detector says of an image, on the image's own grid.

    By region: ``scores`` (z, y, x) float32 in [0, 1] and ``masks`` (z, y, x) bool at the operating
    point; ``image_scores``, in [0, 1], which the point's gate cuts, and ``presence``, the network's
    own part of them, None where it tells none. ``labels`` (z, y, x) holds one mask value per voxel.
    A photograph has one slice, z = 1.
    """

    image: Image
    scores: Mapping[str, NDArray[np.float32]]
    masks: Mapping[str, NDArray[np.bool_]]
    labels: NDArray[np.uint8] | NDArray[np.uint16]
    image_scores: Mapping[str, float]
    presence: Mapping[str, float] | None

    @property
    def flagged(self) -> dict[str, bool]:
        """Whether anything of each region is in its mask."""
        return {region: bool(mask.any()) for region, mask in self.masks.items()}

    @property
    def objects(self) -> tuple[FoundObject, ...]:
        """The components of all masks, of each region the one of the largest score first."""
        found: list[FoundObject] = []
        for region, mask in self.masks.items():
            own = find_objects(region, mask, self.scores[region])
            found += sorted(own, key=lambda one: (-one.top_score, one.box))
        return tuple(found)


class Detector:
    """A model and what is decided about its scores; call it on an image.

    ``model`` and ``decisions`` are immutable; a region without an operating point is cut at 0.5.
    """

    def __init__(
        self, model: Model, decisions: Decisions, *, device: str | torch.device = "cpu"
    ) -> None:
        self.model = model
        self.decisions = decisions
        self.points = decisions.points_in_use
        self.scorer = ImageScorer(model, device=device)

    def __call__(
        self, picture: Picture, *, spacing: tuple[float, float, float] | None = None
    ) -> Found:
        """Return what is found in an image.

        A file, or several that are the channels in the order of training, are read as
        `rareseg predict` reads them. An array of a 2D model is (y, x) or (y, x, channel), as Pillow
        gives it; of a 3D model, or where ``spacing`` (z, y, x) in mm is given, (z, y, x) or
        (channel, z, y, x). Raises :class:`ReadError` for a file that
        cannot be read and :class:`DataError` for what the model cannot take.
        """
        image = self._as_image(picture, spacing)
        said = self.scorer.score(image)
        scores = region_scores(said.probabilities, self.model.classes)
        masks = {
            region: apply_point(
                own, self.points[region], said.presence_of(region), spacing=image.geometry.spacing
            )
            for region, own in scores.items()
        }
        return Found(
            image=image,
            scores=scores,
            masks=masks,
            labels=label_map(said.probabilities, masks, self.model.classes),
            image_scores={
                region: image_score(float(own.max(initial=0.0)), said.presence_of(region))
                for region, own in scores.items()
            },
            presence=said.presence,
        )

    def _as_image(self, picture: Picture, spacing: tuple[float, float, float] | None) -> Image:
        if isinstance(picture, Image):
            return picture
        if isinstance(picture, str | Path):
            return read_image([Path(picture)])
        if not isinstance(picture, np.ndarray):
            return read_image([Path(path) for path in picture])
        flat = self.model.recipe.data.dimension == 2 and spacing is None
        wanted = (2, 3) if flat else (3, 4)
        if picture.ndim not in wanted:
            axes = "(y, x) or (y, x, channel)" if flat else "(z, y, x) or (channel, z, y, x)"
            raise DataError(
                f"The array has {picture.ndim} axes; this model takes {axes}, or the path of a "
                "file."
            )
        if flat:
            stacked = picture[..., np.newaxis] if picture.ndim == 2 else picture
            array = np.moveaxis(stacked, -1, 0)[:, np.newaxis]
        else:
            array = picture[np.newaxis] if picture.ndim == 3 else picture
        geometry = Geometry(spacing or (1.0, 1.0, 1.0), dimension=2 if flat else 3)
        return Image(np.ascontiguousarray(array), geometry)


def load(run: Path | str, *, device: str | torch.device = "cpu") -> Detector:
    """Return the detector of a run's folder, or of its bundle alone, wherever that lies.

    ``device`` is torch's name of one. Raises :class:`BundleError` where there is no finished model,
    or it is damaged.
    """
    folder = Path(run)
    if not (folder / DESCRIPTION).is_file():
        folder = folder / "bundle"
    return Detector(load_model(folder), load_decisions(folder), device=device)
