"""Losses of the presence head: which regions an image holds, and where.

Voxel-wise losses give a small thing next to no gradient and a large, faint one a vague one. Two
heads on the deepest features make both one decision each. One says which regions the whole window
holds, and is kept (:mod:`rareseg.prediction.presence_head`). The other says which classes each cell
of the features holds, while training alone, which teaches the encoder where things are. The idea is
the classification-guided module of UNet 3+ (Huang et al. 2020, section 2.3), here per region and
per cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rareseg.prediction.presence_head import WithImageHead
from rareseg_runner.image_records import IGNORE

Regions = Sequence[Sequence[int]]
"""The class indices of each region."""


class PresenceOdds(NamedTuple):
    """Log-odds of classes in cells (B, classes − 1, *grid), of regions in windows (B, regions)."""

    cells: Tensor
    image: Tensor


class WithPresence(WithImageHead):
    """A network that says which regions an image holds, and while it trains which cells hold what.

    In training mode it gives (logits, :class:`PresenceOdds`), otherwise what
    :class:`~rareseg.prediction.presence_head.WithImageHead` gives.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        *,
        deepest: str,
        features: int,
        dimension: int,
        classes: int,
        regions: Regions,
    ) -> None:
        super().__init__(network, deepest=deepest, features=features, regions=len(regions))
        self.regions = tuple(tuple(members) for members in regions)
        convolution = torch.nn.Conv2d if dimension == 2 else torch.nn.Conv3d
        self.cells = convolution(features, classes - 1, kernel_size=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Any]:
        """From (B, C, *space) to logits (B, classes, *space), and what is said beside them."""
        if not self.training:
            return super().forward(images)
        logits, features = self.look(images)
        return logits, PresenceOdds(self.cells(features), self.image_head(features))


def presence_loss(odds: PresenceOdds, labels: Tensor, regions: Regions) -> Tensor:
    """Return the sum of :func:`cell_loss` and :func:`image_loss`, computed in float32."""
    return cell_loss(odds.cells.float(), labels) + image_loss(odds.image.float(), labels, regions)


def image_loss(odds: Tensor, labels: Tensor, regions: Regions) -> Tensor:
    """Return the binary cross-entropy of which regions each window holds, a mean.

    ``odds`` (B, regions), ``labels`` (B, *space) int64 class indices; ``regions`` are the class
    indices of each. A window holds a region where any of its voxels is in it. Windows without a
    known voxel count nowhere.
    """
    known = (labels != IGNORE).flatten(1).any(1, keepdim=True)
    within = [
        torch.stack([labels == index for index in members]).any(0).flatten(1).any(1)
        for members in regions
    ]
    holds = torch.stack(within, 1).to(odds.dtype)
    each = F.binary_cross_entropy_with_logits(odds, holds, reduction="none") * known
    mean: Tensor = each.sum() / (known.sum() * odds.shape[1]).clamp(min=1)
    return mean


def cell_loss(odds: Tensor, labels: Tensor) -> Tensor:
    """Return what the coarse answer costs: binary cross-entropies of cells and of whole windows.

    ``odds`` (B, classes − 1, *grid), ``labels`` (B, *space) int64 class indices. A cell holds a
    class where any of its voxels does. The sum of three means: over all cells, over the cells that
    hold the class (few, and what matters), and over windows, whose log-odds are the largest of
    their cells'. Cells without a known voxel count nowhere.
    """
    grid = odds.shape[2:]
    held = torch.stack([labels == index + 1 for index in range(odds.shape[1])], 1)
    holds = _any_within(held, grid)
    known = _any_within((labels != IGNORE).unsqueeze(1), grid)
    each = F.binary_cross_entropy_with_logits(odds, holds, reduction="none") * known
    everywhere = each.sum() / (known.sum() * odds.shape[1]).clamp(min=1)
    where_held = (each * holds).sum() / holds.sum().clamp(min=1)
    windows = F.binary_cross_entropy_with_logits(
        odds.masked_fill(known == 0, -torch.inf).flatten(2).amax(2).clamp(min=-30),
        holds.flatten(2).amax(2),
    )
    total: Tensor = everywhere + where_held + windows
    return total


def _any_within(mask: Tensor, grid: torch.Size) -> Tensor:
    """Return 1.0 for each cell of ``grid`` with a voxel of (B, K, *space) set in it, else 0.0."""
    pool = F.adaptive_max_pool2d if len(grid) == 2 else F.adaptive_max_pool3d
    pooled: Tensor = pool(mask.float(), list(grid))
    return pooled
