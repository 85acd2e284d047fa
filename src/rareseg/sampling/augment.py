"""Augmentation of whole batches on the training device: plan, then apply.

:func:`draw_plan` draws one set of parameters per patch from an explicit generator;
:func:`apply_plan` carries them out. Rotation and scaling are one warp; images are interpolated
linearly and labels by nearest neighbour, and what a warp brings in from outside the patch is a
reflection in the image and ``IGNORE`` in the labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rareseg.data.records import IGNORE
from rareseg.recipe import AugmentationSection


@dataclass(frozen=True)
class AugmentationPlan:
    """What happens to each of B patches of D axes; the neutral value means "left as it is".

    ``mirror`` (B, D) bool; ``angles`` (B, 1 or 3) radians, in 3D about z, y and x; ``scale`` (B,)
    magnification; ``brightness`` (B,) added, ``contrast`` (B,) multiplied about the patch's mean,
    ``gamma`` (B,) exponent, ``noise`` (B,) and ``blur`` (B,) standard deviations in intensity and
    in voxels.
    """

    mirror: Tensor
    angles: Tensor
    scale: Tensor
    brightness: Tensor
    contrast: Tensor
    gamma: Tensor
    noise: Tensor
    blur: Tensor


def draw_plan(
    settings: AugmentationSection, *, patches: int, dimension: int, generator: torch.Generator
) -> AugmentationPlan:
    """Draw the parameters for ``patches`` patches of 2 or 3 axes from a CPU generator."""

    def chosen(probability: float, *shape: int) -> Tensor:
        return torch.rand((patches, *shape), generator=generator) < probability

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand((patches, *shape), generator=generator)

    def or_neutral(probability: float, values: Tensor, neutral: float) -> Tensor:
        mask = chosen(probability, *(1,) * (values.ndim - 1))
        return torch.where(mask, values, torch.full_like(values, neutral))

    turn = math.radians(settings.rotate_degrees)
    grow = math.log1p(settings.scale_range)
    bend = math.log1p(settings.gamma_range)
    return AugmentationPlan(
        mirror=chosen(settings.mirror, dimension),
        angles=or_neutral(settings.rotate, between(-turn, turn, 1 if dimension == 2 else 3), 0.0),
        scale=or_neutral(settings.scale, between(-grow, grow).exp(), 1.0),
        brightness=or_neutral(
            settings.brightness,
            between(-settings.brightness_range, settings.brightness_range),
            0.0,
        ),
        contrast=or_neutral(
            settings.contrast,
            between(1 - settings.contrast_range, 1 + settings.contrast_range),
            1.0,
        ),
        gamma=or_neutral(settings.gamma, between(-bend, bend).exp(), 1.0),
        noise=or_neutral(settings.noise, between(0.0, settings.noise_level), 0.0),
        blur=or_neutral(settings.blur, between(0.3, max(0.3, settings.blur_sigma)), 0.0),
    )


def apply_plan(
    images: Tensor, labels: Tensor, plan: AugmentationPlan, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Carry a plan out on images (B, C, *space) float32 and labels (B, *space) int64.

    Returns new tensors of the same shapes on the same device; an empty batch passes unchanged.
    ``generator`` draws the noise and must live on the images' device.
    """
    if len(images) == 0:
        return images, labels
    images, labels = _mirror(images.clone(), labels.clone(), plan.mirror)
    _warp(images, labels, plan)
    _change_intensities(images, plan)
    _blur(images, plan.blur)
    noisy = torch.nonzero(plan.noise > 0).flatten().tolist()
    for patch in noisy:
        noise = torch.empty_like(images[patch]).normal_(generator=generator)
        images[patch] += plan.noise[patch].to(images.device) * noise
    return images, labels


def augment(
    images: Tensor, labels: Tensor, settings: AugmentationSection, *, seed: int
) -> tuple[Tensor, Tensor]:
    """Augment one batch; the same ``seed`` changes the same batch in the same way."""
    plan = draw_plan(
        settings,
        patches=len(images),
        dimension=images.ndim - 2,
        generator=torch.Generator().manual_seed(seed),
    )
    noise = torch.Generator(images.device).manual_seed(seed + 1)
    return apply_plan(images, labels, plan, noise)


def _mirror(images: Tensor, labels: Tensor, mirror: Tensor) -> tuple[Tensor, Tensor]:
    for axis in range(mirror.shape[1]):
        flipped = torch.nonzero(mirror[:, axis]).flatten().to(images.device)
        if len(flipped):
            images[flipped] = images[flipped].flip(axis + 2)
            labels[flipped] = labels[flipped].flip(axis + 1)
    return images, labels


