"""One class per voxel from the masks of regions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.image_records import IGNORE, Classes


def class_map(
    probabilities: NDArray[np.float32],
    masks: Mapping[str, NDArray[np.bool_]],
    classes: Classes,
) -> NDArray[np.uint8]:
    """Return one class index per voxel (z, y, x) from class probabilities and region masks.

    Background where no region is on; elsewhere the most probable class among those of the
    innermost region that is on (the region with the fewest classes; of equals, the later one).
    """
    chosen = np.zeros(probabilities.shape[1:], np.uint8)
    outermost_first = sorted(classes.regions, key=lambda name: -len(classes.regions[name]))
    for region in outermost_first:
        members = np.asarray(classes.regions[region])
        best = members[probabilities[members].argmax(axis=0)].astype(np.uint8)
        chosen = np.where(masks[region], best, chosen)
    return chosen


def label_map(
    probabilities: NDArray[np.float32],
    masks: Mapping[str, NDArray[np.bool_]],
    classes: Classes,
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return one mask value per voxel (z, y, x): those of :func:`class_map`'s classes."""
    chosen, values = class_map(probabilities, masks, classes), np.asarray(classes.values)
    if values.max() <= IGNORE:
        return values.astype(np.uint8)[chosen]
    return values.astype(np.uint16)[chosen]
