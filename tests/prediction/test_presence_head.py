"""What a network says of whole images: in windows, slices, mirrors, members, stages, and scaled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rareseg.prediction.bundle import load_model, save_model
from rareseg.prediction.model import IMAGE_HEAD, Model, join_members, split_members
from rareseg.prediction.networks import build_network, deepest
from rareseg.prediction.presence_head import ImageHead, WithImageHead, kept_weights, load_network
from rareseg.prediction.scorer import ModelScorer, autocast, score_array, score_images
from rareseg.prediction.training_facts import TrainingFacts
from rareseg.recipe import Recipe, make_recipe
from rareseg_runner.image_records import Classes, Geometry, Image
from rareseg_runner.preprocessing.preprocess import Preprocessing, network_input
from rareseg_runner.scoring.cascade_model import Cascade
from rareseg_runner.scoring.presence_scaling import PresenceScaling

CPU = torch.device("cpu")
CLASSES = Classes(("background", "a", "b"), (0, 1, 2), {"all": (1, 2), "b": (2,)})


def recipe_for(dimension: int = 2, **prediction: object) -> Recipe:
    return make_recipe(
        {
            "data": {"dimension": dimension},
            "sampling": {"patch_size": [16] * dimension},
            "network": {"name": "unet", "width": [4, 8]},
            "prediction": {"tile": None, **prediction},
        }
    )


class Plain(torch.nn.Module):
    """A network whose deepest features are the image: what it says can be worked out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = self.features(images)
        return torch.cat([seen, -seen, 0.5 * seen], dim=1)


def by_mean_and_maximum() -> WithImageHead:
    """One region by the mean of the image, one by its maximum."""
    both = WithImageHead(Plain(), deepest="features", features=1, regions=2)
    with torch.no_grad():
        both.image_head.linear.weight.copy_(torch.tensor([[4.0, 0.0], [0.0, 2.0]]))
        both.image_head.linear.bias.copy_(torch.tensor([0.0, -3.0]))
    return both.eval()


def sigmoid(odds):
    return 1 / (1 + np.exp(-np.asarray(odds, np.float64)))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def said(array, recipe, network=None):
    found = score_array(network or by_mean_and_maximum(), array, recipe, device=CPU, precision="32")
    return found.presence


def test_an_image_at_once():
    image = noise(1, 1, 32, 48)
    expected = sigmoid([4 * image.mean(), 2 * image.max() - 3])
    assert said(image, recipe_for()) == pytest.approx(expected, rel=1e-5)
    assert said(image, recipe_for()).dtype == np.float32


def test_of_windows_the_largest_counts():
    image = noise(1, 1, 32, 48)
    tiles = [image[0, 0, y : y + 16, x : x + 16] for y in (0, 16) for x in (0, 16, 32)]
    expected = [max(sigmoid(4 * t.mean()) for t in tiles), sigmoid(2 * image.max() - 3)]
    assert said(image, recipe_for(tile=[16, 16], overlap=0.0)) == pytest.approx(expected, rel=1e-5)


def test_windows_belong_to_their_image():
    batch = torch.from_numpy(noise(3, 1, 32, 48))
    recipe = recipe_for(tile=[16, 16], overlap=0.25)
    together = score_images(by_mean_and_maximum(), batch, recipe, CPU, "32").presence
    assert together.shape == (1, 3, 2)
    for k in range(3):
        alone = score_images(by_mean_and_maximum(), batch[k : k + 1], recipe, CPU, "32").presence
        assert torch.allclose(together[:, k], alone[:, 0])


def test_of_slices_the_largest_counts_where_a_volume_is_predicted_in_2d():
    volume = noise(1, 6, 16, 16)
    volume[0, 3] += 1.0
    expected = [sigmoid(4 * volume[0, 3].mean()), sigmoid(2 * volume.max() - 3)]
    assert said(volume, recipe_for()) == pytest.approx(expected, rel=1e-5)
    whole = [sigmoid(4 * volume.mean()), sigmoid(2 * volume.max() - 3)]
    assert said(volume, recipe_for(dimension=3)) == pytest.approx(whole, rel=1e-5)


