"""Dice and cross-entropy of each component, so that small ones weigh as much as large ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rareseg.recipe.loss_sections import ComponentDiceCrossEntropySection
from rareseg.sampling.patches.window_components import Components, Regions
from rareseg.training.losses.component_cells import Cells, find_cells
from rareseg.training.losses.cross_entropy import voxel_cross_entropy
from rareseg.training.losses.hard import with_hardest
from rareseg.training.losses.loss_spec import ComponentLoss, Loss, loss
from rareseg_runner.image_records import IGNORE, Classes


@loss(ComponentDiceCrossEntropySection, proper=False)
def component_dice_cross_entropy(
    settings: ComponentDiceCrossEntropySection, classes: Classes
) -> Loss:
    """``dice_hard_cross_entropy`` + ``component_weight`` · :func:`by_component`.

    A loss of the whole beside an equal one by component is what CC-DiceCE is (Bouteille et al.,
    arXiv 2511.17146, and their code). It finds more of the small things and alarms more often: the
    same authors measured up to 0.36 less precision (arXiv 2609.30223, abstract).
    """
    usual = with_hardest(settings, classes)
    regions = tuple(classes.regions.values())

    def cost(logits: Tensor, labels: Tensor, components: Components) -> Tensor:
        whole = usual(logits, labels)
        return whole + settings.component_weight * by_component(logits, labels, components, regions)

    return ComponentLoss(cost, regions)


def by_component(
    logits: Tensor, labels: Tensor, components: Components, regions: Regions
) -> Tensor:
    """Return the mean over patches of what their components cost.

    A component c costs dice and cross-entropy of its region against the rest, within the cell of
    the voxels to which it is the nearest of its region:
    l(c) = 1 − 2·Σ s·g / (Σ s + Σ g) + mean of −log s where g = 1, −log(1 − s) where g = 0,
    s being the region's probability and g whether the label is in it. There is no smoothing, which
    a small component would not outweigh. w(c) is the share of the component that lies in the patch,
    at most 1. With H the patch's plain cross-entropy over all classes, a region costs
    (Σ w·l + max(0, 1 − Σ w)·H) / max(1, Σ w): the mean of its components, while a sliver of one
    costs little more than H. A patch costs the mean over the regions that it holds components of,
    and H where it holds none; one without a known voxel counts nowhere.

    Sources: components and cells as in CC-DiceCE (arXiv 2511.17146), where w is 1; each region
    against the rest, with equal weight, as Kundu et al. take classes (arXiv 2604.24276, abstract);
    w and what makes up for it are this package's own.
    """
    each = voxel_cross_entropy(logits, labels).flatten(1)
    known = (labels != IGNORE).flatten(1).sum(1)
    plain = each.sum(1) / known.clamp(min=1)
    costs, held = torch.zeros_like(plain), torch.zeros_like(plain)
    for number, members in enumerate(regions):
        cells = find_cells(components, number)
        if cells is not None:
            patches = cells.patches.to(plain.device)
            cost = _region_cost(
                logits.index_select(0, patches),
                labels.index_select(0, patches),
                plain.index_select(0, patches),
                members,
                cells,
            )
            costs = costs.index_add(0, patches, cost)
            held = held.index_add(0, patches, torch.ones_like(cost))
    total = torch.where(held > 0, costs / held.clamp(min=1), plain).sum()
    return total / (known > 0).sum().clamp(min=1)


def _region_cost(
    logits: Tensor, labels: Tensor, plain: Tensor, members: Sequence[int], cells: Cells
) -> Tensor:
    """Return what a region costs in each of n patches (n,) that hold components of it."""
    others = [index for index in range(logits.shape[1]) if index not in members]
    inner, outer = (torch.tensor(own).to(logits.device) for own in (members, others))
    odds = logits.index_select(1, inner).logsumexp(1) - logits.index_select(1, outer).logsumexp(1)
    truth = torch.stack([labels == index for index in members]).any(0).to(odds)
    counts = (labels != IGNORE).to(odds)
    scores = odds.sigmoid() * counts
    each = F.binary_cross_entropy_with_logits(odds, truth, reduction="none") * counts
    cell = cells.cell.to(odds.device).flatten()

    def sums(values: Tensor) -> Tensor:
        return odds.new_zeros(len(cells.row)).index_add(0, cell, values.flatten())

    inside, known = sums(truth), sums(counts)
    dice = 1 - 2 * sums(scores * truth) / (sums(scores) + inside).clamp(min=1)
    share = (inside / cells.whole.to(odds)).clamp(max=1)
    cost = share * (dice + sums(each) / known.clamp(min=1))
    row = cells.row.to(odds.device)
    weight = torch.zeros_like(plain).index_add(0, row, share)
    cost = torch.zeros_like(plain).index_add(0, row, cost)
    return (cost + (1 - weight).clamp(min=0) * plain) / weight.clamp(min=1)
