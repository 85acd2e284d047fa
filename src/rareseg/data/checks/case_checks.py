"""Check one case's files: what they hold and what is wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from rareseg.data.case_files import read_case_image, read_case_mask
from rareseg.data.checks.mask_facts import MaskFacts, look_at, thickness
from rareseg.data.look_alikes import Thumbnail, make_thumbnail
from rareseg.data.masks.ruled_mask import RuledMask, read_file
from rareseg.data.records import Case
from rareseg.errors import ReadError
from rareseg_runner.formats import read_mask
from rareseg_runner.formats.reader_guard import guarded
from rareseg_runner.geometry import disagreement
from rareseg_runner.image_records import Geometry, Image, Mask
from rareseg_runner.preprocessing.intensity_limits import Limits, find_limits, usual_fill

PERCENTILES = (0.5, 50.0, 99.5)
MOST_SAMPLES = 1_000_000
"""Percentiles of larger arrays are read from about this many evenly spaced voxels."""
THUMBNAIL = 12
"""Pixels along each side of the thumbnail that is hashed."""


@dataclass(frozen=True)
class ChannelFacts:
    """One channel's intensities: percentiles 0.5, 50 and 99.5, mean and standard deviation."""

    low: float
    median: float
    high: float
    mean: float
    std: float


@dataclass(frozen=True, eq=False)
class ExaminedCase:
    """One case that was read. ``values`` maps mask values to voxel counts.

    ``digest`` is a hash of the image's values and shape, "" where all values are equal;
    ``thumbnail`` is what look-alikes are found by, ``None`` without structure.
    ``thickness`` is that of the foreground of a photograph in pixels, ``None`` elsewhere.
    ``turned`` says that the photograph was turned by its EXIF note, the mask was not, and the
    shapes cannot tell whether that is right. ``mask`` is what is found in the mask beside its
    values, None where there is none. ``limits`` are, by channel, between which intensities values
    are kept, None where none lies far away; () where no channel has such values. ``fill`` is a
    number that programs write where nothing was measured, as it is written, None where none occurs.
    """

    shape: tuple[int, int, int]
    geometry: Geometry
    dtype: str
    intensities: tuple[ChannelFacts, ...]
    values: Mapping[int, int]
    thumbnail_hash: str
    digest: str
    thumbnail: Thumbnail | None
    thickness: float | None = None
    turned: bool = False
    mask: MaskFacts | None = None
    limits: tuple[Limits | None, ...] = ()
    fill: str | None = None


def examine(case: Case) -> tuple[ExaminedCase | None, tuple[str, ...]]:
    """Read a case and return what it holds and its problems, one sentence each.

    ``None`` stands for a case whose image or mask cannot be read or does not fit.
    """
    problems: list[str] = []
    image: Image | None = None
    mask: Mask | None = None
    file = case.images[0] if case.images else Path(case.id)
    try:
        with guarded(file, "an image"):
            image = read_case_image(case)
        problems += _not_finite(case, image.array)
    except ReadError as error:
        problems.append(str(error))
    try:
        with guarded(case.mask_files[0] if case.mask_files else file, "a mask"):
            if image is not None:
                mask = read_case_mask(case, image)
            elif isinstance(case.mask, Path):
                read_mask(case.mask)  # its faults are told beside the image's
            elif isinstance(case.mask, RuledMask) and isinstance(case.mask.source, Path):
                read_file(case.mask.source, case.mask.rules)
    except ReadError as error:
        problems.append(str(error))
    if image is None or (case.mask is not None and mask is None):
        return None, tuple(problems)
    z, y, x = image.array.shape[1:]
    if mask is not None:
        misfit = find_misfit(case, image, mask)
        if misfit:
            return None, (*problems, misfit)
    values = {0: z * y * x} if mask is None else count_values(mask.array)
    limits = tuple(map(_far, image.array))
    examined = ExaminedCase(
        shape=(z, y, x),
        geometry=image.geometry,
        dtype=image.array.dtype.name,
        intensities=tuple(intensities(channel) for channel in image.array),
        values=values,
        thumbnail_hash=thumbnail_hash(image.array),
        digest=image_digest(image.array),
        thumbnail=make_thumbnail(image),
        thickness=None if mask is None or z > 1 else thickness(mask.array[0]),
        turned=mask is not None and _turned(image.geometry, mask.geometry, (y, x)),
        mask=None if mask is None else look_at(mask, values),
        limits=limits if any(limits) else (),
        fill=_fill(image.array),
    )
    return examined, tuple(problems)


def _fill(array: NDArray[Any]) -> str | None:
    """Return the first channel's usual fill, as its number type writes it."""
    found = next((fill for fill in map(usual_fill, array) if fill is not None), None)
    if found is None:
        return None
    return str(array.dtype.type(found)) if array.dtype.kind == "f" else str(int(found))


def _far(channel: NDArray[Any]) -> Limits | None:
    """Return the limits of a channel whose values are rounded, None of any other."""
    if channel.dtype.kind != "f" or not np.isfinite(channel).all():
        return None
    return find_limits(channel)


