"""Record of the images that a model was trained on, to refuse images that are unlike them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.data.records import Image
from rareseg.data.store.preprocess import Preprocessing

FAR = 3.0
"""Values this many times the trained range beyond it make masks that mean nothing."""
FAINT = 0.01
"""Floats that fill a smaller part of the trained range are of another scale, as 0 to 1 for 255."""


@dataclass(frozen=True)
class ImageFacts:
    """The images of a training: their dimension, number types and intensities.

    ``dimension`` is 2 for photographs and 3 for volumes. ``low`` and ``high`` have one value per
    channel: the smallest 0.5 % percentile and the largest 99.5 % one of any image, as they stand in
    the files. ``dtypes`` are numpy's names. ``nodata_value`` is the number that was named to mean
    that nothing was measured, None where none was.
    """

    dimension: int
    dtypes: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    nodata_value: str | None = None

    @classmethod
    def of(cls, fingerprint: Fingerprint, nodata_value: str | None = None) -> ImageFacts | None:
        """Return the facts of the images that inspection read; None where there are none."""
        cases = fingerprint.cases
        if not cases:
            return None
        channels = range(min(len(case.intensities) for case in cases))
        return cls(
            dimension=cases[0].dimension,
            dtypes=tuple(sorted({case.dtype for case in cases})),
            low=tuple(min(case.intensities[k].low for case in cases) for k in channels),
            high=tuple(max(case.intensities[k].high for case in cases) for k in channels),
            nodata_value=nodata_value,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ImageFacts:
        """Return what :meth:`to_dict` wrote; TypeError or KeyError for anything else."""
        return cls(
            dimension=int(record["dimension"]),
            dtypes=tuple(record["dtypes"]),
            low=tuple(record["low"]),
            high=tuple(record["high"]),
            nodata_value=record.get("nodata_value"),
        )

    def misfit(self, image: Image, preprocessing: Preprocessing) -> str | None:
        """Say why masks of an image would mean nothing, None where it is like the trained ones.

        Intensities count where the normalisation does not bring each image to a common scale; a
        larger or smaller image is no misfit.
        """
        if image.geometry.dimension != self.dimension:
            if self.dimension == 2:
                return "the image is a volume, and the model was trained on photographs"
            return "the image is a photograph, and the model was trained on volumes"
        if preprocessing.method == "zscore":
            return None
        for number, channel in enumerate(image.array[: len(self.low)]):
            low, high = _extremes(channel)
            if preprocessing.method == "range" and channel.dtype.kind in "ui":
                continue  # brought to 0 … 1 by the number type's own range
            width = self.high[number] - self.low[number]
            far = high > self.high[number] + FAR * width or low < self.low[number] - FAR * width
            faint = channel.dtype.kind == "f" and high < self.low[number] + FAINT * width
            if width > 0 and (far or (faint and high > low)):
                return (
                    f"the image's values ({channel.dtype}) lie between {low:g} and {high:g}, and "
                    f"those of the images that the model was trained on "
                    f"({', '.join(self.dtypes)}) between {self.low[number]:g} and "
                    f"{self.high[number]:g}; bring it to their range"
                )
        return None


def _extremes(channel: NDArray[Any]) -> tuple[float, float]:
    """Return the percentiles 0.5 and 99.5 of the finite values, of a sample of large arrays."""
    flat = channel.ravel()[:: -(-channel.size // 1_000_000) or 1]
    finite = flat[np.isfinite(flat)] if flat.dtype.kind == "f" else flat
    if finite.size == 0:
        return 0.0, 0.0
    low, high = np.percentile(finite, (0.5, 99.5))
    return float(low), float(high)
