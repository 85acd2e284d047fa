"""Preprocess a case: resampling, conversion to integers, scale and offset.

A prepared image is a small integer array with one scale and offset per channel; the network's
value is ``array * scale + offset`` in float32, computed while a patch is cut. Photographs stay
uint8, integer volumes stay as they are, and only what is neither becomes int16 in 65,536 steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.errors import DataError, UsageError
from rareseg_runner.image_records import IGNORE, Image
from rareseg_runner.preprocessing.intensity_limits import find_limits
from rareseg_runner.preprocessing.resampling import resample, resampled_shape

Method = Literal["zscore", "dataset", "range", "none"]

_INT16 = np.iinfo(np.int16)
_LEVELS = 65_535


@dataclass(frozen=True)
class Preprocessing:
    """How raw intensities become the network's values.

    ``dimension`` is that of the patches (2: axial planes of volumes, or photographs).
    ``target_spacing`` is (z, y, x) in mm (pixels, where the file states no spacing), or ``None``
    to keep each case's own grid. ``clip`` holds one (low, high) per channel, in raw intensities,
    and is applied first. Then ``method``:

    * ``zscore``: (v − mean) / standard deviation of this case and channel;
    * ``dataset``: (v − ``mean``) / ``std``, given per channel for the whole data set (CT);
    * ``range``: the number type's range onto 0…1 (floating point: taken as it is);
    * ``none``: the raw intensities.
    """

    dimension: Literal[2, 3] = 2
    target_spacing: tuple[float, float, float] | None = None
    method: Method = "zscore"
    clip: tuple[tuple[float, float], ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise UsageError(
                f"The normalisation '{self.method}' is unknown; "
                f"allowed are {', '.join(get_args(Method))}."
            )
        if self.method == "dataset" and (self.mean is None or self.std is None):
            raise UsageError(
                "The normalisation 'dataset' needs a mean and a std for every channel; "
                "give both, or use 'zscore'."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; :meth:`from_dict` gives the same record back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Make the record from what :meth:`to_dict` wrote, lists being tuples again."""
        return cls(**{key: _tuples(value) for key, value in values.items()})


def _tuples(value: Any) -> Any:
    """Turn lists, also nested ones, into tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Prepared:
    """One case as the store holds it: the network's value is ``array * scale + offset``.

    ``array`` (C, Z, Y, X) is uint8 or int16; ``scale`` and ``offset`` (C,) are float32.
    ``background`` (C,) is the value, in units of ``array``, that surrounds the case: the median of
    the outermost frame of pixels of all planes.
    """

    array: NDArray[np.uint8] | NDArray[np.int16]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    background: NDArray[np.float32]

    def values(self) -> NDArray[np.float32]:
        """Return what the network sees, float32 (C, Z, Y, X)."""
        return decode(self.array, self.scale, self.offset)


def decode(
    array: NDArray[Any], scale: NDArray[np.float32], offset: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return ``array * scale + offset``: (C, Z, Y, X) float32, one scale and offset per channel.

    Product and sum are each rounded to float32, as the compiled cut of patches does it.
    """
    values = array.astype(np.float32)
    values *= scale[:, None, None, None]
    values += offset[:, None, None, None]
    return values


def prepare(image: Image, preprocessing: Preprocessing) -> Prepared:
    """Resample, clip and normalise one image, kept as small integers with a scale and offset.

    Without resampling, integers that fit uint8 or span at most 65,536 values are kept exactly (clip
    bounds are rounded to whole numbers for them); everything else is rounded to one of 65,536
    steps between its channel's least and largest value, an error below range / 65,000. Of those,
    a fill value and single voxels far from all others are first moved to where they leave the
    others 500 steps (see :mod:`rareseg_runner.preprocessing.intensity_limits`).

    Raises :class:`DataError` for NaN or infinite intensities and where ``preprocessing`` speaks of
    another number of channels.
    """
    array = image.array.astype(np.uint8) if image.array.dtype == bool else image.array
    kind = array.dtype
    _check(array, preprocessing)
    shape = prepared_shape(image.array.shape[1:], image.geometry.spacing, preprocessing)
    if shape != array.shape[1:]:
        array = resample(array.astype(np.float32), shape)
    array = _without_far(_clipped(array, preprocessing.clip))
    stored, step, origin = _as_integers(array)
    mean, spread = _location(array, kind, preprocessing)
    return Prepared(
        array=stored,
        scale=(step / spread).astype(np.float32),
        offset=((origin - mean) / spread).astype(np.float32),
        background=_surroundings(stored),
    )


