"""Compare each labelled and each predicted component of a case with the model's scores.

What is said of a component is in :mod:`~rareseg.quality.suspects.region_view`, what is said of the
classes within it in :mod:`~rareseg.quality.suspects.class_names`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.operating_point import OperatingPoint, default_point
from rareseg.errors import ScoreError
from rareseg.evaluation.tables.region_rows import Spacing
from rareseg.evaluation.tables.score_table import region_references
from rareseg.quality.suspects.class_names import collect_class_evidence
from rareseg.quality.suspects.other_evidence import OtherEvidence
from rareseg.quality.suspects.place import ComponentEvidence, SetAside, blank_evidence
from rareseg.quality.suspects.region_view import RegionView
from rareseg_runner.components import label_components
from rareseg_runner.decision.cut_point import apply_point
from rareseg_runner.decision.region_scores import region_scores
from rareseg_runner.image_records import IGNORE, Classes


def collect_evidence(
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
    aside: Sequence[SetAside] = (),
) -> tuple[ComponentEvidence, ...]:
    """Return the evidence of every drawn and every predicted component of every region.

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
    masks = {
        region: apply_point(scores[region], points[region], spacing=spacing)
        for region in classes.regions
    }
    shown = np.logical_or.reduce(list(masks.values()))
    other_evidence = OtherEvidence(tuple(annotations), tuple(aside))
    blank = blank_evidence(case_id, group, scorer)
    found = list(
        collect_class_evidence(probabilities, labels, shown, classes, blank, other_evidence)
    )
    for region, members in classes.regions.items():
        view = RegionView(
            probabilities=probabilities,
            labels=labels,
            classes=classes,
            members=members,
            scores=scores[region],
            cut=points[region].threshold,
            drawn=label_components(references[region] == 1),
            predicted=label_components(masks[region]),
            foreground=shown & (labels != 0) & (labels != IGNORE),
            spacing=spacing,
        )
        found += view.look(replace(blank, region=region, cut=view.cut), other_evidence)
    return tuple(found)
