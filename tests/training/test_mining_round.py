"""Rounds of mining in a training: when, with which weights, and what is written down."""

import json

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from rareseg.data.store.array_store import store_from_arrays
from rareseg.errors import RunError
from rareseg.prediction.networks import build_network
from rareseg.recipe import make_recipe
from rareseg.sampling.pools.mined_pools import nothing_mined
from rareseg.sampling.sampler import PatchSampler
from rareseg.training.checkpoint import load_state
from rareseg.training.loop import fit
from rareseg.training.losses import make_loss
from rareseg.training.mining_round import (
    MiningRecord,
    describe_round,
    hash_weights,
    note_round,
    read_record,
)
from rareseg.training.validation import ValidationResult

RECIPE = {
    "network": {"name": "unet", "width": [4, 8]},
    "sampling": {"patch_size": [16, 16], "batch_size": 2, "strategy": "hard"},
    "mining": {"every": 4, "voxels": 6},
    "training": {"steps": 12, "learning_rate": 0.01, "validations": 1, "precision": "32"},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    rng = np.random.default_rng(0)
    labels = {name: np.zeros((1, 24, 28), np.uint8) for name in "abc"}
    for name in "ab":
        labels[name][0, 5:9, 4:10] = 1
    images = {name: rng.integers(0, 99, (1, 1, 24, 28)).astype(np.uint8) for name in "abc"}
    return store_from_arrays(tmp_path_factory.mktemp("mining") / "store", images, labels)


def train(store, folder, make_predict, **sections):
    recipe = make_recipe(RECIPE | sections)
    torch.manual_seed(0)
    network = build_network(recipe.network, dimension=2, channels=1, classes=2)
    said: list[str] = []
    fit(
        network,
        make_loss(recipe.loss, store.classes),
        PatchSampler.from_settings(
            store,
            recipe.sampling,
            seed=0,
            mining=recipe.mining,
            steps=recipe.training.steps,
        ),
        lambda network: ValidationResult(0.0),
        recipe,
        folder,
        fabric=Fabric(accelerator="cpu", devices=1),
        make_predict=make_predict,
        report=said.append,
    )
    return said


def softmax_of(network):
    return lambda images: network(images).softmax(1)


def test_rounds_come_between_epochs_with_the_averaged_weights(store, tmp_path):
    networks = []

    def make_predict(network):
        assert not network.training
        networks.append((network, hash_weights(network)))
        return softmax_of(network)

    said = train(store, tmp_path, make_predict)
    record = read_record(tmp_path / "mining.json")
    # The fourth would come after the last step, and serve nobody.
    assert [(known.round, known.step) for known in record.rounds] == [(1, 4), (2, 8)]
    assert [known.weights for known in record.rounds] == [digest for _, digest in networks]
    assert len({digest for _, digest in networks}) == 2
    assert record.rounds[0].judged == {"background": 6, "foreground": 6}
    assert sum("mining round" in line for line in said) == 2
    state = load_state(tmp_path / "last.pt")
    averaged = {
        name.removeprefix("module."): value
        for name, value in state["average"].items()
        if name.startswith("module.")
    }
    last = networks[-1][0].state_dict()
    assert averaged.keys() == last.keys()
    assert all(torch.equal(averaged[name], last[name]) for name in averaged)
    assert state["sampler"]["mined"]["round"] == 2


def test_a_strategy_that_mines_nothing_is_left_alone(store, tmp_path):
    sampling = {**RECIPE["sampling"], "strategy": "balanced"}
    train(store, tmp_path, None, sampling=sampling)
    assert not (tmp_path / "mining.json").exists()


@pytest.mark.parametrize(("steps", "every"), [(12, 20), (60, 20), (1000, 100), (1234, 124)])
def test_without_a_number_a_tenth_of_the_steps_is_an_epoch(store, steps, every):
    recipe = make_recipe(RECIPE)
    sampler = PatchSampler.from_settings(store, recipe.sampling, seed=0, steps=steps)
    assert sampler.epoch_length == every


def test_a_late_phase_is_mined_for_when_it_begins(store, tmp_path):
    phases = [{"strategy": "balanced", "until": 0.6}, {"strategy": "hard", "until": 1.0}]
    train(store, tmp_path, softmax_of, sampling={**RECIPE["sampling"], "phases": phases})
    # Phases change at step 7 of 12; the epoch of steps 4 to 7 is the first to need it.
    assert [known.step for known in read_record(tmp_path / "mining.json").rounds] == [4, 8]


def test_rounds_that_a_killed_run_left_are_written_anew(store, tmp_path):
    path = tmp_path / "mining.json"
    sampler = PatchSampler.from_settings(
        store, make_recipe(RECIPE).sampling, seed=0, mining=make_recipe(RECIPE).mining
    )
    network = torch.nn.Conv2d(1, 2, 1)
    found = []
    for number in range(3):
        list(sampler)
        found.append(sampler.mine(softmax_of(network), weights=f"w{number}"))
        note_round(path, store, found[-1])
    whole = path.read_text(encoding="utf-8")
    assert [known.weights for known in read_record(path).rounds] == ["w0", "w1", "w2"]
    note_round(path, store, found[1])
    assert [known.weights for known in read_record(path).rounds] == ["w0", "w1"]
    note_round(path, store, found[2])
    assert path.read_text(encoding="utf-8") == whole
    assert json.loads(whole).keys() == {"rounds", "suspects"}


def test_a_round_in_one_line(store):
    mined = nothing_mined(store)
    assert describe_round(mined) == "step 0: mining round 0 found 0 of 0 voxels hard"


def test_weights_have_a_name_of_their_own():
    torch.manual_seed(0)
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    assert hash_weights(first) != hash_weights(second)
    second.load_state_dict(first.state_dict())
    assert hash_weights(first) == hash_weights(second)
    assert len(hash_weights(first)) == 16


@pytest.mark.parametrize("content", ["{", "[]", '{"rounds": [{"round": 1}], "suspects": []}'])
def test_a_damaged_record_is_named(tmp_path, content):
    path = tmp_path / "mining.json"
    assert read_record(path) == MiningRecord()
    path.write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=r"mining\.json cannot be read as a record of mining"):
        read_record(path)