def _warp(images: Tensor, labels: Tensor, plan: AugmentationPlan) -> None:
    """Rotate and scale about the patch's centre, only those patches whose plan says so."""
    moved = torch.nonzero((plan.angles != 0).any(1) | (plan.scale != 1)).flatten()
    if len(moved) == 0:
        return
    space = images.shape[2:]
    # grid_sample's coordinates run from -1 to 1 along every axis, x first: conjugating with the
    # sides' lengths keeps a rotation rigid in patches that are not square.
    sides = torch.tensor([float(side) for side in reversed(space)])
    matrix = _rotation(plan.angles[moved]) / plan.scale[moved, None, None]
    matrix = matrix * sides[None, None, :] / sides[None, :, None]
    theta = F.pad(matrix, (0, 1)).to(images.device)
    index = moved.to(images.device)
    grid = F.affine_grid(theta, [len(moved), 1, *space], align_corners=False)
    images[index] = F.grid_sample(
        images[index], grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    # One is added and taken away so that grid_sample's 0 outside becomes a label of its own.
    raised = (labels[index] + 1).unsqueeze(1).float()
    taken = F.grid_sample(
        raised, grid, mode="nearest", padding_mode="zeros", align_corners=False
    ).squeeze(1)
    taken = taken.round().long() - 1
    labels[index] = torch.where(taken < 0, torch.full_like(taken, IGNORE), taken)


def _rotation(angles: Tensor) -> Tensor:
    """Return rotation matrices over (x, y) or (x, y, z) for angles (B, 1) or (B, 3)."""
    cos, sin = angles.cos(), angles.sin()
    if angles.shape[1] == 1:
        c, s = cos[:, 0], sin[:, 0]
        return torch.stack([torch.stack([c, -s], 1), torch.stack([s, c], 1)], 1)
    matrix = torch.eye(3).repeat(len(angles), 1, 1)
    for number, (i, j) in enumerate(((0, 1), (0, 2), (1, 2))):
        turn = torch.eye(3).repeat(len(angles), 1, 1)
        c, s = cos[:, number], sin[:, number]
        turn[:, i, i], turn[:, i, j], turn[:, j, i], turn[:, j, j] = c, -s, s, c
        matrix = turn @ matrix
    return matrix


def _change_intensities(images: Tensor, plan: AugmentationPlan) -> None:
    """Apply gamma within each patch's own range, then contrast and brightness, in place."""
    axes = tuple(range(2, images.ndim))

    def per_patch(values: Tensor) -> Tensor:
        return values.to(images.device).view(-1, *(1,) * (images.ndim - 1))

    bent = torch.nonzero(plan.gamma != 1).flatten()
    if len(bent):
        index = bent.to(images.device)
        some = images[index]
        low, high = some.amin(axes, keepdim=True), some.amax(axes, keepdim=True)
        span = (high - low).clamp(min=1e-6)
        exponent = plan.gamma[bent].to(images.device).view(-1, *(1,) * (images.ndim - 1))
        images[index] = ((some - low) / span) ** exponent * span + low
    mean = images.mean(axes, keepdim=True)
    images.sub_(mean).mul_(per_patch(plan.contrast)).add_(mean + per_patch(plan.brightness))


def _blur(images: Tensor, sigmas: Tensor) -> None:
    """Blur each patch whose sigma is above 0 by a separable Gaussian, in place."""
    for patch in torch.nonzero(sigmas > 0).flatten().tolist():
        sigma = float(sigmas[patch])
        reach = max(1, math.ceil(3 * sigma))
        offsets = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
        kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
        kernel /= kernel.sum()
        blurred = images[patch].unsqueeze(1)
        for axis in range(images.ndim - 2):
            side = blurred.shape[axis + 2]
            if side <= reach:
                continue  # reflection needs more voxels than the kernel's reach
            shape = [1] * (images.ndim - 2)
            shape[axis] = len(kernel)
            pad = [0, 0] * (images.ndim - 2)
            pad[2 * (images.ndim - 3 - axis)] = pad[2 * (images.ndim - 3 - axis) + 1] = reach
            padded = F.pad(blurred, pad, mode="reflect")
            convolve = F.conv2d if images.ndim == 4 else F.conv3d
            blurred = convolve(padded, kernel.view(1, 1, *shape))
        images[patch] = blurred.squeeze(1)
