"""Apply all spatial augmentation of a batch in one interpolation.

Mirroring, rotation, scaling, shift and elastic displacement are composed before anything is read,
so that a patch is interpolated once. On the CPU compiled kernels do it, on any other device torch;
both reckon places in float32, and class indices are picked, never interpolated as numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rareseg.sampling.augmentation.augmentation_plan import AugmentationPlan
from rareseg.sampling.augmentation.splines import spline_field
from rareseg.sampling.augmentation.warp_kernels import pull
from rareseg.sampling.pools.windows import as_zyx
from rareseg_runner.image_records import IGNORE


@dataclass(frozen=True, eq=False)
class WarpCoordinates:
    """Where each voxel of B patches of D axes comes from in its window.

    ``matrix`` (B, D, D + 1) float32 leads from a voxel's indices, and 1, to a place in the window,
    to which ``bend[bent[b]]`` (D, *patch) is added where ``bent`` (B,) is not −1. ``plain`` (B,)
    bool: whole voxels, mirrored at most.
    """

    matrix: Tensor
    bend: Tensor
    bent: Tensor
    plain: Tensor


def make_pull(plan: AugmentationPlan, window: Sequence[int]) -> WarpCoordinates:
    """Return the pull that a plan means for windows of the sides ``window``.

    place = (window − 1) / 2 + shift + R · M · (voxel − (patch − 1) / 2) / scale + elastic, with the
    rotation R and the mirroring M, in voxels. Along an axis on which window and patch have one
    voxel there is only that one, whatever the turn.
    """
    sides = np.array(plan.patch_size, np.float64)
    angles, scale, mirror = plan.angles.numpy(), plan.scale.numpy(), plan.mirror.numpy()
    matrix = rotation(angles) / scale.astype(np.float64)[:, None, None]
    matrix *= np.where(mirror, -1.0, 1.0)[:, None, :]
    centre = (np.array(window) - 1) / 2 + plan.shift.numpy()
    begin = centre - matrix @ ((sides - 1) / 2)
    single = (sides == 1) & (np.array(window) == 1)
    matrix[:, single], begin[:, single] = 0, 0
    wavy = plan.elastic.numpy().reshape(len(plan), -1).any(1)
    rows = np.flatnonzero(wavy)
    bent = np.full(len(plan), -1)
    bent[rows] = np.arange(len(rows))
    bend = torch.empty((0, len(sides), *plan.patch_size))
    if len(rows):
        bend = spline_field(
            plan.elastic[torch.from_numpy(rows)], plan.patch_size, plan.elastic_spacing
        )
        bend[:, torch.from_numpy(single)] = 0
    return WarpCoordinates(
        matrix=torch.from_numpy(np.concatenate([matrix, begin[:, :, None]], 2, dtype=np.float32)),
        bend=bend,
        bent=torch.from_numpy(bent),
        plain=torch.from_numpy(~wavy & (angles == 0).all(1) & (scale == 1)),
    )


def rotation(angles: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return rotation matrices over (y, x) or (z, y, x) for angles (B, 1) or (B, 3) in radians.

    In 3D the patch is turned about z, then about y, then about x.
    """
    cos, sin = np.cos(angles, dtype=np.float64), np.sin(angles, dtype=np.float64)
    axes = 2 if angles.shape[1] == 1 else 3
    last = axes - 1
    planes = ((last, last - 1), (last, last - 2), (last - 1, last - 2))[: angles.shape[1]]
    matrix = np.tile(np.eye(axes), (len(angles), 1, 1))
    for number, (i, j) in enumerate(planes):
        turn = np.tile(np.eye(axes), (len(angles), 1, 1))
        turn[:, i, i] = turn[:, j, j] = cos[:, number]
        turn[:, j, i] = sin[:, number]
        turn[:, i, j] = -sin[:, number]
        matrix = turn @ matrix
    return matrix


def warp(
    images: Tensor,
    labels: Tensor,
    places: WarpCoordinates,
    *,
    patch_size: Sequence[int],
    votes: bool,
) -> tuple[Tensor, Tensor]:
    """Pull patches out of windows: images (B, C, *window) float32, labels (B, *window) uint8.

    Images are interpolated linearly, labels are those of the nearest voxel or, with ``votes``, the
    class that the 2^D neighbours hold most of, each weighted as in interpolation. Outside the
    window images are its reflection and labels ``IGNORE``.
    """
    if images.device.type == "cpu":
        return _warp_compiled(images, labels, IGNORE, places, patch_size, votes)
    return warp_by_torch(images, labels, places, patch_size=patch_size, votes=votes)


