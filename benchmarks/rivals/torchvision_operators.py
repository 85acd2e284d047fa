"""Let torchvision be imported beside a torch that it was not built for, such as one without CUDA.

timm imports torchvision for its transforms. Its compiled operators are of no use here; where they
cannot be loaded, two must at least be declared, or the import fails.
"""

from __future__ import annotations

import importlib
import sys

import torch

_KEPT: list[torch.library.Library] = []
"""A declaration holds as long as its library is referred to."""


def declare_missing() -> None:
    """Declare ``torchvision::nms`` and ``qnms`` where torchvision cannot be imported otherwise."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
