"""Call a model with its decisions on an image: masks, objects, flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import overload

from rareseg_runner.decision.cut_point import CutPoint
from rareseg_runner.decision.detection import Detection, decide
from rareseg_runner.formats.geotiff import without_value
from rareseg_runner.image_records import Image
from rareseg_runner.picture_input import Picture, as_image
from rareseg_runner.preprocessing.photo_channels import with_channels
from rareseg_runner.scoring.image_scorer import ImageScorer


class ImageDetector:
    """A model and where the scores of each region are cut; call it on an image, or on a list.

    ``points`` has a cut for every region. Immutable; threads may share one.
    """

    def __init__(self, scorer: ImageScorer, points: Mapping[str, CutPoint]) -> None:
        self.scorer = scorer
        self.points: Mapping[str, CutPoint] = points

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
        about = self.scorer.description
        image = self.as_image(picture, spacing=spacing)
        if about.nodata_value is not None:
            image = without_value(image, about.nodata_value)
        unlike = () if about.images is None else about.images.remarks(image)  # of its own channels
        converted = None
        if not isinstance(picture, tuple):  # three files need not be red, green and blue
            image, converted = with_channels(image, about.channels)
        found = decide(image, self.scorer.score(image), about.classes, self.points)
        return replace(found, unlike=unlike, converted=converted)

    def as_image(
        self, picture: Picture, *, spacing: tuple[float, float, float] | None = None
    ) -> Image:
        """Return a picture as the image that the model scores; raises as a call does."""
        return as_image(picture, volumes=self.scorer.description.takes_volumes, spacing=spacing)
