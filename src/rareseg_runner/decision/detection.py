"""Decide about an image's scores: masks, objects, flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.decision.cut_point import CutPoint, apply_point
from rareseg_runner.decision.found_objects import FoundObject, find_objects
from rareseg_runner.decision.image_score import image_score
from rareseg_runner.decision.label_map import label_map
from rareseg_runner.decision.region_scores import region_scores
from rareseg_runner.image_records import Classes, Image
from rareseg_runner.scoring.image_scores import ImageScores


@dataclass(frozen=True, eq=False)
class Detection:
    """What a detector says of an image.

    All arrays lie on the image's own grid: (y, x) of a photograph, (z, y, x) of a volume. By
    region: ``scores`` float32 in [0, 1] and ``masks`` bool at the operating point;
    ``image_scores``, in [0, 1], which the point's gate cuts, and ``presence``, the network's own
    part of them, None where it tells none. ``label_map`` holds one mask value per pixel.
    ``unlike`` says in words how the image differs from those of the training, ``converted`` what
    was done to it first, such as that colours became grey.
    """

    image: Image
    scores: Mapping[str, NDArray[np.float32]]
    masks: Mapping[str, NDArray[np.bool_]]
    label_map: NDArray[np.uint8] | NDArray[np.uint16]
    image_scores: Mapping[str, float]
    presence: Mapping[str, float] | None
    unlike: tuple[str, ...] = ()
    converted: str | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be known of the image beside what was found in it."""
        return self.unlike if self.converted is None else (*self.unlike, self.converted)

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


def decide(
    image: Image, said: ImageScores, classes: Classes, points: Mapping[str, CutPoint]
) -> Detection:
    """Return what the scores of an image come to at the operating points of the regions."""
    spacing, shown = image.geometry.spacing, _shown_shape(image)
    scores = region_scores(said.probabilities, classes)
    masks = {
        region: apply_point(own, points[region], said.presence_of(region), spacing=spacing)
        for region, own in scores.items()
    }
    labels = label_map(said.probabilities, masks, classes)
    return Detection(
        image=image,
        scores={region: own.reshape(shown) for region, own in scores.items()},
        masks={region: own.reshape(shown) for region, own in masks.items()},
        label_map=labels.reshape(shown),
        image_scores={
            region: image_score(float(own.max(initial=0.0)), said.presence_of(region))
            for region, own in scores.items()
        },
        presence=said.presence,
    )


def _shown_shape(image: Image) -> tuple[int, ...]:
    """Return the shape of a photograph without its one slice, of a volume as it is."""
    shape = image.array.shape[1:]
    return shape[1:] if image.geometry.dimension == 2 else shape
