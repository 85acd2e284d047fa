"""Dice and cross-entropy with more weight on foreground and the hardest background."""

from __future__ import annotations

import torch
from torch import Tensor

from rareseg.recipe.loss_sections import DiceHardCrossEntropySection, HardestLossSection
from rareseg.training.losses.cross_entropy import voxel_cross_entropy
from rareseg.training.losses.loss_spec import Loss, loss
from rareseg.training.losses.overlap_losses import with_dice
from rareseg_runner.image_records import IGNORE, Classes


@loss(DiceHardCrossEntropySection, proper=False)
def dice_hard_cross_entropy(settings: DiceHardCrossEntropySection, classes: Classes) -> Loss:
    """Dice + cross-entropy, with more weight on foreground and on the hardest background."""
    return with_hardest(settings, classes)


def with_hardest(settings: HardestLossSection, classes: Classes) -> Loss:
    """Join dice and cross-entropy with the cross-entropy of foreground and hardest background.

    To dice and cross-entropy it adds ½ · (mean cross-entropy over a patch's foreground voxels)
    and ½ · (mean over the hardest ``hardest_share`` of its background voxels, at least one), each
    averaged over the patches that hold such voxels: online hard example mining (Shrivastava et al.
    2016) within patches, by rank and so without a threshold to tune. What looks most like the rare
    class is learned first.
    """
    usual = with_dice(settings, classes)

    def cost(logits: Tensor, labels: Tensor) -> Tensor:
        each = voxel_cross_entropy(logits, labels).flatten(1)
        background = (labels == 0).flatten(1)
        foreground = ((labels != 0) & (labels != IGNORE)).flatten(1)
        on_foreground = _mean_of_patches((each * foreground).sum(1), foreground.sum(1), foreground)
        most = max(1, int(each.shape[1] * settings.hardest_share))
        hardest = (each * background).topk(most, dim=1).values
        # No patch has more background than voxels: of the hardest, each takes its own share.
        taken = (background.sum(1) * settings.hardest_share).long().clamp(1, most)
        among = torch.arange(most, device=each.device) < taken.unsqueeze(1)
        on_hardest = _mean_of_patches((hardest * among).sum(1), taken, background)
        return usual(logits, labels) + 0.5 * on_foreground + 0.5 * on_hardest

    return cost


def _mean_of_patches(sums: Tensor, numbers: Tensor, held: Tensor) -> Tensor:
    """Return the mean of ``sums / numbers`` (B,) over the patches in which ``held`` (B, n) is."""
    means = sums / numbers.clamp(min=1)
    return (means * held.any(1)).sum() / held.any(1).sum().clamp(min=1)
