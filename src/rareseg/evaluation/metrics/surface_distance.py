"""Compute distances between the surfaces of two masks, in mm.

The surface of a mask are its edge voxels: those with a face neighbour that is not in the mask;
what lies beyond the array is not. Each edge voxel's distance to the nearest one of the other mask
is found in a k-d tree, whose cost follows the surfaces and not the box that a stray voxel makes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.statistics.undefined import Undefined, Value, ratio
from rareseg.evaluation.tables.case_arrays import require_informative_mask
from rareseg.evaluation.tables.region_rows import Spacing
from rareseg_runner.image_records import IGNORE

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SurfaceDistances:
    """How far two surfaces lie apart.

    ``hausdorff_95_mm`` is the larger of the two directed 95th percentiles, ``mean_mm`` the mean
    over the edge voxels of both, ``surface_dice`` the share of them within ``tolerance_mm`` of the
    other surface. Distances are undefined where either surface is missing, surface dice where both
    are; it is 0 where one is. Where a file states no spacing, millimetres are pixels.
    """

    hausdorff_95_mm: Value
    mean_mm: Value
    surface_dice: Value
    tolerance_mm: float
    n_reference: int
    n_predicted: int


def measure_surfaces(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_] | NDArray[np.uint8],
    *,
    spacing: Spacing = (1.0, 1.0, 1.0),
    tolerance_mm: float = 1.0,
    ignores: bool = False,
) -> SurfaceDistances:
    """Return the surface distances of a bool mask from a reference of the same shape.

    Both are (Z, Y, X) or (Y, X); one slice is a plane, whose edges are those in the plane. The
    reference is bool, or uint8 with 0, 1 and IGNORE; ignored voxels are taken out of both masks.
    The 95 % Hausdorff distance is max(P₉₅ d(S→R), P₉₅ d(R→S)) with interpolated percentiles, the
    normalised surface dice ``(|{d(S→R) ≤ τ}| + |{d(R→S) ≤ τ}|) / (|S| + |R|)`` (Nikolov et al.,
    arXiv 1809.04430, on edge voxels as in Seidlitz et al., arXiv 2111.05408, eq. 1–3): MONAI's
    definitions. Raises ScoreError where shapes differ, or the reference holds 0 and 255 alone,
    unless ``ignores`` says that 255 leaves voxels out; UsageError for a negative tolerance.
    """
    require_informative_mask(reference, "A mask", ignores=ignores)
    if prediction.shape != reference.shape:
        raise ScoreError(
            f"The prediction has shape {prediction.shape} and the reference has shape "
            f"{reference.shape}; both must be on the case's original grid."
        )
    if not 0.0 <= tolerance_mm < np.inf:
        raise UsageError(
            f"The tolerance of the surface dice is {tolerance_mm}; give millimetres ≥ 0."
        )
    present, shown = reference == 1, prediction
    if reference.dtype != np.bool_ and np.any(ignored := reference == IGNORE):
        shown = prediction & ~ignored
    theirs, ours = edge_voxels(present), edge_voxels(shown)
    if len(theirs) == 0 or len(ours) == 0:
        nothing = "nothing is predicted" if len(theirs) else "the region is absent"
        if len(theirs) == len(ours):
            nothing = "reference and prediction are empty"
        return SurfaceDistances(
            hausdorff_95_mm=Undefined(nothing),
            mean_mm=Undefined(nothing),
            surface_dice=ratio(0, len(theirs) + len(ours), undefined=nothing),
            tolerance_mm=tolerance_mm,
            n_reference=len(theirs),
            n_predicted=len(ours),
        )
    shape = present.shape if present.ndim == 3 else (1, *present.shape)
    forth = distances_between(ours, theirs, shape, spacing)
    back = distances_between(theirs, ours, shape, spacing)
    both = np.concatenate([forth, back])
    return SurfaceDistances(
        hausdorff_95_mm=float(max(np.percentile(forth, 95), np.percentile(back, 95))),
        mean_mm=float(both.mean()),
        surface_dice=float(np.mean(both <= tolerance_mm)),
        tolerance_mm=tolerance_mm,
        n_reference=len(theirs),
        n_predicted=len(ours),
    )


def edge_voxels(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the flat indices of a mask's edge voxels, ascending.

    ``mask`` is (Z, Y, X) or (Y, X). A voxel is at the edge where one of its 6 face neighbours (4
    in one slice) is off or beyond the array; an empty mask has none.
    """
    mask = np.ascontiguousarray(mask)
    volume = mask if mask.ndim == 3 else mask[np.newaxis]
    on = np.flatnonzero(volume)
    if len(on) == 0:
        return on
    return np.asarray(on[_at_edge(on, volume.ravel().view(np.uint8), np.array(volume.shape))])


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _at_edge(
    on: NDArray[np.int64], mask: NDArray[np.uint8], shape: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell which of the voxels ``on`` have a face neighbour that is off or beyond."""
    depth, height, width = shape
    plane = height * width
    result = np.empty(on.size, np.bool_)
    for i in range(on.size):
        voxel = on[i]
        row, x = divmod(voxel, width)
        z, y = divmod(row, height)
        result[i] = (
            x == 0
            or x == width - 1
            or y == 0
            or y == height - 1
            or not mask[voxel - 1]
            or not mask[voxel + 1]
            or not mask[voxel - width]
            or not mask[voxel + width]
            or (
                depth > 1
                and (z == 0 or z == depth - 1 or not mask[voxel - plane] or not mask[voxel + plane])
            )
        )
    return result


def distances_between(
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    shape: tuple[int, ...],
    spacing: Spacing,
) -> Floats:
    """Return each start's distance to the nearest end, (starts,), for flat indices ascending.

    ``shape`` is (Z, Y, X). There must be an end.
    """
    distances = np.zeros(len(starts))
    position = np.minimum(np.searchsorted(ends, starts), len(ends) - 1)
    apart = np.flatnonzero(ends[position] != starts)  # the others coincide
    if len(apart) == 0:
        return distances
    from_here = np.stack(np.unravel_index(starts[apart], shape), axis=1)
    to_there = np.stack(np.unravel_index(ends, shape), axis=1)
    scale = np.asarray(spacing, np.float64)
    tree = cKDTree(to_there * scale, balanced_tree=False, compact_nodes=False)
    _, nearest = tree.query(from_here * scale)
    # From whole steps, so that a distance of one voxel is exactly one spacing.
    steps = (from_here - to_there[nearest]) * scale
    distances[apart] = np.sqrt(np.sum(steps * steps, axis=1))
    return distances
