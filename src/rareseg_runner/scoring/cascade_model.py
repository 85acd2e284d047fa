"""Join the probabilities of two stages: foreground, and its classes within.

p(c) = p₁(foreground) · p₂(c | foreground) where the first found anything, and 0 elsewhere. With one
class of foreground the second stage tells it from false finds instead, p = p₁ · p₂, which is the
two-stage reduction of false positives of computer-aided detection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rareseg_runner.image_records import Classes

FOREGROUND = "foreground"


@dataclass(frozen=True)
class Cascade:
    """How the stages meet.

    The first of the bundle's networks, ``first_stage`` of them, are averaged and find: where their
    foreground reaches ``threshold``, and ``margin`` voxels around it on the network's grid, the
    last network speaks. ``recalls`` are the shares of foreground voxels that lie there, by role,
    which no later step can exceed; ``kept`` the shares of all voxels.
    """

    first_stage: int
    threshold: float
    margin: int
    recalls: Mapping[str, float]
    kept: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**vars(self), "recalls": dict(self.recalls), "kept": dict(self.kept)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Cascade:
        """Return what :meth:`to_dict` wrote."""
        return cls(**record)

    def found(self, foreground: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return where the second stage speaks (z, y, x), from the first one's foreground."""
        return found_within(foreground, self.threshold, self.margin)

    def join(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return class probabilities (class, z, y, x) of both stages together.

        ``first`` (2, z, y, x) and ``second`` (class, z, y, x) are the stages' own; voxels sum to 1.
        """
        joined = np.array(second)
        if len(second) > 2:
            joined[1:] /= np.maximum(joined[1:].sum(axis=0), np.finfo(np.float32).tiny)
        joined[1:] *= first[1] * self.found(first[1])
        joined[0] = np.clip(1.0 - joined[1:].sum(axis=0), 0.0, 1.0)
        return joined


def found_within(
    foreground: NDArray[np.float32], threshold: float, margin: int
) -> NDArray[np.bool_]:
    """Return where (z, y, x) the foreground reaches a threshold, and so many voxels around it.

    Around means within a box; a photograph, of one slice, has no slice beside it.
    """
    found = foreground >= threshold
    if margin and found.any():
        for axis, side in enumerate(found.shape):
            if side > 1:
                found = ndimage.maximum_filter1d(found, 2 * margin + 1, axis=axis)
    return np.asarray(found, np.bool_)


def first_stage_classes(classes: Classes) -> Classes:
    """Return the classes of the first stage: background, and all others as one."""
    return Classes(
        names=(classes.names[0], FOREGROUND),
        values=(0, 1),
        regions={FOREGROUND: (1,)},
        ignore_value=classes.ignore_value,
    )
