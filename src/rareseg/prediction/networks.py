"""Networks by name: thin calls into MONAI, one function each.

A builder takes the recipe's network section and the numbers of channels and classes. To add one,
write a function with the :class:`Builder` signature and enter it in :data:`NETWORKS`. A network
halves the image between two levels, so that its input's sides are multiples of :func:`stride`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from monai.networks.nets import BasicUNet, DynUNet, SegResNet, UNet
from torch import Tensor

from rareseg.errors import RecipeError, nearest
from rareseg.recipe import NetworkSection, Recipe


class Builder(Protocol):
    """Make an untrained network of (batch, channels, *space) to (batch, classes, *space)."""

    def __call__(
        self, settings: NetworkSection, *, dimension: int, channels: int, classes: int
    ) -> torch.nn.Module:
        """Return the network."""
        ...


def _norm(settings: NetworkSection, groups: int | None = None) -> tuple[str, dict[str, object]]:
    """Return MONAI's name of the norm; ``groups`` must divide every width that it meets."""
    if settings.norm == "group":
        return ("group", {"num_groups": groups or math.gcd(8, *settings.width)})
    return (settings.norm, {"affine": True})


def _unet(
    settings: NetworkSection, *, dimension: int, channels: int, classes: int
) -> torch.nn.Module:
    """Residual U-Net (Zhang et al. 2018; Kerfoot et al. 2019), the cheapest of the four by far.

    Its first convolution halves the image, so that little is computed at full resolution.
    """
    network: torch.nn.Module = UNet(
        spatial_dims=dimension,
        in_channels=channels,
        out_channels=classes,
        channels=settings.width,
        strides=(2,) * (len(settings.width) - 1),
        num_res_units=settings.residual_units,
        # It also normalises the few channels beside the logits, which only one group divides.
        norm=_norm(settings, groups=1),
        dropout=settings.dropout,
    )
    return network


def _dynunet(
    settings: NetworkSection, *, dimension: int, channels: int, classes: int
) -> torch.nn.Module:
    """The plain U-Net that nnU-Net configures (Isensee et al. 2021), without deep supervision."""
    return _plain_unet(settings, dimension=dimension, channels=channels, outputs=classes)


def _plain_unet(
    settings: NetworkSection, *, dimension: int, channels: int, outputs: int
) -> torch.nn.Module:
    levels = len(settings.width)
    if levels < 3:
        raise RecipeError(
            f"network.width has {levels} values, but network.name {settings.name} needs at least "
            "3 levels; give one more width, such as [16, 32, 64]."
        )
    network: torch.nn.Module = DynUNet(
        spatial_dims=dimension,
        in_channels=channels,
        out_channels=outputs,
        kernel_size=(3,) * levels,
        strides=(1, *(2,) * (levels - 1)),
        upsample_kernel_size=(2,) * (levels - 1),
        filters=settings.width,
        norm_name=_norm(settings),
        dropout=settings.dropout or None,
        res_block=settings.residual_units > 0,
    )
    return network


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
    network: torch.nn.Module = BasicUNet(
        spatial_dims=dimension,
        in_channels=channels,
        out_channels=classes,
        features=(*width, width[0]),
        norm=_norm(settings),
        dropout=settings.dropout,
    )
    return network


def _segresnet(
    settings: NetworkSection, *, dimension: int, channels: int, classes: int
) -> torch.nn.Module:
    """Residual encoder with a light decoder (Myronenko 2018); widths double from the first."""
    levels = len(settings.width)
    network: torch.nn.Module = SegResNet(
        spatial_dims=dimension,
        init_filters=settings.width[0],
        in_channels=channels,
        out_channels=classes,
        blocks_down=(max(1, settings.residual_units),) * levels,
        blocks_up=(1,) * (levels - 1),
        norm=_norm(settings),
        dropout_prob=settings.dropout or None,
    )
    return network


def _half_unet(
    settings: NetworkSection, *, dimension: int, channels: int, classes: int
) -> torch.nn.Module:
    """The plain U-Net at half resolution, with a light head at full resolution."""
    core = _plain_unet(
        settings,
        dimension=dimension,
        channels=channels * 2**dimension,
        outputs=settings.width[0],
    )
    return HalfResolution(core, settings, dimension=dimension, channels=channels, classes=classes)


