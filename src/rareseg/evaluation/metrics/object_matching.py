"""Match predicted components with objects, one to one, by their overlap.

A component that touches an object has found it (:mod:`rareseg.evaluation.metrics.objects`), however
much else it covers; one over everything finds all of them and is never false. Where objects cost,
each component can therefore be one object alone, and must look like it.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from rareseg.errors import ScoreError
from rareseg.evaluation.tables.component_table import NOT_COUNTED, CaseComponents

Integers = NDArray[np.int64]

MATCH_IOU = 0.1
"""Least intersection over union of a component and the object that it is matched to."""


def match_objects(
    row: CaseComponents, n_levels: int, smallest: Integers, *, least: float = MATCH_IOU
) -> tuple[Integers, Integers]:
    """Return one case's (matched objects, components that count), each (t, s) int64.

    At each of ``n_levels`` thresholds the components of at least ``smallest[s]`` voxels and the
    reference objects are matched one to one, the pair of the largest intersection over union first
    and none below ``least``; of equal pairs the first component and object in raster order.
    Components of ignored voxels alone do not count; a component's ignored voxels belong to no
    union. What is left over of the components is false, of the objects missed.

    Raises ScoreError where the table was written before overlaps were counted.
    """
    if (row.shared == NOT_COUNTED).any():
        raise ScoreError(
            f"The components of case {row.case_id} were counted by an earlier version, without "
            "their overlaps with each object; remove the run's scores/*_components.npz and call "
            "again."
        )
    counted = (row.inside + row.outside) > 0
    kept_at = np.searchsorted(smallest, row.sizes, side="right").astype(np.int64)
    components = np.zeros((n_levels, len(smallest) + 1), np.int64)
    np.add.at(components, (row.levels[counted].astype(np.int64), kept_at[counted]), 1)
    kept = components[:, ::-1].cumsum(axis=1)[:, -2::-1]
    own = row.sizes[row.touching] - row.ignored[row.touching]
    union = own + row.object_sizes[row.touched] - row.shared
    iou = row.shared / np.maximum(union, 1)
    close = np.flatnonzero(iou >= least)
    order = close[
        np.lexsort(
            (
                row.touched[close],
                row.touching[close],
                -iou[close],
                row.levels[row.touching[close]],
            )
        )
    ]
    matched = _match(
        row.levels[row.touching[order]].astype(np.int64),
        row.touching[order].astype(np.int64),
        row.touched[order].astype(np.int64),
        kept_at[row.touching[order]],
        n_levels,
        len(smallest),
        len(row.levels),
        row.n_objects,
    )
    return matched, np.ascontiguousarray(kept)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _match(
    levels: Integers,
    touching: Integers,
    touched: Integers,
    kept_at: Integers,
    n_levels: int,
    n_sizes: int,
    n_components: int,
    n_objects: int,
) -> Integers:
    """Return the number of matched pairs (t, s), of pairs in the order in which they are taken."""
    matched = np.zeros((n_levels, n_sizes), np.int64)
    component_taken = np.full(n_components, -1, np.int64)
    object_taken = np.full(n_objects, -1, np.int64)
    for size in range(n_sizes):
        for k in range(levels.size):
            if kept_at[k] <= size:
                continue
            # A level and size have a number of their own, so that nothing has to be cleared.
            here = levels[k] * n_sizes + size
            if component_taken[touching[k]] == here or object_taken[touched[k]] == here:
                continue
            component_taken[touching[k]] = here
            object_taken[touched[k]] = here
            matched[levels[k], size] += 1
    return matched
