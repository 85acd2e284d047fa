"""What a model that has not seen a case says of each component of its label, and the reverse.

Everything is measured on the component and its near surroundings, never on the image, so that
neither its size nor that of the lesion changes what is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rareseg.data.components import component_sizes, label_components
from rareseg.data.records import IGNORE, Classes
from rareseg.decision.log_odds import log_odds
from rareseg.decision.operating_point import OperatingPoint, apply_point, default_point
from rareseg.errors import ScoreError
from rareseg.evaluation.scores import region_references, region_scores
from rareseg.evaluation.tables import Spacing
from rareseg.quality.outlines import band_reach, measure_moved
from rareseg.quality.suspect import Box

SEEN = 0.1
"""Share of a component from which it counts as met by the other side."""

MOST = 0.5
"""Share of a component from which something holds of it as a whole."""

SURER = 0.75
"""The quantile of a component's scores that stands for it: the median of its surer half, which an
edge that every network blurs does not lower, however large its share of a small lesion is."""

AROUND = 6.0
"""How far the ground around a lesion is looked at, in voxels of the finest axis."""

LEAST = 1e-12
"""Added to probabilities before their ratio is taken."""

Side = Literal["drawn", "predicted"]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Aside:
    """A box (z, y, x) of the image's grid where mining set voxels aside: drawn as, taken for."""

    box: Box
    true: str
    predicted: str