class HalfResolution(torch.nn.Module):
    """All the work at half resolution, the outline at full resolution.

    The image is folded 2 x 2 (x 2) voxels into channels (Shi et al. 2016, the inverse of their
    sub-pixel layer), goes through ``core``, is unfolded by a transposed convolution, joined with
    the image itself and refined by one convolution. About four (eight) times cheaper than the same
    U-Net at full resolution.
    """

    FEATURES = 8

    def __init__(
        self,
        core: torch.nn.Module,
        settings: NetworkSection,
        *,
        dimension: int,
        channels: int,
        classes: int,
    ) -> None:
        super().__init__()
        convolution = torch.nn.Conv2d if dimension == 2 else torch.nn.Conv3d
        transposed = torch.nn.ConvTranspose2d if dimension == 2 else torch.nn.ConvTranspose3d
        self.core = core
        self.unfold = transposed(settings.width[0], self.FEATURES, kernel_size=2, stride=2)
        self.refine = torch.nn.Sequential(
            convolution(self.FEATURES + channels, self.FEATURES, 3, padding=1),
            torch.nn.GroupNorm(1, self.FEATURES),
            torch.nn.LeakyReLU(0.01, inplace=True),
            convolution(self.FEATURES, classes, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """From (B, C, *space), every side even, to logits (B, classes, *space)."""
        features = self.unfold(self.core(fold(images)))
        logits: Tensor = self.refine(torch.cat([features, images], dim=1))
        return logits


def fold(images: Tensor) -> Tensor:
    """Move 2 x 2 (x 2) neighbours into channels: (B, C, *space) to (B, C·2**D, *space / 2).

    What is returned lies channels last, as the convolution that follows wants it.
    """
    batch, channels, *space = images.shape
    axes = len(space)
    split = images.reshape(batch, channels, *(n for side in space for n in (side // 2, 2)))
    inner = [3 + 2 * axis for axis in range(axes)]
    outer = [2 + 2 * axis for axis in range(axes)]
    folded = split.permute(0, *outer, 1, *inner)
    last = folded.reshape(batch, *(side // 2 for side in space), channels * 2**axes)
    return last.movedim(-1, 1)


NETWORKS: Mapping[str, Builder] = {
    "half_unet": _half_unet,
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
    halvings = len(settings.width) - (0 if settings.name == "half_unet" else 1)
    return int(2**halvings)


def require_fitting_windows(recipe: Recipe) -> None:
    """Raise :class:`RecipeError` where the network cannot take the windows of training."""
    multiple, sides = stride(recipe.network), recipe.sampling.patch_size
    if any(side % multiple for side in sides):
        near = [max(1, round(side / multiple)) * multiple for side in sides]
        name, levels = recipe.network.name, len(recipe.network.width)
        raise RecipeError(
            f"sampling.patch_size is {list(sides)}, but network.name {name} with {levels} values "
            f"in network.width takes windows whose sides are multiples of {multiple}, such as "
            f"{near}; give those, or fewer values."
        )


def deepest(settings: NetworkSection) -> tuple[str, int]:
    """Return the submodule with the network's deepest features, by name, and their channels."""
    levels = len(settings.width)
    _builder(settings)
    at = {
        "half_unet": "core.bottleneck",
        "unet": "model" + ".1.submodule" * (levels - 1),
        "dynunet": "bottleneck",
        "basicunet": f"down_{levels - 1}",
        "segresnet": f"down_layers.{levels - 1}",
    }[settings.name]
    doubled = settings.width[0] * 2 ** (levels - 1)
    return at, doubled if settings.name == "segresnet" else settings.width[-1]


def encoder(settings: NetworkSection) -> tuple[str, ...]:
    """Return the submodules from the image down to the deepest features, by name."""
    deepest_name, _ = deepest(settings)
    levels = len(settings.width)
    above = {
        "half_unet": ("core.input_block", "core.downsamples"),
        "unet": tuple("model" + ".1.submodule" * level + ".0" for level in range(levels - 1)),
        "dynunet": ("input_block", "downsamples"),
        "basicunet": ("conv_0", *(f"down_{level}" for level in range(1, levels - 1))),
        "segresnet": ("convInit", *(f"down_layers.{level}" for level in range(levels - 1))),
    }[settings.name]
    return (*above, deepest_name)


def _builder(settings: NetworkSection) -> Builder:
    if settings.name not in NETWORKS:
        raise RecipeError(
            f"network.name is {settings.name!r}{nearest(settings.name, NETWORKS)}; "
            f"allowed are {', '.join(NETWORKS)}."
        )
    return NETWORKS[settings.name]
