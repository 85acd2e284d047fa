"""The sections of the losses: what each of them reads, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from rareseg.recipe.family import Family
from rareseg.recipe.section import NonNegativeFloat, PositiveFloat, Probability, Section


class LossSection(Section):
    """What every loss has: a name, and the weight of the presence loss beside it."""

    name: str
    presence: NonNegativeFloat = Field(
        default=0.0,
        description="weight of the presence loss, which learns whether an image holds a region "
        "(the image-level gate reads the answer); 0: none",
    )


_FLAT = {
    "class_weights",
    "batch_dice",
    "hardest_share",
    "focal_gamma",
    "tversky_false_positive",
    "tversky_false_negative",
}
"""The settings of the flat section that all losses shared until format 2."""


def _current(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return loss values of any version as those of today.

    A complete flat section holds settings that its loss does not read; they meant nothing.
    """
    if "name" not in values or not set(values) >= _FLAT:
        return values
    fields = LOSS_SECTIONS.member(values["name"]).model_fields
    return {key: value for key, value in values.items() if key in fields or key not in _FLAT}


LOSS_SECTIONS: Family[LossSection] = Family("loss", LossSection, upgrade=_current)


class _Weighted(LossSection):
    class_weights: tuple[PositiveFloat, ...] | None = Field(
        default=None, description="one per class, background first, in the cross-entropy"
    )


class _WithOverlap(_Weighted):
    batch_dice: bool = Field(
        default=False, description="the overlap over the whole batch, not per patch"
    )


@LOSS_SECTIONS.register
class DiceCrossEntropySection(_WithOverlap):
    """Cross-entropy plus soft dice."""

    name: Literal["dice_cross_entropy"] = "dice_cross_entropy"


@LOSS_SECTIONS.register
class CrossEntropySection(_Weighted):
    """Cross-entropy alone."""

    name: Literal["cross_entropy"] = "cross_entropy"


@LOSS_SECTIONS.register
class DiceHardCrossEntropySection(_WithOverlap):
    """Cross-entropy plus soft dice, with more weight on foreground and the hardest background."""

    name: Literal["dice_hard_cross_entropy"] = "dice_hard_cross_entropy"
    hardest_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.02, description="share of the background voxels"
    )


@LOSS_SECTIONS.register
class FocalSection(_Weighted):
    """The focal loss."""

    name: Literal["focal"] = "focal"
    focal_gamma: NonNegativeFloat = 2.0


@LOSS_SECTIONS.register
class TverskySection(_WithOverlap):
    """Cross-entropy plus the Tversky loss."""

    name: Literal["tversky"] = "tversky"
    tversky_false_positive: Probability = 0.3
    tversky_false_negative: Probability = 0.7
