"""Transfer weights of an earlier network, as far as they fit another.

Nothing is unpickled: safetensors hold numbers alone, and torch files are read as such. What does
not fit is named, since a network that silently begins anew looks like one that learned nothing
from the other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rareseg.errors import BundleError, RecipeError
from rareseg.prediction.bundle import load_model
from rareseg.prediction.model import split_members
from rareseg.prediction.weights.weights_origin import Attribution, WeightsOrigin, attributions_of
from rareseg_runner.atomic_files import file_digest

Weights = Mapping[str, Tensor]

SHOWN = 4
"""Names that a sentence lists before it counts the rest."""


@dataclass(frozen=True)
class Transfer:
    """Earlier weights as far as they fit a network, by the network's own names.

    ``unlike`` are tensors that both have in other shapes, ``absent`` those that only the network
    has, ``unused`` those that only the source has, by its names. ``digest`` is the SHA-256 of the
    file, ``licence`` what its weights come under, where that is known, and ``notice`` the licence
    file that came with them. ``inherited`` is what a bundle among the sources was made from.
    """

    source: str
    digest: str
    weights: Weights
    unlike: Mapping[str, str]
    absent: tuple[str, ...]
    unused: tuple[str, ...]
    licence: str | None = None
    notice: str | None = None
    inherited: tuple[Attribution, ...] = ()

    @property
    def origin(self) -> WeightsOrigin:
        """What a model tells of where it began; not the weights."""
        return WeightsOrigin(
            source=self.source,
            sha256=self.digest,
            taken=tuple(sorted(self.weights)),
            unlike=self.unlike,
            absent=self.absent,
            unused=self.unused,
            licence=self.licence,
            notice=self.notice,
            inherited=self.inherited,
        )


def listed(names: Collection[str]) -> str:
    """Return the first names, and how many more there are."""
    shown = list(names)[:SHOWN]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def weights_file(path: Path, *, setting: str = "training.initial_weights") -> Path:
    """Return the file with the weights of a run, a bundle, or ``path`` itself.

    Raises :class:`RecipeError`, which names ``setting``, where there is none.
    """
    for file in (path, path / "weights.safetensors", path / "bundle" / "weights.safetensors"):
        if file.is_file():
            return file
    raise RecipeError(
        f"{setting} is {path}, which is no file, no run and no bundle; name what "
        "`rareseg train --out` wrote, a .safetensors file, or a state_dict that torch saved."
    )


def bundle_of(file: Path) -> Path | None:
    """Return the bundle that a file of weights belongs to, or ``None``."""
    described = file.name == "weights.safetensors" and (file.parent / "bundle.json").is_file()
    return file.parent if described else None


def inherited(file: Path) -> tuple[Attribution, ...]:
    """Return what the weights in a file owe to others: known of those of a bundle alone."""
    bundle = bundle_of(file)
    if bundle is None:
        return ()
    training = load_model(bundle).training
    return attributions_of(training.encoder_weights, training.initial_weights)


def read_weights(file: Path) -> dict[str, Tensor]:
    """Return the tensors of one network from a bundle's weights, safetensors or a torch file.

    Of a bundle with several networks, the last; of a checkpoint that holds more than one
    state_dict, the largest. Raises :class:`BundleError` for a file that cannot be read so.
    """
    bundle = bundle_of(file)
    if bundle is not None:
        return split_members(load_model(bundle))[-1]
    try:
        if file.suffix == ".safetensors":
            tensors: dict[str, Tensor] = load_file(file)
            return tensors
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError) as error:
        raise BundleError(
            f"{file} cannot be read as weights ({error}); save them again."
        ) from error
    except Exception as error:  # torch raises whatever its own reader met
        raise BundleError(
            f"{file} is damaged or holds more than tensors, which is never unpickled; save its "
            "state_dict() alone, with torch.save or safetensors."
        ) from error
    found = _state_dict(content)
    if not found:
        raise BundleError(
            f"{file} holds no state_dict; save one, as torch.save(network.state_dict(), FILE) does."
        )
    return found


def transfer(file: Path, network: torch.nn.Module, *, source: str) -> Transfer:
    """Return the weights in ``file`` as far as they fit ``network``, for training.initial_weights.

    Raises as :func:`fitting_weights` and :func:`read_weights`.
    """
    found = fitting_weights(
        read_weights(file),
        network,
        source=source,
        digest=file_digest(file),
        setting="training.initial_weights",
    )
    return replace(found, inherited=inherited(file))


def fitting_weights(
    found: Weights, network: torch.nn.Module, *, source: str, digest: str, setting: str
) -> Transfer:
    """Return weights that were found, as far as they fit ``network``.

    Names are compared as they are, and without a prefix that either side wears ("module.",
    "core."), whichever fits the most. ``setting`` is the key of the recipe that asked for them.
    Raises :class:`RecipeError` where nothing fits.
    """
    everything = network.state_dict(keep_vars=True)
    own = {name: everything[name] for name in _first_names(everything)}
    names = _matched(everything, found)
    weights = {n: found[names[n]] for n in own if _same(own[n], found.get(names[n]))}
    if not weights:
        raise RecipeError(
            f"{setting} is {source}, of which nothing fits the network: it holds "
            f"{listed(found)} where {listed(own)} are needed; choose the network, or its "
            "encoder, and their settings as they were there."
        )
    shared = [n for n in own if n not in weights and names[n] in found]
    return Transfer(
        source=source,
        digest=digest,
        weights={name: tensor.to(own[name].dtype) for name, tensor in weights.items()},
        unlike={n: f"{_shape(found[names[n]])} there, {_shape(own[n])} here" for n in shared},
        absent=tuple(n for n in own if names[n] not in found),
        unused=tuple(sorted(set(found) - set(names.values()))),
    )


def begin_with(network: torch.nn.Module, weights: Weights) -> None:
    """Put the weights of a :class:`Transfer` in their places; all others stay as they are."""
    network.load_state_dict(dict(weights), strict=False)


def _state_dict(content: Any) -> dict[str, Tensor]:
    """Return the largest mapping of names to tensors in what torch loaded, at any depth."""
    if not isinstance(content, Mapping):
        return {}
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return {str(name): tensor for name, tensor in content.items()}
    return max((_state_dict(value) for value in content.values()), key=len, default={})


def _first_names(weights: Weights) -> list[str]:
    """Return one name for each tensor; MONAI's networks hold some under two."""
    first: dict[int, str] = {}
    for name, tensor in weights.items():
        first.setdefault(id(tensor), name)
    return list(first.values())


def _matched(own: Weights, found: Weights) -> dict[str, str]:
    """Return the name that each of ``own`` has in ``found``, under the prefix that fits best."""
    best: dict[str, str] = {name: name for name in own}
    most = _fitting(best, own, found)
    for prefix in name_prefixes(found):
        names = {name: prefix + name for name in own}
        fitting = _fitting(names, own, found)
        if fitting > most:
            best, most = names, fitting
    for prefix in name_prefixes(own):
        names = {name: name.removeprefix(prefix) for name in own}
        fitting = _fitting(names, own, found)
        if fitting > most:
            best, most = names, fitting
    return best


def _fitting(names: Mapping[str, str], own: Weights, found: Weights) -> int:
    return sum(_same(own[name], found.get(other)) for name, other in names.items())


def name_prefixes(weights: Weights) -> list[str]:
    """Return what names begin with, up to two components, the shortest first."""
    pieces = [name.split(".") for name in weights]
    found = {".".join(p[:depth]) + "." for p in pieces for depth in (1, 2) if len(p) > depth}
    return sorted(found, key=lambda prefix: (prefix.count("."), prefix))


def _same(own: Tensor, other: Tensor | None) -> bool:
    return other is not None and own.shape == other.shape


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"
