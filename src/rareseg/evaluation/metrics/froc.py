"""Compute FROC, sensitivity at fixed false positives per case, and recall by size.

Two curves are told apart. :func:`froc` follows the operating points: at every threshold the masks
that would be written there. :func:`candidate_froc` is the challenges' curve: candidates are found
once, at one threshold, and ranked by their highest score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rareseg.errors import UsageError
from rareseg.evaluation.statistics.intervals import Estimate, estimate_share
from rareseg.evaluation.statistics.undefined import Undefined, Value
from rareseg.evaluation.tables.component_table import (
    CaseComponents,
    ComponentTable,
    largest_per_object,
)
from rareseg_runner.decision.component_size import SizeLike, as_size

Floats = NDArray[np.float64]

RATES: dict[Literal["LUNA16", "CAMELYON16"], tuple[float, ...]] = {
    "LUNA16": (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8),
    "CAMELYON16": (1 / 4, 1 / 2, 1, 2, 4, 8),
}
"""The false positives per case at which each challenge reads the sensitivity."""

_NO_OBJECT = "no object in any case"


@dataclass(frozen=True, eq=False)
class Froc:
    """Recall of objects against false-positive components per case.

    ``thresholds``, ``recall`` and ``false_positives`` (k,) from the highest threshold down;
    ``recall`` is NaN where ``n_objects`` is 0, and what is read from it then Undefined;
    ``false_positives`` likewise where ``n_cases`` is 0. Cases without an object are among them.
    """

    thresholds: Floats
    recall: Floats
    false_positives: Floats
    n_cases: int
    n_objects: int


@dataclass(frozen=True)
class SizeBand:
    """Objects of sizes from ``low`` to ``high``, both included, and the share that is found."""

    low: float
    high: float
    recall: Estimate
    n_objects: int


def froc(table: ComponentTable, *, region: str, smallest: SizeLike = 0, gate: float = 0.0) -> Froc:
    """Return the curve over the table's thresholds, of masks with a smallest component and a gate.

    An object is found where one of its voxels is predicted; a component that holds no voxel of the
    reference is a false positive. As the threshold falls recall never does, but the false
    positives may, since components merge.
    """
    rows = [row for row in table.select(region=region).rows if row.n_voxels > 0]
    n_levels = len(table.grid)
    size, found, false = as_size(smallest), np.zeros(n_levels), np.zeros(n_levels)
    for row in rows:
        if np.float32(row.image_score) < np.float32(gate):
            continue
        voxels = size.voxels(row.spacing)
        found += (largest_per_object(row, n_levels) >= max(voxels, 1)).sum(axis=1)
        kept = row.is_false & (row.sizes >= voxels)
        false += np.bincount(row.levels[kept], minlength=n_levels)
    return _curve(rows, table.thresholds[::-1].astype(np.float64), found[::-1], false[::-1])


def candidate_froc(table: ComponentTable, *, region: str, threshold: float) -> Froc:
    """Return the challenges' curve: components at one threshold of the grid, by their top score.

    At score s every candidate with a top score of at least s is kept; an object is found where a
    kept candidate touches it, a kept candidate that touches none is a false positive (LUNA16;
    CAMELYON16 likewise with one candidate per detection). Both rise as s falls. Raises ScoreError
    where the threshold is not in the grid.
    """
    level = table.level_of(threshold)
    rows = [row for row in table.select(region=region).rows if row.n_voxels > 0]
    found: list[NDArray[np.float32]] = []
    false: list[NDArray[np.float32]] = []
    for row in rows:
        here = row.levels[row.touching] == level
        best = np.full(row.n_objects, -1.0, np.float32)
        np.maximum.at(best, row.touched[here], row.tops[row.touching[here]])
        found.append(best[best >= 0])
        false.append(row.tops[row.is_false & (row.levels == level)])
    nothing = np.empty(0, np.float32)
    hits, misses = np.concatenate([nothing, *found]), np.concatenate([nothing, *false])
    scores = np.unique(np.concatenate([hits, misses]))[::-1]
    return _curve(
        rows,
        scores.astype(np.float64),
        np.searchsorted(np.sort(-hits), -scores, side="right").astype(np.float64),
        np.searchsorted(np.sort(-misses), -scores, side="right").astype(np.float64),
    )


def _curve(
    rows: Sequence[CaseComponents], thresholds: Floats, found: Floats, false: Floats
) -> Froc:
    """Return the curve of sums over cases."""
    n_objects = sum(row.n_objects for row in rows)
    return Froc(
        thresholds=thresholds,
        recall=found / (n_objects or np.nan),
        false_positives=false / (len(rows) or np.nan),
        n_cases=len(rows),
        n_objects=n_objects,
    )


def sensitivity_at(curve: Froc, rate: float) -> Value:
    """Return the largest recall of any point with at most ``rate`` false positives per case.

    It is reached by a threshold that can be chosen, so nothing is interpolated; 0 where every
    point has more. Undefined without an object.
    """
    if curve.n_objects == 0:
        return Undefined(_NO_OBJECT)
    return float(curve.recall[curve.false_positives <= rate].max(initial=0.0))


def challenge_sensitivities(
    curve: Froc, challenge: Literal["LUNA16", "CAMELYON16"]
) -> dict[float, Value]:
    """Return the sensitivity at each of a challenge's rates, interpolated linearly as there.

    Beyond the end of the curve the last recall holds. Meant for :func:`candidate_froc`; the mean of
    the values is the challenge's score. Undefined without an object. Raises UsageError for an
    unknown challenge.
    """
    if challenge not in RATES:
        raise UsageError(f"The challenge '{challenge}' is not known; allowed: {', '.join(RATES)}.")
    if curve.n_objects == 0:
        return {rate: Undefined(_NO_OBJECT) for rate in RATES[challenge]}
    rates, last = np.unique(np.append(0.0, curve.false_positives)[::-1], return_index=True)
    # Of several points with one rate the highest recall is meant: the last of them on the curve.
    recalls = np.append(0.0, np.maximum.accumulate(curve.recall))[::-1][last]
    return {
        rate: float(np.interp(rate, rates, np.maximum.accumulate(recalls)))
        for rate in RATES[challenge]
    }


def recall_by_size(
    table: ComponentTable,
    *,
    region: str,
    threshold: float,
    smallest: SizeLike = 0,
    gate: float = 0.0,
    bands: int = 4,
) -> tuple[SizeBand, ...]:
    """Return the recall of objects in bands of size, smallest first, as equal in number as can be.

    Sizes are volumes by each case's spacing. Objects of one size share a band, so there can be
    fewer bands than asked for; none where there is no object. Each interval is over groups. Raises
    ScoreError where the threshold is not in the grid.
    """
    level = table.level_of(threshold)
    rows = [row for row in table.select(region=region).rows if row.n_objects > 0]
    if not rows:
        return ()
    sizes = [np.multiply(row.object_sizes, np.prod(row.spacing), dtype=np.float64) for row in rows]
    least = as_size(smallest)
    hits = [
        (largest_per_object(row, len(table.grid))[level] >= max(least.voxels(row.spacing), 1))
        & (np.float32(row.image_score) >= np.float32(gate))
        for row in rows
    ]
    return band_recall(sizes, hits, [row.group for row in rows], bands=bands)


def band_recall(
    sizes: Sequence[Floats],
    hits: Sequence[NDArray[np.bool_]],
    groups: Sequence[str | None],
    *,
    bands: int = 4,
) -> tuple[SizeBand, ...]:
    """Return the share of hits in bands of size, as :func:`recall_by_size` does.

    ``sizes[i]`` and ``hits[i]`` are of the objects of case i, in group ``groups[i]``.
    """
    every = np.sort(np.concatenate([np.empty(0), *sizes]))
    if len(every) == 0:
        return ()
    ends = np.unique(every[np.maximum(len(every) * np.arange(1, bands + 1) // bands, 1) - 1])
    result = []
    for below, high in zip([-np.inf, *ends[:-1]], ends, strict=True):
        within = [(own > below) & (own <= high) for own in sizes]
        result.append(
            SizeBand(
                low=float(every[every > below][0]),
                high=float(high),
                recall=estimate_share(
                    [float(hit[own].sum()) for hit, own in zip(hits, within, strict=True)],
                    [float(own.sum()) for own in within],
                    groups,
                    none=_NO_OBJECT,
                ),
                n_objects=int(sum(own.sum() for own in within)),
            )
        )
    return tuple(result)