@dataclass(frozen=True)
class Sighting:
    """One component of a region, drawn or predicted, and what the other side says of it.

    ``scorer`` names the network. ``met`` is the share of the component's voxels that the other side
    holds too. ``score`` is the region's score of the surer half of it (:data:`SURER`), ``cut``
    where the region is cut, ``ground`` the median score around a drawn one (None: nothing is
    around). ``moved`` and ``reach_mm`` say how far the outline of a drawn one is moved. ``against``
    is the median log-ratio of the scores of all other foreground and of the region, for a predicted
    one the reverse: above 0 the model says another class than the label (None: there is no other).
    ``other`` is the name of that class, where most of the component is of another. ``drawn_by`` is
    (how many of the annotators drew most of it, how many looked), ``place`` the flat index of its
    first voxel.
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
    met: float
    score: float
    cut: float
    ground: float | None = None
    moved: float | None = None
    reach_mm: float | None = None
    against: float | None = None
    other: str | None = None
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
    def from_dict(cls, values: Mapping[str, Any]) -> Sighting:
        """Make the record from what JSON has kept of it, lists being tuples again."""
        z, y, x = (tuple(ends) for ends in values["box"])
        drawn_by = values["drawn_by"]
        looked = None if drawn_by is None else (int(drawn_by[0]), int(drawn_by[1]))
        return cls(**{**values, "box": (z, y, x), "drawn_by": looked})


def see_case(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.uint8],
    classes: Classes,
    points: Mapping[str, OperatingPoint],
    *,
    case_id: str,
    scorer: str,
    group: str | None = None,
    spacing: Spacing = (1.0, 1.0, 1.0),
    annotations: Sequence[NDArray[np.uint8]] = (),
    aside: Sequence[Aside] = (),
) -> tuple[Sighting, ...]:
    """Return a sighting of every drawn and every predicted component of every region.

    ``probabilities`` is (class, Z, Y, X) float32, ``labels`` and each of the ``annotations``
    (Z, Y, X) uint8 class indices with IGNORE. A region is cut at its point's threshold, less
    components below the point's size; without a gate, which judges the whole image; at 0.5 where
    it has no point. Ignored voxels belong to no component, and a predicted one of which most is
    ignored is left out. An empty case gives none. Raises ScoreError where shapes differ.
    """
    if probabilities.shape[1:] != labels.shape or any(a.shape != labels.shape for a in annotations):
        shapes = sorted({probabilities.shape[1:], labels.shape, *(a.shape for a in annotations)})
        raise ScoreError(
            f"Case '{case_id}' has probabilities, labels and annotations of shapes "
            f"{', '.join(map(str, shapes))}; all must be on the case's original grid."
        )
    scores = region_scores(probabilities, classes)
    references = region_references(labels, classes)
    found: list[Sighting] = []
    for region in classes.regions:
        point = replace(points.get(region, default_point(region)), gate=0.0)
        view = _View(region, probabilities, labels, classes, scores[region], point, spacing)
        about = Sighting(
            case_id, group, region, scorer, "drawn", _NOWHERE, 0, 0, 0, 0.0, 0.0, point.threshold
        )
        members = list(classes.regions[region])
        drew = [np.isin(annotation, members) for annotation in annotations]
        names = {classes.names[index] for index in members}
        mined = [
            (note, side)
            for note in aside
            for side, of in (("drawn", note.true), ("predicted", note.predicted))
            if of in names
        ]
        for sighting, box, on in view.look(references[region], about):
            looked = [int(drawn[box][on].mean() >= MOST) for drawn in drew]
            found.append(
                replace(
                    sighting,
                    drawn_by=(sum(looked), len(looked)) if looked else None,
                    aside=any(
                        side == sighting.side and _overlaps(on, box, note.box)
                        for note, side in mined
                    ),
                )
            )
    return tuple(found)


_NOWHERE: Box = ((0, 0), (0, 0), (0, 0))


class _View:
    """One region of one case: its scores, its cut and everything around it."""

    def __init__(
        self,
        region: str,
        probabilities: NDArray[np.float32],
        labels: NDArray[np.uint8],
        classes: Classes,
        scores: NDArray[np.float32],
        point: OperatingPoint,
        spacing: Spacing,
    ) -> None:
        self.probabilities, self.labels, self.classes = probabilities, labels, classes
        self.scores, self.cut, self.spacing = scores, point.threshold, spacing
        self.members = list(classes.regions[region])
        self.others = [k for k in range(1, classes.count) if k not in self.members]
        self.predicted, self.n_predicted = label_components(apply_point(scores, point))

    def look(
        self, reference: NDArray[np.uint8], about: Sighting
    ) -> Iterator[tuple[Sighting, tuple[slice, ...], Bools]]:
        """Yield every component with its box and its mask within."""
        drawn, count = label_components(reference == 1)
        sizes = component_sizes(drawn, count)
        for index, box in enumerate(ndimage.find_objects(drawn, count), start=1):
            on = drawn[box] == index
            sighting = self._common(about, box, on, np.asarray(self.predicted[box] > 0))
            moved = reach = None
            if sighting.met >= SEEN:
                reach = band_reach(int(sizes[index - 1]), self.spacing, flat=len(drawn) == 1)
                moved = self._moved(drawn, index, box, reach)
            yield (
                replace(sighting, ground=self._ground(box), moved=moved, reach_mm=reach),
                box,
                on,
            )
        counted = self.labels != IGNORE
        for index, box in enumerate(ndimage.find_objects(self.predicted, self.n_predicted), 1):
            whole = self.predicted[box] == index
            on = whole & counted[box]
            if on.sum() < MOST * whole.sum():
                continue
            about = replace(about, side="predicted")
            yield self._common(about, box, on, np.asarray(drawn[box] > 0)), box, on

    def _common(self, about: Sighting, box: tuple[slice, ...], on: Bools, met: Bools) -> Sighting:
        """Return what is said alike of drawn and of predicted components."""
        z, y, x = ((int(side.start), int(side.stop)) for side in box)
        first = [int(start[0]) for start in np.nonzero(on)]
        at = [low + step for (low, _), step in zip((z, y, x), first, strict=True)]
        against, other = self._other_class(box, on, about.side)
        return replace(
            about,
            box=(z, y, x),
            plane=z[0] + int(on.sum(axis=(1, 2)).argmax()),
            place=int(np.ravel_multi_index(at, self.labels.shape)),
            voxels=int(on.sum()),
            met=float(met[on].mean()),
            # Of float32 scores one is taken as it stands, so that the cut is met exactly.
            score=float(np.quantile(self.scores[box][on], SURER, method="higher")),
            against=against,
            other=other,
        )

    def _other_class(
        self, box: tuple[slice, ...], on: Bools, side: Side
    ) -> tuple[float | None, str | None]:
        """Return how the model's class stands against the label's, and the class that is meant.

        Of a drawn component the class that the model sees, of a predicted one that which is drawn;
        None where it is not the same over most of the component.
        """
        if not self.others:
            return None, None
        own = self.scores[box][on].astype(np.float64)
        here = self.probabilities[(slice(None), *box)][:, on].astype(np.float64)
        rest = here[self.others]
        ratio = float(np.median(np.log((rest.sum(axis=0) + LEAST) / (own + LEAST))))
        if side == "drawn":
            wins = (rest.sum(axis=0) > own) & (rest.sum(axis=0) > here[0])
            seen = self.others[int(rest.mean(axis=1).argmax())]
            return ratio, self.classes.names[seen] if wins.mean() >= MOST else None
        counts = np.bincount(self.labels[box][on], minlength=IGNORE + 1)[self.others]
        most = self.others[int(counts.argmax())]
        return -ratio, self.classes.names[most] if counts.sum() >= MOST * on.sum() else None

    def _moved(
        self, drawn: NDArray[np.uint32], index: int, box: tuple[slice, ...], reach: float
    ) -> float:
        wide = self._grown(box, reach)
        here = drawn[wide]
        lesion = here == index
        theirs = self.predicted[wide]
        touching = np.unique(theirs[lesion & (theirs > 0)])
        return measure_moved(
            lesion,
            self.scores[wide],
            np.isin(theirs, touching),
            np.asarray((self.labels[wide] != IGNORE) & ((here == 0) | lesion)),
            cut=self.cut,
            reach_mm=reach,
            spacing=self.spacing,
        ).share

    def _ground(self, box: tuple[slice, ...]) -> float | None:
        """Return the median score of what is neither drawn nor predicted around a box."""
        finest = min(self.spacing[1:]) if len(self.labels) == 1 else min(self.spacing)
        wide = self._grown(box, AROUND * finest)
        empty = (self.labels[wide] == 0) & (self.predicted[wide] == 0)
        return float(np.median(self.scores[wide][empty])) if empty.any() else None

    def _grown(self, box: tuple[slice, ...], reach_mm: float) -> tuple[slice, ...]:
        return tuple(
            slice(
                max(0, side.start - int(np.ceil(reach_mm / step))),
                side.stop + int(np.ceil(reach_mm / step)),
            )
            for side, step in zip(box, self.spacing, strict=True)
        )


def _overlaps(on: Bools, box: tuple[slice, ...], other: Box) -> bool:
    """Tell whether any voxel of a component, given within its box, lies in another box."""
    ends = [
        (max(0, low - side.start), max(0, high - side.start))
        for side, (low, high) in zip(box, other, strict=True)
    ]
    return bool(on[tuple(slice(low, high) for low, high in ends)].any())
