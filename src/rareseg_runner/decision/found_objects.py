"""Measure the objects of a mask: place, size and scores of every connected component."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rareseg_runner.components import label_components


@dataclass(frozen=True, eq=False)
class FoundObject:
    """One connected component of a region's mask (2D: 8-connected, 3D: 26-connected).

    ``box`` is one (from, to) for each axis of the mask, (y, x) or (z, y, x), the ends excluded;
    ``voxels`` how many voxels (of a photograph: pixels) it has; ``top_score`` and ``mean_score``
    are of the scores within, in [0, 1]. ``number`` counts the objects of a region from 1, as
    :func:`~rareseg_runner.components.label_components` numbers the mask. ``centre``, along the
    same axes, is the mean of the voxels' centres, of which that of the first voxel is (½, ½, ½).
    """

    region: str
    box: tuple[tuple[int, int], ...]
    voxels: int
    top_score: float
    number: int
    centre: tuple[float, ...]
    mean_score: float


def find_objects(
    region: str, mask: NDArray[np.bool_], scores: NDArray[np.float32]
) -> tuple[FoundObject, ...]:
    """Return the components of a region's mask, (y, x) or (z, y, x), in the order of their numbers.

    ``scores`` has the mask's shape. An empty mask has none.
    """
    labels, _ = label_components(mask)
    boxes = ndimage.find_objects(labels.astype(np.int64))
    return tuple(
        _measured(region, number, box, labels[box] == number, scores[box])
        for number, box in enumerate(boxes, start=1)
    )


def _measured(
    region: str,
    number: int,
    box: tuple[slice, ...],
    component: NDArray[np.bool_],
    scores: NDArray[np.float32],
) -> FoundObject:
    own = scores[component]
    corners = [side.start for side in box]
    middles = [float(places.mean()) + 0.5 for places in np.nonzero(component)]
    return FoundObject(
        region,
        tuple((side.start, side.stop) for side in box),
        int(component.sum()),
        float(own.max()),
        number,
        tuple(middle + corner for middle, corner in zip(middles, corners, strict=True)),
        float(own.mean(dtype=np.float64)),
    )
