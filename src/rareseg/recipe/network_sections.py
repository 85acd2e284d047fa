"""Sections of the networks: the settings that each of them reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rareseg.errors import RecipeError
from rareseg.recipe.family import Family
from rareseg.recipe.section import PositiveInt, Section

Norm = Literal["instance", "batch", "group"]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Widths = tuple[PositiveInt, ...]

NO_ENCODER = "none"
"""``network.encoder`` for a network without a pretrained encoder."""

NO_WEIGHTS = "none"
"""``network.encoder_weights`` for an encoder that begins at random."""


class NetworkSection(Section):
    """What every network has: a name."""

    name: str


_FLAT = ("half_unet", "unet", "dynunet", "basicunet", "segresnet")
"""The networks that shared one flat section until format 2, of which each read a part."""


def _current(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return network values of any version as those of today.

    ``encoder: none`` is no setting of a network but asks for one without an encoder.
    """
    values = dict(values)
    name = values.get("name")
    if values.get("encoder") == NO_ENCODER:
        if name == "encoder_unet":
            raise RecipeError(
                "network.encoder is none, but network.name is encoder_unet; leave network.name "
                "out, and the best network without an encoder is planned."
            )
        if name in (None, *_FLAT):
            del values["encoder"]
    if name == "segresnet" and isinstance(width := values.get("width"), list | tuple) and width:
        del values["width"]
        values = {"first_width": width[0], "levels": len(width)} | values
    if name not in (None, *_FLAT) or name == "unet" or not _is_count(values.get("residual_units")):
        return values
    units = values.pop("residual_units")
    if name in (None, "half_unet", "dynunet"):
        values = {"residual": units > 0} | values
    elif name == "segresnet":
        values = {"blocks": max(1, units)} | values
    return values


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


NETWORK_SECTIONS: Family[NetworkSection] = Family("network", NetworkSection, upgrade=_current)


class _Pyramid(NetworkSection):
    """Settings of a network that halves the image between levels of given widths."""

    width: Widths = Field(default=(16, 32, 64, 128), description="channels per level")
    norm: Norm = "group"
    dropout: Dropout = 0.0

    @model_validator(mode="after")
    def _has_levels(self) -> _Pyramid:
        if len(self.width) < 2:
            raise ValueError(f"width has {len(self.width)} value, a network needs 2 levels")
        return self


class _PlainUNetSection(_Pyramid):
    residual: bool = Field(default=False, description="residual blocks in place of plain ones")

    @model_validator(mode="after")
    def _has_three_levels(self) -> _PlainUNetSection:
        if len(self.width) < 3:
            raise ValueError(
                f"width has {len(self.width)} values, but network.name {self.name} needs at least "
                "3 levels; give one more width, such as [16, 32, 64]"
            )
        return self


@NETWORK_SECTIONS.register
class HalfUNetSection(_PlainUNetSection):
    """A U-Net at half resolution with a light head at full resolution."""

    name: Literal["half_unet"] = "half_unet"


@NETWORK_SECTIONS.register
class UNetSection(_Pyramid):
    """A residual U-Net whose first convolution halves the image."""

    name: Literal["unet"] = "unet"
    residual_units: Annotated[int, Field(ge=0, le=8)] = Field(
        default=0, description="convolutions of each residual block; 0: one plain convolution"
    )


@NETWORK_SECTIONS.register
class DynUNetSection(_PlainUNetSection):
    """The plain U-Net that nnU-Net configures."""

    name: Literal["dynunet"] = "dynunet"


@NETWORK_SECTIONS.register
class BasicUNetSection(_Pyramid):
    """A U-Net of two convolutions a level and five levels."""

    name: Literal["basicunet"] = "basicunet"
    width: Widths = Field(default=(16, 32, 64, 128, 256), description="channels of the 5 levels")

    @model_validator(mode="after")
    def _has_five_levels(self) -> BasicUNetSection:
        if len(self.width) != 5:
            raise ValueError(
                f"width has {len(self.width)} values, but network.name basicunet has 5 levels; "
                "give 5 widths, such as [16, 32, 64, 128, 256]"
            )
        return self


@NETWORK_SECTIONS.register
class SegResNetSection(NetworkSection):
    """A residual encoder with a light decoder; widths double from the first level."""

    name: Literal["segresnet"] = "segresnet"
    first_width: PositiveInt = Field(default=16, description="channels of the first level")
    levels: Annotated[int, Field(ge=2, le=8)] = 4
    blocks: PositiveInt = Field(default=1, description="residual blocks per level of the encoder")
    norm: Norm = "group"
    dropout: Dropout = 0.0


@NETWORK_SECTIONS.register
class EncoderUNetSection(NetworkSection):
    """A U-Net decoder on an encoder that was trained on photographs (ImageNet); 2D alone."""

    name: Literal["encoder_unet"] = "encoder_unet"
    encoder: str = Field(
        default="efficientnet_lite0",
        description="efficientnet_lite0, _lite1, _lite2, or a timm name with the extra `encoders`; "
        "none plans the best network without one",
        examples=["efficientnet_lite1"],
    )
    encoder_weights: str = Field(
        default="pretrained",
        description="pretrained, none (at random), or a FILE of weights",
        examples=[NO_WEIGHTS],
    )
    decoder_width: Widths = Field(
        default=(64, 48, 32, 16, 8),
        description="channels of the decoder's levels, the deepest first",
    )
    norm: Norm = Field(default="batch", description="of the decoder")
    dropout: Dropout = Field(default=0.0, description="of whole channels, before the last layer")
