"""A model on disk: what was saved comes back, and what was damaged or made up is refused."""

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rareseg.decision.decisions import NEVER_TUNED
from rareseg.decision.operating_point import Frontier, Infeasible, OperatingPoint, PointChoice
from rareseg.errors import BundleError, RaresegError
from rareseg.prediction.bundle import load_decisions, load_model, save_model
from rareseg.prediction.model import Model
from rareseg.prediction.networks import build_network
from rareseg.prediction.scorer import ModelScorer
from rareseg.prediction.training_facts import TrainingFacts
from rareseg.prediction.weights.weights_origin import Attribution, WeightsOrigin
from rareseg.recipe import make_recipe
from rareseg.sampling.patches.composition import Composition
from rareseg_runner.image_records import Classes
from rareseg_runner.preprocessing.preprocess import Preprocessing

RECIPE = make_recipe(
    {
        "network": {"name": "unet", "width": [4, 8], "norm": "batch"},
        "data": {"target_spacing": [1.0, 2.0, 2.0]},
        "prediction": {"tile": [64, 64]},
    }
)
POINT = OperatingPoint(
    "whole",
    threshold=0.3125,
    gate=0.75,
    smallest_component=4,
    plateau=(0.25, 0.5),
    role="validation",
)
POINT_OF_CORE = OperatingPoint("core", threshold=0.5)


def a_model() -> Model:
    torch.manual_seed(0)
    network = build_network(RECIPE.network, dimension=2, channels=2, classes=3)
    return Model(
        recipe=RECIPE,
        classes=Classes(
            ("background", "rim", "core"), (0, 4, 9), {"whole": (1, 2), "core": (2,)}, 255
        ),
        channels=2,
        preprocessing=Preprocessing(
            target_spacing=(1.0, 2.0, 2.0),
            method="dataset",
            clip=((0.0, 9.0), (1.0, 5.0)),
            mean=(3.0, 2.0),
            std=(1.0, 0.5),
        ),
        precision="32",
        weights=network.state_dict(),
        training=TrainingFacts(
            steps=7,
            best_step=6,
            data="abc",
            cases={"train": 3},
            delivered=Composition(2, ("a",), (1.0,), (1.0,), (2,), ("b",), (9,), 0, 1),
            encoder_weights=WeightsOrigin(
                "a package",
                "12",
                ("x",),
                {"y": "2 there, 3 here"},
                (),
                (),
                "MIT",
                None,
                (Attribution("its source", "34", "Apache-2.0"),),
            ),
        ),
    )


@pytest.fixture
def folder(tmp_path) -> Path:
    save_model(tmp_path / "bundle", a_model())
    return tmp_path / "bundle"


def test_everything_comes_back(folder):
    saved, loaded = a_model(), load_model(folder)
    for name in ("recipe", "classes", "channels", "preprocessing", "precision", "training"):
        assert getattr(loaded, name) == getattr(saved, name), name
    assert (
        loaded.digest == hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    )
    assert loaded.weights.keys() == saved.weights.keys()
    for name, tensor in saved.weights.items():
        assert loaded.weights[name].dtype == tensor.dtype
        assert torch.equal(loaded.weights[name], tensor)


def test_it_is_plain_files(folder):
    written = {"bundle.json", "weights.safetensors", "NOTICE", "LICENSES"}
    assert {path.name for path in folder.iterdir()} == written
    assert json.loads((folder / "bundle.json").read_text(encoding="utf-8"))["channels"] == 2


def test_every_region_is_decided_about_and_the_model_is_left_alone(folder):
    before = {path.name: path.read_bytes() for path in folder.glob("*.*")}
    assert load_decisions(folder).found == {
        region: Infeasible(region, NEVER_TUNED) for region in ("whole", "core")
    }
    load_decisions(folder).choose({"core": PointChoice(POINT_OF_CORE, Frontier())}).save(folder)
    load_decisions(folder).choose({"whole": PointChoice(POINT, Frontier())}).save(folder)
    assert load_decisions(folder).points == {"whole": POINT, "core": POINT_OF_CORE}
    assert {path.name: path.read_bytes() for path in folder.glob("*.*") if path.name in before} == (
        before
    )


