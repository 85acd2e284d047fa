"""What a model that has not seen a case says of each component of its label, and the reverse.

Everything is measured on the component and its near surroundings, never on the image, so that
neither its size nor that of the lesion changes what is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rareseg.data.components import component_sizes, label_components
from rareseg.data.records import IGNORE, Classes
from rareseg.decision.operating_point import OperatingPoint, apply_point, default_point
from rareseg.errors import ScoreError
from rareseg.evaluation.scores import region_references, region_scores
from rareseg.evaluation.tables import Spacing
from rareseg.quality.names import see_names
from rareseg.quality.outlines import Moved, band_reach, measure_moved
from rareseg.quality.places import (
    MOST,
    NOWHERE,
    SEEN,
    Aside,
    Bools,
    Side,
    Sighting,
    locate,
    overlaps,
)

SURER = 0.75
"""The quantile of a component's scores that stands for it: the median of its surer half, which an
edge that every network blurs does not lower, however large its share of a small lesion is."""

AROUND = 6.0
"""How far the ground around a lesion is looked at, in voxels of the finest axis."""


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
    points = {
        region: replace(points.get(region, default_point(region)), gate=0.0)
        for region in classes.regions
    }
    masks = {region: apply_point(scores[region], points[region]) for region in classes.regions}
    shown = np.zeros(labels.shape, np.bool_)
    for mask in masks.values():
        shown |= mask
    blank = Sighting(
        case_id=case_id,
        group=group,
        region="",
        scorer=scorer,
        side="drawn",
        box=NOWHERE,
        plane=0,
        place=0,
        voxels=0,
        breadth=0,
        met=0.0,
        score=0.0,
        cut=MOST,
    )
    found = list(
        see_names(
            probabilities, labels, shown, classes, blank, annotations=annotations, aside=aside
        )
    )
    foreground = shown & (labels != 0) & (labels != IGNORE)
    for region in classes.regions:
        about = replace(blank, region=region, cut=points[region].threshold)
        view = _View(
            probabilities=probabilities,
            labels=labels,
            classes=classes,
            members=classes.regions[region],
            scores=scores[region],
            cut=points[region].threshold,
            predicted=label_components(masks[region]),
            foreground=foreground,
            spacing=spacing,
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
                        side == sighting.side and overlaps(on, box, note.box)
                        for note, side in mined
                    ),
                )
            )
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _View:
    """One region of one case: its classes, scores, cut and predicted components.

    ``foreground`` is where label and prediction both hold some region.
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.uint8]
    classes: Classes
    members: tuple[int, ...]
    scores: NDArray[np.float32]
    cut: float
    predicted: tuple[NDArray[np.uint32], int]
    foreground: Bools
    spacing: Spacing

    @property
    def others(self) -> list[int]:
        """The classes of foreground that the region does not hold."""
        return [k for k in range(1, self.classes.count) if k not in self.members]

    @property
    def is_flat(self) -> bool:
        """Whether the case is one slice."""
        return len(self.labels) == 1

    @property
    def finest(self) -> float:
        """The spacing of the finest axis that counts."""
        return min(self.spacing[1:] if self.is_flat else self.spacing)

    def look(
        self, reference: NDArray[np.uint8], about: Sighting
    ) -> Iterator[tuple[Sighting, tuple[slice, ...], Bools]]:
        """Yield every component with its box and its mask within."""
        predicted, n_predicted = self.predicted
        drawn, count = label_components(reference == 1)
        sizes = component_sizes(drawn, count)
        for index, box in enumerate(ndimage.find_objects(drawn, count), start=1):
            on = drawn[box] == index
            sighting = self._common(about, box, on, np.asarray(predicted[box] > 0))
            moved, among, reach = None, 0.0, None
            if sighting.met >= SEEN:
                reach_mm = band_reach(int(sizes[index - 1]), self.spacing, flat=self.is_flat)
                found = self._moved(drawn, index, box, reach_mm)
                moved, among = found.share, found.among
                reach = reach_mm / self.finest
            yield (
                replace(sighting, ground=self._ground(box), moved=moved, among=among, reach=reach),
                box,
                on,
            )
        counted = self.labels != IGNORE
        for index, box in enumerate(ndimage.find_objects(predicted, n_predicted), start=1):
            whole = predicted[box] == index
            on = whole & counted[box]
            if on.sum() < MOST * whole.sum():
                continue
            about = replace(about, side="predicted")
            yield self._common(about, box, on, np.asarray(drawn[box] > 0)), box, on

    def _common(self, about: Sighting, box: tuple[slice, ...], on: Bools, met: Bools) -> Sighting:
        """Return what is said alike of drawn and of predicted components."""
        return replace(
            locate(about, box, on, self.labels.shape),
            met=float(met[on].mean()),
            # Of float32 scores one is taken as it stands, so that the cut is met exactly.
            score=float(np.quantile(self.scores[box][on], SURER, method="higher")),
            other=self._other_class(box, on, about.side),
        )

    def _other_class(self, box: tuple[slice, ...], on: Bools, side: Side) -> str | None:
        """Return the class that the other side has over most of a component, if it is another."""
        if not self.others:
            return None
        if side == "predicted":
            share = np.bincount(self.labels[box][on], minlength=IGNORE + 1)[self.others] / on.sum()
            return self._name(share) if share.sum() >= MOST else None
        here = self.probabilities[(slice(None), *box)][:, on]
        rest = here[self.others].sum(axis=0)
        wins = (rest > self.scores[box][on]) & (rest > here[0])
        return self._name(here[self.others].mean(axis=1)) if wins.mean() >= MOST else None

    def _name(self, shares: NDArray[np.floating[Any]]) -> str:
        return self.classes.names[self.others[int(shares.argmax())]]

    def _moved(
        self, drawn: NDArray[np.uint32], index: int, box: tuple[slice, ...], reach_mm: float
    ) -> Moved:
        wide = self._grown(box, reach_mm)
        here = drawn[wide]
        lesion = here == index
        theirs = self.predicted[0][wide]
        touching = np.unique(theirs[lesion & (theirs > 0)])
        return measure_moved(
            lesion,
            self.scores[wide],
            np.isin(theirs, touching),
            np.asarray((self.labels[wide] != IGNORE) & ((here == 0) | lesion)),
            self.foreground[wide],
            cut=self.cut,
            reach_mm=reach_mm,
            spacing=self.spacing,
        )

    def _ground(self, box: tuple[slice, ...]) -> float | None:
        """Return the median score of what is neither drawn nor predicted around a box."""
        wide = self._grown(box, AROUND * self.finest)
        empty = (self.labels[wide] == 0) & (self.predicted[0][wide] == 0)
        return float(np.median(self.scores[wide][empty])) if empty.any() else None

    def _grown(self, box: tuple[slice, ...], reach_mm: float) -> tuple[slice, ...]:
        return tuple(
            slice(
                max(0, side.start - int(np.ceil(reach_mm / step))),
                side.stop + int(np.ceil(reach_mm / step)),
            )
            for side, step in zip(box, self.spacing, strict=True)
        )
