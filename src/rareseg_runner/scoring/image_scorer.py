"""Score an image: from its file's intensities to probabilities on its own grid.

:class:`ImageScorer` is the one place where networks meet a whole image, whatever computes them:
validation, evaluation, prediction and the service all go through it, so that an operating point is
applied to the very scores that it was chosen on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.errors import DataError
from rareseg_runner.image_records import Image
from rareseg_runner.memory_limit import refusal
from rareseg_runner.preprocessing.photo_channels import with_channels
from rareseg_runner.preprocessing.preprocess import network_input, prepared_shape
from rareseg_runner.preprocessing.resampling import resample
from rareseg_runner.scoring.image_scores import ArrayScores, ImageScores
from rareseg_runner.scoring.model_description import ModelDescription
from rareseg_runner.scoring.network_mean import as_terms, from_terms, mean_presence
from rareseg_runner.scoring.presence_scaling import PresenceScaling

ArrayScorer: TypeAlias = Callable[[NDArray[np.float32]], ArrayScores]
"""One network with its windows: from a normalised array (channel, z, y, x) to its scores."""


class ImageScorer:
    """Scores whole images with one network, the mean of several, or two stages.

    ``networks`` are the model's members in their order. Threads may share a scorer: its networks
    take one image at a time.
    """

    def __init__(self, description: ModelDescription, networks: Sequence[ArrayScorer]) -> None:
        self.description = description
        self._networks = tuple(networks)
        self._busy = Lock()

    def score(self, image: Image) -> ImageScores:
        """Return the softmax probabilities and the presence of each region in an image.

        The presence is the largest over windows and, where a volume is predicted in 2D, over
        slices, and the mean over mirrors and networks, scaled as the model's presence says; of two
        stages it is the first one's. The channel of a grey photograph is repeated where the model
        was trained on three. Raises :class:`DataError` where the number of channels is not
        the one trained on, or the image is unlike those of the training.
        """
        about = self.description
        if len(image.array) == 1:
            image, _ = with_channels(image, about.channels)
        if image.array.shape[0] != about.channels:
            raise DataError(
                f"the image has {image.array.shape[0]} channels, but the model was trained on "
                f"{about.channels}; give the same channels in the same order."
            )
        facts = about.images
        misfit = None if facts is None else facts.misfit(image, about.preprocessing)
        if misfit is not None:
            raise DataError(f"{misfit}.")
        self._require_memory(image)
        array = network_input(image, about.preprocessing)
        with self._busy:
            if about.cascade is None:
                found = self._mean(self._networks, array)
                scores = found.probabilities
            else:
                found = self._mean(self._networks[: about.cascade.first_stage], array)
                second = self._mean(self._networks[-1:], array)
                scores = about.cascade.join(found.probabilities, second.probabilities)
        return ImageScores(resample(scores, image.array.shape[1:]), self._presence(found.presence))

    def probabilities(self, image: Image) -> NDArray[np.float32]:
        """Return the probabilities of :meth:`score` alone; a gate needs the presence too."""
        return self.score(image).probabilities

    def _require_memory(self, image: Image) -> None:
        """Raise DataError where an image's scores would not fit into the memory beside it."""
        shape, classes = image.array.shape[1:], self.description.classes.count
        grid = prepared_shape(shape, image.geometry.spacing, self.description.preprocessing)
        needed = score_bytes(
            shape, grid, classes=classes, channels=len(image.array), networks=len(self._networks)
        )
        if refused := refusal(needed, held=image.array.nbytes):
            sides = " × ".join(map(str, shape))
            raise DataError(f"the scores of {classes} classes on {sides} voxels: {refused}")

    def _mean(self, networks: Sequence[ArrayScorer], array: NDArray[np.float32]) -> ArrayScores:
        """Return the mean of what the networks say, on their own grid."""
        of_log_odds = self.description.settings.mean_of == "log_odds" and len(networks) > 1
        total: NDArray[np.float32] | None = None
        said: list[NDArray[np.float32]] = []
        for network in networks:
            found = network(array)
            terms = as_terms(found.probabilities, of_log_odds=of_log_odds)
            total = terms if total is None else total + terms
            if found.presence is not None:
                said.append(found.presence)
        assert total is not None
        return ArrayScores(
            from_terms(total, len(networks), of_log_odds=of_log_odds),
            mean_presence(said, of_log_odds=of_log_odds) if said else None,
        )

    def _presence(self, said: NDArray[np.float32] | None) -> dict[str, float] | None:
        """Return the presence of every region, scaled; None where the networks say none."""
        if said is None:
            return None
        regions = self.description.classes.regions
        if self.description.cascade is not None and self.description.classes.count > 2:
            # The first stage knows one region, all foreground: no other can be where it is not.
            said = np.repeat(said, len(regions))
        unscaled = PresenceScaling()
        return {
            region: self.description.presence.get(region, unscaled).apply(float(value))
            for region, value in zip(regions, said, strict=True)
        }


def score_bytes(
    shape: Sequence[int], grid: Sequence[int], *, classes: int, channels: int, networks: int = 1
) -> int:
    """Return the bytes that scoring an image takes beside the image, in main memory.

    ``shape`` (z, y, x) is the image's and ``grid`` the one that the networks see. float32 all: what
    the networks see; a sum of scores (over mirrors, slices or networks) and what is added to it;
    then the mean and its scores on the image's own grid.
    """
    seen = math.prod(grid)
    added = 2 if networks == 1 else 3
    on_image = 0 if tuple(shape) == tuple(grid) else math.prod(shape)
    return 4 * (channels * seen + classes * max(added * seen, seen + on_image))
