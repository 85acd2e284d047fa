"""Sections of the losses: the settings that each of them reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

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


class RecordedLossSection(LossSection):
    """A loss of a finished model that is not registered here, with its settings as recorded."""

    model_config = ConfigDict(extra="allow")


class WeightedLossSection(LossSection):
    """A loss that weighs classes; how many weights there must be is checked when it is made."""

    class_weights: tuple[PositiveFloat, ...] | None = Field(
        default=None, description="one per class, background first, of what a voxel costs"
    )


class OverlapLossSection(WeightedLossSection):
    """A cross-entropy joined with a loss of overlap between regions."""

    batch_dice: bool = Field(
        default=False, description="the overlap over the whole batch, not per patch"
    )


class HardestLossSection(OverlapLossSection):
    """A loss that gives the hardest background more weight."""

    hardest_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.02, description="share of the background voxels"
    )


@LOSS_SECTIONS.register
class DiceCrossEntropySection(OverlapLossSection):
    """Cross-entropy plus soft dice."""

    name: Literal["dice_cross_entropy"] = "dice_cross_entropy"


@LOSS_SECTIONS.register
class CrossEntropySection(WeightedLossSection):
    """Cross-entropy alone."""

    name: Literal["cross_entropy"] = "cross_entropy"


@LOSS_SECTIONS.register
class DiceHardCrossEntropySection(HardestLossSection):
    """Cross-entropy plus soft dice, with more weight on foreground and the hardest background."""

    name: Literal["dice_hard_cross_entropy"] = "dice_hard_cross_entropy"


@LOSS_SECTIONS.register
class ComponentDiceCrossEntropySection(HardestLossSection):
    """``dice_hard_cross_entropy``, plus dice and cross-entropy of each connected component."""

    name: Literal["component_dice_cross_entropy"] = "component_dice_cross_entropy"
    component_weight: NonNegativeFloat = Field(
        default=1.0,
        description="weight of the part in which components count alike, small or large",
    )


@LOSS_SECTIONS.register
class FocalSection(WeightedLossSection):
    """The focal loss."""

    name: Literal["focal"] = "focal"
    focal_gamma: NonNegativeFloat = Field(
        default=2.0, description="how little voxels cost that are nearly right; 0: cross-entropy"
    )


@LOSS_SECTIONS.register
class TverskySection(OverlapLossSection):
    """Cross-entropy plus the Tversky loss."""

    name: Literal["tversky"] = "tversky"
    tversky_false_positive: Probability = Field(
        default=0.3, description="what a false positive costs; dice is 0.5 and 0.5"
    )
    tversky_false_negative: Probability = Field(
        default=0.7, description="what a false negative costs"
    )
