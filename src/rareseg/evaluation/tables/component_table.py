"""Component tables: the components of a prediction at every threshold of a grid.

Components merge as the threshold falls, so that histograms of the score cannot see them. Beside the
:class:`~rareseg.evaluation.tables.score_table.ScoreTable` therefore stands this one, and everything
about objects, smallest components and image-level gates is read from it without the voxels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rareseg.data.records import Role
from rareseg.errors import ScoreError
from rareseg.evaluation.statistics.undefined import Value, ratio
from rareseg.evaluation.tables.case_arrays import (
    as_case_arrays,
    label_message,
    require_informative_mask,
    require_known_cases,
)
from rareseg.evaluation.tables.component_growth import grow_components
from rareseg.evaluation.tables.region_rows import RegionTable, Spacing, TableRow
from rareseg.evaluation.tables.score_table import presence_of, region_references, require_same_cases
from rareseg.evaluation.tables.threshold_bins import N_BINS, bin_edges, bin_of
from rareseg_runner.decision.component_size import Unit, unit_of
from rareseg_runner.decision.image_score import as_presence, image_score
from rareseg_runner.decision.region_scores import region_scores
from rareseg_runner.image_records import IGNORE, Classes

_OCTAVES = 14
_PER_OCTAVE = 4
"""Thresholds of :data:`GRID` on each side of one half: octaves of the odds, and steps in each."""

NOT_COUNTED = -1
"""What ``shared`` holds in a table that was written before overlaps were counted."""

MOST_THRESHOLDS = 255
"""How many thresholds a grid may have."""


def _default_grid() -> tuple[int, ...]:
    """Return the bins of 2⁻ᵏ·(1, 1¼, 1½, 1¾) up to one half, and those that mirror them."""
    half = bin_of(0.5)
    step = (half - bin_of(0.25)) // _PER_OCTAVE
    below = range(half - step * _PER_OCTAVE * (_OCTAVES - 1), half, step)
    # The bin of 1 − f(k) itself begins 2⁻⁷ lower; the next one begins just above it.
    return (*below, half, *(2 * half - k + 1 for k in reversed(below)))


GRID = _default_grid()
"""The bins of the usual thresholds: a quarter octave apart, from 2⁻¹⁴ = 6·10⁻⁵ to 1 − 2⁻¹⁴.

In log-odds they lie about evenly, since the best threshold of a rare class can lie at 0.02 or at
0.9999; one half is one of them.
"""


@dataclass(frozen=True, eq=False)
class CaseComponents(TableRow):
    """The components of one region in one case, at every threshold of a grid of t thresholds.

    Component columns (c,), sorted by threshold, within one in raster order: ``levels`` uint8 is
    the threshold's index in the grid, ``sizes`` int32 all voxels of the component (what a smallest
    component is compared with), ``inside`` those in the region, ``ignored`` those that count
    nowhere, and ``tops`` float32 its highest score. Pairs (m,) int32: the component in row
    ``touching`` holds ``shared`` voxels of reference object ``touched``, at least one
    (:data:`NOT_COUNTED` where an earlier version wrote the table). ``object_sizes`` (l,) int64 are
    the voxels of the reference objects, in raster order.

    ``unit`` is that in which sizes are told: mm³, of photographs (one slice without a thickness of
    its own) mm² or pixels; voxels where no spacing was given, or in a table of an earlier version.

    ``n_voxels`` voxels count; ``top`` is the largest score, **ignored voxels included**, which with
    ``presence`` makes the image score that the image-level gate cuts.
    """

    n_voxels: int
    top: float
    object_sizes: NDArray[np.int64]
    levels: NDArray[np.uint8]
    sizes: NDArray[np.int32]
    inside: NDArray[np.int32]
    ignored: NDArray[np.int32]
    tops: NDArray[np.float32]
    touching: NDArray[np.int32]
    touched: NDArray[np.int32]
    shared: NDArray[np.int32]
    unit: Unit = field(default="voxels", kw_only=True)

    @property
    def image_score(self) -> float:
        """The image score, which the image-level gate cuts (:func:`image_score`)."""
        return image_score(self.top, self.presence)

    @property
    def n_inside(self) -> int:
        """The number of voxels in the region."""
        return int(self.object_sizes.sum())

    @property
    def n_objects(self) -> int:
        """The number of reference objects."""
        return len(self.object_sizes)

    @property
    def outside(self) -> NDArray[np.int32]:
        """The voxels of each component that lie outside the region and count."""
        return self.sizes - self.inside - self.ignored

    @property
    def is_false(self) -> NDArray[np.bool_]:
        """Which components are false positives: they touch no object, but hold voxels that count.

        Like :func:`~rareseg.evaluation.metrics.objects.match_objects`, for which a component of
        ignored voxels alone is none.
        """
        return np.asarray((self.inside == 0) & (self.outside > 0))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CaseComponents):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, field.name), getattr(other, field.name))
            if isinstance(getattr(self, field.name), np.ndarray)
            else getattr(self, field.name) == getattr(other, field.name)
            for field in fields(self)
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class ComponentTable(RegionTable[CaseComponents]):
    """Rows of :class:`CaseComponents`, unique and sorted by (region, case id), on one grid.

    ``grid`` are the bins whose lower edges are the thresholds, ascending.
    """

    grid: tuple[int, ...] = GRID

    kind: ClassVar[str] = "component table"
    if_twice: ClassVar[str] = "components of parts of a case cannot be added, so give whole cases"

    def __post_init__(self) -> None:
        require_grid(self.grid)
        super().__post_init__()

    @property
    def size_unit(self) -> Unit:
        """The unit in which sizes of components are told; "voxels" where there is no row.

        Voxels where they are the unit of any row, else mm³ (one slice may belong to volumes), else
        pixels, of which not all can be measured, else mm².
        """
        units = {row.unit for row in self.rows}
        ordered: tuple[Unit, ...] = ("voxels", "mm³", "pixels", "mm²")
        return next((unit for unit in ordered if unit in units), "voxels")

    @property
    def thresholds(self) -> NDArray[np.float32]:
        """The thresholds of the grid, (t,) float32, ascending: each is a bin's lower edge."""
        return bin_edges()[list(self.grid)]

    def level_of(self, threshold: float) -> int:
        """Return the threshold's index in the grid.

        Raises ScoreError, naming the nearest one, where it is not in the grid.
        """
        edges = self.thresholds
        nearest_level = int(np.argmin(np.abs(edges - np.float32(threshold))))
        if edges[nearest_level] != np.float32(threshold):
            raise ScoreError(
                f"The threshold {threshold} is not in the component table's grid; the nearest "
                f"that is: {float(edges[nearest_level])!r}."
            )
        return nearest_level


