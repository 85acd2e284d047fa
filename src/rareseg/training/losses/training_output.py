"""Compute the loss of a training network's output, presence included."""

from __future__ import annotations

from torch import Tensor

from rareseg.sampling.patches.window_components import Components
from rareseg.training.losses.loss_spec import ComponentLoss, Loss
from rareseg.training.presence_losses import PresenceOdds, Regions, presence_loss

Output = Tensor | tuple[Tensor, PresenceOdds]
"""What a network gives in training: logits, alone or with what it says of cells and windows."""


def training_loss(
    loss: Loss,
    output: Output,
    labels: Tensor,
    *,
    components: Components | None = None,
    presence_weight: float = 0.0,
    regions: Regions = (),
) -> Tensor:
    """Return what a training network's output costs, and what it says beside the outlines.

    ``components`` are for a :class:`ComponentLoss`, and ``regions`` the class indices of each
    region that the network's image head tells of. Computed in float32 whatever the network computed
    in.
    """
    logits, odds = (output, None) if isinstance(output, Tensor) else output
    if isinstance(loss, ComponentLoss):
        cost = loss(logits.float(), labels, components)
    else:
        cost = loss(logits.float(), labels)
    if odds is None:
        return cost
    return cost + presence_weight * presence_loss(odds, labels, regions)
