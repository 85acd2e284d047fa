"""The training loop: its schedules by hand, and what it keeps."""

import copy
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from rareseg.data.store.array_store import store_from_arrays
from rareseg.errors import RecipeError, RunError
from rareseg.prediction.networks import build_network
from rareseg.prediction.scorer import prepare_network
from rareseg.progress import silent
from rareseg.recipe import Recipe, TrainingSection, make_recipe
from rareseg.sampling.pasting.paster import Paster
from rareseg.sampling.sampler import PatchSampler
from rareseg.training.log import read_table
from rareseg.training.loop import TrainingResult, fit, measure_step, seed_of, validation_steps
from rareseg.training.losses import make_loss
from rareseg.training.validation import ValidationResult


class TestValidationSteps:
    @pytest.mark.parametrize(
        ("steps", "validations", "expected"),
        [
            (60, 4, [15, 30, 45, 60]),
            (1000, 4, [250, 500, 750, 1000]),
            (1000, 1, [1000]),
            (1000, 2, [250, 1000]),
            (1, 4, [1]),
            (3, 50, [1, 2, 3]),
        ],
    )
    def test_they_are_spread_from_a_quarter_to_the_end(self, steps, validations, expected):
        settings = TrainingSection(steps=steps, validations=validations)
        assert validation_steps(settings) == expected


def test_seeds_differ_by_seed_purpose_and_step_and_nothing_else():
    seeds = {
        seed_of(seed, purpose, step)
        for seed in (0, 1)
        for purpose in ("dropout 0", "dropout 1", "augmentation 0")
        for step in range(50)
    }
    assert len(seeds) == 2 * 3 * 50
    assert seed_of(3, "dropout 0", 7) == seed_of(3, "dropout 0", 7)
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    rng = np.random.default_rng(0)
    labels = {name: np.zeros((1, 24, 28), np.uint8) for name in "abcd"}
    for name in "abc":
        labels[name][0, 5:9, 4:10] = 1
    images = {
        name: (rng.integers(0, 80, (1, 1, 24, 28)) + 150 * label[None]).astype(np.uint8)
        for name, label in labels.items()
    }
    return store_from_arrays(tmp_path_factory.mktemp("fit") / "store", images, labels)


RECIPE = {
    "network": {"name": "unet", "width": [4, 8]},
    "sampling": {"patch_size": [16, 16], "batch_size": 2},
    "training": {"steps": 12, "learning_rate": 0.01, "validations": 4, "precision": "32"},
}


def recipe_with(**training) -> Recipe:
    return make_recipe({**RECIPE, "training": {**RECIPE["training"], **training}})


class Sluggish(PatchSampler):
    """Takes far longer to plan a batch than a tiny network to learn from it."""

    def plan(self, k):
        time.sleep(0.1)
        return super().plan(k)


class SluggishAtFirst(PatchSampler):
    """Takes long for the first batch alone, as where it has to be compiled."""

    def plan(self, k):
        if k == 0:
            time.sleep(3.0)
        return super().plan(k)


def run(
    store,
    folder: Path,
    recipe: Recipe,
    scores,
    *,
    keep=None,
    sampler=PatchSampler,
    said=None,
    track=silent,
    on_validation=lambda step, score: None,
) -> TrainingResult:
    """Train with validations that give ``scores`` in turn; ``keep`` takes the validated weights.

    ``said`` takes the lines for the user.
    """
    torch.manual_seed(0)
    network = build_network(recipe.network, dimension=2, channels=1, classes=2)
    answers = iter(scores)

    def validate(scored: torch.nn.Module) -> ValidationResult:
        assert not scored.training
        if keep is not None:
            keep.append(copy.deepcopy(scored.state_dict()))
        return ValidationResult(next(answers))

    return fit(
        network,
        make_loss(recipe.loss, store.classes),
        sampler.from_settings(store, recipe.sampling, seed=0),
        validate,
        recipe,
        folder,
        fabric=Fabric(accelerator="cpu", devices=1),
        report=lambda line: None if said is None else said.append(line),
        track=track,
        on_validation=on_validation,
    )


def test_the_bar_tells_of_loss_and_strata_as_they_come(store, tmp_path):
    told = []

    def track(items, description, total, *, note):
        assert note() == ""  # nothing is known yet
        for item in items:
            yield item
            told.append(note())

    recipe = recipe_with(steps=48, validations=2)
    run(store, tmp_path, recipe, [0.3, 0.4], track=track)
    assert told[5] == ""
    assert told[25].startswith("loss 0.") or told[25].startswith("loss 1.")


