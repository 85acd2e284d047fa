"""The focal loss, under which voxels that are nearly right cost little."""

from __future__ import annotations

import torch
from torch import Tensor

from rareseg.recipe.loss_sections import FocalSection
from rareseg.training.losses.cross_entropy import voxel_cross_entropy
from rareseg.training.losses.loss_spec import Loss, loss
from rareseg_runner.image_records import IGNORE, Classes


@loss(FocalSection, proper=False)
def focal(settings: FocalSection, classes: Classes) -> Loss:
    """−w(y)·(1 − p(y))^γ·log p(y) (Lin et al. 2017, eq. 5), mean over the voxels that count.

    Not MONAI's, whose gradient is NaN where γ lies between 0 and 1 and p(y) rounds to 1.
    """
    weights = None if settings.class_weights is None else torch.tensor(settings.class_weights)

    def cost(logits: Tensor, labels: Tensor) -> Tensor:
        each = voxel_cross_entropy(logits, labels)
        error = (-torch.expm1(-each)).clamp(min=torch.finfo(each.dtype).eps)
        each = error**settings.focal_gamma * each
        counts = labels != IGNORE
        if weights is not None:
            each = each * weights.to(logits)[torch.where(counts, labels, 0)]
        return each.sum() / counts.sum().clamp(min=1)

    return cost
