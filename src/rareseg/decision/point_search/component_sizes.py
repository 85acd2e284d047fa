"""Choose the smallest component sizes to search, in the unit of the images."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from rareseg.evaluation.tables.component_table import ComponentTable
from rareseg_runner.decision.component_size import ANY_SIZE, Size, SizeLike, Unit, as_sizes


def fitting_sizes(given: Iterable[SizeLike], table: ComponentTable) -> tuple[Size, ...]:
    """Return sizes to choose from, in the words of the table's images.

    Raises UsageError where they do not ascend, have several units, or do not fit the images.
    """
    return tuple(size.fitting(table.size_unit) for size in as_sizes(given))


def usual_sizes(
    table: ComponentTable, region: str, *, unit: Unit | None = None
) -> tuple[Size, ...]:
    """Return 0 and the powers of two above one voxel, up to half the median reference object.

    In ``unit``, where None in the table's own: mm³ or mm², where the smallest voxel of the cases
    counts, or pixels or voxels. 0 alone where there is no object.
    """
    unit = unit or table.size_unit
    physical = unit in ("mm²", "mm³")
    rows = [row for row in table.select(region=region).rows if row.n_objects]
    if not rows:
        return (ANY_SIZE,)
    voxels = [math.prod(row.spacing) if physical else 1.0 for row in rows]
    objects = [row.object_sizes * voxel for row, voxel in zip(rows, voxels, strict=True)]
    half = float(np.median(np.concatenate(objects))) / 2.0
    first = math.floor(math.log2(min(voxels))) + 1
    last = math.floor(math.log2(half))
    return (ANY_SIZE, *(Size(2.0**k, unit) for k in range(first, last + 1)))
