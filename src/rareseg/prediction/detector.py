"""Call a model with its decisions on an image: masks, objects, flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, overload

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from rareseg.data.formats import read_image
from rareseg.data.formats.geotiff import without_value
from rareseg.data.formats.photo import as_photograph
from rareseg.data.photo_channels import with_channels
from rareseg.data.records import Classes, Geometry, Image
from rareseg.decision.decisions import Decisions
from rareseg.decision.operating_point import OperatingPoint, apply_point
from rareseg.errors import DataError
from rareseg.evaluation.tables.image_score import image_score
from rareseg.evaluation.tables.score_table import region_scores
from rareseg.prediction.bundle import DESCRIPTION, load_decisions, load_model
from rareseg.prediction.bundle_archive import unpacked
from rareseg.prediction.found_objects import FoundObject, find_objects
from rareseg.prediction.model import Model
from rareseg.prediction.scorer import ImageScorer, ImageScores, label_map

Picture: TypeAlias = (
    Image | NDArray[np.generic] | PIL.Image.Image | Path | str | tuple[Path | str, ...]
)
"""What a detector takes: an array, a picture of Pillow's, a file, a tuple of files (one image whose
channels they are), or an image that was read."""


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


class Detector:
    """A model and what is decided about its scores; call it on an image, or on a list of them.

    ``model`` and ``decisions`` are immutable; a region without an operating point is cut at 0.5.
    Threads may share one: its network scores one image at a time.
    """

    def __init__(
        self, model: Model, decisions: Decisions, *, device: str | torch.device = "cpu"
    ) -> None:
        self.model = model
        self.decisions = decisions
        self.points = decisions.points_in_use
        self.scorer = ImageScorer(model, device=device)

    @overload
    def __call__(
        self, picture: Picture, *, spacing: tuple[float, float, float] | None = None
    ) -> Detection: ...
    @overload
    def __call__(
        self, picture: list[Picture], *, spacing: tuple[float, float, float] | None = None
    ) -> list[Detection]: ...
    def __call__(
        self,
        picture: Picture | list[Picture],
        *,
        spacing: tuple[float, float, float] | None = None,
    ) -> Detection | list[Detection]:
        """Return what is found in an image, or in each image of a list, whatever their sizes.

        A file is read as `rareseg predict` reads it; a tuple of files is one image whose channels
        they are, in the order of training. An array is (y, x) or (y, x, channel) for a model of
        photographs, (z, y, x) or (z, y, x, channel) for one of volumes, in the same units as the
        files of the training; ``spacing`` (z, y, x) is in mm, and 1 where an array states none. A
        grey photograph is repeated for a model of three channels, and one in colours made grey for
        a model of one. An empty list gives an empty list.

        Raises :class:`ReadError` for a file that cannot be read and :class:`DataError` for what the
        model cannot take: another number of channels, other intensities, NaN, no numbers at all.
        """
        if isinstance(picture, list):
            return [self(one, spacing=spacing) for one in picture]
        image = self.as_image(picture, spacing=spacing)
        if self.model.nodata_value is not None:
            image = without_value(image, self.model.nodata_value)
        facts = self.model.training.images
        unlike = () if facts is None else facts.remarks(image)  # of the file's own channels
        converted = None
        if not isinstance(picture, tuple):  # three files need not be red, green and blue
            image, converted = with_channels(image, self.model.channels)
        found = decide(image, self.scorer.score(image), self.model.classes, self.points)
        return replace(found, unlike=unlike, converted=converted)

    def as_image(
        self, picture: Picture, *, spacing: tuple[float, float, float] | None = None
    ) -> Image:
        """Return a picture as the image that the model scores; raises as a call does."""
        if isinstance(picture, Image):
            return picture
        if isinstance(picture, PIL.Image.Image):
            return as_photograph(picture)
        if isinstance(picture, str | Path):
            return read_image([Path(picture)])
        if isinstance(picture, tuple):
            return read_image([Path(path) for path in picture])
        if not isinstance(picture, np.ndarray):
            raise DataError(
                f"A detector takes a numpy array, a picture of Pillow's, the path of a file or a "
                f"list of these, not {type(picture).__name__}; bring it to an array first."
            )
        facts = self.model.training.images
        volumes = (self.model.recipe.data.dimension if facts is None else facts.dimension) == 3
        return _array_image(picture, volumes=volumes or spacing is not None, spacing=spacing)


def decide(
    image: Image, said: ImageScores, classes: Classes, points: Mapping[str, OperatingPoint]
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


def _array_image(
    array: NDArray[np.generic],
    *,
    volumes: bool,
    spacing: tuple[float, float, float] | None,
) -> Image:
    """Return an array of the axes that users give as an image; DataError for what is none."""
    axes = "(z, y, x) or (z, y, x, channel)" if volumes else "(y, x) or (y, x, channel)"
    plain = 3 if volumes else 2
    if array.ndim not in (plain, plain + 1):
        raise DataError(
            f"The array has {array.ndim} axes; this model takes {axes}, or the path of a file."
        )
    if array.dtype.kind not in "buif" or array.dtype.itemsize > 8:
        raise DataError(
            f"The array holds {array.dtype}; an image is of whole or floating-point numbers of at "
            "most 64 bits, such as uint8."
        )
    if array.size == 0:
        raise DataError(f"The array of shape {array.shape} is empty; give at least one pixel.")
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    with_channel = array if array.ndim > plain else array[..., np.newaxis]
    channels = np.moveaxis(with_channel, -1, 0)
    stacked = channels if volumes else channels[:, np.newaxis]
    native = stacked.astype(stacked.dtype.newbyteorder("="), copy=False)
    geometry = Geometry(spacing or (1.0, 1.0, 1.0), dimension=3 if volumes else 2)
    return Image(np.ascontiguousarray(native), geometry)


def load(run: Path | str, *, device: str | torch.device = "cpu") -> Detector:
    """Return the detector of a run's folder, of its bundle alone, or of a bundle in one file.

    ``device`` is torch's name of one. Raises :class:`BundleError` where there is no finished model,
    or it is damaged.
    """
    place = Path(run)
    if place.is_file():
        with unpacked(place) as folder:
            return _load(folder, device)
    return _load(place if (place / DESCRIPTION).is_file() else place / "bundle", device)


def _load(folder: Path, device: str | torch.device) -> Detector:
    return Detector(load_model(folder), load_decisions(folder), device=device)