def network_input(image: Image, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return the whole image as the network sees it, float32 (C, Z, Y, X).

    The values are, bit for bit, those that a store built with ``preprocessing`` gives.
    """
    return prepare(image, preprocessing).values()


def prepared_shape(
    shape: tuple[int, ...], spacing: tuple[float, float, float], preprocessing: Preprocessing
) -> tuple[int, int, int]:
    """Return the (z, y, x) shape that a case of this shape and spacing (mm) is resampled to."""
    target = preprocessing.target_spacing
    if target is None:
        target = spacing
    return resampled_shape(shape, spacing, target)


def stored_dtype(kind: np.dtype[Any] | str, *, resampled: bool) -> np.dtype[Any]:
    """Return the number type, uint8 or int16, in which :func:`prepare` keeps such an image."""
    small = np.dtype(kind) in (np.dtype(np.uint8), np.dtype(bool))
    return np.dtype(np.uint8 if small and not resampled else np.int16)


def _check(array: NDArray[Any], preprocessing: Preprocessing) -> None:
    """Refuse non-finite intensities and channel counts that disagree."""
    channels = array.shape[0]
    for name in ("clip", "mean", "std"):
        given = getattr(preprocessing, name)
        if given is not None and len(given) != channels:
            raise DataError(
                f"the image has {channels} channel(s) while the preprocessing states {name} for "
                f"{len(given)}; every case must have the same channels."
            )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(
            "the image holds NaN or infinite intensities; replace them by a finite value."
        )


def _clipped(array: NDArray[Any], clip: tuple[tuple[float, float], ...] | None) -> NDArray[Any]:
    """Limit every channel to its (low, high), in the array's own number type."""
    if clip is None:
        return array
    out = array.copy()
    for channel, (low, high) in zip(out, clip, strict=True):
        if out.dtype.kind in "iu":
            limits = np.iinfo(out.dtype)
            low, high = np.clip(np.rint((low, high)), limits.min, limits.max).astype(out.dtype)
        np.clip(channel, low, high, out=channel)
    return out


def _without_far(array: NDArray[Any]) -> NDArray[Any]:
    """Move what lies far from a channel's other values nearer, where values are rounded."""
    found = [None if _is_exact(channel) else find_limits(channel) for channel in array]
    if not any(found):
        return array
    return np.stack([c if f is None else f.apply(c) for c, f in zip(array, found, strict=True)])


def _is_exact(channel: NDArray[Any]) -> bool:
    """Whether a channel is kept as it stands: bytes, and integers of at most 65,536 values."""
    if channel.dtype.kind not in "iu":
        return False
    return channel.dtype.itemsize <= 2 or int(channel.max()) - int(channel.min()) <= _LEVELS


def _as_integers(
    array: NDArray[Any],
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    """Return (stored, step, origin), the latter two per channel: raw = stored * step + origin."""
    channels = array.shape[0]
    step, origin = np.ones(channels), np.zeros(channels)
    if array.dtype == np.uint8:
        return array, step, origin
    stored = np.empty(array.shape, np.int16)
    for index, channel in enumerate(array):
        low, high = channel.min(), channel.max()
        whole = array.dtype.kind in "iu"
        if whole and low >= _INT16.min and high <= _INT16.max:
            stored[index] = channel
        elif whole and int(high) - int(low) <= _LEVELS:
            middle = int(low) + -_INT16.min
            stored[index] = channel.astype(np.int64) - middle
            origin[index] = middle
        elif low == high:
            stored[index], origin[index] = 0, low
        else:
            step[index] = (float(high) - float(low)) / _LEVELS
            # The levels −32768…32767 lie about −½.
            origin[index] = (float(low) + float(high) + step[index]) / 2
            levels = np.rint((channel.astype(np.float64) - origin[index]) / step[index])
            stored[index] = levels.clip(_INT16.min, _INT16.max)
    return stored, step, origin


def _location(
    array: NDArray[Any], kind: np.dtype[Any], preprocessing: Preprocessing
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what is subtracted and what is divided by, per channel, in raw intensities."""
    channels = array.shape[0]
    if preprocessing.method == "zscore":
        mean = np.array([channel.mean(dtype=np.float64) for channel in array])
        spread = np.array([channel.std(dtype=np.float64) for channel in array])
        largest = np.array([max(abs(float(c.min())), abs(float(c.max()))) for c in array])
        return mean, _floored(spread, largest)
    if preprocessing.method == "dataset":
        mean = np.array(preprocessing.mean, np.float64)
        return mean, _floored(np.array(preprocessing.std, np.float64), np.abs(mean))
    if preprocessing.method == "range" and kind.kind in "iu":
        limits = np.iinfo(kind)
        width = float(limits.max) - float(limits.min)
        return np.full(channels, float(limits.min)), np.full(channels, width)
    return np.zeros(channels), np.ones(channels)


def _floored(spread: NDArray[np.float64], largest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace the spread of channels that are constant but for rounding by 1, so they become 0."""
    return np.where(spread > 1e-6 * largest, spread, 1.0)


def _surroundings(stored: NDArray[Any]) -> NDArray[np.float32]:
    """Return the median of the outermost frame of pixels of all planes, (C,)."""
    edges = [stored[..., 0, :], stored[..., -1, :], stored[..., :, 0], stored[..., :, -1]]
    frame = np.concatenate([edge.reshape(len(stored), -1) for edge in edges], axis=1)
    # The lower median is a value that occurs, so integers stay integers.
    median: NDArray[np.float32] = np.quantile(frame, 0.5, axis=1, method="lower").astype(np.float32)
    return median


def class_indices(
    mask: NDArray[Any], values: tuple[int, ...], ignore_value: int | None
) -> NDArray[np.uint8]:
    """Translate mask values into class indices: uint8 of the same shape, ``IGNORE`` included.

    ``values[i]`` is the mask value of class ``i``. Raises :class:`DataError` for any other value.
    """
    known = {value: index for index, value in enumerate(values)}
    if ignore_value is not None:
        known[ignore_value] = IGNORE
    found = np.unique(mask)
    strange = [int(value) for value in found if int(value) not in known]
    if strange:
        raise DataError(
            f"the mask holds the value(s) {', '.join(map(str, strange[:5]))} while the classes "
            f"allow {', '.join(map(str, sorted(known)))}; correct the mask or declare the value."
        )
    out = np.zeros(mask.shape, np.uint8)
    for value in found:
        if known[int(value)]:
            out[mask == value] = known[int(value)]
    return out
