"""Choose float32 or bfloat16 by trying both with the planned network on this machine.

Training and prediction are tried apart: a processor can gain in the one and lose in the other. What
is tried are random windows of the planned size, so that neither a store nor a sampler is needed.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rareseg.prediction.networks import build_network
from rareseg.prediction.scorer import (
    autocast,
    computes_in_bf16,
    memory_layout,
    prepare_network,
)
from rareseg.recipe import Recipe
from rareseg.training.losses import Loss, make_loss
from rareseg_runner.image_records import Classes

Precision = Literal["32", "bf16"]
Clock = Callable[[], float]

BOTH: tuple[Precision, Precision] = ("32", "bf16")

STEPS = 8
"""Training steps on one batch, in each arithmetic."""

PREDICTIONS = 5
"""Predictions of one batch, in each arithmetic."""

WARM_UP = 2
"""Steps, and predictions, that are made before the clock is read."""

LEAST_SPEEDUP = 1.1
"""How many times as fast bfloat16 must be to be taken: less is within a busy machine's noise."""

FAR_BEHIND = 2.0
"""How many times as long a call in bfloat16 may take before the trial is given up."""

LAG = 0.25
"""Share of float32's fall of the loss by which that in bfloat16 may end higher."""

APART = 0.1
"""Difference of probabilities from which bfloat16 is not taken for prediction."""


@dataclass(frozen=True)
class PrecisionTrial:
    """What the planned network did in one arithmetic.

    ``step_seconds`` and ``prediction_seconds`` are the fewest of several, for one batch;
    ``losses`` are those of repeated steps on one batch, each before its step; ``difference`` is the
    largest absolute difference of its probabilities from those of float32, with the same weights.
    ``two_slices`` says that a convolution meets images of two slices (:func:`meets_two_slices`).
    """

    step_seconds: float
    losses: tuple[float, ...]
    prediction_seconds: float
    difference: float = 0.0
    two_slices: bool = False

    @property
    def fall(self) -> float:
        """How far the loss fell, from the first step to the last."""
        return self.losses[0] - self.losses[-1]

    @property
    def story(self) -> str:
        """Where the loss began and ended."""
        return f"{self.losses[0]:.3g} to {self.losses[-1]:.3g}"


@dataclass(frozen=True)
class PrecisionChoice:
    """A precision and the reason for it, as it stands in the recipe."""

    precision: Precision
    reason: str


def choose_precisions(
    recipe: Recipe,
    classes: Classes,
    channels: int,
    device: torch.device,
    *,
    clock: Clock = time.perf_counter,
) -> Mapping[str, PrecisionChoice]:
    """Return the choice for each of the recipe's precisions that is ``auto``, by ``section.key``.

    Where the device has no bfloat16 nothing is tried, and float32 taken. ``clock`` gives seconds.
    Raises :class:`~rareseg.errors.RecipeError` where the network or the loss cannot be made.
    """
    rules = {
        "training.precision": (recipe.training.precision, choose_for_training),
        "prediction.precision": (recipe.prediction.precision, choose_for_prediction),
    }
    left = {name: choose for name, (given, choose) in rules.items() if given == "auto"}
    if not left:
        return {}
    if not computes_in_bf16(device):
        what = "GPU" if device.type == "cuda" else "processor"
        reason = f"this {what} has no instructions for bfloat16, so that nothing else was tried"
        return {name: PrecisionChoice("32", reason) for name in left}
    single, half = try_both(recipe, classes, channels, device, clock=clock)
    return {name: choose(single, half) for name, choose in left.items()}