def intensities(channel: NDArray[Any]) -> ChannelFacts:
    """Return the facts of one channel, any shape, over its finite values (zeros if there are none).

    Bytes are counted exactly; of other types mean and deviation are exact, percentiles sampled.
    """
    flat = channel.ravel()
    if flat.dtype == np.uint8:
        counts = _count(flat, 0, 256)
        levels = np.arange(256.0)
        mean = float(counts @ levels / flat.size)
        std = float(np.sqrt(counts @ (levels - mean) ** 2 / flat.size))
        ranks = np.array(PERCENTILES) / 100 * (flat.size - 1)
        found = np.searchsorted(np.cumsum(counts), np.floor(ranks), side="right")
        low, median, high = (float(level) for level in found)
        return ChannelFacts(low, median, high, mean, std)
    if flat.dtype.kind == "f":
        finite = np.isfinite(flat)
        flat = flat if finite.all() else flat[finite]
    if flat.size == 0:
        return ChannelFacts(0.0, 0.0, 0.0, 0.0, 0.0)
    sample = flat[:: -(-flat.size // MOST_SAMPLES)]
    low, median, high = (float(value) for value in np.percentile(sample, PERCENTILES))
    return ChannelFacts(
        low, median, high, float(flat.mean(dtype=np.float64)), float(flat.std(dtype=np.float64))
    )


def _count(flat: NDArray[Any], low: int, length: int) -> NDArray[np.int64]:
    """Return how often each of ``length`` whole numbers from ``low`` on occurs.

    In steps, since numpy makes eight bytes of each value: 16 times as fast on a large photograph.
    """
    counts = np.zeros(length, np.int64)
    for start in range(0, flat.size, MOST_SAMPLES):
        step = flat[start : start + MOST_SAMPLES]
        counts += np.bincount(step.astype(np.int64) - low if low else step, minlength=length)
    return counts


def thumbnail_hash(image: NDArray[np.generic]) -> str:
    """Return 36 hexadecimal digits: where the thumbnail of an image lies above its median.

    The thumbnail of an image (channel, z, y, x) is its mean over channels and slices at
    ``THUMBNAIL`` by ``THUMBNAIL`` pixels; values that are NaN or infinite count as 0.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        grey = np.asarray(image.mean((0, 1), dtype=np.float32))
    grey[~np.isfinite(grey)] = 0.0
    shape = (THUMBNAIL, THUMBNAIL)
    small = np.array(PIL.Image.fromarray(grey).resize(shape, PIL.Image.Resampling.BOX), np.float32)
    return np.packbits((small > np.median(small)).ravel()).tobytes().hex()


def image_digest(image: NDArray[np.generic]) -> str:
    """Return 32 hexadecimal digits of the values and the shape, "" where all values are equal."""
    if image.size == 0 or np.all(image == image.flat[0]):
        return ""
    digest = hashlib.blake2b(repr((image.dtype.str, image.shape)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def count_values(mask: NDArray[np.integer]) -> dict[int, int]:
    """Return how many voxels hold each value of an integer mask, ascending by value."""
    if mask.size == 0:
        return {}
    low, high = int(mask.min()), int(mask.max())
    if high - low < 65536:
        # Counting is several times faster than the sort inside numpy.unique.
        counts = _count(mask.ravel(), low, high - low + 1)
        present = np.flatnonzero(counts)
        return {int(k) + low: int(counts[k]) for k in present}
    values, found = np.unique(mask, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, found, strict=True)}


def _not_finite(case: Case, array: NDArray[np.generic]) -> list[str]:
    if array.dtype.kind != "f":
        return []
    problems = []
    for number, channel in enumerate(array):
        wrong = int(channel.size - np.count_nonzero(np.isfinite(channel)))
        if wrong:
            separate = len(case.images) == len(array)
            file = case.images[number] if separate else case.images[0]
            problems.append(
                f"{file} holds {wrong} values that are NaN or infinite"
                f"{'' if separate else f' in channel {number}'}; where nothing was measured there, "
                "say --nodata-value nan, or replace them by the background's value."
            )
    return problems


def find_misfit(case: Case, image: Image, mask: Mask) -> str | None:
    """Say how a case's mask does not fit on its image, with the remedy; ``None`` where it does."""
    shape, drawn = image.array.shape[1:], mask.array.shape
    if shape != drawn:
        remedy = "export the mask on its image's grid, or enlarge it by --resize-masks"
        if image.geometry.exif in (5, 6, 7, 8) and drawn == (shape[0], shape[2], shape[1]):
            remedy = (
                f"the photograph is turned by its EXIF note ({image.geometry.exif}) and the mask "
                "is not: turn the mask as viewers turn the photograph"
            )
        return (
            f"{case.mask} has the shape (z, y, x) = {drawn} where its image {case.images[0]} has "
            f"{shape}; {remedy}."
        )
    difference = disagreement(image.geometry, mask.geometry, shape)
    if difference:
        return (
            f"{case.mask} does not lie on its image {case.images[0]}: {difference}; resample the "
            "mask to its image's grid, or copy the image's header if the voxels do correspond."
        )
    return None


def _turned(image: Geometry, mask: Geometry, shape: tuple[int, int]) -> bool:
    ambiguous = image.exif in (2, 3, 4) or (image.exif > 4 and shape[0] == shape[1])
    return ambiguous and mask.exif == 1


def first_file(case: Case) -> Path:
    """Return the file by which a case is named in a sentence."""
    return case.images[0] if case.images else Path(case.id)


def mask_name(case: Case) -> str:
    """Return what a case's mask is called in a sentence, of which no two are alike.

    Several cases may be drawn in one file.
    """
    files = case.mask_files
    own = len(files) == 1 and (isinstance(case.mask, Path) or case.id in files[0].name)
    return str(files[0]) if own else f"{case.mask} ({case.id})"
