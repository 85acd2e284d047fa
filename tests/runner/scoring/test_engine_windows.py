"""What an engine is shown of an image: the windows, weights and mirrors that torch is shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data.utils import compute_importance_map, dense_patch_slices

from rareseg.prediction.networks import stride
from rareseg.prediction.scorer import score_array
from rareseg.recipe import make_recipe
from rareseg_runner.scoring.engine_windows import (
    gaussian_weights,
    score_with_engine,
    window_corners,
)
from rareseg_runner.scoring.model_description import ScoringSettings


class Layers(torch.nn.Module):
    """Logits of three classes and log-odds of two regions, which every window changes."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        convolution = torch.nn.Conv2d if dimension == 2 else torch.nn.Conv3d
        self.layers = torch.nn.Sequential(
            convolution(1, 4, 3, padding=1), torch.nn.ReLU(), convolution(4, 3, 3, padding=1)
        )
        self.linear = torch.nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.layers(images)
        return 4.0 * logits, self.linear(logits.flatten(2).amax(2))


class AsEngine:
    """Layers as an engine computes them; counts the images that it is given."""

    def __init__(self, layers: Layers) -> None:
        self.layers, self.images = layers, 0

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert images.flags.c_contiguous
        assert images.dtype == np.float32
        self.images += len(images)
        with torch.inference_mode():
            logits, odds = self.layers(torch.from_numpy(images))
        return logits.numpy(), odds.numpy()


def both(shape: tuple[int, ...], dimension: int, **settings):
    """Return what torch and the engine's windows say of one array, and the engine."""
    torch.manual_seed(1)
    layers, generator = Layers(dimension).eval(), np.random.default_rng(2)
    array = generator.normal(size=(1, *shape)).astype(np.float32)
    patch = [32] * dimension
    recipe = make_recipe(
        {
            "data": {"dimension": dimension},
            "network": {"name": "half_unet"},
            "sampling": {"patch_size": patch},
            "prediction": settings,
        }
    )
    expected = score_array(layers, array, recipe, device=torch.device("cpu"), precision="32")

    engine = AsEngine(layers)
    own = ScoringSettings(
        dimension,
        stride(recipe.network),
        recipe.prediction.tile,
        recipe.prediction.overlap,
        recipe.prediction.mirror,
    )
    return expected, score_with_engine(engine, array, own), engine


@pytest.mark.parametrize(
    ("shape", "dimension", "settings"),
    [
        ((1, 40, 50), 2, {}),
        ((1, 1, 1), 2, {}),
        ((5, 33, 47), 2, {"mirror": True}),
        ((1, 100, 70), 2, {"tile": [32, 48], "overlap": 0.5}),
        ((2, 100, 70), 2, {"tile": [33, 48], "overlap": 0.25, "mirror": True}),
        ((20, 33, 40), 3, {}),
        ((40, 48, 33), 3, {"tile": [16, 32, 32], "overlap": 0.5, "mirror": True}),
        ((3, 70, 33), 3, {"tile": [32, 32, 32], "overlap": 0.75}),
    ],
)
def test_scores_and_presence_are_those_of_torch(shape, dimension, settings):
    expected, found, _ = both(shape, dimension, **settings)
    assert found.probabilities.shape == expected.probabilities.shape == (3, *shape)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=2e-6)
    np.testing.assert_allclose(found.presence, expected.presence, atol=1e-6)


@pytest.mark.parametrize(
    ("space", "size", "overlap"),
    [((100, 70), (32, 48), 0.5), ((64, 33, 20), (32, 16, 20), 0.25), ((40,), (40,), 0.9)],
)
def test_windows_lie_where_monai_lays_them(space, size, overlap):
    step = [
        whole if side == whole else max(1, int(side * (1 - overlap)))
        for whole, side in zip(space, size, strict=True)
    ]
    expected = dense_patch_slices(space, size, step)
    corners = [tuple(side.start for side in window) for window in expected]
    assert list(window_corners(space, size, overlap)) == corners


@pytest.mark.parametrize("size", [(32, 48), (16, 16, 33), (1, 5)])
def test_weights_are_those_of_monai(size):
    expected = compute_importance_map(size, mode="gaussian", sigma_scale=0.125)
    np.testing.assert_allclose(gaussian_weights(size), expected.numpy(), rtol=1e-5, atol=1e-7)


def test_slices_of_one_value_are_computed_once():
    torch.manual_seed(1)
    engine = AsEngine(Layers(2).eval())
    array = np.zeros((1, 6, 16, 16), np.float32)
    array[0, 2] = np.random.default_rng(0).normal(size=(16, 16))
    array[0, 4] = 1.5
    found = score_with_engine(engine, array, ScoringSettings(2, 16))
    assert engine.images == 3  # of zeros, of noise, of 1.5
    for same in (1, 3, 5):
        np.testing.assert_array_equal(found.probabilities[:, same], found.probabilities[:, 0])
    assert not np.allclose(found.probabilities[:, 4], found.probabilities[:, 0])
