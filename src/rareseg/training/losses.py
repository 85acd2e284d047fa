"""Losses for skewed classes: MONAI's formulas, with ignored voxels and absent classes honoured.

Two rules hold for every loss here. Voxels labelled ``IGNORE`` cost nothing. A class that is absent
from the batch still costs when it is predicted: losses that are blind to it (dice, Tversky) are
always joined with the cross-entropy, whose gradient there is of order one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss, FocalLoss, TverskyLoss
from torch import Tensor

from rareseg.data.records import IGNORE, Classes
from rareseg.errors import RecipeError, nearest
from rareseg.recipe import LossSection
from rareseg.training.presence import PresenceOdds, Regions, presence_loss

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits (B, classes, *space) float32 and labels (B, *space) int64 to a scalar."""

Output = Tensor | tuple[Tensor, PresenceOdds]
"""What a network gives in training: logits, alone or with what it says of cells and windows."""


def make_loss(settings: LossSection, classes: Classes) -> Loss:
    """Return the loss that ``settings`` names; raises :class:`RecipeError` for an unknown name."""
    if settings.name not in LOSSES:
        raise RecipeError(
            f"loss.name is {settings.name!r}{nearest(settings.name, LOSSES)}; "
            f"allowed are {', '.join(LOSSES)}."
        )
    weights = settings.class_weights
    if weights is not None and len(weights) != classes.count:
        raise RecipeError(
            f"loss.class_weights has {len(weights)} values, but there are {classes.count} classes, "
            "background included; give one weight for each."
        )
    return LOSSES[settings.name](settings, classes)


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


def frequency_weights(voxels: Sequence[int], exponent: float = 0.5) -> tuple[float, ...]:
    """Return class weights that grow as classes get rarer, with a mean of 1.

    w_c ∝ (1 / frequency_c) ** exponent; 0 gives equal weights, 1 the inverse frequency. A class
    without a voxel takes the weight of the rarest class that has one.
    """
    present = [count for count in voxels if count > 0]
    least = min(present) if present else 1
    raw = [(1.0 / max(count, least)) ** exponent for count in voxels]
    mean = sum(raw) / len(raw)
    return tuple(round(value / mean, 4) for value in raw)


def _cross_entropy(settings: LossSection, classes: Classes) -> Loss:
    """-log softmax of the true class, weighted by class, mean over the voxels that count."""

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        weight = None
        if settings.class_weights is not None:
            weight = logits.new_tensor(settings.class_weights)
        total = F.cross_entropy(logits, labels, weight=weight, ignore_index=IGNORE, reduction="sum")
        # Divided by the number of voxels, not by their weights: with the weights' sum a patch of
        # pure background would cost as much per voxel as one full of the rare class.
        return total / (labels != IGNORE).sum().clamp(min=1)

    return loss


def _dice_cross_entropy(settings: LossSection, classes: Classes) -> Loss:
    """Cross-entropy plus MONAI's soft dice over the regions that are present."""
    dice = DiceLoss(batch=settings.batch_dice, reduction="none", smooth_nr=1.0, smooth_dr=1.0)
    return _with_overlap(dice, settings, classes)


def _focal(settings: LossSection, classes: Classes) -> Loss:
    """Softmax focal loss (Lin et al. 2017, eq. 5), summed over classes, mean over voxels."""
    focal = FocalLoss(
        gamma=settings.focal_gamma,
        weight=settings.class_weights,
        use_softmax=True,
        reduction="none",
    )

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        counts = (labels != IGNORE).unsqueeze(1)
        per_class: Tensor = focal(logits, _one_hot(labels, logits.shape[1]))
        return (per_class * counts).sum() / counts.sum().clamp(min=1)

    return loss


def _tversky(settings: LossSection, classes: Classes) -> Loss:
    """Cross-entropy plus the Tversky loss (Salehi et al. 2017, eq. 4) over present regions.

    Its weights say what a false positive and a false negative cost; dice is 0.5 and 0.5.
    """
    tversky = TverskyLoss(
        alpha=settings.tversky_false_positive,
        beta=settings.tversky_false_negative,
        batch=settings.batch_dice,
        reduction="none",
        smooth_nr=1.0,
        smooth_dr=1.0,
    )
    return _with_overlap(tversky, settings, classes)


def _with_overlap(overlap: torch.nn.Module, settings: LossSection, classes: Classes) -> Loss:
    """Join the cross-entropy with a loss of overlap, averaged over the regions that are present.

    A region that is absent from a patch (or, with ``batch_dice``, from the batch) is left to the
    cross-entropy: smoothed overlap would either not see its false positives, or, once they are few,
    push every score of an empty patch to 0 with a gradient far above the cross-entropy's.
    """
    cross_entropy = _cross_entropy(settings, classes)
    members = torch.zeros(len(classes.regions), classes.count)
    for row, indices in enumerate(classes.regions.values()):
        members[row, list(indices)] = 1.0

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        to_regions = members.to(logits.device)
        counts = (labels != IGNORE).unsqueeze(1)
        one_hot = _one_hot(labels, classes.count) * counts
        scores = torch.einsum("rc,bc...->br...", to_regions, logits.softmax(1) * counts)
        references = torch.einsum("rc,bc...->br...", to_regions, one_hot)
        each = overlap(scores, references).flatten(0 if settings.batch_dice else 1)
        present = references.flatten(2).any(2)
        if settings.batch_dice:
            present = present.any(0)
        present = present.reshape(each.shape)
        mean: Tensor = (each * present).sum() / present.sum().clamp(min=1)
        return cross_entropy(logits, labels) + mean

    return loss


def _dice_hard_cross_entropy(settings: LossSection, classes: Classes) -> Loss:
    """Dice + cross-entropy, with more weight where it matters: foreground and hardest background.

    To :func:`_dice_cross_entropy` it adds ½ · (mean cross-entropy over a patch's foreground voxels)
    and ½ · (mean over the hardest ``hardest_share`` of its background voxels), each averaged over
    patches: online hard example mining (Shrivastava et al. 2016) within patches, by rank and so
    without a threshold to tune. What looks most like the rare class is learned first.
    """
    usual = _dice_cross_entropy(settings, classes)

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        each = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none").flatten(1)
        background = (labels == 0).flatten(1)
        foreground = ((labels != 0) & (labels != IGNORE)).flatten(1)
        positive = foreground.any(1)
        of_foreground = (each * foreground).sum(1) / foreground.sum(1).clamp(min=1)
        on_positives = of_foreground.sum() / positive.sum().clamp(min=1)
        most = max(1, int(each.shape[1] * settings.hardest_share))
        hardest = (each * background).topk(most, dim=1).values.mean()
        total: Tensor = usual(logits, labels) + 0.5 * on_positives + 0.5 * hardest
        return total

    return loss


LOSSES: Mapping[str, Callable[[LossSection, Classes], Loss]] = {
    "cross_entropy": _cross_entropy,
    "dice_cross_entropy": _dice_cross_entropy,
    "dice_hard_cross_entropy": _dice_hard_cross_entropy,
    "focal": _focal,
    "tversky": _tversky,
}


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    """Return (B, classes, *space) float32; ignored voxels are background here."""
    known = torch.where(labels == IGNORE, torch.zeros_like(labels), labels)
    return F.one_hot(known, classes).movedim(-1, 1).float()
