"""What the optimiser's settings do to the weights, and its schedules by hand.

Each test of a setting fails where the setting is taken out of the loop.
"""

import copy
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch.optim.swa_utils import AveragedModel

from rareseg.data.store.array_store import store_from_arrays
from rareseg.prediction.networks import build_network, deepest, encoder
from rareseg.recipe import Recipe, TrainingSection, make_recipe
from rareseg.sampling.sampler import PatchSampler
from rareseg.training.loop import TrainingResult, fit
from rareseg.training.losses import Loss, make_loss
from rareseg.training.optimiser import learning_rate, parameter_groups, running_average
from rareseg.training.presence_losses import WithPresence
from rareseg.training.validation import ValidationResult


class TestLearningRate:
    SETTINGS = TrainingSection(steps=1000, learning_rate=0.4, warmup_share=0.1)

    def test_it_rises_in_equal_steps_to_the_peak(self):
        rates = [learning_rate(self.SETTINGS, step) for step in range(100)]
        assert np.diff(rates) == pytest.approx(np.full(99, 0.4 / 101))
        assert rates[0] > 0
        assert learning_rate(self.SETTINGS, 100) == pytest.approx(0.4)

    @pytest.mark.parametrize(
        ("step", "share"),
        [(325, (2 + math.sqrt(2)) / 4), (550, 0.5), (775, (2 - math.sqrt(2)) / 4)],
    )
    def test_it_falls_by_half_a_cosine(self, step, share):
        assert learning_rate(self.SETTINGS, step) == pytest.approx(0.4 * share)

    def test_it_ends_next_to_zero_and_never_below(self):
        rates = [learning_rate(self.SETTINGS, step) for step in range(1000)]
        assert 0 < rates[-1] < 1e-5
        assert max(rates) == pytest.approx(0.4)

    @pytest.mark.parametrize("steps", [1, 2, 3])
    def test_the_shortest_runs_learn_in_every_step(self, steps):
        settings = TrainingSection(steps=steps, warmup_share=0.05)
        assert all(learning_rate(settings, step) > 0 for step in range(steps))


class TestRunningAverage:
    def follow(self, decay, values):
        """Return the average after each value."""
        model = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
        model.register_buffer("count", torch.tensor(0))
        average = AveragedModel(model, multi_avg_fn=running_average(decay), use_buffers=True)
        found = []
        for value in values:
            with torch.no_grad():
                model.weight.fill_(value)
                model.count += 5
            average.update_parameters(model)
            found.append((average.module.weight.item(), average.module.count.item()))
        return found

    def test_the_first_steps_are_followed_quickly(self):
        # d after n averaged steps is (1 + n) / (10 + n) while that is below the decay; the first
        # value is copied.
        first = 8.0
        second = first + (1 - 2 / 11) * (4.0 - first)
        third = second + (1 - 3 / 12) * (0.0 - second)
        found = self.follow(0.99, [8.0, 4.0, 0.0])
        assert [value for value, _ in found] == pytest.approx([first, second, third])

    def test_a_small_decay_holds_from_the_beginning(self):
        found = self.follow(0.1, [8.0, 4.0, 0.0])
        assert [value for value, _ in found] == pytest.approx([8.0, 4.4, 0.44])

    def test_counters_are_copied(self):
        assert [count for _, count in self.follow(0.99, [1.0, 2.0])] == [5, 10]

    def test_no_decay_is_no_average(self):
        assert [value for value, _ in self.follow(0.0, [3.0, 5.0])] == [3.0, 5.0]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    rng = np.random.default_rng(0)
    labels = {name: np.zeros((1, 20, 20), np.uint8) for name in "ab"}
    for label in labels.values():
        label[0, 5:9, 4:10] = 1
    images = {
        name: (rng.integers(0, 80, (1, 1, 20, 20)) + 150 * label[None]).astype(np.uint8)
        for name, label in labels.items()
    }
    return store_from_arrays(tmp_path_factory.mktemp("optimiser") / "store", images, labels)


STILL = dict.fromkeys(
    ("mirror", "rotate", "scale", "brightness", "contrast", "gamma", "noise", "blur"), 0.0
)
Weights = dict[str, torch.Tensor]


