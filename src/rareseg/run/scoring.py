"""Score whole cases with a model: tables for the decision, results at operating points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.data.formats import read_image, read_mask
from rareseg.data.preprocess import class_indices
from rareseg.data.records import Case, Classes, Image, Role
from rareseg.decision.operating_point import OperatingPoint, apply_point
from rareseg.errors import DataError, ReadError
from rareseg.evaluation.cases import CaseResult, measure_case
from rareseg.evaluation.scores import (
    CaseScores,
    ScoreTable,
    region_references,
    region_scores,
    score_regions,
)
from rareseg.prediction.predictor import Predictor
from rareseg.progress import Track, silent

Points = Mapping[str, OperatingPoint]
"""The operating point of each region."""


@dataclass(frozen=True)
class ScoredCase:
    """One case as the model sees it: class probabilities and labels on the original grid."""

    case: Case
    image: Image
    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class Scored:
    """The score table of some cases, and their results at each of the points asked for."""

    table: ScoreTable
    results: tuple[tuple[CaseResult, ...], ...]


def score_each(
    predictor: Predictor, cases: Sequence[Case], *, track: Track = silent, doing: str = "scoring"
) -> Iterator[ScoredCase]:
    """Read, score and yield the cases one by one; only one is held at a time.

    Raises :class:`ReadError` for a file that cannot be read and :class:`DataError`, naming the
    case, where the model cannot take it.
    """
    for case in track(cases, doing, len(cases)):
        image = read_image(case.images)
        try:
            probabilities = predictor.probabilities(image)
            labels = read_labels(case, predictor.bundle.classes, image)
        except ReadError:
            raise
        except DataError as error:
            raise DataError(f"case '{case.id}': {error}") from error
        yield ScoredCase(case, image, labels, probabilities)


def read_labels(case: Case, classes: Classes, image: Image) -> NDArray[np.uint8]:
    """Return a case's class indices (z, y, x); a case without a mask holds nothing."""
    if case.mask is None:
        return np.zeros(image.array.shape[1:], np.uint8)
    return class_indices(read_mask(case.mask).array, classes.values, classes.ignore_value)


def score_all(
    predictor: Predictor,
    cases: Sequence[Case],
    *,
    role: Role | None,
    points: Sequence[Points] = (),
    track: Track = silent,
    doing: str = "scoring",
) -> Scored:
    """Return the table of all regions of ``cases`` and one tuple of results for each of ``points``.

    Points for regions that the model does not have are left out.
    """
    rows: list[CaseScores] = []
    results: tuple[list[CaseResult], ...] = tuple([] for _ in points)
    for scored in score_each(predictor, cases, track=track, doing=doing):
        classes = predictor.bundle.classes
        table = score_regions(
            scored.probabilities,
            scored.labels,
            classes,
            case_id=scored.case.id,
            group=scored.case.group,
            role=role,
            spacing=scored.image.geometry.spacing,
        )
        rows += table.rows
        for wanted, found in zip(points, results, strict=True):
            found += measure_regions(scored, classes, wanted, role=role)
    return Scored(ScoreTable(tuple(rows)), tuple(tuple(found) for found in results))


def measure_regions(
    scored: ScoredCase, classes: Classes, points: Points, *, role: Role | None
) -> list[CaseResult]:
    """Return what is counted in one case for every region that has a point."""
    scores = region_scores(scored.probabilities, classes)
    references = region_references(scored.labels, classes)
    return [
        measure_case(
            apply_point(scores[region], points[region]),
            references[region],
            case_id=scored.case.id,
            point=points[region],
            top_score=float(scores[region].max(initial=0.0)),
            geometry=scored.image.geometry,
            role=role,
            group=scored.case.group,
        )
        for region in classes.regions
        if region in points
    ]