def same(left, right) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


class TestSparingTheEncoder:
    """Half of 12 steps, so that the validation after 6 sees it as it was and that after 9 not."""

    RECIPE = make_recipe(
        {
            **RECIPE,
            "network": {"name": "unet", "width": [4, 8], "norm": "batch"},
            "training": {
                **RECIPE["training"],
                "initial_weights": "elsewhere",
                "freeze_encoder": 0.5,
            },
        }
    )

    def parts(self, weights, *, inside: bool):
        """Weights and statistics of the encoder, or of the rest."""
        names = ("model.0.", "model.1.submodule.")
        return {
            key: value
            for key, value in weights.items()
            if key.startswith(names) == inside and not key.endswith("num_batches_tracked")
        }

    def test_it_stays_as_it_was_and_learns_afterwards(self, store, tmp_path):
        validated = []
        run(store, tmp_path, self.RECIPE, [0.1, 0.2, 0.3, 0.4], keep=validated)
        torch.manual_seed(0)
        first = build_network(self.RECIPE.network, dimension=2, channels=1, classes=2).state_dict()
        for weights in validated[:2]:
            assert same(self.parts(first, inside=True), self.parts(weights, inside=True))
        after = self.parts(validated[2], inside=True)
        before = self.parts(first, inside=True)
        assert not any(torch.equal(before[k], after[k]) for k in after if k.endswith("weight"))
        outside = self.parts(validated[0], inside=False)
        assert not same(self.parts(first, inside=False), outside)

    def test_an_encoder_that_learned_nothing_is_not_spared(self):
        words = "neither initial_weights nor a pretrained encoder"
        with pytest.raises(RecipeError, match=words):
            recipe_with(freeze_encoder=0.5)
        begun = {"name": "encoder_unet", "encoder_weights": "none"}
        with pytest.raises(RecipeError, match=words):
            make_recipe({"network": begun, "training": {"freeze_encoder": 0.5}})

    def test_a_pretrained_encoder_may_be_spared(self):
        values = {"network": {"name": "encoder_unet"}, "training": {"freeze_encoder": 0.5}}
        assert make_recipe(values).training.freeze_encoder == 0.5


