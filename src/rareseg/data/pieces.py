"""Find the connected component of each region that every voxel belongs to.

A piece is what is connected of one class. A component of a region, which may unite several classes,
is one piece or several of them, so that one number a voxel tells its component in every region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.components import bounding_box, connected
from rareseg_runner.image_records import IGNORE


@dataclass(frozen=True, eq=False)
class Pieces:
    """The P pieces of an image, and the K components that they make up in R regions.

    ``numbers`` int32 are those of the voxels of a box that begins at ``corner`` (z, y, x): 0 for
    background and ``IGNORE``, else 1…P; outside of it there is nothing. ``component`` (P + 1, R)
    int32 is the component of each region that a piece is part of, 0 where it is in none; they are
    counted 1…K over all regions. ``whole`` (K + 1,) int64 are their voxels, 0 the first.
    """

    corner: tuple[int, int, int]
    numbers: NDArray[np.int32]
    component: NDArray[np.int32]
    whole: NDArray[np.int64]


def find_pieces(
    labels: NDArray[np.uint8], regions: Sequence[Sequence[int]], *, by_plane: bool = False
) -> Pieces:
    """Return the pieces of class indices ``labels`` (Z, Y, X), none where there is no foreground.

    ``regions`` are the class indices of each. ``by_plane`` takes each axial plane for an image of
    its own.
    """
    known = (labels != 0) & (labels != IGNORE)
    box = bounding_box(known) or (slice(0, 0),) * 3
    classes = np.where(known[box], labels[box], np.uint8(0))
    numbers, count = connected(classes, by_plane=by_plane) if classes.size else (classes, 0)
    voxels = np.bincount(numbers.ravel(), minlength=count + 1)
    class_of = np.zeros(count + 1, np.uint8)
    class_of[numbers] = classes
    component = np.zeros((count + 1, len(regions)), np.int32)
    total = 0
    for column, members in zip(component.T, regions, strict=True):
        own = np.isin(class_of, members)
        if len(np.unique(class_of[own])) > 1:
            joined, more = connected(own[numbers], by_plane=by_plane)
            column[numbers] = joined
        else:
            column[own], more = np.arange(1, own.sum() + 1), int(own.sum())
        column[own] += total
        total += more
    whole = np.zeros(total + 1, np.int64)
    for column in component.T:
        np.add.at(whole, column, voxels)
    whole[0] = 0
    begin = [part.start for part in box]
    return Pieces((begin[0], begin[1], begin[2]), numbers.astype(np.int32), component, whole)
