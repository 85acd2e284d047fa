"""A run that begins with what another learned."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from rareseg.prediction.bundle import load_model
from rareseg.recipe import read_recipe

WIDTH = ("--set", "network.width=[4, 8, 8]")


@pytest.fixture(scope="module")
def without_network(settings):
    """`--set` of the small run, less the network, which the weights bring along."""

    def arguments(**values):
        given = settings(**values)
        pairs = list(zip(given[::2], given[1::2], strict=True))
        return [part for pair in pairs if "network." not in pair[1] for part in pair]

    return arguments


@pytest.fixture(scope="module")
def begun(finished, specks, call, without_network, tmp_path_factory):
    """A run of so few small steps that it ends next to where it began."""
    run = tmp_path_factory.mktemp("begun") / "run"
    values = {"training__steps": 4, "training__learning_rate": 1e-9, "training__average": 0}
    weights = {"training__initial_weights": finished, "training__weight_decay": 0}
    called = call("train", specks, "--out", run, *without_network(**values, **weights))
    assert called.code == 0, called.err
    return run, called


def test_it_has_the_earlier_network_and_its_weights(begun, finished):
    run, called = begun
    assert read_recipe(run / "recipe.yaml").network == read_recipe(finished / "recipe.yaml").network
    assert "as in the weights to begin with" in (run / "recipe.yaml").read_text(encoding="utf-8")
    earlier, now = load_model(finished / "bundle").weights, load_model(run / "bundle").weights
    assert earlier.keys() == now.keys()
    for name, tensor in now.items():
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            torch.testing.assert_close(tensor, earlier[name], atol=1e-6, rtol=1e-5)
    assert f"tensors from {finished}" in called.out + called.err


def test_the_model_and_its_report_say_where_it_began(begun, finished):
    run, _ = begun
    origin = load_model(run / "bundle").training.initial_weights
    assert origin.source == str(finished)
    assert set(origin.taken) <= set(load_model(run / "bundle").weights)
    assert (origin.unlike, origin.absent) == ({}, ())
    description = json.loads((finished / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    assert origin.sha256 == description["weights_sha256"]
    assert "The network begins with" in (run / "report.html").read_text(encoding="utf-8")
    assert load_model(finished / "bundle").training.initial_weights is None


def test_it_goes_on_without_the_weights_that_it_began_with(
    begun, finished, specks, call, without_network, tmp_path
):
    run, _ = begun
    again = tmp_path / "again"
    shutil.copytree(run, again)
    shutil.rmtree(again / "bundle")
    called = call("train", specks, "--out", again)
    assert called.code == 0, called.err
    assert (again / "bundle" / "weights.safetensors").read_bytes() == (
        run / "bundle" / "weights.safetensors"
    ).read_bytes()
    assert load_model(again / "bundle").training.initial_weights is not None


def test_it_does_not_judge_by_what_it_has_seen(finished, specks, call, without_network, tmp_path):
    values = without_network(training__initial_weights=finished, split__seed=1)
    called = call("train", specks, "--out", tmp_path / "run", *values)
    assert called.code == 1
    assert "has learned from" in called.err
    assert "split.seed" in called.err
    assert "Traceback" not in called.err


def test_a_network_that_nothing_fits_is_refused_before_anything_is_learned(
    finished, specks, call, settings, tmp_path
):
    values = settings(training__initial_weights=finished, network__name="segresnet")
    called = call("train", specks, "--out", tmp_path / "run", *values)
    assert called.code == 2
    assert "nothing fits the network" in called.err
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_weights_that_are_not_there_are_refused(specks, call, settings, tmp_path):
    values = settings(training__initial_weights=tmp_path / "nowhere")
    called = call("train", specks, "--out", tmp_path / "run", *values)
    assert called.code == 2
    assert "nowhere" in called.err
