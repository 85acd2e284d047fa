"""The training loop: step by step, validated on whole images, resumable at any step.

Everything random in step k (the places, what is pasted, the augmentation, dropout) is a function of
the seed and of k. A run that was killed and resumed therefore ends with the same weights, bit for
bit, as one that was not, on the same machine with the same number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from rareseg.errors import RunError
from rareseg.prediction.networks import encoder
from rareseg.prediction.scorer import memory_layout
from rareseg.progress import Track, silent
from rareseg.recipe import Recipe, TrainingSection
from rareseg.sampling.augmentation.augment import apply_plan, apply_to_components, draw_plan
from rareseg.sampling.dataloader import PatchLoader
from rareseg.sampling.pasting.paster import Paster
from rareseg.sampling.patches.composition import PasteCount
from rareseg.sampling.sampler import Batch, PatchSampler
from rareseg.training.budget import seconds_per_call
from rareseg.training.checkpoint import State, load_state, require_state, save_state
from rareseg.training.log import TrainingLog, describe_waiting
from rareseg.training.losses import Loss, training_loss
from rareseg.training.mining_round import MakePredict, mine_round
from rareseg.training.optimiser import learning_rate, parameter_groups, running_average
from rareseg.training.presence_losses import WithPresence
from rareseg.training.validation import ValidationResult

Validate = Callable[[torch.nn.Module], ValidationResult]
"""Looks at whole validation cases with a network; a higher score is better."""

OnValidation = Callable[[int, float], None]
"""Told the step and the score of each validation; what it raises ends the training."""

LOG_EVERY = 20
"""Steps between two rows of the log."""

SAVE_SECONDS = 30.0
"""Time between two checkpoints; when they fall changes nothing in the result."""


@dataclass(frozen=True)
class TrainingResult:
    """How a training run ended.

    ``weights``, on the CPU, are those that ``training.checkpoint`` keeps: of step ``kept_step``,
    whose validation gave ``kept_score``.
    ``waiting_share``, 0…1, is the share of the time that the loop waited for data, from the second
    step on.
    """

    weights: dict[str, Tensor]
    kept_step: int
    kept_score: float
    steps: int
    waiting_share: float


@dataclass
class _Progress:
    """What changes from step to step besides weights and optimiser.

    ``begun`` are the seconds of each call's first step: they are spent on compilers, which neither
    waiting for data (``waited``) nor learning (``worked``) is to be blamed for.
    """

    step: int = 0
    kept_step: int = 0
    kept_score: float = -math.inf
    best_score: float = -math.inf
    since_best: int = 0
    last_score: float = -math.inf
    begun: float = 0.0
    waited: float = 0.0
    worked: float = 0.0

    @property
    def waiting_share(self) -> float:
        total = self.waited + self.worked
        return self.waited / total if total else 0.0

    @property
    def seconds(self) -> float:
        return self.begun + self.waited + self.worked


@dataclass
class _Live:
    """What the progress bar shows beside the steps: loss, validation, waiting for data."""

    loss: float = math.nan
    waiting: float = 0.0
    strata: str = ""

    def line(self) -> str:
        if math.isnan(self.loss):
            return ""
        waits = f"waiting {self.waiting:.0%}" if self.waiting >= 0.01 else ""
        return " · ".join(part for part in (f"loss {self.loss:.3f}", self.strata, waits) if part)


def fit(
    network: torch.nn.Module,
    loss: Loss,
    sampler: PatchSampler,
    validate: Validate,
    recipe: Recipe,
    folder: Path,
    *,
    fabric: Fabric,
    make_predict: MakePredict | None = None,
    track: Track = silent,
    report: Callable[[str], None] = lambda line: None,
    on_validation: OnValidation = lambda step, score: None,
) -> TrainingResult:
    """Train ``network`` for ``recipe.training.steps`` steps and return the weights that are kept.

    State and log go to ``folder`` (``last.pt``, ``best.pt``, ``steps.csv``, ``validations.csv``);
    where a state is found there, training goes on from it. The kept weights are those of the
    running average (``training.average``) at the last validation, or at the one with the highest
    score (``training.checkpoint``). Where the
    sampler draws from what is mined between epochs, ``make_predict`` is needed.
    """
    settings = recipe.training
    loop = _Loop(network, loss, sampler, recipe, fabric)
    progress = loop.restore(load_state(folder / "last.pt"), sampler)
    live = _Live()
    saved_at = time.monotonic()
    checkpoints = set(validation_steps(settings))
    batches = _epochs(PatchLoader(sampler, workers=settings.workers))
    advised = False
    with TrainingLog(folder, first_step=progress.step) as journal:
        # A run that was killed after it had stopped early has nothing left to learn.
        over = bool(settings.patience) and progress.since_best >= settings.patience
        remaining = range(progress.step, progress.step if over else settings.steps)
        for step in track(remaining, "training", len(remaining), note=live.line):
            if sampler.mining_due:
                assert make_predict is not None, "a sampler that mines needs predictions"
                mined_with = loop.average.module
                mine_round(sampler, mined_with, make_predict, folder, fabric=fabric, report=report)
            started = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - started
            value, norm, labels, pasted = loop.step(batch, step)
            sampler.recount(batch, labels, pasted)
            progress.step = step + 1
            if step == remaining.start:
                progress.begun += time.perf_counter() - started
            else:
                progress.waited += waited
                progress.worked += time.perf_counter() - started - waited
            if fabric.is_global_zero and (progress.step % LOG_EVERY == 0):
                live.loss, live.waiting = float(value), progress.waiting_share
                journal.step(
                    progress.step,
                    loss=float(value),
                    learning_rate=learning_rate(settings, step),
                    gradient_norm=float(norm),
                    seconds=progress.seconds,
                    waiting_share=progress.waiting_share,
                )
            stop = False
            if progress.step in checkpoints:
                stop, live.strata = loop.validate(validate, progress, folder, journal, report)
                on_validation(progress.step, progress.last_score)
                advice = describe_waiting(progress.waiting_share, workers=settings.workers)
                if advice and not advised:
                    report(advice)
                    advised = True
            due = time.monotonic() - saved_at > SAVE_SECONDS
            if fabric.is_global_zero and (due or progress.step in checkpoints):
                save_state(folder / "last.pt", loop.state(progress, sampler))
                saved_at = time.monotonic()
            if stop:
                report(f"stopped early: {progress.since_best} validations without a better one")
                break
    fabric.barrier()
    best = require_state(folder / "best.pt", beside="last.pt")
    return TrainingResult(
        weights=best["weights"],
        kept_step=progress.kept_step,
        kept_score=progress.kept_score,
        steps=progress.step,
        waiting_share=progress.waiting_share,
    )


def _epochs(loader: PatchLoader) -> Iterator[Batch]:
    """Yield batches without end, one epoch after the other; each is begun when it is asked for."""
    while True:
        yield from loader


def measure_step(
    network: torch.nn.Module, loss: Loss, sampler: PatchSampler, recipe: Recipe, *, fabric: Fabric
) -> float:
    """Return the seconds of one training step, from steps that are made and thrown away.

    ``network`` is changed; neither the sampler nor anything on disk is.
    """
    loop = _Loop(network, loss, sampler, recipe, fabric)
    return seconds_per_call(
        lambda step: loop.step(sampler.batch(step), 0),
        agree=lambda go_on: bool(fabric.broadcast(go_on)),
    )


def validation_steps(settings: TrainingSection) -> list[int]:
    """Return after how many steps validation cases are scored; the last step is among them.

    The first is a quarter of the way in: earlier scores of a running average never win.
    """
    first = settings.steps / 4
    count = settings.validations
    spaced = [
        settings.steps - (settings.steps - first) * i / max(1, count - 1) for i in range(count)
    ]
    return sorted({max(1, round(step)) for step in spaced})


def seed_of(seed: int, purpose: str, step: int) -> int:
    """Return the seed for one purpose in one step: independent streams from one number."""
    words = np.random.SeedSequence([seed, *purpose.encode(), step]).generate_state(2)
    return int(words[0]) << 31 ^ int(words[1])


def _encoder(network: torch.nn.Module, recipe: Recipe) -> tuple[torch.nn.Module, ...]:
    alone = network.network if isinstance(network, WithPresence) else network
    return tuple(alone.get_submodule(name) for name in encoder(recipe.network))


class _Loop:
    """Network, running average and optimiser, and what one step does to them."""

    def __init__(
        self,
        network: torch.nn.Module,
        loss: Loss,
        sampler: PatchSampler,
        recipe: Recipe,
        fabric: Fabric,
    ) -> None:
        self.recipe = recipe
        pastes = recipe.augmentation.paste > 0
        self.paster = Paster.beside(sampler, recipe.augmentation) if pastes else None
        self.settings = recipe.training
        self.fabric = fabric
        self.loss = loss
        self.network = network
        self.regions = network.regions if isinstance(network, WithPresence) else ()
        self.layout = memory_layout(recipe.data.dimension)
        self.average = AveragedModel(
            network,
            multi_avg_fn=running_average(self.settings.average),
            use_buffers=True,
        )
        self.frozen_steps = round(self.settings.freeze_encoder * self.settings.steps)
        apart = self.frozen_steps > 0 or self.settings.encoder_rate != 1.0
        self.encoder = _encoder(network, recipe) if apart else ()
        groups = parameter_groups(network, self.encoder, self.settings)
        self.rates = [group.rate for group in groups]
        optimizer = torch.optim.AdamW(
            [{"params": g.parameters, "weight_decay": g.weight_decay} for g in groups],
            lr=self.settings.learning_rate,
        )
        self.wrapped, self.optimizer = fabric.setup(network, optimizer)

    def restore(self, state: State | None, sampler: PatchSampler) -> _Progress:
        """Take over a saved state and return how far it had come."""
        if state is None:
            return _Progress()
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        sampler.load_state_dict(state["sampler"])
        progress = state["progress"]
        if set(progress) - {field.name for field in fields(_Progress)}:
            raise RunError(
                "this training was begun by an earlier version of rareseg and cannot be gone on "
                "with; finish it with that version, or choose another --out."
            )
        return _Progress(**progress)

    def state(self, progress: _Progress, sampler: PatchSampler) -> State:
        """Return everything that the next step depends on, as plain values."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sampler": sampler.state_dict(),
            "progress": vars(progress),
        }

    def step(self, batch: Batch, step: int) -> tuple[Tensor, Tensor, Tensor, PasteCount | None]:
        """Learn from one batch.

        Returns the loss, the gradient's norm before clipping, the labels after augmentation, class
        indices (B, *patch), and what was pasted; None where nothing is to be.
        """
        seed = self.settings.seed
        rank = self.fabric.global_rank
        torch.manual_seed(seed_of(seed, f"dropout {rank}", step))
        images, classes, components = batch.images, batch.class_indices, batch.components
        pasted = None
        if self.paster is not None:
            done = self.paster(batch, seed=seed_of(seed, f"paste {rank}", step))
            images, classes, components = done.images, done.labels, done.components
            pasted = done.count
        device = self.fabric.device
        plan = draw_plan(
            self.recipe.augmentation,
            patches=len(batch.images),
            patch_size=self.recipe.sampling.patch_size,
            generator=torch.Generator().manual_seed(seed_of(seed, f"augmentation {rank}", step)),
        )
        images, labels = apply_plan(images.to(device), classes.to(device), plan)
        if components is not None:
            components = apply_to_components(components, plan)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * learning_rate(self.settings, step)
        spared = self.encoder if step < self.frozen_steps else ()
        self.wrapped.train()
        for module in spared:
            module.eval()
        value = training_loss(
            self.loss,
            self.wrapped(images.to(memory_format=self.layout)),
            labels.long(),
            components=components,
            presence_weight=self.recipe.loss.presence,
            regions=self.regions,
        )
        self.fabric.backward(value)
        for module in spared:  # with gradients that several devices have agreed on
            module.zero_grad(set_to_none=True)
        norm = self.fabric.clip_gradients(
            self.wrapped, self.optimizer, max_norm=self.settings.gradient_clip
        )
        self.optimizer.step()
        self.optimizer.zero_grad()  # now, not in the next step: validation needs no gradients
        self.average.update_parameters(self.network)
        assert norm is not None
        return value.detach(), norm, labels, pasted

    def validate(
        self,
        validate: Validate,
        progress: _Progress,
        folder: Path,
        journal: TrainingLog,
        report: Callable[[str], None],
    ) -> tuple[bool, str]:
        """Score the averaged weights, and keep them where they are the best, or each last ones.

        Returns whether to stop, and what the validation cases say.
        """
        checked = ValidationResult(0.0)
        if self.fabric.is_global_zero:
            checked = validate(self.average.module.eval())
        score, has_cases = self.fabric.broadcast((checked.score, checked.has_cases))
        progress.last_score = score
        better = score > progress.best_score
        kept = better or self.settings.checkpoint == "last" or not has_cases
        progress.since_best = 0 if better else progress.since_best + 1
        if kept:
            progress.kept_score, progress.kept_step = score, progress.step
        progress.best_score = max(progress.best_score, score)
        if self.fabric.is_global_zero:
            if kept:
                weights: dict[str, Any] = {
                    name: tensor.detach().cpu().clone()
                    for name, tensor in self.average.module.state_dict().items()
                }
                save_state(folder / "best.pt", {"weights": weights, "step": progress.step})
            journal.validation(progress.step, score=score, best=progress.best_score)
            mark = "the best so far" if better else f"best {progress.best_score:.3f}"
            strata = f"; {checked.strata}" if checked.strata else ""
            report(
                f"step {progress.step}: average precision {score:.3f} on validation "
                f"({mark}){strata}"
                if has_cases
                else f"step {progress.step}: no validation case, so that the last weights are kept"
            )
        patience = self.settings.patience
        stops = bool(patience) and has_cases and progress.since_best >= patience
        return stops, checked.strata
