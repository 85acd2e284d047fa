"""A residual U-Net whose first convolution halves the image."""

from __future__ import annotations

import torch
from monai.networks.nets import UNet

from rareseg.prediction.networks.network_spec import NetworkParts, network
from rareseg.prediction.networks.norms import monai_norm
from rareseg.recipe.network_sections import UNetSection


def _parts(settings: UNetSection) -> NetworkParts:
    levels = len(settings.width)
    below = "model" + ".1.submodule" * (levels - 1)
    above = tuple("model" + ".1.submodule" * level + ".0" for level in range(levels - 1))
    return NetworkParts((*above, below), below, settings.width[-1])


@network(UNetSection, stride=lambda s: 2 ** (len(s.width) - 1), parts=_parts)
def unet(
    settings: UNetSection, /, *, dimension: int, channels: int, classes: int
) -> torch.nn.Module:
    """Residual U-Net (Zhang et al. 2018; Kerfoot et al. 2019), the cheapest of MONAI's by far."""
    built: torch.nn.Module = UNet(
        spatial_dims=dimension,
        in_channels=channels,
        out_channels=classes,
        channels=settings.width,
        strides=(2,) * (len(settings.width) - 1),
        num_res_units=settings.residual_units,
        # It also normalises the few channels beside the logits, which only one group divides.
        norm=monai_norm(settings.norm, settings.width, groups=1),
        dropout=settings.dropout,
    )
    return built
