"""Augment intensities of whole batches, in place.

``images`` are float32 (B, C, *patch) on any device. Only the patches that a plan changes are
touched.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rareseg.sampling.augmentation.augmentation_plan import AugmentationPlan
from rareseg_runner.image_records import IGNORE


def change_contrast(images: Tensor, plan: AugmentationPlan) -> None:
    """Apply gamma within each patch's and channel's own range, then contrast and brightness."""
    axes = tuple(range(2, images.ndim))
    rows, gamma = _changed(plan.gamma, 1.0, images)
    if len(rows):
        some = images[rows]
        low, high = some.amin(axes, keepdim=True), some.amax(axes, keepdim=True)
        span = (high - low).clamp(min=1e-6)
        some.sub_(low).div_(span).pow_(_spread(gamma, some))
        images[rows] = some.mul_(span).add_(low)
    if (plan.contrast.numpy() != 1).any() or plan.brightness.numpy().any():
        # All patches at once: 1 and 0 leave the others as they are, and nothing has to be moved.
        factor = _spread(plan.contrast, images)
        mean = images.mean(axes, keepdim=True)
        images.mul_(factor).add_(mean * (1 - factor) + _spread(plan.brightness, images))


def soften(images: Tensor, plan: AugmentationPlan) -> None:
    """Blur, and then bring to a lower resolution and back."""
    rows, sigma = _changed(plan.blur, 0.0, images)
    if len(rows):
        images[rows] = blurred(images[rows], sigma)
    rows, share = _changed(plan.resolution, 1.0, images)
    if len(rows):
        some = images[rows]
        for axis in range(2, images.ndim):
            lines = some.movedim(axis, -1)
            coarse = coarsening(share, lines.shape[-1]).to(images.device).transpose(1, 2)
            some = (lines.flatten(1, -2) @ coarse).view(lines.shape).movedim(-1, axis)
        images[rows] = some


def blurred(images: Tensor, sigma: Tensor) -> Tensor:
    """Return images (B, C, *space), each blurred by a Gaussian of its ``sigma`` (B,) voxels.

    Gaussians are cut off at 4 standard deviations; images are reflected at their outermost voxels.
    """
    reach = int(4 * float(sigma.max()) + 0.5)
    offset = torch.arange(-reach, reach + 1)
    weight = torch.exp(-0.5 * (offset / sigma[:, None]) ** 2)
    weight = weight * (offset.abs() <= torch.floor(4 * sigma + 0.5)[:, None])
    weights = (weight / weight.sum(1, keepdim=True)).T.contiguous().to(images.device)
    for axis in range(2, images.ndim):
        side = images.shape[axis]
        period = max(2 * (side - 1), 1)
        source = torch.arange(-reach, side + reach, device=images.device).abs() % period
        wide = images.index_select(axis, torch.minimum(source, period - source))
        # A loop over the places of the kernel, each of them for all patches.
        images = torch.zeros_like(images)
        for place, one in enumerate(weights):
            images.addcmul_(wide.narrow(axis, place, side), _spread(one, images))
    return images


def coarsening(share: Tensor, side: int) -> Tensor:
    """Return the matrices (B, side, side) that bring a line to fewer voxels and back.

    ``share`` (B,), 0…1, of the voxels are left, at least one; each is the mean of what it covers,
    and between their centres is interpolated linearly. Every row sums to 1; a share of 1 is the
    identity.
    """
    left = (share * side).round().clamp(min=1)[:, None, None]
    fine = torch.arange(side, device=share.device, dtype=share.dtype)
    coarse, width = fine[:, None], side / left
    begin = torch.maximum(fine, coarse * width)
    end = torch.minimum(fine + 1, (coarse + 1) * width)
    down = (end - begin).clamp(min=0) / width
    place = ((fine[:, None] + 0.5) / width - 0.5).clamp(min=0)
    up = (1 - (torch.minimum(place, left - 1) - fine).abs()).clamp(min=0)
    return up @ down


def add_noise(images: Tensor, plan: AugmentationPlan) -> None:
    """Add Gaussian noise; where there is none, no random number is drawn."""
    rows, level = _changed(plan.noise, 0.0, images)
    if len(rows):
        generator = torch.Generator(images.device).manual_seed(plan.seed)
        noise = images.new_empty((len(rows), *images.shape[1:])).normal_(generator=generator)
        images.index_add_(0, rows, noise.mul_(_spread(level, noise)))


def hide(images: Tensor, labels: Tensor, plan: AugmentationPlan) -> None:
    """Paint a box with the mean of each channel; labels stay, unless the plan hides them too."""
    hidden = plan.hidden.numpy()
    hides = np.flatnonzero((hidden[..., 1] > hidden[..., 0]).all(1))
    if len(hides) == 0:
        return
    rows, box = torch.from_numpy(hides).to(images.device), torch.from_numpy(hidden[hides])
    some = images[rows]
    covered = torch.ones((len(rows), *some.shape[2:]), dtype=torch.bool)
    for axis, side in enumerate(some.shape[2:]):
        centre = (torch.arange(side) + 0.5) / side
        within = (centre >= box[:, axis, :1]) & (centre < box[:, axis, 1:])
        covered &= within.view(-1, *(side if a == axis else 1 for a in range(some.ndim - 2)))
    covered = covered.to(images.device)
    mean = some.mean(tuple(range(2, some.ndim)), keepdim=True)
    images[rows] = torch.where(covered.unsqueeze(1), mean, some)
    if plan.hide_labels:
        labels[rows] = labels[rows].masked_fill(covered, IGNORE)


def _changed(values: Tensor, neutral: float, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return which patches have another than the neutral value, and those values, on the CPU.

    The indices lie on the images' device.
    """
    found = values.numpy()
    rows = np.flatnonzero(found != neutral)
    return torch.from_numpy(rows).to(images.device), torch.from_numpy(found[rows])


def _spread(values: Tensor, images: Tensor) -> Tensor:
    """Return one value per patch, to be multiplied with images (B, C, *patch)."""
    return values.to(images.device).view(-1, *(1,) * (images.ndim - 1))
