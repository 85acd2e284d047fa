"""A U-Net of two convolutions a level and five levels."""

from __future__ import annotations

import torch
from monai.networks.nets import BasicUNet

from rareseg.prediction.networks.network_spec import NetworkParts, network
from rareseg.prediction.networks.norms import monai_norm
from rareseg.recipe.network_sections import BasicUNetSection


@network(
    BasicUNetSection,
    stride=lambda s: 2 ** (len(s.width) - 1),
    parts=lambda s: NetworkParts(
        ("conv_0", *(f"down_{level}" for level in range(1, len(s.width)))),
        f"down_{len(s.width) - 1}",
        s.width[-1],
    ),
)
def basicunet(
    settings: BasicUNetSection, /, *, dimension: int, channels: int, classes: int
) -> torch.nn.Module:
    """Two convolutions a level (Falk et al. 2019), always five levels."""
    width = settings.width
    built: torch.nn.Module = BasicUNet(
        spatial_dims=dimension,
        in_channels=channels,
        out_channels=classes,
        features=(*width, width[0]),
        norm=monai_norm(settings.norm, width),
        dropout=settings.dropout,
    )
    return built
