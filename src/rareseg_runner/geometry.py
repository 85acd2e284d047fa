"""Convert arrays between a file's orientation and the canonical one.

The world is DICOM's and ITK's: x grows to the patient's left, y to the back (posterior), z to the
head (superior). The canonical array is ``(channel, z, y, x)`` with each axis growing along the
world axis that it is nearest to: "LPS". Oblique volumes are flipped and permuted, never resampled.

An orientation is three letters, one for each file axis i, j, k: the side towards which it grows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.image_records import Geometry, Image

CANONICAL = "LPS"
_TOWARDS = ("LR", "PA", "SI")
"""For each world axis, the letter of growing along it and of growing against it."""

SPACING_TOLERANCE = 1e-3
"""Largest relative difference of spacings that still agree (headers hold 32-bit floats)."""
ORIGIN_TOLERANCE = 0.1
"""Largest distance of two first voxels that still agree, in voxels."""
DIRECTION_TOLERANCE = 1e-2
"""Largest difference of direction cosines that still agree."""


def orientation_of(direction: NDArray[np.float64]) -> str:
    """Return the three letters of a direction matrix (3, 3) whose columns are the file's axes.

    Each axis gets another world axis: of the six assignments, the one with the largest sum of
    absolute cosines, so that oblique axes never claim the same letter.
    """
    strength = np.abs(direction)
    best = max(
        itertools.permutations(range(3)),
        key=lambda worlds: float(sum(strength[world, axis] for axis, world in enumerate(worlds))),
    )
    return "".join(_TOWARDS[w][int(direction[w, axis] < 0)] for axis, w in enumerate(best))


def _world_axes(orientation: str) -> list[tuple[int, bool]]:
    """For each file axis i, j, k: its world axis, and whether it grows against it."""
    pairs = []
    for letter in orientation:
        world = next(index for index, pair in enumerate(_TOWARDS) if letter in pair)
        pairs.append((world, letter == _TOWARDS[world][1]))
    return pairs


def to_canonical(array: NDArray[np.generic], orientation: str) -> NDArray[np.generic]:
    """Return a view of ``array`` (..., k, j, i) as (..., z, y, x)."""
    axes = _world_axes(orientation)
    flips = tuple(-1 - axis for axis, (_, against) in enumerate(axes) if against)
    flipped = np.flip(array, flips)
    # Canonical position -1 - world takes what stands at the file's position -1 - axis.
    source = [-1 - axis for world in (2, 1, 0) for axis, (w, _) in enumerate(axes) if w == world]
    lead = list(range(array.ndim - 3))
    return np.transpose(flipped, lead + [array.ndim + position for position in source])


def from_canonical(array: NDArray[np.generic], orientation: str) -> NDArray[np.generic]:
    """Return a view of ``array`` (..., z, y, x) as (..., k, j, i): undo :func:`to_canonical`."""
    axes = _world_axes(orientation)
    lead = list(range(array.ndim - 3))
    source = [array.ndim - 1 - world for world, _ in reversed(axes)]
    flips = tuple(-1 - axis for axis, (_, against) in enumerate(axes) if against)
    return np.flip(np.transpose(array, lead + source), flips)


def file_spacing(geometry: Geometry) -> tuple[float, float, float]:
    """Return the spacing (i, j, k) in mm along the axes of the file itself."""
    axes = _world_axes(geometry.orientation or CANONICAL)
    i, j, k = (geometry.spacing[2 - world] for world, _ in axes)
    return i, j, k


@dataclass(frozen=True)
class Frame:
    """Where a file's own array lies.

    ``spacing`` (i, j, k) and ``origin`` (x, y, z) are in mm; the columns of ``direction`` (3, 3)
    are the file's axes.
    """

    spacing: Sequence[float] | NDArray[np.float64]
    origin: Sequence[float] | NDArray[np.float64]
    direction: NDArray[np.float64]
    dimension: int


def place(array: NDArray[np.generic], frame: Frame) -> Image:
    """Bring a file's array (channel, k, j, i) to a canonical :class:`Image`."""
    spacing, origin, direction = frame.spacing, frame.origin, frame.direction
    orientation = orientation_of(direction)
    canonical = [0.0, 0.0, 0.0]
    for axis, (world, _) in enumerate(_world_axes(orientation)):
        canonical[2 - world] = float(spacing[axis])
    geometry = Geometry(
        spacing=(canonical[0], canonical[1], canonical[2]),
        dimension=frame.dimension,
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=tuple(float(value) for value in np.ravel(direction)),
        orientation=orientation,
    )
    return Image(np.ascontiguousarray(to_canonical(array, orientation)), geometry)


