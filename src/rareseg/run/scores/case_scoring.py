"""Score whole cases with a model: tables, and results at operating points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import TypedDict

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from rareseg.data.case_files import read_case_image, readers_at_once
from rareseg.data.records import Case, Role
from rareseg.data.store.case_labels import read_labels
from rareseg.decision.operating_point import OperatingPoint
from rareseg.errors import DataError, ReadError
from rareseg.evaluation.measures.case_result import CaseResult, measure_case
from rareseg.evaluation.measures.mask_measures import CaseDetails, detail_case
from rareseg.evaluation.metrics.confusion_matrix import Confusion, confuse
from rareseg.evaluation.tables.component_table import (
    GRID,
    ComponentTable,
    components_of_regions,
    grid_with,
    merge_components,
)
from rareseg.evaluation.tables.region_rows import Spacing
from rareseg.evaluation.tables.score_table import ScoreTable, region_references, score_regions
from rareseg.prediction.scorer import ModelScorer
from rareseg.progress import Track, silent
from rareseg_runner.decision.cut_point import apply_point
from rareseg_runner.decision.label_map import class_map
from rareseg_runner.decision.region_scores import region_scores
from rareseg_runner.image_records import Classes, Image

Points = Mapping[str, OperatingPoint]
"""The operating point of each region."""

COUNTERS = 2
"""Cases that are counted at a time, beside the one that is predicted, where memory allows."""


@dataclass(frozen=True)
class ScoredCase:
    """One case as the model sees it: class probabilities and labels on the original grid.

    ``presence`` leads from each region to the probability that the case holds it, None where the
    model tells none.
    """

    case: Case
    image: Image
    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    presence: Mapping[str, float] | None = None

    def presence_of(self, region: str) -> float | None:
        """Return the presence of one region."""
        return None if self.presence is None else self.presence[region]


@dataclass(frozen=True)
class Scored:
    """The tables of some cases, and their results at each of the points asked for.

    With ``detailed`` there are also ``components``, and of the masks at the first of the points
    ``details`` and ``confusion``; else they are empty and None.
    """

    table: ScoreTable
    results: tuple[tuple[CaseResult, ...], ...] = ()
    components: ComponentTable = field(default_factory=ComponentTable)
    details: tuple[CaseDetails, ...] = ()
    confusion: Confusion | None = None


class _About(TypedDict):
    """What is said of the case wherever something is counted in it."""

    case_id: str
    group: str | None
    role: Role | None


class _More(TypedDict):
    """What tables keep of the case besides."""

    spacing: Spacing
    presence: Mapping[str, float] | None


def score_each(
    scorer: ModelScorer, cases: Sequence[Case], *, track: Track = silent, doing: str = "scoring"
) -> Iterator[ScoredCase]:
    """Read, score and yield the cases one by one.

    Raises :class:`ReadError` for a file that cannot be read and :class:`DataError`, naming the
    case, where the model cannot take it.
    """
    for case in track(cases, doing, len(cases)):
        image = read_case_image(case)
        try:
            found = scorer.score(image)
            labels = read_labels(case, scorer.model.classes, image)
        except ReadError:
            raise
        except DataError as error:
            raise DataError(f"case '{case.id}': {error}") from error
        yield ScoredCase(case, image, labels, found.probabilities, found.presence)


def score_all(
    scorer: ModelScorer,
    cases: Sequence[Case],
    *,
    role: Role | None,
    points: Sequence[Points] = (),
    detailed: bool = False,
    grid: tuple[int, ...] = GRID,
    track: Track = silent,
    doing: str = "scoring",
) -> Scored:
    """Return the tables of ``cases``, and one tuple of results for each of ``points``.

    Components are counted at the thresholds of ``grid``. Points for regions that the model does not
    have are left out. Cases are counted while the next ones are predicted; beside the tables, what
    is held does not grow with their number.
    """
    classes = scorer.model.classes
    # A voxel takes a byte of an image at least, and four a class of its scores.
    times = 1 + 4 * classes.count / scorer.model.channels
    counters = max(1, readers_at_once(cases, COUNTERS + 1, times=times) - 1)
    work = Parallel(counters, prefer="threads", return_as="generator", pre_dispatch=counters)
    parts = work(
        delayed(count_case)(scored, classes, role=role, points=points, detailed=detailed, grid=grid)
        for scored in score_each(scorer, cases, track=track, doing=doing)
    )
    return merge_scored(list(parts), n_points=len(points))


def grid_of(points: Points) -> tuple[int, ...]:
    """Return the usual grid of thresholds with those of ``points`` in it."""
    return grid_with(point.threshold for point in points.values())


def merge_scored(parts: Sequence[Scored], *, n_points: int) -> Scored:
    """Return the parts as one, in their order."""
    confusions = [part.confusion for part in parts if part.confusion is not None]
    return Scored(
        table=ScoreTable(tuple(row for part in parts for row in part.table.rows)),
        results=tuple(
            tuple(result for part in parts for result in part.results[k]) for k in range(n_points)
        ),
        components=merge_components(*(part.components for part in parts)),
        details=tuple(row for part in parts for row in part.details),
        confusion=reduce(add, confusions) if confusions else None,
    )


def count_case(
    scored: ScoredCase,
    classes: Classes,
    *,
    role: Role | None,
    points: Sequence[Points] = (),
    detailed: bool = False,
    grid: tuple[int, ...] = GRID,
) -> Scored:
    """Return everything that is counted in one case."""
    about = _About(case_id=scored.case.id, group=scored.case.group, role=role)
    geometry = scored.image.geometry
    arrays = (scored.probabilities, scored.labels, classes)
    more = _More(spacing=geometry.spacing, presence=scored.presence)
    table = score_regions(*arrays, **about, **more)
    scores = region_scores(scored.probabilities, classes)
    references = region_references(scored.labels, classes)
    masks = [
        {
            r: apply_point(scores[r], wanted[r], scored.presence_of(r), spacing=geometry.spacing)
            for r in classes.regions
            if r in wanted
        }
        for wanted in points
    ]
    results = tuple(
        tuple(
            measure_case(
                mask,
                references[region],
                point=wanted[region],
                top_score=float(scores[region].max(initial=0.0)),
                presence=scored.presence_of(region),
                geometry=geometry,
                ignores=True,
                **about,
            )
            for region, mask in cut.items()
        )
        for cut, wanted in zip(masks, points, strict=True)
    )
    if not detailed:
        return Scored(table, results)
    components = components_of_regions(*arrays, **about, **more, grid=grid)
    if not masks:
        return Scored(table, results, components)
    nothing = np.zeros(scored.labels.shape, np.bool_)
    regions = {region: masks[0].get(region, nothing) for region in classes.regions}
    predicted = class_map(scored.probabilities, regions, classes)
    return Scored(
        table,
        results,
        components,
        details=tuple(
            detail_case(
                mask,
                references[region],
                region=region,
                geometry=geometry,
                ignores=True,
                **about,
            )
            for region, mask in masks[0].items()
        ),
        confusion=confuse(predicted, scored.labels, classes.names),
    )
