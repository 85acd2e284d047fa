"""Registry of networks, found by their section of the recipe.

A network is one section (what it reads) and one function (how it is built)::

    class TinySection(NetworkSection):
        name: Literal["tiny"] = "tiny"
        width: int = 8

    @network(
        TinySection, stride=lambda s: 2, parts=lambda s: NetworkParts(("down",), "down", s.width)
    )
    def tiny(settings, *, dimension, channels, classes):
        return ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch

from rareseg.errors import RecipeError
from rareseg.prediction.weights.weight_transfer import Transfer
from rareseg.recipe import NETWORK_SECTIONS, NetworkSection, Recipe

S = TypeVar("S", bound=NetworkSection)
Read = TypeVar("Read", bound=NetworkSection, contravariant=True)


class Builder(Protocol[Read]):
    """Make an untrained network of (batch, channels, *space) to (batch, classes, *space)."""

    def __call__(
        self, settings: Read, /, *, dimension: int, channels: int, classes: int
    ) -> torch.nn.Module:
        """Return the network."""
        ...


@dataclass(frozen=True)
class NetworkParts:
    """Where a network keeps what others need to find in it, by the names of its submodules.

    ``encoder`` leads from the image down to ``deepest``, itself the last of them, whose output has
    ``features`` channels.
    """

    encoder: tuple[str, ...]
    deepest: str
    features: int


@dataclass(frozen=True)
class NetworkSpec(Generic[S]):
    """Everything that the package knows of a network.

    ``section`` is its part of the recipe, ``build`` makes it. Each side of its input is a multiple
    of ``stride(settings)``, by which its deepest features are smaller. ``begin`` gives the weights
    that it begins with beside random ones, as far as they fit a network of ``channels`` input
    channels; None where all are random.
    """

    section: type[S]
    build: Builder[S]
    stride: Callable[[S], int]
    parts: Callable[[S], NetworkParts]
    begin: Callable[[S, torch.nn.Module], Transfer | None] | None = None

    @property
    def name(self) -> str:
        """The network's name in a recipe."""
        return str(self.section.model_fields["name"].default)


_SPECS: dict[type[NetworkSection], NetworkSpec[Any]] = {}


def network(
    section: type[S],
    *,
    stride: Callable[[S], int],
    parts: Callable[[S], NetworkParts],
    begin: Callable[[S, torch.nn.Module], Transfer | None] | None = None,
) -> Callable[[Builder[S]], Builder[S]]:
    """Register the decorated function as the builder of the network that ``section`` describes.

    Raises :class:`RecipeError` where another section has the name already.
    """

    def register(build: Builder[S]) -> Builder[S]:
        NETWORK_SECTIONS.register(section)
        _SPECS[section] = NetworkSpec(section, build, stride, parts, begin)
        return build

    return register


def networks() -> Mapping[str, NetworkSpec[Any]]:
    """Return every registered network by its name."""
    return {spec.name: spec for spec in _SPECS.values()}


def spec_of(settings: NetworkSection) -> NetworkSpec[Any]:
    """Return the record of the network that a section of a recipe describes.

    Raises :class:`RecipeError` where the section is not registered.
    """
    spec = _SPECS.get(type(settings))
    if spec is None:
        raise RecipeError(
            f"network.name {settings.name!r} has a section but no builder; register one with "
            "@network(SECTION, ...) in a module that is imported before the run."
        )
    return spec


def build_network(
    settings: NetworkSection, *, dimension: int, channels: int, classes: int
) -> torch.nn.Module:
    """Return the untrained network that ``settings`` describe, drawn from torch's generator.

    Takes float32 ``(batch, channels, *space)`` and gives logits ``(batch, classes, *space)``; every
    side of ``space`` is a multiple of :func:`stride`. Raises :class:`RecipeError` where the network
    cannot be built so.
    """
    build = spec_of(settings).build
    return build(settings, dimension=dimension, channels=channels, classes=classes)


def stride(settings: NetworkSection) -> int:
    """Return the number of voxels of which each side of the network's input is a multiple."""
    return int(spec_of(settings).stride(settings))


def deepest(settings: NetworkSection) -> tuple[str, int]:
    """Return the submodule with the network's deepest features, by name, and their channels."""
    parts = spec_of(settings).parts(settings)
    return parts.deepest, parts.features


def encoder(settings: NetworkSection) -> tuple[str, ...]:
    """Return the submodules from the image down to the deepest features, by name."""
    return tuple(spec_of(settings).parts(settings).encoder)


def first_weights(settings: NetworkSection, network: torch.nn.Module) -> Transfer | None:
    """Return the pretrained weights that ``settings`` begin with, as far as they fit ``network``.

    None where all weights are drawn at random. Only shapes and names of ``network`` are read.
    """
    begin = spec_of(settings).begin
    return None if begin is None else begin(settings, network)


def require_fitting_windows(recipe: Recipe) -> None:
    """Raise :class:`RecipeError` where the network cannot take the windows of training.

    Also where it cannot be built for images of the recipe's dimension.
    """
    with torch.device("meta"):
        build_network(recipe.network, dimension=recipe.data.dimension, channels=1, classes=2)
    multiple, sides = stride(recipe.network), recipe.sampling.patch_size
    if any(side % multiple for side in sides):
        near = [max(1, round(side / multiple)) * multiple for side in sides]
        raise RecipeError(
            f"sampling.patch_size is {list(sides)}, but network.name {recipe.network.name}, as it "
            f"is set, takes windows whose sides are multiples of {multiple}, such as {near}; give "
            "those, or fewer levels."
        )
