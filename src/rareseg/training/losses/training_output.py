"""Compute the loss of a training network's output, presence included."""

from __future__ import annotations

from torch import Tensor

from rareseg.training.losses.loss_spec import Loss
from rareseg.training.presence_losses import PresenceOdds, Regions, presence_loss

Output = Tensor | tuple[Tensor, PresenceOdds]
"""What a network gives in training: logits, alone or with what it says of cells and windows."""


def training_loss(
    loss: Loss,
    output: Output,
    labels: Tensor,
    *,
    presence_weight: float = 0.0,
    regions: Regions = (),
) -> Tensor:
    """Return what a training network's output costs, and what it says beside the outlines.

    ``regions`` are the class indices of each region that its image head tells of. Computed in
    float32 whatever the network computed in.
    """
    if isinstance(output, Tensor):
        return loss(output.float(), labels)
    logits, odds = output
    beside = presence_loss(odds, labels, regions)
    return loss(logits.float(), labels) + presence_weight * beside
