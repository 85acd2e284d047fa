"""Float32 or bfloat16: the trial itself, and what is made of what it measured."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rareseg.prediction import scorer
from rareseg.prediction.scorer import computes_in_bf16
from rareseg.recipe import Recipe, make_recipe
from rareseg.training import arithmetic
from rareseg.training.arithmetic import (
    Clock,
    PrecisionTrial,
    choose_for_prediction,
    choose_for_training,
    choose_precisions,
    random_windows,
    try_both,
)
from rareseg_runner.image_records import IGNORE, Classes

CPU = torch.device("cpu")
CLASSES = Classes(
    names=("background", "spot", "line"),
    values=(0, 1, 2),
    regions={"foreground": (1, 2)},
    ignore_value=IGNORE,
)
SINGLE = PrecisionTrial(step_seconds=1.0, losses=(2.0, 1.5, 1.0), prediction_seconds=1.0)
HALF = PrecisionTrial(
    step_seconds=0.5, losses=(2.0, 1.5, 1.01), prediction_seconds=0.4, difference=0.004
)


def recipe_for(dimension: int = 2, **sections: dict[str, object]) -> Recipe:
    values: dict[str, dict[str, object]] = {
        "data": {"dimension": dimension},
        "network": {"width": [4, 8, 8]},
        # Of 16 voxels two slices would be left at the bottom, which bfloat16 cannot learn from.
        "sampling": {"patch_size": [24] * dimension, "batch_size": 2},
    }
    return make_recipe({**values, **sections})


class TestTraining:
    def test_what_is_faster_and_learns_as_well_is_taken(self):
        choice = choose_for_training(SINGLE, HALF)
        assert choice.precision == "bf16"
        assert choice.reason.startswith("steps 2.00 x as fast as float32")
        assert "from 2 to 1.01, in float32 from 2 to 1" in choice.reason

    @pytest.mark.parametrize(("seconds", "precision"), [(0.89, "bf16"), (0.92, "32"), (5.0, "32")])
    def test_little_gain_is_not_worth_it(self, seconds, precision):
        choice = choose_for_training(SINGLE, replace(HALF, step_seconds=seconds))
        assert choice.precision == precision
        if precision == "32":
            assert choice.reason.startswith(f"bf16 steps {1 / seconds:.2f} x as fast as float32")

    @pytest.mark.parametrize(
        ("losses", "precision"),
        [
            ((2.0, 1.6, 1.24), "bf16"),
            ((2.0, 1.6, 1.26), "32"),
            ((2.0, 1.0, 0.2), "bf16"),
            ((2.0, math.nan, 1.0), "32"),
            ((2.0, 1.5, math.inf), "32"),
        ],
    )
    def test_a_loss_that_does_not_fall_as_far_rules_it_out(self, losses, precision):
        choice = choose_for_training(SINGLE, replace(HALF, losses=losses))
        assert choice.precision == precision
        assert ("but the loss went from" in choice.reason) == (precision == "32")

    def test_two_slices_rule_it_out(self):
        choice = choose_for_training(SINGLE, replace(HALF, two_slices=True))
        assert choice.precision == "32"
        assert "not safe here" in choice.reason
        assert choose_for_prediction(SINGLE, replace(HALF, two_slices=True)).precision == "bf16"

    @pytest.mark.parametrize(("depth", "met"), [(16, True), (24, False), (32, False)])
    def test_two_slices_are_seen_at_the_bottom_of_a_network(self, depth, met):
        recipe = recipe_for(3, sampling={"patch_size": [depth, 32, 32], "batch_size": 2})
        single, half = try_both(recipe, CLASSES, 1, CPU, clock=itertools.count().__next__)
        assert (single.two_slices, half.two_slices) == (met, met)
        flat = recipe_for(2, sampling={"patch_size": [16, 16], "batch_size": 2})
        assert not try_both(flat, CLASSES, 1, CPU, clock=itertools.count().__next__)[1].two_slices

    def test_where_float32_rises_too_the_same_distance_is_allowed(self):
        rising = replace(SINGLE, losses=(1.0, 1.2, 1.4))
        near, far = (replace(HALF, losses=(1.0, 1.2, end)) for end in (1.49, 1.51))
        assert choose_for_training(rising, near).precision == "bf16"
        assert choose_for_training(rising, far).precision == "32"


class TestPrediction:
    def test_it_is_chosen_by_its_own_time(self):
        choice = choose_for_prediction(SINGLE, HALF)
        assert choice.precision == "bf16"
        assert "predicts 2.50 x as fast" in choice.reason
        assert "differ by at most 0.004" in choice.reason
        slow = replace(HALF, prediction_seconds=0.95)
        assert choose_for_prediction(SINGLE, slow).precision == "32"
        assert choose_for_training(SINGLE, slow).precision == "bf16"

    @pytest.mark.parametrize("difference", [0.1, 0.7, math.nan])
    def test_other_probabilities_rule_it_out(self, difference):
        choice = choose_for_prediction(SINGLE, replace(HALF, difference=difference))
        assert choice.precision == "32"
        assert "its probabilities differ" in choice.reason


@pytest.mark.parametrize("dimension", [2, 3])
class TestTheTrial:
    """It really computes in both, slowly where the processor only imitates bfloat16."""

    def test_the_loss_falls_alike_in_both(self, dimension):
        recipe = recipe_for(dimension, training={"learning_rate": 0.01})
        single, half = try_both(recipe, CLASSES, 2, CPU)
        assert single.fall > 0.1
        assert half.losses[0] == pytest.approx(single.losses[0], rel=0.01)
        assert half.losses != single.losses
        last = len(half.losses) - 1
        assert half.losses[last] == pytest.approx(single.losses[last], rel=0.05)
        assert single.difference == 0
        assert 0 < half.difference < 0.05
        assert min(single.step_seconds, half.step_seconds) > 0

    def test_it_is_repeated_exactly_and_leaves_the_generator_alone(self, dimension):
        torch.manual_seed(11)
        expected = torch.rand(1)
        torch.manual_seed(11)
        recipe = recipe_for(dimension, network={"width": [4, 8, 8], "dropout": 0.3})
        clock = itertools.count().__next__  # bfloat16 is never far behind: all steps are made
        first, second = (try_both(recipe, CLASSES, 1, CPU, clock=clock) for _ in range(2))
        assert first == second
        assert torch.equal(torch.rand(1), expected)

    def test_windows_are_as_planned_and_hold_every_class(self, dimension):
        recipe = recipe_for(dimension, sampling={"patch_size": [8] * dimension, "batch_size": 5})
        images, labels = random_windows(recipe, 3, 3)
        assert images.shape == (5, 3, *[8] * dimension)
        assert labels.shape == (5, *[8] * dimension)
        assert [sorted(set(window.flatten().tolist())) for window in labels] == [
            [0, 1], [0, 2], [0, 1], [0, 2], [0, 1]
        ]  # fmt: skip
        assert images[1][:, labels[1] == 2].mean() > images[1][:, labels[1] == 0].mean() + 1


def clock_of(single: float, half: float) -> Clock:
    """A clock by which a call takes so many seconds in each arithmetic, ten times as many at first.

    It is read before and after each call; the calls take turns, float32 first.
    """
    now, readings = [0.0], itertools.count()

    def clock() -> float:
        call, ends = divmod(next(readings), 2)
        if ends:
            turn, which = divmod(call, 2)
            now[0] += (single, half)[which] * (10 if turn < arithmetic.WARM_UP else 1)
        return now[0]

    return clock


class TestTheClock:
    def test_the_first_calls_do_not_count(self):
        single, half = try_both(recipe_for(), CLASSES, 1, CPU, clock=clock_of(2.0, 1.0))
        assert single.step_seconds == pytest.approx(2.0)
        assert half.step_seconds == pytest.approx(1.0)
        assert len(single.losses) == len(half.losses) == arithmetic.STEPS

    def test_a_trial_that_is_lost_is_given_up(self):
        single, half = try_both(recipe_for(), CLASSES, 1, CPU, clock=clock_of(1.0, 30.0))
        assert len(single.losses) == len(half.losses) == arithmetic.WARM_UP + 1
        assert choose_for_training(single, half).precision == "32"


class TestSettling:
    AUTO = frozenset({"training.precision", "prediction.precision"})

    def test_a_processor_without_bfloat16_tries_nothing(self, monkeypatch):
        monkeypatch.setattr(scorer, "_processor_features", lambda: {"avx2", "fma3"})

        def never() -> float:
            raise AssertionError

        choices = choose_precisions(recipe_for(), CLASSES, 1, CPU, clock=never)
        assert choices.keys() == self.AUTO
        for choice in choices.values():
            assert choice.precision == "32"
            assert choice.reason.startswith("this processor has no instructions for bfloat16")

    @pytest.mark.parametrize(("half", "expected"), [(0.5, "bf16"), (1.5, "32")])
    def test_one_with_bfloat16_takes_what_is_faster(self, half, expected, monkeypatch):
        monkeypatch.setattr(scorer, "_processor_features", lambda: {"avx512_bf16"})
        choices = choose_precisions(recipe_for(), CLASSES, 1, CPU, clock=clock_of(1.0, half))
        assert choices.keys() == self.AUTO
        for choice in choices.values():
            assert choice.precision == expected
            assert f"{1 / half:.2f} x as fast" in choice.reason

    @pytest.mark.parametrize("precision", ["32", "bf16"])
    def test_what_is_set_stays(self, precision, monkeypatch):
        monkeypatch.setattr(scorer, "_processor_features", set)
        fixed = {"precision": precision}
        recipe = recipe_for(training=fixed)
        assert choose_precisions(recipe, CLASSES, 1, CPU).keys() == {"prediction.precision"}
        recipe = recipe_for(training=fixed, prediction=fixed)
        assert choose_precisions(recipe, CLASSES, 1, CPU) == {}


class TestWhatTheProcessorHas:
    @pytest.mark.parametrize(
        ("features", "expected"),
        [
            ({"avx2", "avx512_f", "avx512_vnni"}, False),
            ({"avx2", "avx512_bf16"}, True),
            ({"amx_tile", "amx_bf16"}, True),
            ({"neon", "bf16"}, True),
            (set(), False),
        ],
    )
    def test_bfloat16_is_known_by_its_instructions(self, features, expected, monkeypatch):
        monkeypatch.setattr(scorer, "_processor_features", lambda: features)
        assert computes_in_bf16(CPU) is expected
        assert computes_in_bf16(torch.device("meta")) is False

    def test_what_torch_says_is_what_linux_says(self, monkeypatch):
        described = Path("/proc/cpuinfo")
        if not described.is_file() or "flags" not in described.read_text(encoding="utf-8"):
            pytest.skip("Linux on x86 alone describes its processor in these words")
        if not hasattr(torch.cpu, "get_capabilities"):
            pytest.skip("this torch cannot be asked")
        told = scorer._processor_features()
        monkeypatch.delattr(torch.cpu, "get_capabilities")
        words = scorer._processor_features()
        for name in ("avx2", "avx512_bf16", "amx_bf16"):
            assert (name in told) == (name in words), name
        assert {"avx2", "sse2"} & told & words
