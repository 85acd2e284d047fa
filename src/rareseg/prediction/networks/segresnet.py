"""A residual encoder with a light decoder."""

from __future__ import annotations

import torch
from monai.networks.nets import SegResNet

from rareseg.prediction.networks.network_spec import NetworkParts, network
from rareseg.prediction.networks.norms import monai_norm
from rareseg.recipe.network_sections import SegResNetSection


def _widths(settings: SegResNetSection) -> list[int]:
    return [settings.first_width * 2**level for level in range(settings.levels)]


@network(
    SegResNetSection,
    stride=lambda s: 2 ** (s.levels - 1),
    parts=lambda s: NetworkParts(
        ("convInit", *(f"down_layers.{level}" for level in range(s.levels))),
        f"down_layers.{s.levels - 1}",
        _widths(s)[-1],
    ),
)
def segresnet(
    settings: SegResNetSection, /, *, dimension: int, channels: int, classes: int
) -> torch.nn.Module:
    """Residual encoder with a light decoder (Myronenko 2018); widths double from the first."""
    built: torch.nn.Module = SegResNet(
        spatial_dims=dimension,
        init_filters=settings.first_width,
        in_channels=channels,
        out_channels=classes,
        blocks_down=(settings.blocks,) * settings.levels,
        blocks_up=(1,) * (settings.levels - 1),
        norm=monai_norm(settings.norm, _widths(settings)),
        dropout_prob=settings.dropout or None,
    )
    return built
