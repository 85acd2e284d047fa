"""Make smooth displacement fields from control points: uniform cubic B-splines.

Where no control point moves by more than 0.40 of their spacing (0.48 in 2D), no field folds over
itself; the recipe allows no more. Source: Choi & Lee 2000, Injectivity conditions of 2D and 3D
uniform cubic B-spline functions, Graphical Models 62, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def control_points(sides: Sequence[int], spacing: float) -> tuple[int, ...]:
    """Return how many points, ``spacing`` voxels apart, each axis of a patch needs."""
    return tuple(math.ceil((side - 1) / spacing) + 3 for side in sides)


def spline_field(points: Tensor, sides: Sequence[int], spacing: float) -> Tensor:
    """Return the field (B, K, *sides) of control points (B, K, *points), float32.

    Every value is a weighted mean of the points around it: the field is never larger than the
    largest of them, it is constant where they are, and typically a third of their size.
    """
    field = points
    for axis, side in enumerate(sides):
        weights = _weights(side, points.shape[axis + 2], spacing).to(points)
        field = (field.movedim(axis + 2, -1) @ weights.T).movedim(-1, axis + 2)
    return field


def _weights(side: int, points: int, spacing: float) -> Tensor:
    """Return the weight (side, points) of each point at each voxel; every row sums to 1."""
    place = (torch.arange(side) - (side - 1) / 2) / spacing + (points - 1) / 2
    far = (place[:, None] - torch.arange(points)).abs().double()
    inner = 2 / 3 - far**2 + far**3 / 2
    outer = (2 - far).clamp(min=0) ** 3 / 6
    return torch.where(far < 1, inner, outer).float()
