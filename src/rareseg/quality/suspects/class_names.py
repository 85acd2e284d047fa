"""Compare the class that a model gives to parts of an object with its label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rareseg.quality.suspects.other_evidence import OtherEvidence
from rareseg.quality.suspects.place import Bools, ComponentEvidence, Place, locate
from rareseg_runner.components import component_sizes, label_components
from rareseg_runner.image_records import IGNORE, Classes


def collect_class_evidence(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.uint8],
    shown: Bools,
    classes: Classes,
    blank: ComponentEvidence,
    other_evidence: OtherEvidence,
) -> Iterator[ComponentEvidence]:
    """Yield, for every drawn object, how much of each class in it the model calls each other one.

    An object is a component of all foreground. ``moved`` is the mean, over its voxels of the class
    ``other``, of (p(``says``) − p(``other``)) / p(foreground) where ``says`` is the most probable
    class of foreground where any region is predicted (``shown``), else 0; ``breadth`` counts those
    voxels. Box, place, voxels and score (the median share of ``says`` in the foreground's
    probability) are those of the largest component that is called so; where nothing is, those of
    the class, with a score of 0. There is nothing to see with fewer than two classes of foreground.
    """
    if classes.count < 3:
        return
    objects, count = label_components((labels > 0) & (labels != IGNORE))
    for index, box in enumerate(ndimage.find_objects(objects, count), start=1):
        on = objects[box] == index
        here = probabilities[(slice(None), *box)].astype(np.float64)
        drawn = np.where(on, labels[box], 0)
        total = here[1:].sum(axis=0)
        says = np.where(on & shown[box], 1 + here[1:].argmax(axis=0), 0)
        for true in np.unique(drawn[on]).tolist():
            own = drawn == true
            for said in range(1, classes.count):
                if said == true:
                    continue
                so = own & (says == said)
                part = _largest(so) if so.any() else own
                margin = (here[said][so] - here[true][so]) / total[so]
                share = here[said][part] / np.maximum(total[part], np.finfo(np.float64).tiny)
                inner, place = _within(box, part)
                pair = classes.names[true], classes.names[said]
                yield replace(
                    locate(blank, place, part[inner], labels.shape),
                    region=distinguishing_region(classes, true, said),
                    side="named",
                    breadth=int(own.sum()),
                    met=float(not so.any()),
                    moved=float(margin.sum() / own.sum()),
                    score=float(np.median(share)) if so.any() else 0.0,
                    other=pair[0],
                    says=pair[1],
                    drawn_by=other_evidence.count(place, part[inner], (true,)),
                    aside=other_evidence.set_aside(
                        place, part[inner], true=pair[:1], predicted=pair[1:]
                    ),
                )


def distinguishing_region(classes: Classes, true: int, said: int) -> str:
    """Return the outermost region that holds one of two classes and not the other.

    One that holds the drawn class, where there is one. Where no region tells them apart, the
    outermost that holds either, or the first of all.
    """
    regions = classes.regions.items()
    for wanted, other in ((true, said), (said, true)):
        for region, members in regions:
            if wanted in members and other not in members:
                return region
    held = [region for region, members in regions if {true, said} & set(members)]
    return (held or list(classes.regions))[0]


def _largest(mask: Bools) -> Bools:
    labels, count = label_components(mask)
    return np.asarray(labels == 1 + int(component_sizes(labels, count).argmax()), np.bool_)


def _within(box: Place, part: Bools) -> tuple[Place, Place]:
    """Return the box of a part within ``box``, and on the image's grid."""
    (inner,) = ndimage.find_objects(part.astype(np.uint8), 1)
    moved = tuple(
        slice(outer.start + side.start, outer.start + side.stop)
        for outer, side in zip(box, inner, strict=True)
    )
    return inner, moved
