"""Read the image, label and prediction of a case for review."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rareseg.data.case_files import read_case_image
from rareseg.data.records import Case, Role
from rareseg.data.store.case_labels import read_labels
from rareseg.review.affected_voxels import AffectedVoxels
from rareseg_runner.image_records import Classes, Image

MOST_BYTES = 512 * 2**20
"""What is kept in memory of cases that were looked at; the last one is, whatever its size."""


class ReviewedPredictions(Protocol):
    """What is shown as predicted of cases.

    As :class:`rareseg.review.case_predictions.CasePredictions` does: ``digest`` names what was
    shown, ``of`` returns class indices (z, y, x), ``by`` says who predicts a case.
    """

    digest: str

    @property
    def classes(self) -> Classes:
        """The classes and regions."""
        ...

    @property
    def roles(self) -> Mapping[str, Role]:
        """The role of every case."""
        ...

    def of(self, case_id: str, image: Image) -> NDArray[np.uint8]:
        """Return the class indices of a case, on its original grid."""
        ...

    def by(self, case_id: str) -> str:
        """Say who predicts a case."""
        ...


@dataclass(frozen=True, eq=False)
class ViewedCase:
    """One case in memory: ``image``, and class indices (z, y, x) ``labels`` and ``predicted``.

    ``ranges`` (channel, 2) float64 are the smallest and the largest finite value of each channel,
    ``windows`` what a viewer begins with. ``affected`` says which voxels a verdict on an item is
    about.
    """

    case: Case
    image: Image
    labels: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    ranges: NDArray[np.float64]
    windows: NDArray[np.float64]
    affected: AffectedVoxels

    @property
    def nbytes(self) -> int:
        """The bytes that it holds."""
        # Beside label and prediction lie the components of both, of four bytes a voxel.
        return int(self.image.array.nbytes + 10 * self.labels.nbytes)


class CaseReader:
    """Cases by id, read and predicted on demand; the last few stay in memory."""

    def __init__(
        self,
        cases: Sequence[Case],
        predictions: ReviewedPredictions,
        channel_names: Sequence[str] = (),
    ) -> None:
        self._cases = {case.id: case for case in cases}
        self.channel_names = tuple(channel_names)
        self.predictions = predictions
        self._held: OrderedDict[str, ViewedCase] = OrderedDict()
        self._reading: dict[str, Lock] = {}
        self._lock = Lock()

    def look(self, case_id: str) -> ViewedCase:
        """Return a case; raises what reading and predicting it raise.

        Who asks for a case that is held does not wait while another one is read.
        """
        with self._lock:
            reading = self._reading.setdefault(case_id, Lock())
        with reading:
            viewed = self._held.get(case_id)
            if viewed is None:
                viewed = read_case(self._cases[case_id], self.predictions)
            with self._lock:
                self._held[case_id] = viewed
                self._held.move_to_end(case_id)
                while len(self._held) > 1 and self.nbytes > MOST_BYTES:
                    self._held.popitem(last=False)
            return viewed

    @property
    def nbytes(self) -> int:
        """The bytes that are held."""
        return sum(case.nbytes for case in self._held.values())


def read_case(case: Case, predictions: ReviewedPredictions) -> ViewedCase:
    """Read and predict one case."""
    image = read_case_image(case)
    labels = read_labels(case, predictions.classes, image)
    predicted = predictions.of(case.id, image)
    ranges, windows = zip(*map(_range_and_window, image.array), strict=True)
    affected = AffectedVoxels(labels, predicted, predictions.classes)
    return ViewedCase(case, image, labels, predicted, np.array(ranges), np.array(windows), affected)


def _range_and_window(
    channel: NDArray[Any],
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (smallest, largest) and the percentiles 0.5 and 99.5 of the finite values."""
    if channel.dtype == np.uint8:
        low, high = (float(v) for v in np.percentile(channel[..., ::4], (0.5, 99.5)))
        # An 8-bit picture with contrast is shown as it is, as reports show it.
        return (0.0, 255.0), (0.0, 255.0) if high - low >= 64 else (low, max(high, low + 1.0))
    values = np.asarray(channel, np.float64 if channel.dtype.itemsize > 2 else np.float32).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        return (0.0, 1.0), (0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    high = max(high, low + 1e-6)
    first, last = (
        float(v) for v in np.percentile(values[:: max(1, values.size // 10**6)], (0.5, 99.5))
    )
    return (low, high), (first, last) if last > first else (low, high)
