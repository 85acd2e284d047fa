"""Score the cases that a report shows once more, and take their pictures."""

from __future__ import annotations

from collections.abc import Sequence

from rareseg.data.records import IGNORE, Case, Classes
from rareseg.decision.operating_point import apply_point
from rareseg.evaluation.scores import region_references, region_scores
from rareseg.prediction.predictor import Predictor
from rareseg.progress import Track, silent
from rareseg.report.content import CasePicture
from rareseg.report.pictures import Shot, take_picture
from rareseg.run.scoring import Points, ScoredCase, score_each


def draw_pictures(
    predictor: Predictor,
    cases: Sequence[Case],
    shots: Sequence[Shot],
    points: Points,
    *,
    track: Track = silent,
) -> tuple[CasePicture, ...]:
    """Return the pictures of ``shots``, in their order; each case is scored once."""
    names = {shot.case_id for shot in shots}
    shown = [case for case in cases if case.id in names]
    taken = {
        (shot.case_id, shot.region): take_shot(shot, scored, predictor.bundle.classes, points)
        for scored in score_each(predictor, shown, track=track, doing="drawing pictures")
        for shot in shots
        if shot.case_id == scored.case.id
    }
    return tuple(taken[shot.case_id, shot.region] for shot in shots)


def take_shot(shot: Shot, scored: ScoredCase, classes: Classes, points: Points) -> CasePicture:
    """Return the picture of one scored case."""
    reference = region_references(scored.labels, classes)[shot.region]
    scores = region_scores(scored.probabilities, classes)[shot.region]
    prediction = apply_point(scores, points[shot.region]) & (reference != IGNORE)
    return take_picture(
        shot, scored.image.array, reference == 1, prediction, group=scored.case.group
    )
