"""Predict the presence of each region in an image from the deepest features.

The head learns beside the outlines (:mod:`rareseg.training.presence_losses`) and stays with the
network: a bundle's weights hold it under :data:`~rareseg.prediction.model.IMAGE_HEAD`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.amp import is_autocast_available

from rareseg.errors import BundleError
from rareseg.prediction.model import IMAGE_HEAD
from rareseg.prediction.networks import build_network, deepest
from rareseg.recipe import Recipe

DROPOUT = 0.2


class ImageHead(torch.nn.Module):
    """The log-odds that an image holds each region: a linear function of its pooled features.

    The mean tells what fills an image, the maximum what a few cells hold. Weights begin at 0:
    nothing is said (a presence of one half), and the first step leaves the encoder alone. Computed
    in float32 whatever the network computes in.
    """

    def __init__(self, features: int, regions: int) -> None:
        super().__init__()
        self.dropout = torch.nn.Dropout(DROPOUT)
        self.linear = torch.nn.Linear(2 * features, regions)
        torch.nn.init.zeros_(self.linear.weight)
        torch.nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        """From (B, features, *space) to log-odds (B, regions) float32."""
        cells = features.float().flatten(2)
        pooled = torch.cat([cells.mean(2), cells.amax(2)], dim=1)
        with _as_it_is(features.device):
            odds: Tensor = self.linear(self.dropout(pooled))
        return odds


class WithImageHead(torch.nn.Module):
    """A network that also says which regions each image holds.

    ``deepest`` names the submodule of ``network`` whose output, of ``features`` channels, is read.
    """

    def __init__(
        self, network: torch.nn.Module, *, deepest: str, features: int, regions: int
    ) -> None:
        super().__init__()
        self.network = network
        self.deepest = deepest
        self.image_head = ImageHead(features, regions)

    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (B, classes, *space) of images, and the network's deepest features."""
        seen: list[Tensor] = []
        hook = self.network.get_submodule(self.deepest).register_forward_hook(
            lambda _module, _inputs, output: seen.append(output)
        )
        try:
            logits: Tensor = self.network(images)
        finally:
            hook.remove()
        return logits, seen[0]

    def forward(self, images: Tensor) -> tuple[Tensor, Any]:
        """From (B, C, *space) to logits (B, classes, *space) and log-odds (B, regions)."""
        logits, features = self.look(images)
        return logits, self.image_head(features)


def _as_it_is(device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which no operation changes its precision by itself."""
    if is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def kept_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what a bundle keeps of the weights of a :class:`WithImageHead` or a subclass of it.

    The network's by its own names, and those of the image head; any other head is left out. Weights
    of a network alone are returned as they are.
    """
    if not any(name.startswith(IMAGE_HEAD) for name in weights):
        return dict(weights)
    return {
        name.removeprefix("network."): tensor
        for name, tensor in weights.items()
        if name.startswith(("network.", IMAGE_HEAD))
    }


def without_image_head(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the network alone."""
    return {name: tensor for name, tensor in weights.items() if not name.startswith(IMAGE_HEAD)}


def load_network(
    weights: Mapping[str, Tensor], recipe: Recipe, *, channels: int, classes: int
) -> torch.nn.Module:
    """Return the network of one member's weights, a :class:`WithImageHead` where they hold one.

    Raises :class:`BundleError` where they are not the weights of such a network.
    """
    of_network = without_image_head(weights)
    build = partial(
        build_network,
        recipe.network,
        dimension=recipe.data.dimension,
        channels=channels,
        classes=classes,
    )
    _require_fitting(of_network, build)
    network = build()
    network.load_state_dict(of_network)
    head = {
        name.removeprefix(IMAGE_HEAD): tensor
        for name, tensor in weights.items()
        if name.startswith(IMAGE_HEAD)
    }
    if not head:
        return network
    at, features = deepest(recipe.network)
    both = WithImageHead(network, deepest=at, features=features, regions=len(head["linear.weight"]))
    both.image_head.load_state_dict(head)
    return both


def _require_fitting(weights: Mapping[str, Tensor], build: Callable[[], torch.nn.Module]) -> None:
    """Raise :class:`BundleError` unless weights have the shapes of the network that is to be built.

    On torch's meta device, so that counts that are too large are found before memory is taken.
    """
    try:
        with torch.device("meta"):
            planned = {name: tuple(t.shape) for name, t in build().state_dict().items()}
    except (RuntimeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise BundleError(
            f"The network that the bundle describes cannot be built ({reason}); copy the bundle "
            "again or train anew."
        ) from error
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in [*planned, *found]:
        if planned.get(name) != found.get(name):
            raise BundleError(
                f"The weights of the bundle are not those of the network that it describes: {name} "
                f"is {_shape(found.get(name))} where {_shape(planned.get(name))} is needed; copy "
                "the bundle again or train anew."
            )


def _shape(sides: tuple[int, ...] | None) -> str:
    if sides is None:
        return "nothing"
    return " × ".join(map(str, sides)) or "one number"


class Windows:
    """Calls a network window by window and keeps what it says of each beside the logits."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network
        self.odds: list[Tensor] = []

    def __call__(self, windows: Tensor) -> Tensor:
        """Return the logits of some windows."""
        output: Tensor | tuple[Tensor, Tensor] = self.network(windows)
        if isinstance(output, Tensor):
            return output
        logits, odds = output
        self.odds.append(odds)
        return logits

    def presence(self, images: int) -> Tensor | None:
        """Return the presence (images, regions) float32, the largest over each image's windows.

        The windows were given image by image, of each image equally many. None where the network
        says nothing of whole images.
        """
        if not self.odds:
            return None
        odds = torch.cat(self.odds).float()
        return odds.reshape(images, -1, odds.shape[1]).amax(1).sigmoid()