def grid_with(thresholds: Iterable[float]) -> tuple[int, ...]:
    """Return the usual grid with such of ``thresholds`` in it as are edges of bins."""
    edges = bin_edges()
    own = {bin_of(threshold) for threshold in thresholds if 0.0 < threshold < 1.0}
    known = {float(edges[k]) for k in GRID}
    more = {k for k in own if 0 < k < N_BINS and float(edges[k]) not in known}
    return tuple(sorted({*GRID, *more}))


def require_grid(grid: tuple[int, ...]) -> None:
    """Raise ScoreError unless a grid is of 1 … 255 ascending bins with edges of their own."""
    bins = np.asarray(grid)
    whole = 1 <= len(bins) <= MOST_THRESHOLDS and bins.min() > 0 and bins.max() < N_BINS
    if not whole or np.any(np.diff(bins) <= 0) or np.any(np.diff(bin_edges()[bins]) <= 0):
        raise ScoreError(
            f"A grid of thresholds is 1 to {MOST_THRESHOLDS} bins, ascending, above 0 and below "
            f"{N_BINS}, each with an edge of its own; got {len(bins)} bins."
        )


def merge_components(*tables: ComponentTable) -> ComponentTable:
    """Return the table of all cases of ``tables``; no table at all gives an empty one.

    Raises ScoreError where grids differ, or a case stands in two tables.
    """
    grids = {table.grid for table in tables}
    if len(grids) > 1:
        raise ScoreError(
            "Component tables on different grids of thresholds cannot be merged; score the cases "
            "on one grid."
        )
    rows = tuple(row for table in tables for row in table)
    return ComponentTable(rows, next(iter(grids), GRID))


