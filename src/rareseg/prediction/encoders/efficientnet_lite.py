"""EfficientNet-Lite as a feature pyramid, in plain torch.

The Lite networks (Google, 2020) are EfficientNet-B0 … B4 (Tan & Le 2019) without squeeze and
excitation and with ReLU6, so that they run fast on processors. Padding is that of TensorFlow, whose
weights these are: with the symmetric padding of torch the same weights give other numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

NORM_EPSILON = 1e-3
"""Of the batch norms, as trained."""

STEM = 32
"""Channels of the first convolution, whatever the size of the network."""


@dataclass(frozen=True)
class Stage:
    """Blocks of one width: ``expand`` times as many channels within, ``stride`` in the first."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


_STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""EfficientNet-B0 (Tan & Le 2019, table 1)."""

_TAPPED = (0, 1, 2, 4, 6)
"""The stages after which features are taken: the next one halves the image, or there is none."""

REDUCTIONS = (2, 4, 8, 16, 32)
"""By how much each side of the features is smaller than the image's."""

_SCALES: Mapping[str, tuple[float, float]] = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}
"""Factors of width and depth."""

NAMES = tuple(_SCALES)

FIRST = "stem.conv.weight"
"""The weights of the convolution that sees the image."""


def stages(name: str) -> tuple[Stage, ...]:
    """Return the stages of a Lite network; the first and the last keep their depth in all."""
    width, depth = _SCALES[name]
    last = len(_STAGES) - 1
    return tuple(
        Stage(
            stage.repeats if k in (0, last) else -int(-stage.repeats * depth // 1),
            stage.kernel,
            stage.stride,
            stage.expand,
            _rounded(stage.channels * width),
        )
        for k, stage in enumerate(_STAGES)
    )


def widths(name: str) -> tuple[int, ...]:
    """Return the channels of the five features."""
    plan = stages(name)
    return tuple(plan[k].channels for k in _TAPPED)


def _rounded(channels: float) -> int:
    """Round to a multiple of 8, never down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


class EfficientNetLite(nn.Module):
    """The encoder: from (B, C, y, x) to features at 1/2, 1/4, 1/8, 1/16 and 1/32 of each side.

    Sides are multiples of 32; :func:`widths` are the channels of the five.
    """

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        self.stem = _Unit(channels, STEM, kernel=3, stride=2)
        blocks: list[nn.Module] = []
        taps, incoming = [], STEM
        for k, stage in enumerate(stages(name)):
            for repeat in range(stage.repeats):
                blocks.append(_Block(incoming, stage, stage.stride if repeat == 0 else 1))
                incoming = stage.channels
            if k in _TAPPED:
                taps.append(len(blocks) - 1)
        self.blocks = nn.ModuleList(blocks)
        self.taps = frozenset(taps)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the five features, the largest first."""
        features = []
        x = self.stem(images)
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.taps:
                features.append(x)
        return features


class _Unit(nn.Module):
    """A convolution, its norm, and ReLU6 unless ``linear``."""

    def __init__(
        self,
        incoming: int,
        outgoing: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        # Of an even side TensorFlow pads a strided convolution by one less in front.
        self.pad = nn.ZeroPad2d(((kernel - 2) // 2, kernel // 2) * 2) if stride == 2 else None
        self.conv = nn.Conv2d(
            incoming,
            outgoing,
            kernel,
            stride=stride,
            padding=0 if stride == 2 else kernel // 2,
            groups=groups,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(outgoing, eps=NORM_EPSILON)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x if self.pad is None else self.pad(x)))
        return x if self.linear else nn.functional.relu6(x, inplace=True)


class _Block(nn.Module):
    """An inverted residual block (Sandler et al. 2018, figure 3)."""

    def __init__(self, incoming: int, stage: Stage, stride: int) -> None:
        super().__init__()
        within = incoming * stage.expand
        self.expand = _Unit(incoming, within) if stage.expand > 1 else nn.Identity()
        self.depthwise = _Unit(within, within, kernel=stage.kernel, stride=stride, groups=within)
        self.project = _Unit(within, stage.channels, linear=True)
        self.residual = stride == 1 and incoming == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


_UNITS = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}
"""Units of a block by the names of the packages' weights."""


def from_package_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the packages' weights by this module's names; the classifier is left out.

    Names of this module pass as they are.
    """
    renamed = {}
    for name, tensor in weights.items():
        block = re.fullmatch(r"_blocks\.(\d+)\.(_\w+?)\.(\w+)", name)
        if name.startswith("_conv_stem."):
            renamed["stem.conv." + name.rpartition(".")[2]] = tensor
        elif name.startswith("_bn0."):
            renamed["stem.norm." + name.rpartition(".")[2]] = tensor
        elif block and block[2] in _UNITS:
            renamed[f"blocks.{block[1]}.{_UNITS[block[2]]}.{block[3]}"] = tensor
        elif not name.startswith(("_conv_head.", "_bn1.", "_fc.")):
            renamed[name] = tensor
    return renamed


def adapt_first_convolution(weights: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
    """Return weights whose first convolution takes ``channels`` channels in place of three.

    One channel: the sum over red, green and blue, which gives what a grey image repeated three
    times would. Two, four or more: the three in turn, times 3 / ``channels``, so that the response
    keeps its size. Three stay as they are.
    """
    adapted = dict(weights)
    first = adapted.get(FIRST)
    if first is None or first.ndim != 4 or first.shape[1] != 3 or channels == 3:
        return adapted
    if channels == 1:
        adapted[FIRST] = first.sum(dim=1, keepdim=True)
    else:
        order = torch.arange(channels) % 3
        adapted[FIRST] = first[:, order] * (3.0 / channels)
    return adapted
