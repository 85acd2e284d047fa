"""Augment whole batches on the training device: draw a plan, then apply it.

:func:`draw_plan` draws one set of parameters per patch from an explicit generator, and
:func:`apply_plan` carries them out. Patches are pulled out of larger windows, so that a corner that
is turned in is not invented; what still lies outside is ``IGNORE``. In anyone's loop::

    window = window_for(settings, patch_size)
    sampler = PatchSampler(store, patch_size=patch_size, cut_size=window, ...)
    for batch in sampler:
        images, labels = augment(
            batch.images.to(device), batch.class_indices.to(device), settings,
            patch_size=patch_size, seed=batch.number,
        )
        sampler.recount(batch, labels)

Strategies decide by the patch as it is drawn, before it is turned or scaled: a window "with
nothing" may be turned into one with a little. What was delivered is therefore counted afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rareseg.errors import UsageError
from rareseg.recipe import AugmentationSection
from rareseg.sampling.augmentation.augmentation_plan import AugmentationPlan, draw_plan
from rareseg.sampling.augmentation.intensity import add_noise, change_contrast, hide, soften
from rareseg.sampling.augmentation.warp import make_pull, warp, warp_numbers
from rareseg.sampling.patches.window_components import Components

__all__ = [
    "AugmentationPlan",
    "apply_plan",
    "apply_to_components",
    "augment",
    "draw_plan",
    "window_for",
]

LARGEST_MARGIN = 0.2
"""What a window may hold beyond the patch on either side, as a share of the patch's side.

Of the voxels of patches that are turned by up to 15° (in 3D about three axes) and scaled by up to
1.2, 0.01 % in 2D and 0.1 % in 3D then still lie outside; at nnU-Net's strengths (any angle or 30°,
0.7 to 1.4) 0.2 % and 0.4 %.
"""


def window_for(settings: AugmentationSection, patch_size: Sequence[int]) -> tuple[int, ...]:
    """Return the sides of the window to cut for a patch, at most 1.4 times its own.

    As large as the strongest rotation, reduction, displacement and shift together need; each side
    is longer than the patch's by an even number of voxels, so that the patch lies in the middle.
    """
    half = [(side - 1) / 2 for side in patch_size]
    reach = list(half)
    if settings.rotate > 0:
        turn = math.radians(settings.rotate_degrees)
        planes = ((0, 1),) if len(half) == 2 else ((1, 2), (0, 2), (0, 1))
        for i, j in planes:
            reach[i], reach[j] = (
                _turned(reach[i], reach[j], turn),
                _turned(reach[j], reach[i], turn),
            )
        reach = [min(far, math.hypot(*half)) for far in reach]
    if settings.scale > 0:
        reach = [far * (1 + settings.scale_range) for far in reach]
    if settings.elastic > 0:
        reach = [far + settings.elastic_shift for far in reach]
    if settings.crop > 0:
        shifts = [round(settings.crop_shift * side) for side in patch_size]
        reach = [far + shift for far, shift in zip(reach, shifts, strict=True)]
    margins = [
        min(math.ceil(far - near - 1e-6), int(LARGEST_MARGIN * side + 1e-6))
        for far, near, side in zip(reach, half, patch_size, strict=True)
    ]
    return tuple(side + 2 * margin for side, margin in zip(patch_size, margins, strict=True))


def apply_plan(images: Tensor, labels: Tensor, plan: AugmentationPlan) -> tuple[Tensor, Tensor]:
    """Carry a plan out on windows: images (B, C, *window) float32, labels (B, *window) integers.

    Returns new tensors (B, C, *patch) and (B, *patch) of the same types on the same device. First
    all that happens in space, then gamma, contrast, brightness, blur, lower resolution, noise and
    occlusion. Without randomness: the same plan gives the same patches.

    Raises :class:`UsageError` where the windows do not fit to the plan.
    """
    _require_fit(images, labels, plan)
    size = plan.patch_size
    if len(images) == 0:
        return images.new_empty((0, images.shape[1], *size)), labels.new_empty((0, *size))
    places = make_pull(plan, images.shape[2:])
    classes = labels.to(torch.uint8)
    images, classes = warp(images, classes, places, patch_size=size, votes=plan.votes)
    change_contrast(images, plan)
    soften(images, plan)
    add_noise(images, plan)
    hide(images, classes, plan)
    return images, classes.to(labels.dtype)


def apply_to_components(components: Components, plan: AugmentationPlan) -> Components:
    """Carry out on the components of windows what :func:`apply_plan` does to their labels in space.

    Which voxels have which piece agrees with the labels of the CPU, but where the window's known
    and ignored voxels meet. What a plan hides keeps its piece.
    """
    window = components.pieces.shape[1:]
    places = make_pull(plan, window)
    axes = sum(max(sides) > 1 for sides in zip(window, plan.patch_size, strict=True))
    return replace(
        components,
        pieces=warp_numbers(
            components.pieces, places, patch_size=plan.patch_size, votes=plan.votes
        ),
        magnified=components.magnified * plan.scale.double() ** axes,
    )


def augment(
    images: Tensor,
    labels: Tensor,
    settings: AugmentationSection,
    *,
    seed: int,
    patch_size: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Augment one batch; the same ``seed`` changes the same batch in the same way.

    ``patch_size`` is that of the patches that come out of the windows that go in, where the windows
    are larger. Raises as :func:`apply_plan`.
    """
    plan = draw_plan(
        settings,
        patches=len(images),
        patch_size=tuple(images.shape[2:]) if patch_size is None else patch_size,
        generator=torch.Generator().manual_seed(seed),
    )
    return apply_plan(images, labels, plan)


def _turned(own: float, other: float, angle: float) -> float:
    """Return how far a box reaches along an axis when turned by up to ``angle`` in a plane."""
    furthest = min(angle, math.atan2(other, own))
    return own * math.cos(furthest) + other * math.sin(furthest)


def _require_fit(images: Tensor, labels: Tensor, plan: AugmentationPlan) -> None:
    window, patch = tuple(images.shape[2:]), plan.patch_size
    fits = len(window) == len(patch) and all(
        side >= inner and (side - inner) % 2 == 0 for side, inner in zip(window, patch, strict=True)
    )
    if not fits or len(images) != len(plan) or labels.shape != (len(images), *window):
        raise UsageError(
            f"The plan is for {len(plan)} patches of {patch}, the images are {tuple(images.shape)} "
            f"and the labels {tuple(labels.shape)}; windows must be as large as their patches or "
            "larger by an even number of voxels on each axis, as window_for gives them."
        )
