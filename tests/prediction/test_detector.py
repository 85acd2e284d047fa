"""A detector called on images: files, arrays, and what it says of them."""

from __future__ import annotations

import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from scipy import ndimage

import rareseg
from rareseg.decision.decisions import Decisions
from rareseg.decision.operating_point import Frontier, OperatingPoint, PointChoice
from rareseg.errors import BundleError, DataError
from rareseg.prediction.bundle import save_model
from rareseg.prediction.detector import Detector
from rareseg.prediction.model import Model
from rareseg.prediction.networks import build_network, deepest
from rareseg.prediction.presence_head import WithImageHead, kept_weights
from rareseg.prediction.training_facts import TrainingFacts
from rareseg.recipe import make_recipe
from rareseg_runner.bundle_archive import write_archive
from rareseg_runner.image_records import Classes, Geometry, Image
from rareseg_runner.preprocessing.image_facts import ImageFacts
from rareseg_runner.preprocessing.preprocess import Preprocessing

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
    choice = PointChoice(OperatingPoint("all", threshold, gate), Frontier())
    return Decisions.none(CLASSES.regions).choose({"all": choice})


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)


def test_masks_are_the_scores_at_the_points_and_a_region_without_one_is_cut_at_one_half():
    found = Detector(a_model(), cut_at(0.7))(picture(24, 33))
    assert found.scores["all"].shape == (24, 33)
    assert np.array_equal(found.masks["all"], found.scores["all"] >= np.float32(0.7))
    assert np.array_equal(found.masks["b"], found.scores["b"] >= np.float32(0.5))
    assert found.image_scores["all"] == found.scores["all"].max()
    assert found.presence is None
    assert found.flagged == {name: bool(mask.any()) for name, mask in found.masks.items()}
    assert set(np.unique(found.label_map)) <= {0, 3, 7}
    assert np.array_equal(found.label_map > 0, found.masks["all"] | found.masks["b"])


def test_a_gate_that_is_not_reached_leaves_nothing():
    model = a_model()
    top = Detector(model, cut_at(0.5))(picture(24, 33)).image_scores["all"]
    assert not Detector(model, cut_at(0.5, min(1.0, top + 0.01)))(picture(24, 33)).flagged["all"]


def test_objects_are_the_components_of_the_masks():
    found = Detector(a_model(), cut_at(0.66))(picture(40, 40))
    own = [one for one in found.objects if one.region == "all"]
    _, count = ndimage.label(found.masks["all"], np.ones((3, 3)))
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
    opened = PIL.Image.open(path)
    pictures = (array, path, str(path), (path,), image, opened, array[..., None])
    scores = [detector(one).scores["all"] for one in pictures]
    assert all(np.array_equal(scores[0], other) for other in scores[1:])
    colours = Detector(a_model(channels=3), cut_at(0.6))
    assert colours(picture(20, 28, 3)).scores["all"].shape == (20, 28)


def test_volumes_are_given_with_or_without_their_channels():
    detector = Detector(a_model(dimension=3), cut_at(0.6))
    volume = picture(8, 20, 24)
    one, other = detector(volume), detector(volume[..., np.newaxis])
    assert one.scores["all"].shape == (8, 20, 24)
    assert np.array_equal(one.scores["all"], other.scores["all"])
    assert detector(volume, spacing=(3.0, 1.0, 1.0)).image.geometry.spacing == (3.0, 1.0, 1.0)
    flat = Detector(a_model(), cut_at(0.6))
    assert flat(volume, spacing=(3.0, 1.0, 1.0)).scores["all"].shape == (8, 20, 24)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (picture(2, 8, 20, 24), r"has 4 axes; this model takes \(y, x\)"),
        (picture(20, 28, 2), "2 channels, but the model was trained on 1"),
        (np.full((4, 4), "a"), "holds <U1; an image is of whole or floating-point numbers"),
        (np.zeros((4, 4), complex), "holds complex128"),
        (np.zeros((0, 4), np.uint8), r"shape \(0, 4\) is empty"),
        (np.full((4, 4), np.nan, np.float32), "NaN or infinite"),
        (torch.zeros(4, 4), "not Tensor; bring it to an array first"),
        (None, "not NoneType"),
        ("no/such/file.png", "no/such/file.png"),
    ],
)
def test_what_cannot_be_taken_is_one_sentence(given, sentence):
    with pytest.raises(DataError, match=sentence):
        Detector(a_model(), cut_at(0.6))(given)


def test_values_far_from_those_of_the_training_are_refused_as_those_of_files_are():
    facts = TrainingFacts(1, 1, "d", images=ImageFacts(2, ("uint8",), (0.0,), (255.0,)))
    model = replace(a_model(), training=facts, preprocessing=Preprocessing(method="none"))
    deep = picture(20, 28).astype(np.uint16) * 257
    with pytest.raises(DataError, match="bring it to their range"):
        Detector(model, cut_at(0.6))(deep)


def test_colours_become_grey_for_a_model_of_one_channel_and_it_is_said():
    detector, grey = Detector(a_model(), cut_at(0.6)), picture(20, 28)
    found = detector(np.stack([grey] * 3, axis=-1))
    assert found.remarks == ("coloured, converted to grey",)
    assert np.array_equal(found.scores["all"], detector(grey).scores["all"])
    assert detector(grey).remarks == ()


