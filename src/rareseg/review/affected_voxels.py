"""Find the voxels of a case that a review item is about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.errors import RunError
from rareseg.quality.suspects import Suspect
from rareseg_runner.components import component_sizes, label_components
from rareseg_runner.image_records import IGNORE, Classes

Labels = NDArray[np.uint8]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Side:
    """The components of a region as drawn, or as predicted: 0 is outside, and counts no voxels."""

    components: NDArray[np.uint32]
    sizes: NDArray[np.int64]

    def those(self, chosen: Bools) -> Bools:
        """Return the voxels of the chosen components; ``chosen[0]`` is not looked at."""
        chosen[0] = False
        return np.asarray(chosen[self.components], np.bool_)


class AffectedVoxels:
    """The affected voxels of one case, from its class indices (z, y, x), drawn and predicted.

    Of each region components are found once, and kept.
    """

    def __init__(self, labels: Labels, predicted: Labels, classes: Classes) -> None:
        self.labels, self.predicted, self.classes = labels, predicted, classes
        self._sides: dict[str, tuple[_Side, _Side]] = {}

    def of(self, item: Suspect) -> Bools:
        """Return the voxels (z, y, x) that a verdict on an item is about.

        Components of its region, drawn or predicted, of which at least half lies in its box, and
        those of the other side that overlap them: so a prediction is accepted whole where it
        reaches beyond what was drawn. Without such a component, what is drawn or predicted within
        the box. Voxels that were ignored before are never affected. Raises :class:`RunError` where
        the box does not lie in the case.
        """
        shape = self.labels.shape
        if any(not 0 <= a < b <= side for (a, b), side in zip(item.box, shape, strict=True)):
            raise RunError(
                f"'{item.id}' lies outside of its case '{item.case_id}', whose shape is {shape}; "
                "find suspects again and review them."
            )
        box = tuple(slice(low, high) for low, high in item.box)
        sides = self._sides_of(item.region)
        cores = [side.those(2 * _counts(side, box) >= side.sizes) for side in sides]
        about = cores[0] | cores[1]
        if about.any():
            for side, core in zip(sides, cores[::-1], strict=True):
                about |= side.those(_counts(side, core) > 0)
        else:
            about[box] = (sides[0].components[box] > 0) | (sides[1].components[box] > 0)
        return np.asarray(about & (self.labels != IGNORE), np.bool_)

    def _sides_of(self, region: str) -> tuple[_Side, _Side]:
        if region not in self._sides:
            members = np.asarray(self.classes.regions[region])
            self._sides[region] = (
                _side(np.isin(self.labels, members)),
                _side(np.isin(self.predicted, members)),
            )
        return self._sides[region]


def _side(mask: Bools) -> _Side:
    components, count = label_components(mask)
    return _Side(components, np.concatenate([[0], component_sizes(components, count)]))


def _counts(side: _Side, where: Bools | tuple[slice, ...]) -> NDArray[np.int64]:
    """Return how many voxels of each component lie in a box or in a mask."""
    return np.bincount(side.components[where].ravel(), minlength=len(side.sizes))