def canonical_frame(
    geometry: Geometry, shape: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where canonical voxel (0, 0, 0) lies (mm) and the direction matrix of x, y, z.

    ``shape`` is the canonical (z, y, x). A geometry without origin lies at 0, upright.
    """
    if geometry.origin is None or geometry.direction is None:
        return np.zeros(3), np.eye(3)
    file_direction = np.reshape(geometry.direction, (3, 3))
    origin = np.array(geometry.origin)
    direction = np.zeros((3, 3))
    spacing = file_spacing(geometry)
    for axis, (world, against) in enumerate(_world_axes(geometry.orientation or CANONICAL)):
        cosines = file_direction[:, axis]
        if against:
            origin = origin + cosines * spacing[axis] * (shape[2 - world] - 1)
        direction[:, world] = -cosines if against else cosines
    return origin, direction


def disagreement(first: Geometry, second: Geometry, shape: Sequence[int]) -> str | None:
    """Say in words how two geometries of one canonical shape (z, y, x) differ, or ``None``.

    Only what both files state is compared: a photograph has no origin, and its spacing of 1.0 per
    pixel is no statement.
    """
    if first.origin is None or second.origin is None:
        return None
    if not np.allclose(first.spacing, second.spacing, rtol=SPACING_TOLERANCE, atol=0):
        return f"the spacing (z, y, x) is {_mm(first.spacing)} and {_mm(second.spacing)}"
    origin_1, direction_1 = canonical_frame(first, shape)
    origin_2, direction_2 = canonical_frame(second, shape)
    if not np.allclose(direction_1, direction_2, rtol=0, atol=DIRECTION_TOLERANCE):
        return "the axes point in different directions"
    if np.linalg.norm(origin_1 - origin_2) > ORIGIN_TOLERANCE * min(first.spacing):
        return f"the first voxel (x, y, z) lies at {_mm(origin_1)} and {_mm(origin_2)}"
    return None


def on_grid(
    array: NDArray[np.integer], own: Geometry, grid: Geometry, shape: Sequence[int]
) -> NDArray[np.integer]:
    """Return a mask (z, y, x) on the grid of an image of ``shape``, 0 where the mask ends before.

    The voxels of both must coincide: the grids differ by whole voxels alone. A file that states no
    frame lies on the image where its shape is the image's.

    Raises ValueError, in words, where they do not coincide or where labels lie outside the image.
    """
    if own.origin is None or grid.origin is None:
        if array.shape == tuple(shape):
            return array
        raise ValueError(f"the shape (z, y, x) is {array.shape} and {tuple(shape)}, without origin")
    if not np.allclose(own.spacing, grid.spacing, rtol=SPACING_TOLERANCE, atol=0):
        raise ValueError(f"the spacing (z, y, x) is {_mm(own.spacing)} and {_mm(grid.spacing)}")
    origin, direction = canonical_frame(own, array.shape)
    target, axes = canonical_frame(grid, shape)
    if not np.allclose(direction, axes, rtol=0, atol=DIRECTION_TOLERANCE):
        raise ValueError("the axes point in different directions")
    shift = (axes.T @ (origin - target))[::-1] / np.array(grid.spacing)
    first = np.round(shift).astype(int)
    if np.abs(shift - first).max() > ORIGIN_TOLERANCE:
        raise ValueError(f"the first voxel lies between voxels of the image (at {shift.round(2)})")
    low = np.maximum(first, 0)
    high = np.minimum(first + array.shape, shape)
    inner = tuple(slice(a - f, max(a - f, b - f)) for a, b, f in zip(low, high, first, strict=True))
    kept = array[inner] if (high > low).all() else array[:0]
    if np.count_nonzero(kept) < np.count_nonzero(array):
        raise ValueError("some labels lie outside the image")
    padded = np.zeros(tuple(shape), array.dtype)
    if kept.size:
        padded[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = kept
    return padded


def _mm(values: Sequence[float] | NDArray[np.float64]) -> str:
    """Write lengths for a sentence: ``1 × 0.5 × 0.5 mm``."""
    return " × ".join(f"{float(value):.4g}" for value in values) + " mm"


def upright(array: NDArray[np.generic], exif: int) -> NDArray[np.generic]:
    """Turn pixels (..., y, x) as a viewer shows them for an EXIF or TIFF orientation of 1 to 8."""
    if exif in (5, 6, 7, 8):
        array = np.swapaxes(array, -1, -2)
    # After the transposition of 5 to 8, what is left is a mirror along x, along y, or along both.
    flips = {2: (-1,), 3: (-1, -2), 4: (-2,), 6: (-1,), 7: (-1, -2), 8: (-2,)}.get(exif, ())
    return np.flip(array, flips)


def with_exif(geometry: Geometry, exif: int) -> Geometry:
    """Note the EXIF orientation that was applied; values outside 1 to 8 count as upright."""
    return replace(geometry, exif=exif if 1 <= exif <= 8 else 1)
