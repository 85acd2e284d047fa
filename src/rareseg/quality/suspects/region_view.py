"""View one region of one case component by component, labelled and predicted.

Everything is measured on the component and its near surroundings, never on the image, so that
neither its size nor that of the object changes what is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rareseg.evaluation.tables.region_rows import Spacing
from rareseg.quality.suspects.other_evidence import OtherEvidence
from rareseg.quality.suspects.outlines import OutlineShift, band_reach, measure_moved
from rareseg.quality.suspects.place import MOST, SEEN, Bools, ComponentEvidence, Place, Side, locate
from rareseg_runner.components import component_sizes
from rareseg_runner.image_records import IGNORE, Classes

SURER = 0.75
"""The quantile of a component's scores that stands for it: the median of its surer half, which an
edge that every network blurs does not lower, however large its share of a small object is."""

AROUND = 6.0
"""How far the ground around an object is looked at, in voxels of the finest axis."""

Components = tuple[NDArray[np.uint32], int]
"""Components numbered from 1 on, and how many there are."""


@dataclass(frozen=True, eq=False)
class RegionView:
    """One region of one case: its classes, scores, cut and components.

    ``foreground`` is where label and prediction both hold some region.
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.uint8]
    classes: Classes
    members: tuple[int, ...]
    scores: NDArray[np.float32]
    cut: float
    drawn: Components
    predicted: Components
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
        self, about: ComponentEvidence, other_evidence: OtherEvidence
    ) -> Iterator[ComponentEvidence]:
        """Yield the evidence of every component, the drawn ones first."""
        names = {self.classes.names[index] for index in self.members}
        for evidence, box, on in chain(
            self._drawn_evidence(about), self._predicted_evidence(about)
        ):
            drawn = evidence.side == "drawn"
            yield replace(
                evidence,
                drawn_by=other_evidence.count(box, on, self.members),
                aside=other_evidence.set_aside(
                    box, on, true=names if drawn else None, predicted=None if drawn else names
                ),
            )

    def _drawn_evidence(
        self, about: ComponentEvidence
    ) -> Iterator[tuple[ComponentEvidence, Place, Bools]]:
        drawn, count = self.drawn
        sizes = component_sizes(drawn, count)
        for index, box in enumerate(ndimage.find_objects(drawn, count), start=1):
            on = drawn[box] == index
            evidence = self._common(about, box, on, np.asarray(self.predicted[0][box] > 0))
            evidence = replace(evidence, ground=self._ground(box))
            if evidence.met >= SEEN:
                reach_mm = band_reach(int(sizes[index - 1]), self.spacing, flat=self.is_flat)
                moved = self._moved(index, box, reach_mm)
                evidence = replace(
                    evidence,
                    moved=moved.share,
                    among=moved.among,
                    reach=reach_mm / self.finest,
                )
            yield evidence, box, on

    def _predicted_evidence(
        self, about: ComponentEvidence
    ) -> Iterator[tuple[ComponentEvidence, Place, Bools]]:
        predicted, count = self.predicted
        counted = self.labels != IGNORE
        for index, box in enumerate(ndimage.find_objects(predicted, count), start=1):
            whole = predicted[box] == index
            on = whole & counted[box]
            if on.sum() >= MOST * whole.sum():
                met = np.asarray(self.drawn[0][box] > 0)
                yield self._common(replace(about, side="predicted"), box, on, met), box, on

    def _common(
        self, about: ComponentEvidence, box: Place, on: Bools, met: Bools
    ) -> ComponentEvidence:
        """Return what is said alike of drawn and of predicted components."""
        return replace(
            locate(about, box, on, self.labels.shape),
            met=float(met[on].mean()),
            # Of float32 scores one is taken as it stands, so that the cut is met exactly.
            score=float(np.quantile(self.scores[box][on], SURER, method="higher")),
            other=self._other_class(box, on, about.side),
        )

    def _other_class(self, box: Place, on: Bools, side: Side) -> str | None:
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

    def _moved(self, index: int, box: Place, reach_mm: float) -> OutlineShift:
        """Return how the outline of a drawn component lies to what was predicted over it."""
        wide = self._grown(box, reach_mm)
        here = self.drawn[0][wide]
        component = here == index
        theirs = self.predicted[0][wide]
        touching = np.unique(theirs[component & (theirs > 0)])
        return measure_moved(
            component,
            self.scores[wide],
            np.isin(theirs, touching),
            np.asarray((self.labels[wide] != IGNORE) & ((here == 0) | component)),
            self.foreground[wide],
            cut=self.cut,
            reach_mm=reach_mm,
            spacing=self.spacing,
        )

    def _ground(self, box: Place) -> float | None:
        """Return the median score of what is neither drawn nor predicted around a box."""
        wide = self._grown(box, AROUND * self.finest)
        empty = (self.labels[wide] == 0) & (self.predicted[0][wide] == 0)
        return float(np.median(self.scores[wide][empty])) if empty.any() else None

    def _grown(self, box: Place, reach_mm: float) -> Place:
        return tuple(
            slice(
                max(0, side.start - int(np.ceil(reach_mm / step))),
                side.stop + int(np.ceil(reach_mm / step)),
            )
            for side, step in zip(box, self.spacing, strict=True)
        )