def choose_for_training(single: PrecisionTrial, half: PrecisionTrial) -> PrecisionChoice:
    """Return bfloat16 where a step is faster in it and the loss falls about as in float32.

    The loss may end higher by :data:`LAG` of its fall in float32.
    """
    if half.two_slices:
        return PrecisionChoice(
            "32",
            "bf16 is not safe here: on processors the weight gradient of a 3D convolution over two "
            "slices reads memory that was never written, so that runs differ and can end in NaN "
            "(torch 2.13); a window of other depth avoids it",
        )
    ratio = single.step_seconds / half.step_seconds
    if ratio < LEAST_SPEEDUP:
        return PrecisionChoice("32", _slow("steps", ratio))
    finite = all(math.isfinite(loss) for loss in half.losses)
    if not finite or half.losses[-1] > single.losses[-1] + LAG * abs(single.fall):
        return PrecisionChoice(
            "32",
            f"bf16 steps {ratio:.2f} x as fast, but the loss went from {half.story} in "
            f"{len(half.losses)} steps on one batch, in float32 from {single.story}",
        )
    return PrecisionChoice(
        "bf16",
        f"steps {ratio:.2f} x as fast as float32 on the machine on which the run began; in "
        f"{len(half.losses)} steps on one batch the loss went from {half.story}, in float32 from "
        f"{single.story}",
    )


def choose_for_prediction(single: PrecisionTrial, half: PrecisionTrial) -> PrecisionChoice:
    """Return bfloat16 where it predicts faster, with nearly the probabilities of float32."""
    ratio = single.prediction_seconds / half.prediction_seconds
    if ratio < LEAST_SPEEDUP:
        return PrecisionChoice("32", _slow("predicts", ratio))
    if not half.difference < APART:  # as NaN is not
        return PrecisionChoice(
            "32",
            f"bf16 predicts {ratio:.2f} x as fast, but its probabilities differ from those of "
            f"float32 by up to {half.difference:.2g}",
        )
    return PrecisionChoice(
        "bf16",
        f"predicts {ratio:.2f} x as fast as float32 on the machine on which the run began; "
        f"probabilities differ by at most {half.difference:.2g}, and points and certificates are "
        "those of this arithmetic",
    )


def _slow(does: str, ratio: float) -> str:
    return (
        f"bf16 {does} {ratio:.2f} x as fast as float32 on the machine on which the run began; it "
        f"is taken from {LEAST_SPEEDUP:g} x on"
    )