@pytest.mark.parametrize("name", ["bundle.json", "weights.safetensors"])
def test_a_missing_file_is_named(name, folder):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        load_model(folder)


def test_other_weights_are_noticed(folder):
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(BundleError, match="checksum differs"):
        load_model(folder)


@pytest.mark.parametrize("name", ["bundle.json", "weights.safetensors"])
@pytest.mark.parametrize("kept", [0, 20, 200])
def test_a_file_cut_short_is_refused(name, kept, folder):
    path = folder / name
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BundleError) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)


def edited(folder: Path, **changes: object) -> None:
    path = folder / "bundle.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        if value is None:
            del content[key]
        else:
            content[key] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("key", ["recipe", "classes", "channels", "preprocessing", "trained"])
@pytest.mark.parametrize("value", [None, 5, "words", {"wrong": 1}], ids=repr)
def test_a_made_up_description_is_one_sentence(key, value, folder):
    if key == "channels" and value == 5:
        return
    edited(folder, **{key: value})
    with pytest.raises(RaresegError) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value) or "operating point" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_not_registered_here_is_kept_and_not_asked_for(folder):
    content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    loss = {"name": "mine", "presence": 0.5, "power": 3}
    edited(folder, recipe={**content["recipe"], "loss": loss})
    loaded = load_model(folder)
    assert loaded.recipe.network == RECIPE.network
    save_model(folder, loaded)
    assert load_model(folder).recipe.loss.model_dump() == loss


def test_another_format_says_which_one_is_read(folder):
    edited(folder, format=3)
    for load in (load_model, load_decisions):
        with pytest.raises(
            BundleError, match=r"of format 3, this version .* reads formats 1 and 2"
        ):
            load(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": 3},
        {"channels": -1},
        {"channels": 10**12},
        {"members": 10**9},
        {"members": 0},
        {
            "cascade": {
                "first_stage": 3,
                "threshold": 0.5,
                "margin": 1,
                "recalls": {},
                "kept": {},
            }
        },
        {"presence": {"another": {"slope": 1.0, "bias": 0.0}}},
        {"classes": {"names": ["b", "c"], "values": [0, 1], "regions": {"c": [1]}}},
    ],
    ids=str,
)
def test_counts_that_are_not_those_of_the_weights_are_refused(changes, folder):
    edited(folder, **changes)
    with pytest.raises(BundleError, match="again"):
        ModelScorer(load_model(folder))


def test_a_network_that_no_memory_holds_is_refused_before_it_is_built(folder):
    content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    recipe = content["recipe"]
    recipe["network"]["width"] = [10**6, 10**6]
    edited(folder, recipe=recipe)
    with pytest.raises(BundleError, match="not those of the network that it describes"):
        ModelScorer(load_model(folder))


def test_a_key_that_stands_twice_in_a_bundle_is_refused(folder):
    path = folder / "bundle.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"channels": 2,', '"channels": 2, "channels": 2,', 1))
    with pytest.raises(BundleError, match="the key 'channels' stands there twice"):
        load_model(folder)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def save_with_torch(trap: Trap, path: Path) -> None:
    torch.save({"weight": trap}, path)


def save_with_pickle(trap: Trap, path: Path) -> None:
    path.write_bytes(pickle.dumps(trap))


