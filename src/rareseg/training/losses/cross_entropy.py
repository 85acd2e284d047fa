"""The cross-entropy, per voxel and as a mean."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rareseg.recipe.loss_sections import CrossEntropySection, WeightedLossSection
from rareseg.training.losses.loss_spec import Loss, loss
from rareseg_runner.image_records import IGNORE, Classes


@loss(CrossEntropySection, proper=True)
def cross_entropy(settings: CrossEntropySection, classes: Classes) -> Loss:
    """-log softmax of the true class, weighted by class, mean over the voxels that count."""
    return mean_cross_entropy(settings)


def mean_cross_entropy(settings: WeightedLossSection) -> Loss:
    """Return the cross-entropy under ``class_weights``: Σ w(y)·(−log p(y)) / voxels that count.

    Divided by the number of voxels, not by their weights: with the weights' sum a patch of pure
    background would cost as much per voxel as one full of the rare class.
    """
    weights = None if settings.class_weights is None else torch.tensor(settings.class_weights)

    def cost(logits: Tensor, labels: Tensor) -> Tensor:
        weight = None if weights is None else weights.to(logits)
        total = F.cross_entropy(logits, labels, weight=weight, ignore_index=IGNORE, reduction="sum")
        return total / (labels != IGNORE).sum().clamp(min=1)

    return cost


def voxel_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return −log softmax of the true class (B, *space), 0 where the label is ``IGNORE``."""
    return F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
