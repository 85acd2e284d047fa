"""Label connected components: 8-connected in 2D, 26-connected in 3D.

A photograph is a volume of one slice, and 26-connectivity within one slice is 8-connectivity, so
one call serves both. (cc3d's own 8-connectivity of 2D arrays mislabels some of them, and its
26-connectivity fails on some that are one voxel wide: connected-components-3d 4.1.1. Neither
happens in volumes with an empty margin, which the tests hold against scipy.)
"""

from __future__ import annotations

from typing import Any, Literal

import cc3d
import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]


def bounding_box(mask: NDArray[np.bool_]) -> Box | None:
    """Return the smallest box that holds every True voxel, or None where there is none."""
    if mask.size == 0:
        return None
    box = []
    rest = mask  # what is left of the axes that are not boxed yet
    for _ in range(mask.ndim):
        occupied = np.flatnonzero(rest.reshape(len(rest), -1).any(axis=1))
        if len(occupied) == 0:
            return None
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
        rest = np.asarray(rest[box[-1]].any(axis=0))
    return tuple(box)


def label_components(
    mask: NDArray[np.bool_], *, connectivity: Literal[18, 26] = 26
) -> tuple[NDArray[np.uint32], int]:
    """Return (labels, count): 0 outside, 1 … count for the components.

    ``mask`` is (Z, Y, X) or (Y, X) bool; labels have its shape. An empty mask gives zeros and 0.
    Both connectivities are 8 within a slice.
    """
    labels = np.zeros(mask.shape, np.uint32)
    box = bounding_box(mask)
    if box is None:
        return labels, 0
    part = mask[box] if mask.ndim == 3 else mask[np.newaxis, *box]
    found, count = connected(part, connectivity=connectivity)
    labels[box] = found.reshape(labels[box].shape)
    return labels, count


def connected(
    values: NDArray[Any], *, connectivity: Literal[18, 26] = 26, by_plane: bool = False
) -> tuple[NDArray[np.uint32], int]:
    """Return (numbers, count): what is connected of one value of ``values`` (Z, Y, X), 0 outside.

    ``values`` are bool or uint8; numbers have their shape. With ``by_plane`` nothing is connected
    from one plane to the next.
    """
    depth, height, width = values.shape
    step = 2 if by_plane else 1  # an empty plane between any two keeps them apart
    padded = np.zeros((step * depth, height + 2, width + 2), values.dtype)
    padded[::step, 1:-1, 1:-1] = values
    found, count = cc3d.connected_components(
        padded, connectivity=connectivity, return_N=True, out_dtype=np.uint32
    )
    return found[::step, 1:-1, 1:-1], int(count)


def component_sizes(labels: NDArray[np.uint32], count: int) -> NDArray[np.int64]:
    """Return the number of voxels of components 1 … count, shape (count,)."""
    return np.bincount(labels.ravel(), minlength=count + 1)[1:].astype(np.int64)


def remove_small(mask: NDArray[np.bool_], smallest: int) -> NDArray[np.bool_]:
    """Return the mask without its components of fewer than ``smallest`` voxels; same shape.

    With ``smallest`` ≤ 1 every component stays.
    """
    if smallest <= 1:
        return mask
    labels, count = label_components(mask)
    keep = np.concatenate([[False], component_sizes(labels, count) >= smallest])
    return np.asarray(keep[labels], np.bool_)
