"""Compute the prior that the sampler delivered, where calibration may undo it."""

from __future__ import annotations

from rareseg.prediction.model import Model
from rareseg.training.losses import losses

_NOT_UNDONE = "; the sampler's prior cannot be undone"
_PASTED = "that changes what a class looks like, not only how often it comes"


def sampled_prior(model: Model, region: str) -> tuple[float | None, str]:
    """Return the region's share of the voxels that the sampler delivered.

    None under a loss that is no proper scoring rule, where objects were pasted, and where it is
    not known.
    """
    loss, delivered = model.recipe.loss, model.training.delivered
    averaged = ""
    if model.members > 1:
        few = model.recipe.split.held_out
        single = "single networks" if few == 1 else f"the mean of {few} networks"
        averaged = (
            f"; fitted on scores of {single}, while the model averages "
            f"{model.members}, which are somewhat less sure"
        )
    spec = losses().get(loss.name)
    if spec is None or not spec.proper:
        return None, f"{_NOT_UNDONE} under the loss {loss.name}{averaged}"
    if model.recipe.augmentation.paste > 0:
        return None, f"{_NOT_UNDONE} where objects were pasted: {_PASTED}{averaged}"
    if delivered is None:
        return None, f"; what the sampler delivered is not known{averaged}"
    # Class weights act as if the classes had been shown so much more often.
    weights = getattr(loss, "class_weights", None) or (1.0,) * len(delivered.prior)
    weighted = [share * own for share, own in zip(delivered.prior, weights, strict=True)]
    inside, total = sum(weighted[k] for k in model.classes.regions[region]), sum(weighted)
    if not 0.0 < inside < total:
        return None, f"; training was shown the region everywhere or nowhere{averaged}"
    return inside / total, averaged
