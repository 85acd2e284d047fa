"""What a training network's output costs, its answer about presence included."""

from __future__ import annotations

from torch import Tensor

from rareseg.training.losses.spec import Loss
from rareseg.training.presence import presence_loss

Output = Tensor | tuple[Tensor, Tensor]
"""What a network gives in training: logits, alone or with the presence logits."""


def training_loss(
    loss: Loss, output: Output, labels: Tensor, *, presence_weight: float = 0.0
) -> Tensor:
    """Return what a training network's output costs, its coarse answer included where it has one.

    Computed in float32 whatever the network computed in.
    """
    if isinstance(output, Tensor):
        return loss(output.float(), labels)
    logits, presence = output
    return loss(logits.float(), labels) + presence_weight * presence_loss(presence.float(), labels)
