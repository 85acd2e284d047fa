"""Collect other evidence of a place: annotators, and voxels set aside by mining."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.quality.suspects.place import MOST, Bools, Place, SetAside, overlaps


@dataclass(frozen=True, eq=False)
class OtherEvidence:
    """Who else speaks of one case: its ``annotations`` (Z, Y, X) uint8, and what was set aside."""

    annotations: tuple[NDArray[np.uint8], ...] = ()
    aside: tuple[SetAside, ...] = ()

    def count(self, box: Place, on: Bools, members: tuple[int, ...]) -> tuple[int, int] | None:
        """Return how many annotators drew most of a component as one of the classes, of how many.

        The component is given by its mask within its box. None where nobody else drew.
        """
        drew = [np.isin(own[box][on], members).mean() >= MOST for own in self.annotations]
        return (sum(map(int, drew)), len(drew)) if drew else None

    def set_aside(
        self,
        box: Place,
        on: Bools,
        *,
        true: Collection[str] | None = None,
        predicted: Collection[str] | None = None,
    ) -> bool:
        """Tell whether mining set voxels of a component aside, drawn as and taken for the named.

        None stands for any class.
        """
        return any(
            (true is None or note.true in true)
            and (predicted is None or note.predicted in predicted)
            and overlaps(on, box, note.box)
            for note in self.aside
        )
