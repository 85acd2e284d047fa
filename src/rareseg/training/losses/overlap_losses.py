"""Cross-entropy joined with a loss of overlap between regions: soft dice, Tversky."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss, TverskyLoss
from torch import Tensor

from rareseg.recipe.loss_sections import DiceCrossEntropySection, OverlapLossSection, TverskySection
from rareseg.training.losses.cross_entropy import mean_cross_entropy
from rareseg.training.losses.loss_spec import Loss, loss
from rareseg_runner.image_records import IGNORE, Classes


@loss(DiceCrossEntropySection, proper=False)
def dice_cross_entropy(settings: DiceCrossEntropySection, classes: Classes) -> Loss:
    """Cross-entropy plus MONAI's soft dice over the regions that are present."""
    return with_dice(settings, classes)


def with_dice(settings: OverlapLossSection, classes: Classes) -> Loss:
    """Join the cross-entropy with MONAI's soft dice, as :func:`with_overlap` does."""
    dice = DiceLoss(batch=settings.batch_dice, reduction="none", smooth_nr=1.0, smooth_dr=1.0)
    return with_overlap(dice, settings, classes)


@loss(TverskySection, proper=False)
def tversky(settings: TverskySection, classes: Classes) -> Loss:
    """Cross-entropy plus the Tversky loss (Salehi et al. 2017, eq. 4) over present regions.

    Its weights say what a false positive and a false negative cost; dice is 0.5 and 0.5.
    """
    overlap = TverskyLoss(
        alpha=settings.tversky_false_positive,
        beta=settings.tversky_false_negative,
        batch=settings.batch_dice,
        reduction="none",
        smooth_nr=1.0,
        smooth_dr=1.0,
    )
    return with_overlap(overlap, settings, classes)


def with_overlap(overlap: torch.nn.Module, settings: OverlapLossSection, classes: Classes) -> Loss:
    """Join the cross-entropy with a loss of overlap, averaged over the regions that are present.

    ``overlap`` takes scores and references (B, regions, *space) and gives one value for each
    region, of each patch or (with ``batch_dice``) of the batch. A region that is absent there is
    left to the cross-entropy: smoothed overlap would either not see its false positives, or, once
    they are few, push every score of an empty patch to 0 with a gradient far above the
    cross-entropy's.
    """
    cross_entropy = mean_cross_entropy(settings)
    members = torch.zeros(len(classes.regions), classes.count)
    for row, indices in enumerate(classes.regions.values()):
        members[row, list(indices)] = 1.0

    def cost(logits: Tensor, labels: Tensor) -> Tensor:
        to_regions = members.to(logits)
        counts = (labels != IGNORE).unsqueeze(1)
        one_hot = _one_hot(labels, classes.count).to(logits.dtype) * counts
        scores = torch.einsum("rc,bc...->br...", to_regions, logits.softmax(1) * counts)
        references = torch.einsum("rc,bc...->br...", to_regions, one_hot)
        each = overlap(scores, references).flatten(0 if settings.batch_dice else 1)
        present = references.flatten(2).any(2)
        if settings.batch_dice:
            present = present.any(0)
        present = present.reshape(each.shape)
        mean: Tensor = (each * present).sum() / present.sum().clamp(min=1)
        return cross_entropy(logits, labels) + mean

    return cost


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    """Return (B, classes, *space) int64; ignored voxels are background here."""
    known = torch.where(labels == IGNORE, torch.zeros_like(labels), labels)
    return F.one_hot(known, classes).movedim(-1, 1)
