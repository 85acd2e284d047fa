"""Draw the cases that a report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from rareseg.data.records import Case
from rareseg.evaluation.tables.area_openings import levels_of, open_levels
from rareseg.evaluation.tables.score_table import region_references
from rareseg.progress import Track, silent
from rareseg.report.figures.case_pictures import PictureChoice, slices_each, take_picture
from rareseg.report.pages.threshold_explorer import Cuts
from rareseg.report.report_content import CasePicture
from rareseg.run.scores.case_scoring import Points, ScoredCase
from rareseg.run.scores.score_source import ScoreSource
from rareseg_runner.decision.cut_point import apply_point
from rareseg_runner.decision.region_scores import region_scores
from rareseg_runner.image_records import IGNORE, Classes

NO_CUTS: Mapping[str, Cuts | None] = MappingProxyType({})


def draw_pictures(
    source: ScoreSource,
    cases: Sequence[Case],
    shots: Sequence[PictureChoice],
    points: Points,
    *,
    cuts: Mapping[str, Cuts | None] = NO_CUTS,
    track: Track = silent,
) -> tuple[CasePicture, ...]:
    """Return the pictures of ``shots``, in their order; each case is scored once.

    ``cuts`` are those that a reader may try, by region.
    """
    names = {shot.case_id for shot in shots}
    shown = [case for case in cases if case.id in names]
    taken = {
        (shot.case_id, shot.region): take_shot(
            shot, scored, classes, points, cuts.get(shot.region), beside=len(shots)
        )
        for scored, classes in source.each(shown, track=track, doing="drawing pictures")
        for shot in shots
        if shot.case_id == scored.case.id and shot.region in classes.regions
    }
    return tuple(taken[shot.case_id, shot.region] for shot in shots)


def take_shot(
    shot: PictureChoice,
    scored: ScoredCase,
    classes: Classes,
    points: Points,
    cuts: Cuts | None = None,
    *,
    beside: int = 1,
) -> CasePicture:
    """Return the picture of one scored case, with its masks at all ``cuts``.

    ``beside`` is how many pictures share the page, by which a volume shows more or fewer slices.
    """
    reference = region_references(scored.labels, classes)[shot.region]
    scores = region_scores(scored.probabilities, classes)[shot.region]
    counts = reference != IGNORE
    spacing = scored.image.geometry.spacing
    prediction = counts & apply_point(
        scores, points[shot.region], scored.presence_of(shot.region), spacing=spacing
    )
    levels = None
    if cuts is not None:
        reached = levels_of(scores, np.array(cuts.thresholds, np.float32))
        levels = open_levels(reached, [size.voxels(spacing) for size in cuts.sizes]) * counts
    return take_picture(
        shot,
        scored.image.array,
        reference == 1,
        prediction,
        group=scored.case.group,
        levels=levels,
        most_slices=slices_each(scored.labels.shape, beside),
    )