class FromTheLeft(Plain):
    """Features fade to the right, so that a mirrored image is another one to it."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        super().forward(images * torch.linspace(1, 0, images.shape[-1]))
        return torch.cat([images, -images, images], dim=1)


def test_over_mirrors_the_mean_counts_after_the_largest_slice():
    network = by_mean_and_maximum()
    network.network = FromTheLeft()
    volume = np.zeros((1, 2, 16, 16), np.float32)
    volume[0, 0, :, :2] = 3.0
    volume[0, 1, :, -2:] = 3.0
    plain = said(volume, recipe_for(), network)
    # In either view one of the two slices is on the left: mirrors say the same of the volume.
    assert said(volume, recipe_for(mirror=True), network) == pytest.approx(plain, rel=1e-6)
    one = volume[:, :1]
    near, far = said(one, recipe_for(), network), said(one[..., ::-1], recipe_for(), network)
    assert near[1] > far[1] + 0.1
    assert said(one, recipe_for(mirror=True), network) == pytest.approx((near + far) / 2, rel=1e-6)


def test_networks_without_a_head_say_nothing():
    found = score_images(Plain(), torch.zeros(1, 1, 16, 16), recipe_for(), CPU, "32")
    assert found.presence is None
    assert said(noise(1, 1, 16, 16), recipe_for(), Plain()) is None


def test_the_head_computes_in_float32_whatever_the_network_does():
    torch.manual_seed(0)
    head = ImageHead(4, 2).eval()
    torch.nn.init.normal_(head.linear.weight)
    features = torch.randn(2, 4, 6, 6).bfloat16()
    with autocast(CPU, "bf16"):
        odds = head(features)
    assert odds.dtype == torch.float32
    assert torch.equal(odds, head(features.float()))
    recipe = recipe_for(tile=[16, 16])
    found = score_images(by_mean_and_maximum(), torch.randn(1, 1, 32, 32), recipe, CPU, "bf16")
    assert found.presence.dtype == torch.float32


def weights_of(recipe: Recipe, seed: int, *, classes: int = 3, regions: int = 2, head: bool = True):
    """Weights of a real small network whose image head says something."""
    torch.manual_seed(seed)
    network = build_network(
        recipe.network, dimension=recipe.data.dimension, channels=1, classes=classes
    )
    if not head:
        return network.state_dict()
    at, features = deepest(recipe.network)
    both = WithImageHead(network, deepest=at, features=features, regions=regions)
    torch.nn.init.normal_(both.image_head.linear.weight, std=0.5)
    return kept_weights(both.state_dict())


def model_of(members, *, classes=CLASSES, **changes) -> Model:
    recipe = recipe_for()
    return Model(
        recipe=recipe,
        classes=classes,
        channels=1,
        preprocessing=Preprocessing(),
        precision="32",
        weights=join_members(members),
        training=TrainingFacts(1, 1, "d"),
        members=len(members),
        **changes,
    )


def an_image() -> Image:
    return Image(noise(1, 1, 24, 16), Geometry())


def test_a_bundle_says_what_its_network_says(tmp_path):
    weights = weights_of(recipe_for(), 1)
    bundle = model_of([weights])
    save_model(tmp_path, bundle)
    read = load_model(tmp_path)
    assert read.tells_presence
    found = ModelScorer(read).score(an_image())
    network = load_network(weights, bundle.recipe, channels=1, classes=3).eval()
    assert isinstance(network, WithImageHead)
    with torch.inference_mode():
        array = network_input(an_image(), bundle.preprocessing)
        odds = network(torch.from_numpy(array[:, 0][None]))[1]
    assert list(found.presence) == ["all", "b"]
    assert list(found.presence.values()) == pytest.approx(odds.sigmoid()[0].tolist(), rel=1e-5)
    again = ModelScorer(bundle).score(an_image())
    assert again.presence == found.presence
    assert np.array_equal(again.probabilities, found.probabilities)


def test_a_bundle_without_a_head_says_nothing():
    bundle = model_of([weights_of(recipe_for(), 1, head=False)])
    assert not bundle.tells_presence
    assert ModelScorer(bundle).score(an_image()).presence is None


def test_outlines_do_not_depend_on_the_head():
    weights = weights_of(recipe_for(), 1)
    alone = {name: t for name, t in weights.items() if not name.startswith(IMAGE_HEAD)}
    one, other = (ModelScorer(model_of([w])).probabilities(an_image()) for w in (weights, alone))
    assert np.array_equal(one, other)


def test_over_members_the_mean_counts():
    members = [weights_of(recipe_for(), seed) for seed in (1, 2, 3)]
    bundle = model_of(members)
    assert bundle.tells_presence
    singles = [
        ModelScorer(replace(bundle, weights=w, members=1)).score(an_image()).presence
        for w in split_members(bundle)
    ]
    found = ModelScorer(bundle).score(an_image()).presence
    for region in CLASSES.regions:
        mean = np.mean([single[region] for single in singles])
        assert found[region] == pytest.approx(mean, rel=1e-6)


def test_what_is_told_is_scaled():
    scaling = PresenceScaling(0.5, -1.0, 8, 9, "")
    plain = model_of([weights_of(recipe_for(), 1)])
    scaled = replace(plain, presence={"b": scaling})
    before, after = (ModelScorer(b).score(an_image()).presence for b in (plain, scaled))
    assert after["all"] == before["all"]
    assert after["b"] == scaling.apply(before["b"]) != before["b"]


def test_of_two_stages_the_first_says_what_an_image_holds():
    recipe = recipe_for()
    first = [weights_of(recipe, seed, classes=2, regions=1) for seed in (1, 2)]
    second = weights_of(recipe, 3, head=False)
    cascade = Cascade(2, 0.1, 2, {}, {})
    bundle = model_of([*first, second], cascade=cascade)
    assert bundle.tells_presence
    alone = [
        ModelScorer(
            model_of([w], classes=Classes(("background", "foreground"), (0, 1), {"f": (1,)}))
        )
        .score(an_image())
        .presence["f"]
        for w in first
    ]
    found = ModelScorer(bundle).score(an_image()).presence
    expected = pytest.approx(np.mean(alone), rel=1e-6)
    assert found == {"all": expected, "b": expected}, "no region is where no foreground is"
