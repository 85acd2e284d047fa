"""A detector called on images: files, arrays, and what it says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from scipy import ndimage

import rareseg
from rareseg.data.records import Classes, Geometry, Image
from rareseg.data.store.preprocess import Preprocessing
from rareseg.decision.decisions import Decisions
from rareseg.decision.operating_point import Choice, Frontier, OperatingPoint
from rareseg.errors import BundleError, DataError
from rareseg.prediction.bundle import save_model
from rareseg.prediction.detector import Detector
from rareseg.prediction.model import Model
from rareseg.prediction.networks import build_network
from rareseg.prediction.training_facts import TrainingFacts
from rareseg.recipe import make_recipe

CLASSES = Classes(("background", "a", "b"), (0, 3, 7), {"all": (1, 2), "b": (2,)})


def a_model(dimension: int = 2, channels: int = 1) -> Model:
    recipe = make_recipe(
        {
            "data": {"dimension": dimension},
            "sampling": {"patch_size": [16] * dimension},
            "network": {"name": "unet", "width": [4, 8]},
            "prediction": {"tile": None},
        }
    )
    torch.manual_seed(0)
    network = build_network(recipe.network, dimension=dimension, channels=channels, classes=3)
    return Model(
        recipe, CLASSES, channels, Preprocessing(dimension=dimension), "32",
        network.state_dict(), TrainingFacts(1, 1, "d"),
    )  # fmt: skip


def cut_at(threshold: float, gate: float = 0.0) -> Decisions:
    choice = Choice(OperatingPoint("all", threshold, gate), Frontier())
    return Decisions.none(CLASSES.regions).choose({"all": choice})


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)


def test_masks_are_the_scores_at_the_points_and_a_region_without_one_is_cut_at_one_half():
    found = Detector(a_model(), cut_at(0.7))(picture(24, 33))
    assert found.scores["all"].shape == (1, 24, 33)
    assert np.array_equal(found.masks["all"], found.scores["all"] >= np.float32(0.7))
    assert np.array_equal(found.masks["b"], found.scores["b"] >= np.float32(0.5))
    assert found.image_scores["all"] == found.scores["all"].max()
    assert found.presence is None
    assert found.flagged == {name: bool(mask.any()) for name, mask in found.masks.items()}
    assert set(np.unique(found.labels)) <= {0, 3, 7}
    assert np.array_equal(found.labels > 0, found.masks["all"] | found.masks["b"])


def test_a_gate_that_is_not_reached_leaves_nothing():
    model = a_model()
    top = Detector(model, cut_at(0.5))(picture(24, 33)).image_scores["all"]
    assert not Detector(model, cut_at(0.5, min(1.0, top + 0.01)))(picture(24, 33)).flagged["all"]


def test_objects_are_the_components_of_the_masks():
    found = Detector(a_model(), cut_at(0.66))(picture(40, 40))
    own = [one for one in found.objects if one.region == "all"]
    _, count = ndimage.label(found.masks["all"], np.ones((3, 3, 3)))
    assert len(own) == count > 1
    assert sum(one.voxels for one in own) == found.masks["all"].sum()
    assert [one.top_score for one in own] == sorted((o.top_score for o in own), reverse=True)
    for one in own:
        box = tuple(slice(*side) for side in one.box)
        assert found.masks["all"][box].sum() >= one.voxels
        assert found.scores["all"][box].max() >= one.top_score >= 0.66


def test_a_file_an_array_and_an_image_say_the_same(tmp_path):
    detector, array = Detector(a_model(), cut_at(0.6)), picture(20, 28)
    path = tmp_path / "a.png"
    PIL.Image.fromarray(array).save(path)
    image = Image(array[np.newaxis, np.newaxis], Geometry(dimension=2))
    scores = [detector(one).scores["all"] for one in (array, path, str(path), [path], image)]
    assert all(np.array_equal(scores[0], other) for other in scores[1:])
    colours = Detector(a_model(channels=3), cut_at(0.6))
    assert colours(picture(20, 28, 3)).scores["all"].shape == (1, 20, 28)


def test_volumes_are_given_with_or_without_their_channels():
    detector = Detector(a_model(dimension=3), cut_at(0.6))
    volume = picture(8, 20, 24)
    one, other = detector(volume), detector(volume[np.newaxis])
    assert one.scores["all"].shape == (8, 20, 24)
    assert np.array_equal(one.scores["all"], other.scores["all"])
    assert detector(volume, spacing=(3.0, 1.0, 1.0)).image.geometry.spacing == (3.0, 1.0, 1.0)
    flat = Detector(a_model(), cut_at(0.6))
    assert flat(volume, spacing=(3.0, 1.0, 1.0)).scores["all"].shape == (8, 20, 24)


def test_what_cannot_be_taken_is_one_sentence():
    detector = Detector(a_model(), cut_at(0.6))
    with pytest.raises(DataError, match=r"has 4 axes; this model takes \(y, x\)"):
        detector(picture(2, 8, 20, 24))
    with pytest.raises(DataError, match="3 channels, but the model was trained on 1"):
        detector(picture(20, 28, 3))


def test_it_is_loaded_from_a_run_or_its_bundle(tmp_path):
    save_model(tmp_path / "run" / "bundle", a_model())
    cut_at(0.6).save(tmp_path / "run" / "bundle")
    loaded = [rareseg.load(tmp_path / "run"), rareseg.load(tmp_path / "run" / "bundle")]
    assert all(one.points["all"].threshold == 0.6 for one in loaded)
    expected = Detector(a_model(), cut_at(0.6))(picture(24, 33)).masks["all"]
    assert np.array_equal(loaded[0](picture(24, 33)).masks["all"], expected)
    with pytest.raises(BundleError, match="is not a model bundle"):
        rareseg.load(Path(tmp_path / "elsewhere"))
