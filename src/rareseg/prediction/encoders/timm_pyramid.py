"""Feature pyramids of timm as encoders, with the extra `encoders`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rareseg.errors import RecipeError, nearest
from rareseg.prediction.encoders.encoder import Encoder, PyramidShape, Weights

INSTALL = "pip install 'rareseg[encoders]'"

_SPDX = {"apache-2.0": "Apache-2.0", "mit": "MIT", "bsd-3-clause": "BSD-3-Clause"}
"""Licences as timm writes them, and as SPDX does."""

_FILES = ("model.safetensors", "pytorch_model.bin")
"""Files in which a hub keeps the weights of a network."""


def timm_encoder(name: str, *, others: Sequence[str] = ()) -> Encoder:
    """Return the feature pyramid that timm calls ``name``.

    ``others`` are encoders that need no timm. Raises :class:`RecipeError` where timm is missing or
    cannot be imported beside this torch, and for a name that it does not know or whose network
    gives no pyramid for images of any size.
    """
    timm = _import_timm(name, others)
    if not timm.is_model(name):
        raise RecipeError(
            f"network.encoder is {name!r}{nearest(name, [*others, *timm.list_models()])}; allowed "
            f"are {', '.join(others)}, none, and the names of timm that give a feature pyramid, "
            "such as convnext_tiny."
        )
    found = _try(name)
    licence = found.known.get("license")
    return Encoder(
        name=name,
        shape=found.shape,
        build=partial(TimmPyramid, name, kept=found.kept, channels_last=found.channels_last),
        rename=found.rename,
        adapt=partial(_adapt, found.first),
        first=found.first,
        package=None,
        licence=_SPDX.get(licence, licence) if licence else None,
        cached=partial(_cached, found.known.get("hf_hub_id")),
    )


class TimmPyramid(nn.Module):
    """A feature pyramid of timm: (B, channels, y, x) to a list of features, channels first.

    ``kept`` are the places of the features that are smaller than the image.
    """

    def __init__(
        self, name: str, channels: int, *, kept: Sequence[int], channels_last: bool
    ) -> None:
        super().__init__()
        self.channels, self.kept, self.channels_last = channels, tuple(kept), channels_last
        self.pyramid = _create(name, channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features, the largest first."""
        found = self.pyramid(images)
        features = [found[place] for place in self.kept]
        return [x.permute(0, 3, 1, 2) for x in features] if self.channels_last else features


@dataclass(frozen=True)
class _Tried:
    """What a trial of a network has shown.

    ``names`` are those of its tensors in :class:`TimmPyramid`, ``known`` is what timm says of its
    pretrained weights.
    """

    shape: PyramidShape
    kept: tuple[int, ...]
    channels_last: bool
    names: tuple[str, ...]
    known: Mapping[str, Any]

    @property
    def first(self) -> tuple[str, ...]:
        """The weights of the convolutions that see the image."""
        listed = self.known.get("first_conv") or ()
        wanted = {_flat(f"{n}.weight") for n in ([listed] if isinstance(listed, str) else listed)}
        return tuple(name for name in self.names if _flat(name) in wanted)

    def rename(self, weights: Weights) -> dict[str, Tensor]:
        """Return weights of the whole network by the names of its feature pyramid."""
        own = {_flat(name): name for name in self.names}
        return {own.get(_flat(name), name): tensor for name, tensor in weights.items()}


def _flat(name: str) -> str:
    """Return a name that a tensor has in the whole network and in its feature pyramid alike.

    timm's pyramid renames what it takes apart: stages.0 becomes stages_0.
    """
    return name.removeprefix("pyramid.").removeprefix("model.").replace("_", ".")