def recipe_for(steps: int, **training: object) -> Recipe:
    """A recipe whose average is the weights themselves, unless one is asked for."""
    usual = {"learning_rate": 0.01, "average": 0.0, "validations": 1, "precision": "32"}
    return make_recipe(
        {
            "network": {"name": "unet", "width": [4, 8], "norm": "group"},
            "sampling": {"patch_size": [16, 16], "batch_size": 2},
            "augmentation": STILL,
            "training": {**usual, "steps": steps, **training},
        }
    )


def network_for(recipe: Recipe) -> torch.nn.Module:
    torch.manual_seed(3)
    return build_network(recipe.network, dimension=2, channels=1, classes=2)


def weights_before(recipe: Recipe) -> Weights:
    return dict(network_for(recipe).named_parameters())


def weights_after(store, folder, recipe: Recipe, loss: Loss | None = None) -> list[Weights]:
    """Return the averaged weights at each validation of a training, those of the last at the end.

    Every validation is better than the last one, so that the last weights are the ones kept.
    """
    seen: list[Weights] = []

    def validate(network: torch.nn.Module) -> ValidationResult:
        seen.append(copy.deepcopy(dict(network.named_parameters())))
        return ValidationResult(float(len(seen)))

    fitted = fit(
        network_for(recipe),
        loss or make_loss(recipe.loss, store.classes),
        PatchSampler.from_settings(store, recipe.sampling, seed=0),
        validate,
        recipe,
        folder,
        fabric=Fabric(accelerator="cpu", devices=1),
    )
    assert all(torch.equal(fitted.weights[name], seen[-1][name]) for name in seen[-1])
    return seen


def within_encoder(recipe: Recipe) -> set[str]:
    """Return the names of the encoder's parameters."""
    network = network_for(recipe)
    inside = {
        id(p) for part in encoder(recipe.network) for p in network.get_submodule(part).parameters()
    }
    return {name for name, p in network.named_parameters() if id(p) in inside}