class TestFit:
    def test_the_weights_of_the_best_validation_are_kept(self, store, tmp_path):
        validated = []
        fitted = run(store, tmp_path, recipe_with(), [0.2, 0.6, 0.6, 0.4], keep=validated)
        assert (fitted.steps, fitted.kept_step, fitted.kept_score) == (12, 6, 0.6)
        assert same(fitted.weights, validated[1])
        assert not same(fitted.weights, validated[3])
        table = read_table(tmp_path / "validations.csv")
        assert table == {
            "step": [3, 6, 9, 12],
            "score": [0.2, 0.6, 0.6, 0.4],
            "best": [0.2, 0.6, 0.6, 0.6],
        }

    def test_the_last_weights_are_kept_where_that_is_asked_for(self, store, tmp_path):
        seen = []
        recipe = recipe_with(checkpoint="last")
        fitted = run(store, tmp_path, recipe, [0.2, 0.6, 0.5, 0.3], keep=seen)
        assert (fitted.steps, fitted.kept_step, fitted.kept_score) == (12, 12, 0.3)
        assert same(fitted.weights, seen[-1])

    def test_a_state_of_an_earlier_version_is_refused_in_words(self, store, tmp_path):
        run(store, tmp_path, recipe_with(), [0.1] * 4)
        state = torch.load(tmp_path / "last.pt", weights_only=True)
        state["progress"]["best_step"] = state["progress"].pop("kept_step")
        torch.save(state, tmp_path / "last.pt")
        with pytest.raises(RunError, match="earlier version of rareseg"):
            run(store, tmp_path, recipe_with(), [0.1] * 4)

    def test_it_stops_after_validations_without_a_better_one(self, store, tmp_path):
        fitted = run(store, tmp_path, recipe_with(patience=2), [0.5, 0.4, 0.5, 0.9])
        assert (fitted.steps, fitted.kept_step) == (9, 3)

    def test_a_better_one_starts_the_patience_anew(self, store, tmp_path):
        fitted = run(store, tmp_path, recipe_with(patience=2), [0.5, 0.4, 0.6, 0.5])
        assert (fitted.steps, fitted.kept_step) == (12, 9)

    def test_a_finished_training_is_not_done_again(self, store, tmp_path):
        first = run(store, tmp_path, recipe_with(), [0.2, 0.6, 0.6, 0.4])
        again = run(store, tmp_path, recipe_with(), [])
        assert same(first.weights, again.weights)
        assert (again.kept_step, again.kept_score) == (6, 0.6)

    def test_it_learns(self, store, tmp_path):
        recipe = recipe_with(steps=60, validations=1, learning_rate=0.02)
        fitted = run(store, tmp_path, recipe, [0.0])
        torch.manual_seed(0)
        network = build_network(recipe.network, dimension=2, channels=1, classes=2)
        loss = make_loss(recipe.loss, store.classes)
        sampler = PatchSampler.from_settings(store, recipe.sampling, seed=1)
        batches = [sampler.batch(number) for number in range(10)]

        def mean_loss() -> float:
            with torch.no_grad():
                return float(np.mean([loss(network.eval()(b.images), b.labels) for b in batches]))

        untrained = mean_loss()
        network.load_state_dict(fitted.weights)
        assert mean_loss() < 0.5 * untrained

    def test_worker_processes_change_no_weight(self, store, tmp_path):
        scores = [0.1, 0.2, 0.3, 0.4]
        alone = run(store, tmp_path / "alone", recipe_with(), scores)
        helped = run(store, tmp_path / "helped", recipe_with(workers=2), scores)
        assert same(alone.weights, helped.weights)

    def test_a_loop_that_waits_says_once_what_to_change(self, store, tmp_path):
        said: list[str] = []
        recipe = recipe_with(steps=20)
        fitted = run(store, tmp_path, recipe, [0.1] * 4, sampler=Sluggish, said=said)
        assert fitted.waiting_share > 0.05
        assert len([line for line in said if "training waits for patches" in line]) == 1
        assert read_table(tmp_path / "steps.csv")["waiting_share"][-1] > 0.05

    def test_waiting_counts_from_the_second_batch_on(self, store, tmp_path):
        said: list[str] = []
        recipe = recipe_with(steps=20)
        fitted = run(store, tmp_path, recipe, [0.1] * 4, sampler=SluggishAtFirst, said=said)
        seconds = read_table(tmp_path / "steps.csv")["seconds"][-1]
        assert seconds > 3
        # Counted, the first batch would make up for as much of the time as it took.
        assert fitted.waiting_share * seconds < 3
        state = torch.load(tmp_path / "last.pt", weights_only=True)["progress"]
        assert state["begun"] > 3 > state["waited"]

    def test_scores_that_are_equal_keep_the_first(self, store, tmp_path):
        assert run(store, tmp_path, recipe_with(), [0.0] * 4).kept_step == 3


class TestPasting:
    """Objects are pasted into every window without any, most of them with their labels."""

    RECIPE = make_recipe({**RECIPE, "augmentation": {"paste": 1.0, "paste_texture": 0.2}})

    def test_a_training_that_was_stopped_ends_with_the_same_weights(self, store, tmp_path):
        class Stopped(Exception):
            pass

        def stop(step: int, score: float) -> None:
            if step == 9:
                raise Stopped

        scores = [0.1, 0.2, 0.3, 0.4]
        through = run(store, tmp_path / "through", self.RECIPE, scores)
        with pytest.raises(Stopped):
            run(store, tmp_path / "stopped", self.RECIPE, scores, on_validation=stop)
        assert torch.load(tmp_path / "stopped" / "last.pt")["progress"]["step"] == 6
        resumed = run(store, tmp_path / "stopped", self.RECIPE, scores[2:])
        assert same(through.weights, resumed.weights)
        without = run(store, tmp_path / "without", recipe_with(), scores)
        assert not same(through.weights, without.weights)

    def test_the_account_is_that_after_pasting(self, store, tmp_path):
        accounts = []
        for recipe in (recipe_with(), self.RECIPE):
            samplers = []

            class Kept(PatchSampler):
                def __init__(self, *arguments, _kept=samplers, **settings):
                    super().__init__(*arguments, **settings)
                    _kept.append(self)

            run(store, tmp_path / f"{len(accounts)}", recipe, [0.1] * 4, sampler=Kept)
            accounts.append(samplers[0].delivered())
        plain, pasted = accounts
        assert plain.pasted is None
        assert pasted.pasted.objects > 0
        assert pasted.pasted.textures > 0
        assert pasted.with_foreground > plain.with_foreground
        assert pasted.voxels[1] > plain.voxels[1]
        assert pasted.centres == plain.centres

    def test_each_step_and_each_rank_has_a_stream_of_its_own(self, store, tmp_path, monkeypatch):
        seeds, paste = [], Paster.__call__

        def noted(self, batch, *, seed):
            seeds.append(seed)
            return paste(self, batch, seed=seed)

        monkeypatch.setattr(Paster, "__call__", noted)
        run(store, tmp_path / "run", self.RECIPE, [0.1] * 4)
        training = self.RECIPE.training
        assert seeds == [seed_of(training.seed, "paste 0", k) for k in range(training.steps)]
        streams = {seed_of(training.seed, f"paste {rank}", k) for rank in (0, 1) for k in (0, 1)}
        assert len(streams) == 4


