"""Record of the evidence about one component: its box, scores, and what annotators say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rareseg.quality.suspects.suspect import Box
from rareseg_runner.scoring.log_odds import log_odds

SEEN = 0.1
"""Share of a component from which it counts as met by the other side."""

MOST = 0.5
"""Share of a component from which something holds of it as a whole."""

Side = Literal["drawn", "predicted", "named"]
Bools = NDArray[np.bool_]
Place = tuple[slice, ...]
"""A box as slices of the image's grid."""


@dataclass(frozen=True)
class SetAside:
    """A box (z, y, x) of the image's grid where mining set voxels aside: drawn as, taken for."""

    box: Box
    true: str
    predicted: str


@dataclass(frozen=True)
class ComponentEvidence:
    """One component of a region, drawn or predicted, and what the other side says of it.

    ``scorer`` names the network. ``met`` is the share of the component's voxels that the other side
    holds too. ``score`` is the region's score of the surer half of it, ``cut`` where the region is
    cut, ``ground`` the median score around a drawn one (None: nothing is around). ``moved`` is the
    share of the band about a drawn one's outline that is on the other side, ``among`` the part of
    that where both sides hold foreground, ``reach`` the band's reach in voxels of the finest axis.
    ``other`` is the class that the other side has over most of it in place of this region.
    ``breadth`` are the voxels by which components are compared. ``drawn_by`` is (how many of the
    annotators drew most of it, how many looked), ``place`` the flat index of its first voxel.

    A third side, ``named``, is what the model calls a class of a drawn object: of the class
    ``other`` the share ``moved`` speaks for ``says``
    (:func:`~rareseg.quality.suspects.class_names.collect_class_evidence`).
    """

    case_id: str
    group: str | None
    region: str
    scorer: str
    side: Side
    box: Box
    plane: int
    place: int
    voxels: int
    breadth: int
    met: float
    score: float
    cut: float
    ground: float | None = None
    moved: float | None = None
    among: float = 0.0
    reach: float | None = None
    other: str | None = None
    says: str | None = None
    drawn_by: tuple[int, int] | None = None
    aside: bool = False

    @property
    def odds(self) -> float:
        """The log-odds of the score above those of the cut."""
        return float(log_odds(self.score) - log_odds(self.cut))

    @property
    def ground_odds(self) -> float | None:
        """The log-odds of the ground above those of the cut."""
        return None if self.ground is None else float(log_odds(self.ground) - log_odds(self.cut))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ComponentEvidence:
        """Make the record from what JSON has kept of it, lists being tuples again."""
        z, y, x = (tuple(ends) for ends in values["box"])
        drawn_by = values["drawn_by"]
        looked = None if drawn_by is None else (int(drawn_by[0]), int(drawn_by[1]))
        return cls(**{**values, "box": (z, y, x), "drawn_by": looked})


def blank_evidence(case_id: str, group: str | None, scorer: str) -> ComponentEvidence:
    """Return what all evidence of a case begins with; a place has yet to be filled in."""
    return ComponentEvidence(
        case_id=case_id,
        group=group,
        region="",
        scorer=scorer,
        side="drawn",
        box=((0, 0), (0, 0), (0, 0)),
        plane=0,
        place=0,
        voxels=0,
        breadth=0,
        met=0.0,
        score=0.0,
        cut=MOST,
    )


def locate(
    about: ComponentEvidence, box: Place, on: Bools, shape: tuple[int, ...]
) -> ComponentEvidence:
    """Return the evidence with the place of a component, given by its mask within its box."""
    z, y, x = ((int(side.start), int(side.stop)) for side in box)
    first = [int(start[0]) for start in np.nonzero(on)]
    at = [low + step for (low, _), step in zip((z, y, x), first, strict=True)]
    return replace(
        about,
        box=(z, y, x),
        plane=z[0] + int(on.sum(axis=(1, 2)).argmax()),
        place=int(np.ravel_multi_index(at, shape)),
        voxels=int(on.sum()),
        breadth=int(on.sum()),
    )


def overlaps(on: Bools, box: Place, other: Box) -> bool:
    """Tell whether any voxel of a component, given within its box, lies in another box."""
    ends = [
        (max(0, low - side.start), max(0, high - side.start))
        for side, (low, high) in zip(box, other, strict=True)
    ]
    return bool(on[tuple(slice(low, high) for low, high in ends)].any())
