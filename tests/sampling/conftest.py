"""Small stores of known content."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rareseg.data.store.array_store import store_from_arrays
from rareseg.data.store.store import Store
from rareseg_runner.image_records import IGNORE, Classes
from rareseg_runner.preprocessing.preprocess import Preprocessing

CLASSES = Classes(
    names=("background", "spot", "line"),
    values=(0, 1, 2),
    regions={"foreground": (1, 2), "spot": (1,), "line": (2,)},
    ignore_value=IGNORE,
)


def photographs() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Five photographs of different sizes: two are empty, one has an ignored row."""
    rng = np.random.default_rng(7)
    images, labels = {}, {}
    for name, (height, width) in {
        "a": (30, 41),
        "b": (25, 25),
        "c": (12, 50),
        "d": (9, 7),
        "e": (33, 20),
    }.items():
        images[name] = rng.integers(0, 256, (2, 1, height, width)).astype(np.uint8)
        labels[name] = np.zeros((1, height, width), np.uint8)
    labels["a"][0, 3:5, 38:41] = 1
    labels["a"][0, 20, 2:30] = 2
    labels["b"][0, 0, 0] = 1
    labels["c"][0, :, 49] = 2
    labels["b"][0, 24, :] = IGNORE
    return images, labels


def volumes() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Three int16 volumes of different shapes; the second is empty."""
    rng = np.random.default_rng(8)
    images, labels = {}, {}
    for name, shape in {"v": (6, 12, 15), "w": (9, 8, 8), "x": (3, 20, 11)}.items():
        images[name] = rng.integers(-1000, 3000, (2, *shape)).astype(np.int16)
        labels[name] = np.zeros(shape, np.uint8)
    labels["v"][2:4, 5:7, 9:12] = 1
    labels["v"][5, 11, 14] = 2
    labels["x"][0, 0:4, 10] = 2
    return images, labels


@pytest.fixture(scope="session")
def flat_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store_from_arrays(
        tmp_path_factory.mktemp("flat") / "store",
        *photographs(),
        classes=CLASSES,
        preprocessing=Preprocessing(dimension=2, method="zscore"),
    )


@pytest.fixture(scope="session")
def volume_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store_from_arrays(
        tmp_path_factory.mktemp("volume") / "store",
        *volumes(),
        classes=CLASSES,
        preprocessing=Preprocessing(dimension=3, method="zscore"),
    )


@pytest.fixture(params=["photographs", "slices", "volumes"])
def scene(
    request: pytest.FixtureRequest, flat_store: Store, volume_store: Store
) -> tuple[Store, tuple[int, ...]]:
    """A store and a patch size: photographs, axial planes of volumes, and volumes."""
    return {
        "photographs": (flat_store, (8, 10)),
        "slices": (volume_store, (6, 5)),
        "volumes": (volume_store, (4, 6, 5)),
    }[request.param]


LEVELS = (0.99, 0.8, 0.6)


def told() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The photographs' labels; the second channel tells what a network says of every pixel.

    It holds 10 · class + the index of its probability in LEVELS; one pixel in six is random.
    """
    rng = np.random.default_rng(9)
    _, labels = photographs()
    images = {}
    for name, label in labels.items():
        said = np.where(label == IGNORE, 0, label) * 10
        random = rng.integers(0, 3, label.shape) * 10 + rng.integers(0, 3, label.shape)
        said = np.where(rng.random(label.shape) < 1 / 6, random, said)
        images[name] = np.stack([label, said]).astype(np.uint8)
    return images, labels


@pytest.fixture(scope="session")
def told_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store in which a network's answers, right and wrong, are known by construction."""
    return store_from_arrays(
        tmp_path_factory.mktemp("told") / "store",
        *told(),
        classes=CLASSES,
        groups={"a": "one", "b": "one", "c": "two"},
        preprocessing=Preprocessing(dimension=2, method="none"),
    )


def tell_network(images: torch.Tensor) -> torch.Tensor:
    """Say what the second channel tells; the other two classes share the rest."""
    said, level = (images[:, 1] // 10).long(), (images[:, 1] % 10).long()
    sure = torch.tensor(LEVELS)[level].unsqueeze(1)
    chosen = torch.nn.functional.one_hot(said, 3).movedim(-1, 1).bool()
    return torch.where(chosen, sure, (1 - sure) / 2)


@pytest.fixture(scope="session")
def tell() -> Callable[[torch.Tensor], torch.Tensor]:
    """The network of the told store."""
    return tell_network
