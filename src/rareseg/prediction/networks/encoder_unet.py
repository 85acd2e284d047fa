"""A U-Net decoder on a pretrained encoder."""

from __future__ import annotations

import torch
from monai.networks.layers.utils import get_norm_layer
from torch import Tensor, nn

from rareseg.errors import RecipeError
from rareseg.prediction.encoders.encoder import PyramidShape
from rareseg.prediction.encoders.encoder_registry import encoder_called
from rareseg.prediction.encoders.encoder_weights import encoder_weights
from rareseg.prediction.networks.network_spec import NetworkParts, network
from rareseg.prediction.networks.norms import monai_norm
from rareseg.recipe.network_sections import EncoderUNetSection


def _parts(settings: EncoderUNetSection) -> NetworkParts:
    widths = encoder_called(settings.encoder).shape.widths
    return NetworkParts(("encoder", "deepest"), "deepest", widths[-1])


@network(
    EncoderUNetSection,
    stride=lambda s: encoder_called(s.encoder).shape.reductions[-1],
    parts=_parts,
    begin=encoder_weights,
)
def encoder_unet(
    settings: EncoderUNetSection, /, *, dimension: int, channels: int, classes: int
) -> torch.nn.Module:
    """U-Net (Ronneberger et al. 2015) whose encoder is a classifier's feature pyramid.

    The encoder gets the images as they are normalised; its own norms follow what they meet while it
    learns. Raises :class:`RecipeError` for volumes, and where the decoder has another number of
    levels than the encoder halves the image.
    """
    if dimension != 2:
        raise RecipeError(
            "network.name is encoder_unet, which takes 2D images, but data.dimension is "
            f"{dimension}; set data.dimension=2, or network.encoder=none."
        )
    encoder = encoder_called(settings.encoder)
    levels = encoder.shape.reductions[-1].bit_length() - 1
    if len(settings.decoder_width) != levels:
        raise RecipeError(
            f"network.decoder_width has {len(settings.decoder_width)} values, but "
            f"{settings.encoder} halves the image {levels} times; give {levels} widths."
        )
    return EncoderUNet(
        encoder.build(channels), encoder.shape, settings, channels=channels, classes=classes
    )


class EncoderUNet(nn.Module):
    """An encoder, and a decoder that doubles its deepest features until they are the image's size.

    At each resolution that the encoder has features of, and at the image's own, those are joined.
    """

    def __init__(
        self,
        encoder: nn.Module,
        shape: PyramidShape,
        settings: EncoderUNetSection,
        *,
        channels: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        # A name for the deepest features, which the presence head reads.
        self.deepest = nn.Identity()
        self.reductions = shape.reductions
        beside = {**dict(zip(shape.reductions, shape.widths, strict=True)), 1: channels}
        levels, incoming = [], shape.widths[-1]
        for level, width in enumerate(settings.decoder_width):
            reduction = shape.reductions[-1] // 2 ** (level + 1)
            # One convolution at full resolution, where each costs the most.
            depth = 1 if reduction == 1 else 2
            levels.append(_Level(incoming + beside.get(reduction, 0), width, depth, settings))
            incoming = width
        self.decoder = nn.ModuleList(levels)
        self.dropout = nn.Dropout2d(settings.dropout)
        self.head = nn.Conv2d(incoming, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """From (B, C, y, x), sides multiples of the stride, to logits (B, classes, y, x)."""
        features = dict(zip(self.reductions, self.encoder(images), strict=True))
        features[1] = images
        reduction = self.reductions[-1]
        x = self.deepest(features[reduction])
        for level in self.decoder:
            reduction //= 2
            x = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
            if reduction in features:
                x = torch.cat([x, features[reduction].to(x.dtype)], dim=1)
            x = level(x)
        logits: Tensor = self.head(self.dropout(x))
        return logits


class _Level(nn.Sequential):
    """Convolutions of one level of the decoder, each with its norm and ReLU."""

    def __init__(self, incoming: int, width: int, depth: int, settings: EncoderUNetSection) -> None:
        norm = monai_norm(settings.norm, settings.decoder_width)
        modules: list[nn.Module] = []
        for _ in range(depth):
            modules += [
                nn.Conv2d(incoming, width, 3, padding=1, bias=False),
                get_norm_layer(norm, spatial_dims=2, channels=width),
                nn.ReLU(inplace=True),
            ]
            incoming = width
        super().__init__(*modules)