# The deepest features are larger than one pixel, or their layout would be anybody's guess.
SIDES = {2: [64, 64], 3: [16, 16, 16]}
CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


class TestMemoryLayout:
    """Weights, gradients, moments and all that convolutions see lie channels last."""

    @pytest.fixture(params=[2, 3])
    def dimension(self, request):
        return request.param

    @pytest.fixture(params=["half_unet", "encoder_unet"])
    def recipe(self, request, dimension):
        if (request.param, dimension) == ("encoder_unet", 3):
            pytest.skip("it takes images of two dimensions")
        width = {"width": [4, 8, 8]} if request.param == "half_unet" else {}
        return make_recipe(
            {
                "data": {"dimension": dimension},
                "network": {"name": request.param, "norm": "batch", **width},
                "sampling": {"patch_size": SIDES[dimension], "batch_size": 2},
                "training": {"steps": 2, "validations": 1, "precision": "32"},
            }
        )

    @pytest.fixture
    def two_channels(self, tmp_path, dimension):
        rng = np.random.default_rng(1)
        shape = (1, 72, 72) if dimension == 2 else (20, 20, 20)
        labels = {name: (rng.random(shape) > 0.9).astype(np.uint8) for name in "ab"}
        images = {name: rng.integers(0, 255, (2, *shape)).astype(np.uint8) for name in "ab"}
        return store_from_arrays(tmp_path / "store", images, labels)

    def test_it_holds_through_training_and_a_restart(
        self, recipe, dimension, two_channels, tmp_path
    ):
        layout, threads = CHANNELS_LAST[dimension], torch.get_num_threads()
        # On one thread torch computes 1 x 1 convolutions by other means, that fall back.
        torch.set_num_threads(2)
        torch.manual_seed(0)
        network = build_network(recipe.network, dimension=dimension, channels=2, classes=2)
        network = prepare_network(network, recipe, torch.device("cpu"))
        others: set[str] = set()

        def watch(name):
            def look(module, inputs, output):
                seen = (*inputs, output)
                if not all(t.is_contiguous(memory_format=layout) for t in seen):
                    others.add(name)

            return look

        for name, module in network.named_modules():
            if type(module).__name__.startswith(("Conv", "BatchNorm", "GroupNorm")):
                module.register_forward_hook(watch(name))
        try:
            fit(
                network,
                make_loss(recipe.loss, two_channels.classes),
                PatchSampler.from_settings(two_channels, recipe.sampling, seed=0),
                lambda scored: ValidationResult(0.5),
                recipe,
                tmp_path,
                fabric=Fabric(accelerator="cpu", devices=1),
            )
        finally:
            torch.set_num_threads(threads)
        assert others == set()
        state = torch.load(tmp_path / "last.pt", weights_only=True)
        moments = [entry["exp_avg"] for entry in state["optimizer"]["state"].values()]
        averages = [t for key, t in state["average"].items() if key.startswith("module.")]
        for tensor in (*network.parameters(), *moments, *averages):
            if tensor.ndim == dimension + 2:
                assert tensor.is_contiguous(memory_format=layout)


def test_measuring_a_step_leaves_the_sampler_where_it_was(store, monkeypatch):
    monkeypatch.setattr("rareseg.training.budget.MEASURED_SECONDS", 0.05)
    recipe = recipe_with()
    sampler = PatchSampler.from_settings(store, recipe.sampling, seed=0)
    before = sampler.state_dict()
    network = build_network(recipe.network, dimension=2, channels=1, classes=2)
    seconds = measure_step(
        network,
        make_loss(recipe.loss, store.classes),
        sampler,
        recipe,
        fabric=Fabric(accelerator="cpu", devices=1),
    )
    assert 0 < seconds < 5
    assert sampler.state_dict() == before
