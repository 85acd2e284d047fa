"""Check class weights, and derive them from class frequencies."""

from __future__ import annotations

from collections.abc import Sequence

from rareseg.errors import RecipeError
from rareseg.recipe.loss_sections import LossSection, WeightedLossSection
from rareseg_runner.image_records import Classes


def require_weights_of(settings: LossSection, classes: Classes) -> None:
    """Raise :class:`RecipeError` where a loss weighs another number of classes than there are."""
    weights = settings.class_weights if isinstance(settings, WeightedLossSection) else None
    if weights is not None and len(weights) != classes.count:
        raise RecipeError(
            f"loss.class_weights has {len(weights)} values, but there are {classes.count} classes, "
            "background included; give one weight for each."
        )


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
