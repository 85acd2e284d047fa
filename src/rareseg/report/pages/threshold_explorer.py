"""Prepare the data of the threshold explorer: counts at every point, masks of the pictures.

The counts are those of :mod:`rareseg.evaluation.metrics.point_grid`, so that what a reader sees at
a threshold is what an evaluation at that threshold counts. Arrays travel as zlib in base64; along
the thresholds the counts are differences, which pack five times as small.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.operating_point import (
    Infeasible,
    OperatingPoint,
    default_point,
    gates_of,
    usual_sizes,
)
from rareseg.evaluation.measures.case_result import CaseResult
from rareseg.evaluation.measures.measure_table import shown_in
from rareseg.evaluation.metrics.object_matching import match_objects
from rareseg.evaluation.metrics.point_grid import PointGrid, point_grid
from rareseg.evaluation.tables.component_table import ComponentTable
from rareseg.report.report_content import CasePicture, ReportContent
from rareseg.report.tables.strata import TITLES
from rareseg_runner.decision.component_size import ANY_SIZE, Size

MOST_SIZES = 7
"""Smallest components that are offered, the chosen one aside."""


@dataclass(frozen=True)
class Cuts:
    """The cuts of one region that a reader may try: ascending thresholds and component sizes.

    ``chosen`` is the point in use; its threshold and size are among those offered.
    """

    thresholds: tuple[float, ...]
    sizes: tuple[Size, ...]
    chosen: OperatingPoint


def offered_cuts(
    components: ComponentTable, region: str, point: OperatingPoint | Infeasible | None
) -> Cuts | None:
    """Return the cuts that are offered; None where the table has no case of the region.

    Thresholds are those of the table's grid. Sizes are the largest of
    :func:`~rareseg.decision.operating_point.usual_sizes` in the point's unit, with 0 and its own. A
    point whose threshold is not in the grid is offered at the nearest one that is.
    """
    rows = [row for row in components if row.region == region]
    if not rows:
        return None
    chosen = point if isinstance(point, OperatingPoint) else default_point(region)
    own = chosen.smallest_component
    powers = usual_sizes(components, region, unit=own.unit)[1:][-(MOST_SIZES - 1) :]
    sizes = sorted({ANY_SIZE, *powers, own}, key=lambda size: size.amount)
    return Cuts(tuple(float(t) for t in components.thresholds), tuple(sizes), chosen)


def all_cuts(content: ReportContent) -> dict[str, Cuts | None]:
    """Return the offered cuts of every region."""
    if content.components is None:
        return {}
    return {
        name: offered_cuts(content.components, name, content.points.get(name))
        for name in content.regions
    }


def explorer_record(content: ReportContent, region: str) -> dict[str, Any] | None:
    """Return as plain JSON values what the page's script reads; None without components."""
    if content.components is None:
        return None
    cuts = offered_cuts(content.components, region, content.points.get(region))
    if cuts is None:
        return None
    results = {result.case_id: result for result in content.results_of(region)}
    table = content.components.select(region=region)
    table = ComponentTable(tuple(row for row in table if row.case_id in results), table.grid)
    if not table.rows:
        return None
    grid = point_grid(table, region=region, smallest=cuts.sizes)
    counts = np.stack(
        [grid.tp, grid.fp, grid.found, grid.false_components, *_matched(table, grid)]
    ).astype(np.int64)
    own = [results[case] for case in grid.case_ids]
    return {
        "region": region,
        "run": content.title,
        "thresholds": [float(t) for t in cuts.thresholds],
        "bins": list(table.grid),
        "sizes": [size.amount for size in cuts.sizes],
        "sizeNames": [str(size) for size in cuts.sizes],
        "gates": gates_of(table.rows),
        "chosen": _chosen(cuts),
        "guarantee": content.guarantees.get(region, ""),
        "cases": list(grid.case_ids),
        "groups": _numbers(own),
        "imageScores": grid.image_scores.tolist(),
        "inside": grid.n_inside.tolist(),
        "voxels": grid.n_voxels.tolist(),
        "objects": grid.n_objects.tolist(),
        "voxelSizes": [result.voxel_size for result in own],
        "measures": measure_rows(own[0].size_unit),
        "counts": pack_counts(counts),
    }