def test_a_turned_picture_is_seen_upright(tmp_path):
    detector, path = Detector(a_model(channels=3), cut_at(0.6)), tmp_path / "turned.jpg"
    exif = PIL.Image.Exif()
    exif[274] = 6
    PIL.Image.fromarray(picture(20, 28, 3)).save(path, exif=exif)
    with PIL.Image.open(path) as opened:
        found = detector(opened)
    assert found.masks["all"].shape == (28, 20)
    assert np.array_equal(found.scores["all"], detector(path).scores["all"])


def test_a_list_is_several_images_of_any_size():
    detector, sizes = Detector(a_model(), cut_at(0.6)), [(20, 28), (1, 1), (33, 7)]
    pictures = [picture(*size) for size in sizes]
    found = detector(pictures)
    assert [one.label_map.shape for one in found] == sizes
    for one, alone in zip(found, map(detector, pictures), strict=True):
        assert np.array_equal(one.scores["all"], alone.scores["all"])
    assert detector([]) == []


def test_threads_share_a_detector():
    recipe = make_recipe(
        {
            "sampling": {"patch_size": [16, 16]},
            "network": {"name": "unet", "width": [4, 8]},
            "prediction": {"tile": None},
        }
    )
    torch.manual_seed(0)
    network = build_network(recipe.network, dimension=2, channels=1, classes=3)
    at, features = deepest(recipe.network)
    both = WithImageHead(network, deepest=at, features=features, regions=2)
    torch.nn.init.normal_(both.image_head.linear.weight)
    weights = kept_weights(both.state_dict())
    detector = Detector(replace(a_model(), recipe=recipe, weights=weights), cut_at(0.6))
    pictures = [picture(8 * k, 64) for k in range(1, 9)]
    expected = [detector(one).presence for one in pictures]
    assert len({tuple(one.values()) for one in expected}) == len(pictures)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(detector, pictures * 4))
    assert [one.presence for one in found] == expected * 4


def test_it_is_loaded_from_a_run_or_its_bundle(tmp_path):
    save_model(tmp_path / "run" / "bundle", a_model())
    cut_at(0.6).save(tmp_path / "run" / "bundle")
    loaded = [rareseg.load(tmp_path / "run"), rareseg.load(tmp_path / "run" / "bundle")]
    assert all(one.points["all"].threshold == 0.6 for one in loaded)
    expected = Detector(a_model(), cut_at(0.6))(picture(24, 33)).masks["all"]
    assert np.array_equal(loaded[0](picture(24, 33)).masks["all"], expected)
    with pytest.raises(BundleError, match="is not a model bundle"):
        rareseg.load(Path(tmp_path / "elsewhere"))


def test_a_bundle_in_one_file_is_loaded_wherever_it_came_from(tmp_path):
    bundle, archive = tmp_path / "run" / "bundle", tmp_path / "model.rareseg"
    save_model(bundle, a_model())
    cut_at(0.6).save(bundle)
    write_archive(bundle, archive)
    by_hand = shutil.make_archive(str(tmp_path / "by_hand"), "zip", tmp_path / "run", "bundle")
    expected = rareseg.load(bundle)(picture(24, 33)).masks["all"]
    for place in (archive, str(archive), by_hand):
        assert np.array_equal(rareseg.load(place)(picture(24, 33)).masks["all"], expected)
    first = archive.read_bytes()
    write_archive(bundle, archive)
    assert archive.read_bytes() == first


def _zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_damaged_archive_is_one_sentence_and_writes_nothing_outside(tmp_path):
    bundle, archive = tmp_path / "bundle", tmp_path / "model.rareseg"
    save_model(bundle, a_model())
    files = {file.name: file.read_bytes() for file in bundle.iterdir()}
    write_archive(bundle, archive)
    whole = archive.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 5):
        archive.write_bytes(whole[:cut])
        with pytest.raises(BundleError, match=r"model\.rareseg cannot be read as a bundle"):
            rareseg.load(archive)
    flipped = bytearray(whole)
    flipped[200] ^= 1
    archive.write_bytes(flipped)
    with pytest.raises(BundleError):
        rareseg.load(archive)
    outside = _zip(tmp_path / "outside.zip", {**files, "../escaped": b"x", "/tmp/escaped": b"x"})
    rareseg.load(outside)
    assert not (tmp_path.parent / "escaped").exists()
    with pytest.raises(BundleError, match=r"holds 2 files called bundle\.json"):
        rareseg.load(_zip(tmp_path / "two.zip", {**files, "b/bundle.json": b"{}"}))
    with pytest.raises(BundleError, match="holds 0 files"):
        rareseg.load(_zip(tmp_path / "none.zip", {"a.txt": b""}))


def test_a_number_that_was_named_to_mean_nothing_is_filled_here_too():
    model = a_model()
    images = ImageFacts(2, ("float32",), (0.0,), (255.0,), nodata_value="-9999.0")
    named = replace(model, training=replace(model.training, images=images))
    shown = picture(24, 33).astype(np.float32)
    shown[:4] = -9999
    found = Detector(named, cut_at(0.7))(shown)
    filled = np.where(shown == -9999, np.sort(shown[4:], axis=None)[shown[4:].size // 2], shown)
    assert np.array_equal(found.image.array[0, 0], filled)
    expected = Detector(model, cut_at(0.7))(filled)
    assert np.array_equal(found.scores["all"], expected.scores["all"])
    assert found.image.nodata.sum() == 4 * 33
