"""Whole images: at once or in windows, of any size, and what becomes of their scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rareseg.errors import DataError
from rareseg.prediction.model import Model
from rareseg.prediction.networks import build_network
from rareseg.prediction.scorer import ModelScorer, score_array
from rareseg.prediction.training_facts import TrainingFacts
from rareseg.recipe import Recipe, make_recipe
from rareseg_runner.decision.label_map import label_map
from rareseg_runner.decision.region_scores import region_scores
from rareseg_runner.image_records import Classes, Geometry, Image
from rareseg_runner.preprocessing.preprocess import Preprocessing, network_input

CPU = torch.device("cpu")


def recipe_for(dimension=2, *, name="unet", width=(4, 8), **prediction) -> Recipe:
    return make_recipe(
        {
            "data": {"dimension": dimension},
            "sampling": {"patch_size": [16] * dimension},
            "network": {"name": name, "width": list(width)},
            "prediction": {"tile": None, **prediction},
        }
    )


def network_for(recipe, *, channels=1, classes=3):
    torch.manual_seed(0)
    return build_network(
        recipe.network, dimension=recipe.data.dimension, channels=channels, classes=classes
    ).eval()


def noise(*shape):
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def score(network, array, recipe):
    return score_array(network, array, recipe, device=CPU, precision="32").probabilities


class Pointwise(torch.nn.Module):
    """Logits that depend on each voxel alone, so that no window or padding can change them."""

    def forward(self, images):
        value = images[:, :1]
        return torch.cat([value, -value, 0.5 * value + 0.1], dim=1)


def pointwise_scores(array):
    logits = np.stack([array[0], -array[0], 0.5 * array[0] + 0.1]).astype(np.float64)
    exponents = np.exp(logits - logits.max(axis=0))
    return exponents / exponents.sum(axis=0)


@pytest.mark.parametrize(
    ("dimension", "shape"),
    [
        (2, (1, 16, 16)),
        (2, (1, 17, 23)),
        (2, (1, 1, 1)),
        (2, (1, 2, 37)),
        (2, (1, 3, 5)),
        (2, (7, 19, 33)),
        (3, (8, 8, 8)),
        (3, (7, 9, 11)),
        (3, (1, 5, 2)),
    ],
)
class TestAnySize:
    def test_the_result_lies_on_the_images_grid(self, dimension, shape):
        recipe = recipe_for(dimension, name="half_unet", width=(4, 8, 8))
        scores = score(network_for(recipe, channels=2), noise(2, *shape), recipe)
        assert scores.shape == (3, *shape)
        assert scores.dtype == np.float32
        assert np.allclose(scores.sum(axis=0), 1, atol=1e-6)
        assert scores.min() >= 0

    @pytest.mark.parametrize("mirror", [False, True])
    @pytest.mark.parametrize("tile", [None, 4, 8])
    def test_every_voxel_has_its_own_score(self, dimension, shape, tile, mirror):
        tiles = None if tile is None else [tile] * dimension
        recipe = recipe_for(dimension, tile=tiles, mirror=mirror)
        array = noise(1, *shape)
        assert np.allclose(score(Pointwise(), array, recipe), pointwise_scores(array), atol=1e-5)


class TestWindows:
    def test_an_image_that_fits_into_the_tile_is_scored_as_a_whole(self):
        array, whole = noise(1, 1, 40, 56), recipe_for()
        network = network_for(whole)
        expected = score(network, array, whole)
        for tile in ([40, 56], [64, 64], [41, 1000]):
            assert np.array_equal(score(network, array, recipe_for(tile=tile)), expected)

    def test_overlapping_windows_come_close_to_the_whole(self):
        # Scores of windows differ from those of the whole near the windows' own borders alone.
        array, whole = noise(1, 1, 96, 96), recipe_for()
        network = network_for(whole)
        windows = score(network, array, recipe_for(tile=[64, 64], overlap=0.75))
        difference = np.abs(windows - score(network, array, whole))
        assert difference.mean() < 0.01
        assert difference.max() > 0

    def test_slices_do_not_see_each_other(self):
        recipe = recipe_for()
        array = noise(1, 5, 24, 32)
        network = network_for(recipe)
        together = score(network, array, recipe)
        alone = np.concatenate([score(network, array[:, z : z + 1], recipe) for z in range(5)], 1)
        assert np.allclose(together, alone, atol=1e-6)

    @pytest.mark.parametrize("dimension", [2, 3])
    def test_mirroring_makes_the_answer_the_same_for_a_mirrored_image(self, dimension):
        recipe = recipe_for(dimension, mirror=True)
        array = noise(1, 8, 24, 24)
        network = network_for(recipe)
        straight = score(network, array, recipe)
        turned = score(network, array[..., ::-1], recipe)[..., ::-1]
        assert np.allclose(straight, turned, atol=1e-5)
        plain = recipe_for(dimension)
        assert not np.allclose(
            score(network, array, plain), score(network, array[..., ::-1], plain)[..., ::-1]
        )

    def test_padding_reflects(self):
        # 5 pixels of a row padded to 8 by reflection: 0 1 2 3 4 | 3 2 1.
        class Row(torch.nn.Module):
            def forward(self, images):
                self.seen = images.clone()
                return torch.cat([images, -images], dim=1)

        network = Row()
        recipe = recipe_for(width=(4, 8, 8, 8))
        score(network, np.arange(5, dtype=np.float32).reshape(1, 1, 1, 5), recipe)
        assert network.seen.shape == (1, 1, 8, 8)
        assert network.seen[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
        assert torch.equal(network.seen[0, 0, 0], network.seen[0, 0, 7])


class TestImageScorer:
    CLASSES = Classes(("background", "a", "b"), (0, 1, 2), {"foreground": (1, 2), "b": (2,)})

    def bundle(self, preprocessing, *, dimension=2) -> Model:
        recipe = recipe_for(dimension)
        weights = network_for(recipe, channels=2).state_dict()
        facts = TrainingFacts(1, 1, "d")
        return Model(recipe, self.CLASSES, 2, preprocessing, "32", weights, facts)

    def image(self, shape=(1, 30, 41), spacing=(1.0, 1.0, 1.0), dimension=2):
        values = np.random.default_rng(1).integers(0, 4000, (2, *shape)).astype(np.int16)
        return Image(values, Geometry(spacing=spacing, dimension=dimension))

    def test_it_scores_what_the_network_was_trained_on(self):
        bundle = self.bundle(Preprocessing())
        image = self.image()
        found = ModelScorer(bundle).probabilities(image)
        network = network_for(bundle.recipe, channels=2)
        network.load_state_dict(dict(bundle.weights))
        expected = score(network, network_input(image, bundle.preprocessing), bundle.recipe)
        assert np.allclose(found, expected, atol=1e-6)

    @pytest.mark.parametrize("dimension", [2, 3])
    def test_a_resampled_image_is_scored_on_its_own_grid(self, dimension):
        spacing, target = (3.0, 0.5, 1.0), (2.0, 1.0, 1.0)
        bundle = self.bundle(
            Preprocessing(dimension=dimension, target_spacing=target), dimension=dimension
        )
        found = ModelScorer(bundle).probabilities(self.image((6, 30, 21), spacing, 3))
        assert found.shape == (3, 6, 30, 21)
        assert np.allclose(found.sum(axis=0), 1, atol=1e-5)

    def test_regions_add_up_their_classes(self):
        scorer = ModelScorer(self.bundle(Preprocessing()))
        classes = scorer.probabilities(self.image())
        scores = region_scores(classes, scorer.model.classes)
        assert list(scores) == ["foreground", "b"]
        assert np.allclose(scores["foreground"], classes[1] + classes[2], atol=1e-6)
        assert np.array_equal(scores["b"], classes[2])

    def test_other_channels_are_refused(self):
        image = self.image()
        with pytest.raises(DataError, match="has 1 channels, but the model was trained on 2"):
            ModelScorer(self.bundle(Preprocessing())).probabilities(
                replace(image, array=image.array[:1])
            )


def drawn(*rows: str) -> np.ndarray:
    """Turn a drawing into a mask (1, y, x): '#' is on."""
    return np.array([[[character == "#" for character in row] for row in rows]])


class TestLabelMap:
    """Three nested regions of the classes 1, 2 and 3, whose mask values are 10, 20 and 40."""

    CLASSES = Classes(
        ("background", "rim", "flesh", "stone"),
        (0, 10, 20, 40),
        {"fruit": (1, 2, 3), "core": (2, 3), "stone": (3,)},
    )
    MASKS = {  # noqa: RUF012
        "fruit": drawn(".######.", ".######."),
        "core": drawn("...####.", "...#####"),
        "stone": drawn(".....#..", "#......."),
    }

    def test_the_innermost_region_that_is_on_decides(self):
        # Class 1 is the most probable everywhere, then 3, then 2.
        probabilities = np.empty((4, 1, 2, 8), np.float32)
        probabilities[:] = np.array([0.05, 0.5, 0.15, 0.3])[:, None, None, None]
        labels = label_map(probabilities, self.MASKS, self.CLASSES)
        # Within core the best of 2 and 3 is 3; the stone outside of the fruit stands as it was cut.
        assert labels.tolist() == [
            [
                [0, 10, 10, 40, 40, 40, 40, 0],
                [40, 10, 10, 40, 40, 40, 40, 40],
            ]
        ]
        assert labels.dtype == np.uint8

    def test_within_a_region_the_most_probable_of_its_classes(self):
        probabilities = np.empty((4, 1, 2, 8), np.float32)
        probabilities[:] = np.array([0.7, 0.05, 0.15, 0.1])[:, None, None, None]
        probabilities[:, 0, 0, 1] = [0.7, 0.2, 0.05, 0.05]
        labels = label_map(probabilities, self.MASKS, self.CLASSES)
        assert labels.tolist() == [
            [
                [0, 10, 20, 20, 20, 40, 20, 0],
                [40, 20, 20, 20, 20, 20, 20, 20],
            ]
        ]

    def test_nothing_is_on(self):
        masks = {name: np.zeros_like(mask) for name, mask in self.MASKS.items()}
        probabilities = np.full((4, 1, 2, 8), 0.25, np.float32)
        assert not label_map(probabilities, masks, self.CLASSES).any()

    def test_large_values_are_kept(self):
        classes = replace(self.CLASSES, values=(0, 10, 20, 4000))
        probabilities = np.full((4, 1, 2, 8), 0.25, np.float32)
        labels = label_map(probabilities, self.MASKS, classes)
        assert labels.dtype == np.uint16
        assert labels.max() == 4000
