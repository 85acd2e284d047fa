"""Find room for an object in a window, and blend it in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rareseg.sampling.pasting.donor import Donor

Box = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Target:
    """The part of a window that lies within its image, and where in it a patch is cropped.

    ``values`` float32 (C, *part) and ``labels`` uint8 (*part), class indices, are changed in place.
    ``patch`` (D, 2) is the patch's first voxel and its end on each axis; it may reach beyond.
    """

    values: NDArray[np.float32]
    labels: NDArray[np.uint8]
    patch: NDArray[np.int64]


def blend_in(donor: Donor, target: Target, tries: NDArray[np.float64]) -> bool:
    """Paste an object at the first free place, with its labels; say whether there was one.

    ``tries`` (T, D) are places, 0…1 on each axis of where the object may lie: whole, with its
    middle in the patch. On a side where it is cut off it lies against that side of the part, and
    reaches into the patch. A place is free where all that the object covers or fades into is
    background.

    A value becomes α·(donor + shift) + (1 − α)·target, where the shift gives both the same mean in
    the rim in which the object fades, channel by channel.
    """
    size, space = donor.size, np.array(target.labels.shape) - donor.size
    begin, end = target.patch.T
    below, above = donor.cut_off.T
    low = np.where(below, 0, np.maximum(begin - size // 2, 0))
    high = np.where(above, space, np.minimum(end - 1 - size // 2, space))
    # Cut off on both sides it covers the whole axis: what is too long hangs over.
    first, last = np.where(above, space, low), np.where(below, 0, high)
    if (first > last).any() or (first >= end).any() or (last + size <= begin).any():
        return False
    for share in tries:
        corner = first + (share * (last - first + 1)).astype(np.int64) - donor.margin[:, 0]
        there, here = _overlap(corner, donor.alpha.shape, target.labels.shape)
        alpha, classes = donor.alpha[there], donor.classes[there]
        if (target.labels[here][alpha > 0] == 0).all():
            values = target.values[:, *here]
            values += alpha * (_shifted(donor.values[:, *there], values, alpha) - values)
            np.copyto(target.labels[here], classes, where=classes > 0)
            return True
    return False


def with_texture(
    donor: Donor,
    values: NDArray[np.float32],
    labels: NDArray[np.uint8],
    tries: NDArray[np.float64],
) -> Donor | None:
    """Return the shape of an object with background in it, from the first free place of a window.

    ``values`` (C, *part) and ``labels`` (*part) are those of a window within its image, ``tries``
    (T, D) places in it, 0…1, of the donor's box. What is returned labels nothing. None where no
    place was free.
    """
    space = np.array(labels.shape) - donor.alpha.shape
    if (space < 0).any():
        return None
    for share in tries:
        corner = (share * (space + 1)).astype(np.int64)
        _, box = _overlap(corner, donor.alpha.shape, labels.shape)
        if (labels[box][donor.alpha > 0] == 0).all():
            return replace(donor, values=values[:, *box], classes=np.zeros_like(donor.classes))
    return None


def _shifted(
    donor: NDArray[np.float32], target: NDArray[np.float32], alpha: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the donor's values (C, *box) with the target's means in the rim; as is without one."""
    rim = (alpha > 0) & (alpha < 1)
    if not rim.any():
        return donor
    shift = (target[:, rim] - donor[:, rim]).mean(1, dtype=np.float64).astype(np.float32)
    shifted: NDArray[np.float32] = donor + shift.reshape(-1, *(1,) * alpha.ndim)
    return shifted


def _overlap(
    corner: NDArray[np.int64], size: tuple[int, ...], whole: tuple[int, ...]
) -> tuple[Box, Box]:
    """Return what of a box lies within a whole, as slices of the box and of the whole."""
    first, end = np.maximum(corner, 0), np.minimum(corner + size, whole)
    here = tuple(slice(a, b) for a, b in zip(first, end, strict=True))
    there = tuple(slice(a, b) for a, b in zip(first - corner, end - corner, strict=True))
    return there, here
