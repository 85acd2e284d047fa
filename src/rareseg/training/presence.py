"""A second, coarse answer while a network learns: which classes are in each part of the image.

Voxel-wise losses give a small thing next to no gradient and a large, faint one a vague one. A head
on the deepest features of a U-Net that says which classes each of its cells holds, and by its
maximum which classes the whole patch holds, makes both one decision each, and teaches the encoder
to tell empty images from others. The idea is the classification-guided module of UNet 3+ (Huang et
al. 2020, section 2.3), here per cell and per class, and only while training.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rareseg.data.records import IGNORE


class WithPresence(torch.nn.Module):
    """A network that, while it trains, also says what the cells of its deepest features hold.

    In training mode it gives (logits, presence logits (B, classes − 1, *grid)), otherwise what
    ``network`` gives. ``deepest`` names a submodule of ``network`` with ``features`` channels.
    """

    PREFIX = "network."

    def __init__(
        self,
        network: torch.nn.Module,
        *,
        deepest: str,
        features: int,
        dimension: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.deepest = deepest
        convolution = torch.nn.Conv2d if dimension == 2 else torch.nn.Conv3d
        self.presence = convolution(features, classes - 1, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """From (B, C, *space) to logits (B, classes, *space), in training with the presence."""
        if not self.training:
            alone: Tensor = self.network(images)
            return alone
        seen: list[Tensor] = []
        hook = self.network.get_submodule(self.deepest).register_forward_hook(
            lambda _module, _inputs, output: seen.append(output)
        )
        try:
            logits: Tensor = self.network(images)
        finally:
            hook.remove()
        return logits, self.presence(seen[0])


def without_presence(weights: dict[str, Any]) -> dict[str, Any]:
    """Return the weights of the network alone; weights that know no presence are returned as is."""
    prefix = WithPresence.PREFIX
    if not any(name.startswith("presence.") for name in weights):
        return weights
    return {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }


def presence_loss(presence: Tensor, labels: Tensor) -> Tensor:
    """Return what the coarse answer costs: binary cross-entropies of cells and of whole patches.

    ``presence`` (B, classes − 1, *grid) are logits, ``labels`` (B, *space) int64 class indices. A
    cell holds a class where any of its voxels does. The sum of three means: over all cells, over
    the cells that hold the class (few, and what matters), and over patches, whose logit is the
    largest of their cells'. Cells without a known voxel count nowhere.
    """
    grid = presence.shape[2:]
    held = torch.stack([labels == index + 1 for index in range(presence.shape[1])], 1)
    holds = _any_within(held, grid)
    known = _any_within((labels != IGNORE).unsqueeze(1), grid)
    each = F.binary_cross_entropy_with_logits(presence, holds, reduction="none") * known
    everywhere = each.sum() / (known.sum() * presence.shape[1]).clamp(min=1)
    where_held = (each * holds).sum() / holds.sum().clamp(min=1)
    patches = F.binary_cross_entropy_with_logits(
        presence.masked_fill(known == 0, -torch.inf).flatten(2).amax(2).clamp(min=-30),
        holds.flatten(2).amax(2),
    )
    total: Tensor = everywhere + where_held + patches
    return total


def _any_within(mask: Tensor, grid: torch.Size) -> Tensor:
    """Return 1.0 for each cell of ``grid`` with a voxel of (B, K, *space) set in it, else 0.0."""
    pool = F.adaptive_max_pool2d if len(grid) == 2 else F.adaptive_max_pool3d
    pooled: Tensor = pool(mask.float(), list(grid))
    return pooled