def components_of_case(
    scores: ArrayLike,
    reference: ArrayLike,
    *,
    case_id: str,
    region: str,
    group: str | None = None,
    role: Role | None = None,
    spacing: Spacing | None = None,
    presence: float | None = None,
    ignores: bool = False,
    grid: tuple[int, ...] = GRID,
) -> CaseComponents:
    """Return the components of one region's score in one case, at every threshold of ``grid``.

    ``scores``, ``reference``, ``presence`` and ``ignores`` as for
    :func:`~rareseg.evaluation.tables.score_table.score_case`; ``spacing`` is (z, y, x) in mm, None
    where there is none. Components are 8-connected in one slice and 26-connected in a volume. Time
    hardly depends on the number of thresholds; memory: about 40 bytes per voxel of the box that the
    lowest threshold leaves. Raises ScoreError as `score_case` does.
    """
    where = f"Case '{case_id}', region '{region}'"
    require_informative_mask(reference, where, ignores=ignores)
    score_array, labels = as_case_arrays(scores, reference, where)
    require_grid(grid)
    if score_array.ndim not in (2, 3):
        raise ScoreError(
            f"{where}: scores have {score_array.ndim} axes; components need (Y, X) or (Z, Y, X)."
        )
    if np.any((labels > 1) & (labels != IGNORE)):
        raise ScoreError(label_message(where))
    lowest, top = float(score_array.min(initial=0.0)), float(score_array.max(initial=0.0))
    if not (lowest >= 0.0 and top <= 1.0):
        raise ScoreError(
            f"{where}: scores run from {lowest} to {top}; give probabilities in [0, 1] without "
            "NaN (after softmax or sigmoid), not logits."
        )
    grown = grow_components(score_array, labels, bin_edges()[list(grid)])
    order = np.argsort(grown.levels, kind="stable")
    row_of = np.empty(len(order), np.int32)
    row_of[order] = np.arange(len(order))
    touching = row_of[grown.touching]
    by_row = np.lexsort([grown.touched, touching])
    return CaseComponents(
        case_id=case_id,
        region=region,
        group=group,
        role=role,
        spacing=spacing or (1.0, 1.0, 1.0),
        presence=as_presence(presence, where),
        n_voxels=int(np.count_nonzero(labels <= 1)),
        top=top,
        object_sizes=grown.object_sizes,
        levels=grown.levels[order],
        sizes=grown.sizes[order],
        inside=grown.inside[order],
        ignored=grown.ignored[order],
        tops=grown.tops[order],
        touching=touching[by_row],
        touched=grown.touched[by_row],
        shared=grown.shared[by_row],
        unit=_unit_of(score_array.shape, spacing),
    )


def _unit_of(shape: tuple[int, ...], spacing: Spacing | None) -> Unit:
    """Return the unit in which sizes are told in a case."""
    thick = spacing is not None and spacing[0] != 1.0
    flat = len(shape) == 2 or (shape[0] == 1 and not thick)
    if spacing is None:
        return "pixels" if flat else "voxels"
    return unit_of([spacing], flat=flat)


def components_of_regions(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.uint8],
    classes: Classes,
    *,
    case_id: str,
    group: str | None = None,
    role: Role | None = None,
    spacing: Spacing | None = None,
    presence: Mapping[str, float] | None = None,
    grid: tuple[int, ...] = GRID,
) -> ComponentTable:
    """Return one case's rows for every region, from a softmax and a map of class indices.

    ``probabilities`` (C, Z, Y, X), ``labels`` (Z, Y, X) and ``presence`` as for
    :func:`~rareseg.evaluation.tables.score_table.score_regions`.
    """
    own = presence_of(classes.regions, presence, f"Case '{case_id}'")
    references = region_references(labels, classes)
    rows = tuple(
        components_of_case(
            scores,
            references[region],
            case_id=case_id,
            region=region,
            group=group,
            role=role,
            spacing=spacing,
            presence=own[region],
            ignores=True,
            grid=grid,
        )
        for region, scores in region_scores(probabilities, classes).items()
    )
    return ComponentTable(rows, grid)


def components_of_cases(
    probabilities: Mapping[str, ArrayLike],
    references: Mapping[str, ArrayLike],
    *,
    region: str = "foreground",
    groups: Mapping[str, str] | None = None,
    role: Role | None = None,
    spacing: Spacing | Mapping[str, Spacing] | None = None,
    presence: Mapping[str, float] | None = None,
    ignores: bool = False,
    grid: tuple[int, ...] = GRID,
) -> ComponentTable:
    """Return the component table of one region from anyone's own arrays.

    Takes what :func:`~rareseg.evaluation.tables.score_table.score_cases` takes, and raises as it
    does.
    """
    require_same_cases(probabilities, references)
    require_known_cases(groups, probabilities)
    own = presence_of(probabilities, presence, f"Region '{region}'")
    rows = tuple(
        components_of_case(
            scores,
            references[case_id],
            case_id=case_id,
            region=region,
            group=None if groups is None else groups.get(case_id),
            role=role,
            spacing=spacing[case_id] if isinstance(spacing, Mapping) else spacing,
            presence=own[case_id],
            ignores=ignores,
            grid=grid,
        )
        for case_id, scores in probabilities.items()
    )
    return ComponentTable(rows, grid)


def largest_per_object(row: CaseComponents, n_levels: int) -> NDArray[np.int64]:
    """Return the voxels of the largest component that touches each object, (t, l); 0 for none."""
    largest = np.zeros((n_levels, row.n_objects), np.int64)
    np.maximum.at(largest, (row.levels[row.touching], row.touched), row.sizes[row.touching])
    return largest


def share_found(row: CaseComponents, level: int) -> Value:
    """Return the share of a case's objects that are touched at a threshold of the grid.

    Undefined where there is no object.
    """
    found = np.unique(row.touched[row.levels[row.touching] == level])
    return ratio(len(found), row.n_objects, undefined="no object")