class TestGradientClipping:
    """The second of two steps has a gradient a million times too large."""

    def by_hand(self, store, recipe: Recipe, clip: float) -> Weights:
        """Return the weights after the same two steps, made with torch alone."""
        network = network_for(recipe).train()
        convolutions = [p for p in network.parameters() if p.ndim > 1]
        others = [p for p in network.parameters() if p.ndim <= 1]
        settings = recipe.training
        optimizer = torch.optim.AdamW(
            [
                {"params": convolutions, "weight_decay": settings.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ]
        )
        loss = exploding(make_loss(recipe.loss, store.classes))
        sampler = PatchSampler.from_settings(store, recipe.sampling, seed=0)
        for step in range(2):
            batch = sampler.batch(step)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(settings, step)
            optimizer.zero_grad()
            loss(network(batch.images), batch.class_indices.long()).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
            optimizer.step()
        return dict(network.named_parameters())

    def test_weights_move_as_by_the_clipped_gradient(self, store, tmp_path):
        recipe = recipe_for(2, gradient_clip=0.5)
        loss = exploding(make_loss(recipe.loss, store.classes))
        (found,) = weights_after(store, tmp_path, recipe, loss)
        clipped, unclipped = (self.by_hand(store, recipe, clip) for clip in (0.5, math.inf))
        apart = 0.0
        for name, weight in found.items():
            assert torch.allclose(weight, clipped[name], atol=1e-6), name
            apart = max(apart, float((weight - unclipped[name]).detach().abs().max()))
        assert apart > 1e-3


def exploding(loss: Loss) -> Loss:
    """Return the loss a million times as large from its second call on."""
    factors: Iterator[float] = iter([1.0, *[1e6] * 9])
    return lambda logits, labels: loss(logits, labels) * next(factors)


class TestWeightDecay:
    def test_without_a_gradient_convolutions_shrink_and_nothing_else_moves(self, store, tmp_path):
        recipe = recipe_for(3, weight_decay=0.5)
        (found,) = weights_after(
            store, tmp_path, recipe, loss=lambda logits, labels: 0.0 * logits.sum()
        )
        share = math.prod(1 - 0.5 * learning_rate(recipe.training, step) for step in range(3))
        assert share < 0.995
        for name, before in weights_before(recipe).items():
            expected = share * before if before.ndim > 1 else before
            assert torch.allclose(found[name], expected, rtol=1e-5, atol=0), name

    def test_norms_and_biases_are_there_to_be_left_alone(self):
        shapes = [p.ndim for p in weights_before(recipe_for(1)).values()]
        assert {1, 4} <= set(shapes)


class TestEncoderRate:
    """After one step of AdamW without decay every weight has moved by its rate, whatever its
    gradient."""

    def test_the_encoder_moves_by_its_share_and_the_rest_as_before(self, store, tmp_path):
        recipe = recipe_for(1, weight_decay=0.0)
        slower = recipe_for(1, weight_decay=0.0, encoder_rate=0.25)
        before = weights_before(recipe)
        (usual,) = weights_after(store, tmp_path / "usual", recipe)
        (slow,) = weights_after(store, tmp_path / "slow", slower)
        inside = within_encoder(recipe)
        assert inside
        assert inside < before.keys()
        for name, weight in before.items():
            share = 0.25 if name in inside else 1.0
            moved = usual[name] - weight
            assert moved.abs().max() > 0.005, name
            assert torch.allclose(slow[name] - weight, share * moved, atol=1e-6), name

    def test_the_encoders_convolutions_decay_at_its_rate(self, store, tmp_path):
        recipe = recipe_for(1, weight_decay=0.5, encoder_rate=0.25)
        (found,) = weights_after(
            store, tmp_path, recipe, loss=lambda logits, labels: 0.0 * logits.sum()
        )
        inside, rate = within_encoder(recipe), learning_rate(recipe.training, 0)
        for name, before in weights_before(recipe).items():
            share = 1 - 0.5 * rate * (0.25 if name in inside else 1.0)
            expected = share * before if before.ndim > 1 else before
            assert torch.allclose(found[name], expected, rtol=1e-6, atol=0), name

    def test_a_resumed_run_goes_on_with_its_rates_and_moments(self, store, tmp_path):
        recipe = recipe_for(6, encoder_rate=0.25, validations=3)
        whole = weights_after(store, tmp_path / "whole", recipe)

        class Killed(Exception):
            pass

        def kill(step: int, score: float) -> None:
            if step == 4:
                raise Killed

        def go_on(on_validation) -> TrainingResult:
            scores = iter((0.1, 0.2, 0.3))
            return fit(
                network_for(recipe),
                make_loss(recipe.loss, store.classes),
                PatchSampler.from_settings(store, recipe.sampling, seed=0),
                lambda network: ValidationResult(next(scores)),
                recipe,
                tmp_path / "killed",
                fabric=Fabric(accelerator="cpu", devices=1),
                on_validation=on_validation,
            )

        with pytest.raises(Killed):
            go_on(kill)
        state = torch.load(tmp_path / "killed" / "last.pt", weights_only=True)
        assert 0 < state["progress"]["step"] < 6
        assert len(state["optimizer"]["param_groups"]) == 4
        fitted = go_on(lambda step, score: None)
        assert fitted.kept_step == 6
        assert all(torch.equal(fitted.weights[name], whole[-1][name]) for name in whole[-1])

    @pytest.mark.parametrize(("rate", "groups"), [(1.0, 2), (0.5, 4)])
    def test_every_parameter_is_in_one_group_and_heads_learn_at_the_full_rate(self, rate, groups):
        recipe = recipe_for(1, encoder_rate=rate)
        inner = network_for(recipe)
        at, features = deepest(recipe.network)
        network = WithPresence(
            inner, deepest=at, features=features, dimension=2, classes=2, regions=((1,),)
        )
        modules = [inner.get_submodule(name) for name in encoder(recipe.network)]
        made = parameter_groups(network, modules, recipe.training)
        assert len(made) == groups
        members = [id(p) for group in made for p in group.parameters]
        assert sorted(members) == sorted(map(id, network.parameters()))
        rates = {id(p): group.rate for group in made for p in group.parameters}
        heads = [*network.cells.parameters(), *network.image_head.parameters()]
        assert heads
        assert {rates[id(p)] for p in heads} == {1.0}


class TestAverageInTheLoop:
    def test_what_is_kept_follows_every_step(self, store, tmp_path):
        """The weights of each step come from runs without an average, which changes no step."""
        steps = recipe_for(4, validations=50)
        each = weights_after(store, tmp_path / "each", steps)
        assert len(each) == 4
        averaged = weights_after(store, tmp_path / "kept", recipe_for(4, average=0.2))
        kept = averaged[-1]
        for name in kept:
            expected = each[0][name]
            for n, weights in enumerate(each[1:], start=1):
                decay = min(0.2, (1 + n) / (10 + n))
                expected = decay * expected + (1 - decay) * weights[name]
            assert torch.allclose(kept[name], expected, atol=1e-6), name
            assert not torch.allclose(kept[name], each[-1][name], atol=1e-5), name
