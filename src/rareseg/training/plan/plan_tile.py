"""Plan the windows in which whole images are scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

from rareseg.training.plan.recipe_draft import Draft

TILE_2D = (1024, 1024)
"""Photographs and slices up to this size are scored at once."""

LARGEST_TILE_3D = 2_500_000
"""Voxels in a window of a volume."""

LARGEST_HALF_3D = 10_000_000
"""The same of a network that works at half the resolution: 9.2 million take 1.4 to 1.9 GB
(`benchmarks/inference.py`, half_unet)."""

SMALLEST_SIDE_3D = 96
"""Voxels along an axis, below which windows are mostly edges."""

OVERLAP_3D = 0.25
"""Share by which windows of a volume overlap, where there are several: MONAI's own."""


def plan_tile(draft: Draft, shapes: Sequence[Sequence[int]], multiple: int) -> None:
    """Choose window and overlap of prediction; ``shapes`` are those of the images that it sees.

    ``multiple`` is the network's stride.
    """
    if len(shapes[0]) == 2:
        reason = "images up to this size are scored at once, larger ones in windows"
        draft.choose("prediction.tile", list(TILE_2D), reason)
        return
    largest = [max(axis) for axis in zip(*shapes, strict=True)]
    at_half = draft.values["network"]["name"] == "half_unet"
    most = LARGEST_HALF_3D if at_half else LARGEST_TILE_3D
    tile = best_tile(largest, multiple, OVERLAP_3D, most)
    n = math.prod(
        windows_along(whole, side, OVERLAP_3D) for whole, side in zip(largest, tile, strict=True)
    )
    sides = " x ".join(map(str, largest))
    draft.choose(
        "prediction.tile",
        list(tile),
        f"the largest image ({sides}) is scored in {n} window{'' if n == 1 else 's'}: the fewest "
        "voxels are scored twice",
    )
    draft.choose("prediction.overlap", OVERLAP_3D, "where an image takes several windows")


def best_tile(
    shape: Sequence[int], multiple: int, overlap: float, most_voxels: int
) -> tuple[int, ...]:
    """Return the window of at most so many voxels that scores the fewest voxels in all.

    Its sides are multiples of the network's stride; of equals the larger window is taken.
    """
    sides = []
    for whole in shape:
        full = -(-whole // multiple) * multiple
        least = min(full, -(-SMALLEST_SIDE_3D // multiple) * multiple)
        sides.append(range(least, full + 1, multiple))
    fitting = [tile for tile in product(*sides) if math.prod(tile) <= most_voxels]

    def scored(tile: tuple[int, ...]) -> tuple[int, int]:
        counts = (
            side * windows_along(whole, side, overlap)
            for whole, side in zip(shape, tile, strict=True)
        )
        return math.prod(counts), -math.prod(tile)

    return min(fitting, key=scored)


def windows_along(whole: int, side: int, overlap: float) -> int:
    """Return how many windows of a side cover an axis."""
    if side >= whole:
        return 1
    return math.ceil((whole - side) / max(1, int(side * (1.0 - overlap)))) + 1
