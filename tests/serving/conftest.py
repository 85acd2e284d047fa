"""A service as people start it, and a model that is quick to ask."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from rareseg.decision.decisions import Decisions
from rareseg.decision.operating_point import Frontier, OperatingPoint, PointChoice
from rareseg.prediction.bundle import save_model
from rareseg.prediction.model import Model
from rareseg.prediction.networks import build_network
from rareseg.prediction.training_facts import TrainingFacts
from rareseg.recipe import make_recipe
from rareseg_runner.image_records import Classes
from rareseg_runner.preprocessing.image_facts import ImageFacts
from rareseg_runner.preprocessing.preprocess import Preprocessing


def write_model(folder: Path, *, channels: int = 1, dimension: int = 2) -> Path:
    """Write the bundle of a model that marks bright pixels: its last layer alone is set."""
    recipe = make_recipe(
        {
            "data": {"dimension": dimension},
            "sampling": {"patch_size": [16] * dimension},
            "network": {"name": "unet", "width": [4, 8]},
            "prediction": {"tile": None},
        }
    )
    torch.manual_seed(0)
    network = build_network(recipe.network, dimension=dimension, channels=channels, classes=2)
    facts = ImageFacts(dimension, ("uint8",), (0.0,) * channels, (255.0,) * channels)
    training = TrainingFacts(1, 1, "d", images=facts)
    classes = Classes(("background", "crack"), (0, 1), {"crack": (1,)})
    model = Model(
        recipe, classes, channels, Preprocessing(dimension=dimension, method="range"), "32",
        network.state_dict(), training,
    )  # fmt: skip
    save_model(folder, model)
    choice = PointChoice(OperatingPoint("crack", 0.5), Frontier())
    Decisions.none(classes.regions).choose({"crack": choice}).save(folder)
    return folder


@dataclass(frozen=True)
class Running:
    """A service in a process of its own."""

    url: str
    process: subprocess.Popen[str]
    log: Path


@contextmanager
def running(
    model: Path, folder: Path, *options: str, env: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Start `rareseg serve` on a free port, and end it."""
    log = folder / "serve.log"
    command = [sys.executable, "-m", "rareseg", "serve", str(model), "--port", "0", *options]
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stream,
            encoding="utf-8",
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+?:\d+", line)
        assert found, f"{line}{log.read_text(encoding='utf-8')}"
        yield Running(found[0], process, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def bright(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("bright") / "bundle")


@pytest.fixture(scope="session")
def service(bright, tmp_path_factory) -> Iterator[Running]:
    """One service for all tests that leave it as it is."""
    limits = ("--queue", "4", "--megabytes", "1", "--megapixels", "0.25", "--threads", "1")
    with running(bright, tmp_path_factory.mktemp("service"), *limits) as found:
        yield found


@pytest.fixture(scope="session")
def start():
    """Start a service of a model in a process of its own."""
    return running


@pytest.fixture(scope="session")
def model_file():
    """Write a small model."""
    return write_model