def try_both(
    recipe: Recipe,
    classes: Classes,
    channels: int,
    device: torch.device,
    *,
    clock: Clock = time.perf_counter,
) -> tuple[PrecisionTrial, PrecisionTrial]:
    """Return what the planned network does in float32 and in bfloat16, in turns.

    Both begin with the same weights. A device without bfloat16 computes in it too, slowly. Torch's
    generator for the CPU is left as it was. Raises as :func:`choose_precisions`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        network = build_network(
            recipe.network,
            dimension=recipe.data.dimension,
            channels=channels,
            classes=classes.count,
        )
        images, labels = random_windows(recipe, channels, classes.count)
        pair = _Pair(
            prepare_network(network, recipe, device),
            make_loss(recipe.loss, classes),
            images.to(device, memory_format=memory_layout(recipe.data.dimension)),
            labels.to(device),
            recipe,
        )
        two_slices = device.type == "cpu" and meets_two_slices(network, images)
        step_seconds = _interleaved(pair.step, STEPS, device, clock)
        prediction_seconds = _interleaved(pair.predict, PREDICTIONS, device, clock)
    single, half = (
        PrecisionTrial(
            step_seconds=step_seconds[precision],
            losses=tuple(float(value) for value in pair.losses[precision]),
            prediction_seconds=prediction_seconds[precision],
            difference=float((pair.scores[precision] - pair.scores["32"]).abs().max()),
            two_slices=two_slices,
        )
        for precision in BOTH
    )
    return single, half


def meets_two_slices(network: torch.nn.Module, images: Tensor) -> bool:
    """Tell whether a 3D convolution of the network meets two slices when it scores ``images``.

    In bfloat16 on a processor with AVX512_BF16 its weight gradient then differs from call to call:
    measured with torch 2.13 for kernels of 3, at a depth of 2 and any height and width, not at any
    other depth, and not in 2D.
    """
    met: list[bool] = []

    def look(layer: torch.nn.Conv3d, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        met.append(inputs[0].shape[2] == 2 and layer.kernel_size[0] > 1)

    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv3d)]
    hooks = [layer.register_forward_hook(look) for layer in layers]
    learns = network.training
    try:
        with torch.inference_mode():
            network.eval()(images[:1].to(next(network.parameters()).device))
    finally:
        network.train(learns)
        for hook in hooks:
            hook.remove()
    return any(met)


class _Pair:
    """Two copies of a network that learn from one batch, each in its own arithmetic."""

    def __init__(
        self, network: torch.nn.Module, loss: Loss, images: Tensor, labels: Tensor, recipe: Recipe
    ) -> None:
        self.loss, self.images, self.labels, self.seed = loss, images, labels, recipe.training.seed
        self.networks = {precision: copy.deepcopy(network).train() for precision in BOTH}
        self.optimizers = {
            precision: torch.optim.AdamW(own.parameters(), lr=recipe.training.learning_rate)
            for precision, own in self.networks.items()
        }
        self.losses: dict[Precision, list[Tensor]] = {precision: [] for precision in BOTH}
        self.scores: dict[Precision, Tensor] = {}

    def step(self, precision: Precision) -> None:
        """Learn once more from the batch."""
        torch.manual_seed(self.seed + len(self.losses[precision]))
        with autocast(self.images.device, precision):
            logits = self.networks[precision](self.images)
        value = self.loss(logits.float(), self.labels)
        torch.autograd.backward(value)
        self.optimizers[precision].step()
        self.optimizers[precision].zero_grad()  # the other one's turn needs no gradients of this
        self.losses[precision].append(value.detach())

    def predict(self, precision: Precision) -> None:
        """Score the batch with what was learned in float32: one set of weights in both."""
        network = self.networks["32"].eval()
        with torch.inference_mode(), autocast(self.images.device, precision):
            self.scores[precision] = network(self.images).float().softmax(1)


def _interleaved(
    call: Callable[[Precision], None], calls: int, device: torch.device, clock: Clock
) -> dict[Precision, float]:
    """Return the fewest seconds of a call in each arithmetic; the first calls do not count.

    The fewest, since other work on the machine can only add to them. In turns, so that it meets
    both. Where bfloat16 is far behind, as
    it is where it is only imitated, one call that counts is enough.
    """
    seconds: dict[Precision, list[float]] = {precision: [] for precision in BOTH}
    for number in range(calls):
        if number > WARM_UP and seconds["bf16"][-1] > FAR_BEHIND * seconds["32"][-1]:
            break
        for precision in BOTH:
            started = clock()
            call(precision)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds[precision].append(clock() - started)
    return {precision: min(own[WARM_UP:]) for precision, own in seconds.items()}


def random_windows(recipe: Recipe, channels: int, classes: int) -> tuple[Tensor, Tensor]:
    """Return a batch of noise in which one box of each window is brighter, and its labels.

    Images are float32 (B, channels, *patch), labels int64 (B, *patch) class indices; the classes of
    foreground take turns. The same recipe gives the same batch.
    """
    patch, batch = recipe.sampling.patch_size, recipe.sampling.batch_size
    generator = torch.Generator().manual_seed(recipe.training.seed)
    images = torch.randn((batch, channels, *patch), generator=generator)
    labels = torch.zeros((batch, *patch), dtype=torch.int64)
    for number in range(batch):
        label = 1 + number % (classes - 1)
        box = torch.ones(patch, dtype=torch.bool)
        for axis, side in enumerate(patch):
            long = max(1, side // 3)
            first = int(torch.randint(0, side - long + 1, (1,), generator=generator))
            along = torch.arange(side).reshape(-1, *[1] * (len(patch) - 1 - axis))
            box &= (along >= first) & (along < first + long)
        labels[number][box] = label
        images[number] += label * box
    return images, labels
