"""Record of an encoder: its features, how it is built, and where its weights lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class PyramidShape:
    """The features of an encoder, the largest first.

    ``widths`` are their channels, ``reductions`` by how much each side is smaller than the image's:
    powers of two from 2 on, each larger than the one before. The last is the encoder's stride.
    """

    widths: tuple[int, ...]
    reductions: tuple[int, ...]


def _no_file() -> Path | None:
    return None


@dataclass(frozen=True)
class Encoder:
    """An encoder, how it is built and where its weights come from.

    ``build(channels)`` gives a module with random weights that takes (B, channels, y, x) and
    returns a list of features as ``shape`` describes them. ``rename`` turns the names that its
    pretrained weights have elsewhere into the module's; names that it does not know pass as they
    are. ``first`` are the convolutions that see the image, and ``adapt`` fits them to a module of
    other input channels. Pretrained weights lie in the installed ``package``, otherwise in the file
    that ``cached`` finds. ``licence`` is that of the weights.
    """

    name: str
    shape: PyramidShape
    build: Callable[[int], nn.Module]
    rename: Callable[[Weights], Weights]
    adapt: Callable[[Weights, nn.Module], Weights]
    first: tuple[str, ...]
    package: str | None
    licence: str | None
    cached: Callable[[], Path | None] = _no_file
