"""Cut an object out of its window, with its surroundings, to paste it into another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rareseg_runner.components import bounding_box, label_components
from rareseg_runner.image_records import IGNORE

FEATHER = 3
"""Voxels outside an object over which what is pasted fades into what is there."""


@dataclass(frozen=True, eq=False)
class Donor:
    """One connected object in a box that reaches up to :data:`FEATHER` voxels further.

    ``values`` float32 (C, *box). ``classes`` uint8 (*box) are class indices, 0 where the object is
    not. ``alpha`` float32 (*box) is the weight of what is pasted: 1 in the object, falling to 0
    outside, and 0 on other objects. ``margin`` (D, 2) is by how many voxels the box reaches further
    than the object, below and above on each axis. ``cut_off`` (D, 2) bool: on these sides the
    object is cut off, by the image or by the window.
    """

    values: NDArray[np.float32]
    classes: NDArray[np.uint8]
    alpha: NDArray[np.float32]
    margin: NDArray[np.int64]
    cut_off: NDArray[np.bool_]

    @property
    def size(self) -> NDArray[np.int64]:
        """The sides of the object, (D,)."""
        size: NDArray[np.int64] = np.array(self.classes.shape) - self.margin.sum(1)
        return size


def take_donor(
    values: NDArray[np.float32],
    labels: NDArray[np.uint8],
    voxel: Sequence[int] | NDArray[np.int64],
    *,
    mirror: Sequence[bool] | NDArray[np.bool_],
    quarters: int,
) -> Donor | None:
    """Cut out the object that holds ``voxel``, mirrored along some axes and turned in the plane.

    ``values`` (C, *part) and ``labels`` (*part), class indices, are the part of a window of D axes
    that lies within its image. An object is what of all foreground classes is connected (8
    neighbours in 2D, 26 in 3D). ``quarters`` are turns by 90° from the last but one axis to the
    last. None where the object touches ``IGNORE``: nobody knows where it ends.
    """
    components, _ = label_components((labels != 0) & (labels != IGNORE))
    whole = components == components[tuple(voxel)]
    values, labels, inside = (_moved(each, mirror, quarters) for each in (values, labels, whole))
    own = bounding_box(inside)
    assert own is not None, "the object holds the voxel"
    ends = np.array([(side.start, side.stop) for side in own])
    limits = np.array([(0, side) for side in inside.shape])
    reach = np.clip(ends + np.array([-FEATHER, FEATHER]), limits[:, :1], limits[:, 1:])
    box = tuple(slice(first, end) for first, end in reach)
    values, labels, inside = values[:, *box], labels[box], inside[box]
    distance = ndimage.distance_transform_edt(~inside)
    if ((labels == IGNORE) & (distance < 2)).any():
        return None
    alpha = np.clip(1 - distance / (FEATHER + 1), 0, 1).astype(np.float32)
    alpha[(labels != 0) & ~inside] = 0
    return Donor(
        values=values,
        classes=np.where(inside, labels, np.uint8(0)),
        alpha=alpha,
        margin=np.abs(reach - ends),
        cut_off=ends == limits,
    )


def _moved(
    array: NDArray[Any], mirror: Sequence[bool] | NDArray[np.bool_], quarters: int
) -> NDArray[Any]:
    """Return a view that is mirrored along some of the last D axes, then turned in the last two."""
    axes = tuple(axis - len(mirror) for axis, mirrored in enumerate(mirror) if mirrored)
    return np.rot90(np.flip(array, axes), quarters, axes=(-2, -1))