def measure_rows(size_unit: str) -> list[tuple[str, str | None, str]]:
    """Return (title, name, unit) of the scorecard's measures, each stratum under its own title."""
    rows: list[tuple[str, str | None, str]] = []
    for stratum, title in TITLES.items():
        rows.append((title, None, ""))
        for measure in shown_in("strata"):
            if measure.stratum == stratum:
                more = {"size": f", {size_unit} per case", "count": " per case"}
                own = measure.title + more.get(measure.unit, "")
                rows.append((own, measure.name, measure.unit))
    return rows


def _matched(table: ComponentTable, grid: PointGrid) -> NDArray[np.int64]:
    """Return (2, n, t, s): the components that are an object, one to one, and all that count."""
    counted = []
    for row in table:
        voxels = np.array([size.voxels(row.spacing) for size in grid.smallest], np.int64)
        counted.append(np.stack(match_objects(row, len(table.grid), voxels)))
    return np.stack(counted, axis=1)


def picture_record(picture: CasePicture, cases: Sequence[str]) -> dict[str, Any] | None:
    """Return what the script needs to paint a picture's mask at any cut.

    ``cases`` are the ids in the explorer's order. ``levels`` are (size, y, x) uint8, differences
    along the sizes; ``reference`` (y, x) uint8 of 0 and 1. None for a picture without levels or of
    another case.
    """
    if picture.levels is None or picture.case_id not in cases:
        return None
    levels, reference = to_screen(picture.levels), to_screen(picture.reference[np.newaxis])[0]
    differences = np.diff(levels, axis=0, prepend=np.uint8(0))
    return {
        "case": list(cases).index(picture.case_id),
        "height": levels.shape[1],
        "width": levels.shape[2],
        "levels": pack(differences),
        "reference": pack(reference.astype(np.uint8)),
    }


def pack(array: NDArray[np.generic]) -> str:
    """Return the array's bytes, little-endian, as zlib in base64."""
    little = array.astype(array.dtype.newbyteorder("<"))
    return base64.b64encode(zlib.compress(little.tobytes(), 9)).decode()


def pack_counts(counts: NDArray[np.int64]) -> str:
    """Return counts (kind, case, threshold, size) as int32 differences along the thresholds."""
    return pack(np.diff(counts, axis=2, prepend=0).astype(np.int32))


def to_screen(layers: NDArray[Any], longest: int = 400) -> NDArray[Any]:
    """Return layers (n, y, x) no larger than a picture: the largest value under each pixel."""
    factor = -(-max(layers.shape[1:]) // longest)
    if factor <= 1:
        return layers
    height, width = (-(-side // factor) for side in layers.shape[1:])
    padded = np.zeros((len(layers), height * factor, width * factor), layers.dtype)
    padded[:, : layers.shape[1], : layers.shape[2]] = layers
    blocks = padded.reshape(len(layers), height, factor, width, factor)
    return np.asarray(blocks.max(axis=(2, 4)))


def _chosen(cuts: Cuts) -> dict[str, Any]:
    nearest = int(np.argmin(np.abs(np.array(cuts.thresholds) - cuts.chosen.threshold)))
    return {
        "threshold": nearest,
        "size": cuts.sizes.index(cuts.chosen.smallest_component),
        "gate": float(np.float32(cuts.chosen.gate)),
        "exact": bool(np.float32(cuts.thresholds[nearest]) == np.float32(cuts.chosen.threshold)),
    }


def _numbers(results: Sequence[CaseResult]) -> list[int]:
    """Return a number per case, equal within a group; a case without a group has its own."""
    known: dict[str, int] = {}
    found = []
    for number, result in enumerate(results):
        name = f"case {number}" if result.group is None else f"group {result.group}"
        found.append(known.setdefault(name, len(known)))
    return found