def warp_numbers(
    numbers: Tensor, places: WarpCoordinates, *, patch_size: Sequence[int], votes: bool
) -> Tensor:
    """Pull integers (B, *window) as :func:`warp` pulls labels, 0 outside the window; on the CPU."""
    none = torch.empty((len(numbers), 0, *numbers.shape[1:]))
    return _warp_compiled(none, numbers, 0, places, patch_size, votes)[1]


def _warp_compiled(
    images: Tensor,
    labels: Tensor,
    outside: int,
    places: WarpCoordinates,
    patch_size: Sequence[int],
    votes: bool,
) -> tuple[Tensor, Tensor]:
    count, channels, *window = images.shape
    axes = len(patch_size)
    voxels = math.prod(patch_size)
    matrix = np.zeros((count, 3, 4), np.float32)
    matrix[:, 3 - axes :, 3 - axes :] = places.matrix.numpy()
    bend = np.zeros((len(places.bend), 3, voxels), np.float32)
    bend[:, 3 - axes :] = places.bend.reshape(-1, axes, voxels).numpy()
    new_images = torch.empty((count, channels, *patch_size))
    new_labels = torch.empty((count, *patch_size), dtype=labels.dtype)
    flat = labels.reshape(count, -1).numpy()
    pull(
        images.reshape(count, channels, flat.shape[1]).numpy(),
        flat,
        flat.dtype.type(outside),
        as_zyx(window),
        as_zyx(patch_size),
        matrix,
        places.plain.numpy(),
        bend,
        places.bent.numpy(),
        votes,
        new_images.view(count, channels, voxels).numpy(),
        new_labels.view(count, voxels).numpy(),
    )
    return new_images, new_labels


def warp_by_torch(
    images: Tensor,
    labels: Tensor,
    places: WarpCoordinates,
    *,
    patch_size: Sequence[int],
    votes: bool,
) -> tuple[Tensor, Tensor]:
    """Do what :func:`warp` does, on any device."""
    count, window = len(images), images.shape[2:]
    device = images.device
    where = _places(places, patch_size, device)
    nearest = torch.zeros(where.shape[:-1], dtype=torch.int64, device=device)
    corner, shares, grid = nearest.clone(), [], []
    inside = torch.ones_like(nearest, dtype=torch.bool)
    strides = [math.prod(window[axis + 1 :]) for axis in range(len(window))]
    for axis, (side, stride) in enumerate(zip(window, strides, strict=True)):
        place = where[..., axis]
        inside &= (place >= -0.5) & (place < side - 0.5)
        period = max(2 * (side - 1), 1)
        place = place.abs() % period
        place = torch.minimum(place, period - place)
        below = place.long().clamp(max=max(side - 2, 0))
        share = place - below
        corner += below * stride
        nearest += (below + ((share >= 0.5) & (side > 1))) * stride
        shares.append(share)
        grid.append(2 * place / max(side - 1, 1) - 1)
    new_images = F.grid_sample(
        images,
        torch.stack(grid[::-1], -1),
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )
    flat = labels.reshape(count, -1)
    if votes:
        steps = [stride * (side > 1) for side, stride in zip(window, strides, strict=True)]
        taken = _most_held(flat, corner, shares, steps)
    else:
        taken = flat.gather(1, nearest.flatten(1)).view(nearest.shape)
    return new_images, taken.masked_fill(~inside, IGNORE)


def _places(places: WarpCoordinates, patch_size: Sequence[int], device: torch.device) -> Tensor:
    """Return the place in the window (B, *patch, D) of every voxel."""
    axes = [torch.arange(side, dtype=torch.float32, device=device) for side in patch_size]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    matrix = places.matrix.to(device)
    turned = index.view(1, -1, len(patch_size)) @ matrix[:, :, :-1].transpose(1, 2)
    where = (turned + matrix[:, None, :, -1]).view(len(matrix), *index.shape)
    rows = torch.nonzero(places.bent >= 0).flatten().to(device)
    where[rows] += places.bend.to(device).movedim(1, -1)
    return where


def _most_held(flat: Tensor, corner: Tensor, shares: list[Tensor], steps: list[int]) -> Tensor:
    """Return the class that the neighbours of each place hold most of; the first of equals."""
    around, voices = [], []
    for upper in product((0, 1), repeat=len(shares)):
        at = corner + sum(step for step, one in zip(steps, upper, strict=True) if one)
        around.append(flat.gather(1, at.flatten(1)).view(at.shape))
        voice = torch.ones_like(shares[0])
        for share, one in zip(shares, upper, strict=True):
            voice = voice * (share if one else 1 - share)
        voices.append(voice)
    label, most = around[0], torch.full_like(voices[0], -1.0)
    for held_by in around:
        held = torch.zeros_like(most)
        for other, voice in zip(around, voices, strict=True):
            held += torch.where(other == held_by, voice, 0.0)
        label = torch.where(held > most, held_by, label)
        most = torch.maximum(most, held)
    return label
