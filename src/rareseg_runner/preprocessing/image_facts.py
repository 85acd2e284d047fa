"""Record of the images that a model was trained on, to refuse images that are unlike them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.image_records import Image
from rareseg_runner.preprocessing.photo_channels import COLOURS
from rareseg_runner.preprocessing.preprocess import Preprocessing

FAR = 3.0
"""Values this many times the trained range beyond it make masks that mean nothing."""
FAINT = 0.01
"""Values of another number type that fill a smaller part of the trained range are of another scale,
as 0 to 1 for 255."""
SPACING_STOPS = {True: 10.0, False: 3.0}
"""Voxels so many times finer or coarser than any trained one make masks that mean nothing: where
images are resampled to one spacing (True), and where they are not."""
SPACING_TOLD = 1.25
"""Voxels so many times finer or coarser than any trained one are told."""
_AXES = ("z", "y", "x")


@dataclass(frozen=True)
class ImageFacts:
    """The images of a training: their dimension, number types and intensities.

    ``dimension`` is 2 for photographs and 3 for volumes. ``low`` and ``high`` have one value per
    channel: the smallest 0.5 % percentile and the largest 99.5 % one of any image, as they stand in
    the files. ``dtypes`` are numpy's names. ``finest`` and ``coarsest`` are the spacings (z, y, x)
    of volumes in mm, the smallest and largest along each axis; None of photographs, whose pixels
    have no known size, and in bundles of earlier versions. ``grey`` says that all photographs of
    three channels were grey ones stored as colours; None where there are not three, or earlier.
    ``nodata_value`` is the number that was named to mean that nothing was measured, None where none
    was.
    """

    dimension: int
    dtypes: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    finest: tuple[float, ...] | None = None
    coarsest: tuple[float, ...] | None = None
    grey: bool | None = None
    nodata_value: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ImageFacts:
        """Return what :meth:`to_dict` wrote; TypeError or KeyError for anything else."""
        finest, coarsest = record.get("finest"), record.get("coarsest")
        return cls(
            dimension=int(record["dimension"]),
            dtypes=tuple(record["dtypes"]),
            low=tuple(record["low"]),
            high=tuple(record["high"]),
            finest=None if finest is None else tuple(finest),
            coarsest=None if coarsest is None else tuple(coarsest),
            grey=record.get("grey"),
            nodata_value=record.get("nodata_value"),
        )

    def misfit(self, image: Image, preprocessing: Preprocessing) -> str | None:
        """Say why masks of an image would mean nothing, None where it is like the trained ones.

        Intensities count where the normalisation does not bring each image to a common scale; a
        larger or smaller image is no misfit. Of volumes the size of a voxel counts.
        """
        if image.geometry.dimension != self.dimension:
            if self.dimension == 2:
                return "the image is a volume, and the model was trained on photographs"
            return "the image is a photograph, and the model was trained on volumes"
        apart, axis = self._spacing_ratio(image)
        if apart >= SPACING_STOPS[preprocessing.target_spacing is not None]:
            return (
                f"{self._spacing_words(image, axis)}: {apart:.3g} times finer or coarser, where "
                "masks mean nothing; correct the spacing in the file's header, or resample the "
                "image"
            )
        if preprocessing.method == "zscore":
            return None
        for number, channel in enumerate(image.array[: len(self.low)]):
            low, high = _extremes(channel)
            trained_low, trained_high = self.low[number], self.high[number]
            kind = channel.dtype
            if preprocessing.method == "range" and kind.kind in "ui":
                # Brought to 0 … 1 by the number type's own range.
                scales = {np.iinfo(name).max for name in self.dtypes if np.dtype(name).kind in "ui"}
                if len(scales) != 1 or len(self.dtypes) != 1:
                    continue
                scale = np.iinfo(kind).max / scales.pop()
                trained_low, trained_high = trained_low * scale, trained_high * scale
            width = trained_high - trained_low
            far = high > trained_high + FAR * width or low < trained_low - FAR * width
            other = kind.kind == "f" or kind.name not in self.dtypes
            faint = other and high < trained_low + FAINT * width
            if width > 0 and (far or (faint and high > low)):
                return (
                    f"the image's values ({kind}) lie between {low:g} and {high:g}, and "
                    f"those of the images that the model was trained on "
                    f"({self._types}) between {self.low[number]:g} and "
                    f"{self.high[number]:g}; bring it to their range and number type"
                )
        return None

    def remarks(self, image: Image) -> tuple[str, ...]:
        """Say how an image differs from the trained ones where its masks may still be right.

        Each is what follows "3 of 8 images: ".
        """
        said = []
        kind = image.array.dtype.name
        if kind not in self.dtypes:
            said.append(f"numbers of type {kind}; the model was trained on {self._types}")
        apart, axis = self._spacing_ratio(image)
        if apart >= SPACING_TOLD:
            low, high = (self.finest or ())[axis], (self.coarsest or ())[axis]
            said.append(
                f"voxels at least {SPACING_TOLD:g} times finer or coarser along {_AXES[axis]} than "
                f"those that the model was trained on ({_between(low, high)} mm)"
            )
        if self.grey is not None and len(image.array) == COLOURS:
            is_grey = all(np.array_equal(image.array[0], other) for other in image.array[1:])
            if is_grey and not self.grey:
                said.append("grey, stored as colours; the model was trained on colours")
            if self.grey and not is_grey:
                said.append("coloured; the model was trained on grey images stored as colours")
        return tuple(said)

    @property
    def _types(self) -> str:
        return ", ".join(self.dtypes)

    def _spacing_ratio(self, image: Image) -> tuple[float, int]:
        """Return how many times finer or coarser than any trained one, at most, and the axis."""
        if self.finest is None or self.coarsest is None:
            return 1.0, 0
        axes = zip(image.geometry.spacing, self.finest, self.coarsest, strict=True)
        ratios = [max(low / own, own / high, 1.0) for own, low, high in axes]
        axis = int(np.argmax(ratios))
        return ratios[axis], axis

    def _spacing_words(self, image: Image, axis: int) -> str:
        assert self.finest is not None, "told by _spacing_ratio"
        assert self.coarsest is not None, "told by _spacing_ratio"
        return (
            f"the image's voxels measure {image.geometry.spacing[axis]:.4g} mm along "
            f"{_AXES[axis]}, and those of the volumes that the model was trained on "
            f"{_between(self.finest[axis], self.coarsest[axis])} mm"
        )


def _between(low: float, high: float) -> str:
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _extremes(channel: NDArray[Any]) -> tuple[float, float]:
    """Return the percentiles 0.5 and 99.5 of the finite values, of a sample of large arrays."""
    flat = channel.ravel()[:: -(-channel.size // 1_000_000) or 1]
    finite = flat[np.isfinite(flat)] if flat.dtype.kind == "f" else flat
    if finite.size == 0:
        return 0.0, 0.0
    low, high = np.percentile(finite, (0.5, 99.5))
    return float(low), float(high)