@lru_cache(maxsize=64)
def _try(name: str) -> _Tried:
    """Build a network without memory and show it an image that has a shape alone."""
    # Whatever is drawn here must not move the generator that the network is drawn from later.
    with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad():
        try:
            module = _create(name, 3).eval()
            widths, reductions = module.feature_info.channels(), module.feature_info.reduction()
        except Exception as error:  # timm raises whatever its builders meet
            raise _refusal(name, f"gives no features: {_first_line(error)}") from error
        if not _is_pyramid(reductions):
            divided = ", ".join(f"1/{reduction}" for reduction in reductions)
            raise _refusal(name, f"gives features at {divided} of the image, which are no pyramid")
        height, width = 2 * reductions[-1], 3 * reductions[-1]
        try:
            found = [tuple(x.shape) for x in module(torch.empty(1, 3, height, width))]
        except Exception as error:  # and whatever their layers meet
            raise _refusal(
                name, f"does not take images of any size: {_first_line(error)}"
            ) from error
    first = [(1, w, height // r, width // r) for w, r in zip(widths, reductions, strict=True)]
    last = [(batch, y, x, w) for batch, w, y, x in first]
    if found not in (first, last):
        raise _refusal(name, f"gives features of the shapes {found}, where it tells of {first}")
    kept = tuple(place for place, reduction in enumerate(reductions) if reduction > 1)
    return _Tried(
        shape=PyramidShape(tuple(widths[k] for k in kept), tuple(reductions[k] for k in kept)),
        kept=kept,
        channels_last=found == last and found != first,
        names=tuple(f"pyramid.{own}" for own in module.state_dict()),
        known=module.pretrained_cfg,
    )


def _create(name: str, channels: int) -> Any:
    return importlib.import_module("timm").create_model(
        name, features_only=True, pretrained=False, in_chans=channels
    )


def _is_pyramid(reductions: Sequence[int]) -> bool:
    """Say whether reductions are rising powers of two, beyond the image itself."""
    powers = all(r > 0 and r & (r - 1) == 0 for r in reductions)
    return powers and list(reductions) == sorted(set(reductions)) and max(reductions) > 1


def _adapt(first: Sequence[str], weights: Weights, module: nn.Module) -> dict[str, Tensor]:
    """Fit the convolutions that see the image to a module's channels, as timm does."""
    assert isinstance(module, TimmPyramid)
    adapt = importlib.import_module("timm.models").adapt_input_conv
    adapted = dict(weights)
    for name in first:
        tensor = adapted.get(name)
        if tensor is None or tensor.shape == module.get_parameter(name).shape:
            continue
        try:
            adapted[name] = adapt(module.channels, tensor)
        except NotImplementedError:
            # Of a shape that timm cannot adapt: it begins at random, and is named as unlike.
            continue
    return adapted


def _cached(repository: str | None) -> Path | None:
    """Return the file of weights that timm fetched at another time; nothing is fetched here."""
    if not repository:
        return None
    hub = importlib.import_module("huggingface_hub")
    found = (hub.try_to_load_from_cache(repository, file) for file in _FILES)
    return next((Path(file) for file in found if isinstance(file, str)), None)


def _import_timm(name: str, others: Sequence[str]) -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        if getattr(error, "name", None) == "timm":
            raise RecipeError(
                f"network.encoder is {name!r}{nearest(name, others)}; allowed are "
                f"{', '.join(others)}, none, and with `{INSTALL}` the names of timm."
            ) from error
        raise _unfit(name, error) from error
    except RuntimeError as error:  # torchvision's operators are not those of this torch
        raise _unfit(name, error) from error


def _unfit(name: str, error: Exception) -> RecipeError:
    """Return the error of a timm whose torchvision was built for another torch."""
    try:
        beside = f"torchvision {version('torchvision')}"
    except PackageNotFoundError:
        beside = "no torchvision"
    return RecipeError(
        f"network.encoder is {name!r}, but timm cannot be imported with {beside} beside torch "
        f"{torch.__version__} ({_first_line(error)}); install a torchvision that was built for "
        "this torch, both from one place, such as `pip install torch torchvision --index-url "
        "https://download.pytorch.org/whl/cpu`."
    )


def _refusal(name: str, reason: str) -> RecipeError:
    return RecipeError(
        f"network.encoder is {name!r}, which {reason}; choose one that is convolutional, such as "
        "convnext_tiny."
    )


def _first_line(error: Exception) -> str:
    """Return an error's first line without its last stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
