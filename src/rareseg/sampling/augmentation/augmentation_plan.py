"""Draw the parameters of an augmentation for each patch of a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rareseg.recipe import AugmentationSection
from rareseg.sampling.augmentation.splines import control_points
from rareseg.sampling.pools.windows import as_zyx

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class AugmentationPlan:
    """What happens to each of B patches of D axes; the neutral value means "left as it is".

    In space: ``mirror`` (B, D) bool; ``angles`` (B, 1 or 3) radians, in 3D about z, y and x;
    ``scale`` (B,) magnification; ``shift`` (B, D) whole voxels by which a patch is cut off its
    centre; ``elastic`` (B, D, *points) displacements in voxels at control points that lie
    ``elastic_spacing`` voxels apart; ``votes``: labels are the class that most neighbours hold,
    not that of the nearest.

    In intensity: ``gamma`` (B,) exponent, ``contrast`` (B,) multiplied about the patch's mean,
    ``brightness`` (B,) added, ``blur`` (B,) standard deviation in voxels, ``resolution`` (B,) share
    of the voxels of each axis, ``noise`` (B,) standard deviation, ``hidden`` (B, D, 2) where a
    box begins and ends on each axis, as shares of its side; ``hide_labels``: what it hides is
    ``IGNORE``.

    ``seed`` decides the noise, so that a plan gives the same patches again on the same kind of
    device. All tensors live on the CPU.
    """

    patch_size: tuple[int, ...]
    mirror: Tensor
    angles: Tensor
    scale: Tensor
    shift: Tensor
    elastic: Tensor
    elastic_spacing: float
    votes: bool
    gamma: Tensor
    contrast: Tensor
    brightness: Tensor
    blur: Tensor
    resolution: Tensor
    noise: Tensor
    hidden: Tensor
    hide_labels: bool
    seed: int

    def __len__(self) -> int:
        return len(self.mirror)


def draw_plan(
    settings: AugmentationSection,
    *,
    patches: int,
    patch_size: Sequence[int],
    generator: torch.Generator,
) -> AugmentationPlan:
    """Draw the parameters for ``patches`` patches of 2 or 3 axes from a CPU generator.

    Each is drawn for every patch and every probability apart from the others, so that no setting
    changes how often another one applies. Sizes and gamma are drawn evenly in their logarithm, all
    else evenly between its bounds. Raises :class:`UsageError` for an impossible patch size.
    """
    as_zyx(patch_size)
    axes = len(patch_size)
    turns = 1 if axes == 2 else 3
    points = control_points(patch_size, settings.elastic_spacing)
    # One call for all of them, and numpy for what follows: hundreds of small torch operations would
    # take as long as the warp itself. What is drawn always stands in the same column.
    columns = _UniformColumns(torch.rand((patches, 26 + 5 * axes), generator=generator).numpy())

    def between(low: float, high: float, count: int | None = None) -> Floats:
        return np.float32(low) + np.float32(high - low) * columns.take(count)

    def around_0(largest: float, count: int | None = None) -> Floats:
        return between(-largest, largest, count)

    def or_neutral(probability: float, values: Floats, neutral: float) -> Tensor:
        chosen = columns.take(None) < probability
        chosen = chosen.reshape(-1, *(1,) * (values.ndim - 1))
        return torch.from_numpy(np.where(chosen, values, np.float32(neutral)))

    grow, bend = math.log1p(settings.scale_range), math.log1p(settings.gamma_range)
    shift = np.rint(around_0(settings.crop_shift, axes) * np.array(patch_size, np.float32))
    extent = between(0.0, settings.occlusion_share, axes)
    begin = between(0.0, 1.0, axes) * (1 - extent)
    mirror = torch.from_numpy(columns.take(axes) < settings.mirror)
    strength = between(0.0, settings.elastic_shift).reshape(-1, *(1,) * (axes + 1))
    seed = int(torch.randint(2**62, (), generator=generator))
    elastic = np.zeros((patches, axes, *points), np.float32)
    if settings.elastic > 0:
        # Last, since how many there are depends on a setting.
        elastic = 2 * torch.rand(elastic.shape, generator=generator).numpy() - 1
    return AugmentationPlan(
        patch_size=tuple(patch_size),
        mirror=mirror,
        angles=or_neutral(
            settings.rotate, around_0(math.radians(settings.rotate_degrees), turns), 0.0
        ),
        scale=or_neutral(settings.scale, np.exp(around_0(grow)), 1.0),
        shift=or_neutral(settings.crop, shift, 0.0),
        elastic=or_neutral(settings.elastic, strength * elastic, 0.0),
        elastic_spacing=settings.elastic_spacing,
        votes=settings.labels == "votes",
        gamma=or_neutral(settings.gamma, np.exp(around_0(bend)), 1.0),
        contrast=or_neutral(settings.contrast, 1 + around_0(settings.contrast_range), 1.0),
        brightness=or_neutral(settings.brightness, around_0(settings.brightness_range), 0.0),
        blur=or_neutral(settings.blur, between(0.3, max(0.3, settings.blur_sigma)), 0.0),
        resolution=or_neutral(
            settings.low_resolution, between(settings.low_resolution_share, 1.0), 1.0
        ),
        noise=or_neutral(settings.noise, between(0.0, settings.noise_level), 0.0),
        hidden=or_neutral(settings.occlusion, np.stack([begin, begin + extent], -1), 0.0),
        hide_labels=settings.occlusion_ignores,
        seed=seed,
    )


class _UniformColumns:
    """Uniform numbers (B, N) from which columns are taken, one after the other."""

    def __init__(self, numbers: Floats) -> None:
        self._numbers = numbers
        self._taken = 0

    def take(self, count: int | None) -> Floats:
        """Return the next column (B,), or the next ``count`` of them (B, count)."""
        first, self._taken = self._taken, self._taken + (1 if count is None else count)
        assert self._taken <= self._numbers.shape[1], "more is drawn than was provided for"
        taken = self._numbers[:, first : self._taken]
        return taken[:, 0] if count is None else taken