@pytest.mark.parametrize("save", [save_with_torch, save_with_pickle])
def test_nothing_is_unpickled(save, folder, tmp_path):
    """Weights that hold code are refused, even under the right checksum, and it does not run."""
    trace, path = tmp_path / "it-ran", folder / "weights.safetensors"
    save(Trap(trace), path)
    edited(folder, weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(BundleError, match=str(folder)):
        load_model(folder)
    assert not trace.exists()


def test_the_trap_is_one(tmp_path):
    pickle.loads(pickle.dumps(Trap(tmp_path / "it-ran")))
    assert (tmp_path / "it-ran").exists()


OLD = Path(__file__).with_name("bundle_of_format_1.json")
"""A description as version 0.1.0 wrote it while all networks shared one section, and all losses."""


def test_a_bundle_of_flat_sections_is_the_model_that_it_was(tmp_path):
    content = json.loads(OLD.read_text(encoding="utf-8"))
    assert content["recipe"]["network"]["residual_units"] == 2
    settings = make_recipe(content["recipe"]).network
    torch.manual_seed(0)
    network = build_network(settings, dimension=2, channels=1, classes=2)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    digest = hashlib.sha256((tmp_path / "weights.safetensors").read_bytes()).hexdigest()
    content["weights_sha256"] = digest
    (tmp_path / "bundle.json").write_text(json.dumps(content), encoding="utf-8")
    loaded = load_model(tmp_path)
    assert loaded.recipe.network.model_dump() == {
        "name": "segresnet",
        "first_width": 8,
        "levels": 2,
        "blocks": 2,
        "norm": "batch",
        "dropout": 0.0,
    }
    assert loaded.recipe.loss.name == "focal"
    assert loaded.training.validation_score == 0.5
    decisions = load_decisions(tmp_path)
    assert decisions.points["spot"].threshold == 0.25
    choice = PointChoice(OperatingPoint("spot", threshold=0.5), Frontier())
    decisions.choose({"spot": choice}).save(tmp_path)
    assert load_model(tmp_path).recipe == loaded.recipe
    assert load_decisions(tmp_path).points["spot"].threshold == 0.5


@pytest.mark.parametrize(
    ("name", "width", "units", "expected"),
    [
        ("half_unet", [4, 8, 12], 0, "d50d46ae3cd6bcff"),
        ("half_unet", [4, 8, 12], 2, "50e32593dd7809c2"),
        ("unet", [4, 8, 12], 0, "4af7d063011ed8a5"),
        ("unet", [4, 8, 12], 2, "2e72772c8e3ecadc"),
        ("dynunet", [4, 8, 12], 0, "5f77f1bbb23d5040"),
        ("dynunet", [4, 8, 12], 2, "5fcea1c9a7a00a25"),
        ("basicunet", [4, 8, 8, 8, 16], 0, "8982026774ca3255"),
        ("basicunet", [4, 8, 8, 8, 16], 2, "8982026774ca3255"),
        ("segresnet", [4, 8, 12], 0, "94491444e293e81b"),
        ("segresnet", [4, 8, 12], 2, "bc5b1fd6bb79c94d"),
    ],
)
def test_networks_of_flat_sections_have_the_tensors_that_they_had(name, width, units, expected):
    """Names and shapes, as commit 46978bf built them (MONAI 1.6.1): its bundles load."""
    flat = {"name": name, "width": width, "residual_units": units, "norm": "batch", "dropout": 0.1}
    network = build_network(
        make_recipe({"network": flat}).network, dimension=2, channels=2, classes=3
    )
    lines = [f"{key} {list(tensor.shape)}" for key, tensor in network.state_dict().items()]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == expected


def test_certificates_know_the_mean_only_where_it_is_another_than_it_was():
    model = a_model()
    usual = model.arithmetic("cpu")
    assert "mean_of" not in usual
    prediction = RECIPE.prediction.model_copy(update={"mean_of": "log_odds"})
    other = replace(model, recipe=RECIPE.model_copy(update={"prediction": prediction}))
    assert other.arithmetic("cpu") == usual, "one network has no mean"
    assert replace(other, members=2).arithmetic("cpu")["mean_of"] == "log_odds"
    assert "mean_of" not in replace(model, members=2).arithmetic("cpu")


def test_more_networks_than_the_weights_hold_are_refused(folder: Path) -> None:
    path = folder / "bundle.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "members": 10**9}), encoding="utf-8")
    with pytest.raises(BundleError, match="has 1000000000 networks"):
        load_model(folder)
