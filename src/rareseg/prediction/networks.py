"""Networks by name: thin calls into MONAI, one function each.

A builder takes the recipe's network section and the numbers of channels and classes. To add one,
write a function with the :class:`Builder` signature and enter it in :data:`NETWORKS`. A network
halves the image once between two levels, so that its input's sides are multiples of
:func:`stride`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from monai.networks.nets import BasicUNet, DynUNet, SegResNet, UNet

from rareseg.errors import RecipeError, nearest
from rareseg.recipe import NetworkSection


class Builder(Protocol):
    """Make an untrained network of (batch, channels, *space) to (batch, classes, *space)."""

    def __call__(
        self, settings: NetworkSection, *, dimension: int, channels: int, classes: int
    ) -> torch.nn.Module:
        """Return the network."""
        ...


def _norm(settings: NetworkSection) -> tuple[str, dict[str, object]]:
    if settings.norm == "group":
        return ("group", {"num_groups": min(8, min(settings.width))})
    return (settings.norm, {"affine": True})


def _unet(
    settings: NetworkSection, *, dimension: int, channels: int, classes: int
) -> torch.nn.Module:
    """Residual U-Net (Zhang et al. 2018; Kerfoot et al. 2019), the cheapest of the four by far.

    Its first convolution halves the image, so that little is computed at full resolution.
    """
    return UNet(
        spatial_dims=dimension,
        in_channels=channels,
        out_channels=classes,
        channels=settings.width,
        strides=(2,) * (len(settings.width) - 1),
        num_res_units=settings.residual_units,
        norm=_norm(settings),
        dropout=settings.dropout,
    )


def _dynunet(
    settings: NetworkSection, *, dimension: int, channels: int, classes: int
) -> torch.nn.Module:
    """The plain U-Net that nnU-Net configures (Isensee et al. 2021), without deep supervision."""
    levels = len(settings.width)
    return DynUNet(
        spatial_dims=dimension,
        in_channels=channels,
        out_channels=classes,
        kernel_size=(3,) * levels,
        strides=(1, *(2,) * (levels - 1)),
        upsample_kernel_size=(2,) * (levels - 1),
        filters=settings.width,
        norm_name=_norm(settings),
        dropout=settings.dropout or None,
        res_block=settings.residual_units > 0,
    )


def _basicunet(
    settings: NetworkSection, *, dimension: int, channels: int, classes: int
) -> torch.nn.Module:
    """Two convolutions a level (Falk et al. 2019), always five levels."""
    width = settings.width
    if len(width) != 5:
        raise RecipeError(
            f"network.width has {len(width)} values, but network.name basicunet has 5 levels; "
            "give 5 widths, such as [16, 32, 64, 128, 256]."
        )
    return BasicUNet(
        spatial_dims=dimension,
        in_channels=channels,
        out_channels=classes,
        features=(*width, width[0]),
        norm=_norm(settings),
        dropout=settings.dropout,
    )


def _segresnet(
    settings: NetworkSection, *, dimension: int, channels: int, classes: int
) -> torch.nn.Module:
    """Residual encoder with a light decoder (Myronenko 2018); widths double from the first."""
    levels = len(settings.width)
    return SegResNet(
        spatial_dims=dimension,
        init_filters=settings.width[0],
        in_channels=channels,
        out_channels=classes,
        blocks_down=(max(1, settings.residual_units),) * levels,
        blocks_up=(1,) * (levels - 1),
        norm=_norm(settings),
        dropout_prob=settings.dropout or None,
    )


NETWORKS: Mapping[str, Builder] = {
    "unet": _unet,
    "dynunet": _dynunet,
    "basicunet": _basicunet,
    "segresnet": _segresnet,
}


def build_network(
    settings: NetworkSection, *, dimension: int, channels: int, classes: int
) -> torch.nn.Module:
    """Return the untrained network that ``settings`` names, initialised from torch's generator.

    Takes float32 (batch, channels, *space) and gives logits (batch, classes, *space); every side
    of ``space`` is a multiple of :func:`stride`. Raises :class:`RecipeError` for an unknown name.
    """
    return _builder(settings)(settings, dimension=dimension, channels=channels, classes=classes)


def stride(settings: NetworkSection) -> int:
    """Return the number of voxels of which each side of the network's input is a multiple."""
    return int(2 ** (len(settings.width) - 1))


def _builder(settings: NetworkSection) -> Builder:
    if settings.name not in NETWORKS:
        raise RecipeError(
            f"network.name is {settings.name!r}{nearest(settings.name, NETWORKS)}; "
            f"allowed are {', '.join(NETWORKS)}."
        )
    return NETWORKS[settings.name]
