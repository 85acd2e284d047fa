"""Learning rates, weight decay and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rareseg.recipe import TrainingSection

Tensors = tuple[Tensor, ...] | list[Tensor]


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that learn alike: ``rate`` is their share of the learning rate."""

    parameters: tuple[torch.nn.Parameter, ...]
    weight_decay: float
    rate: float


def parameter_groups(
    network: torch.nn.Module, encoder: Sequence[torch.nn.Module], settings: TrainingSection
) -> tuple[ParameterGroup, ...]:
    """Return which parameters of ``network`` decay, and which learn at the encoder's rate.

    ``encoder`` are submodules of ``network``. The weights of convolutions decay; biases and norms
    (one axis) are left alone. Two groups, or four where the encoder has a rate of its own.
    """
    within = {id(p) for module in encoder for p in module.parameters()}
    rates = [1.0] if settings.encoder_rate == 1.0 else [1.0, settings.encoder_rate]
    groups = []
    for rate in rates:
        own = [
            p
            for p in network.parameters()
            if p.requires_grad and (len(rates) == 1 or (id(p) in within) == (rate != 1.0))
        ]
        decayed = tuple(p for p in own if p.ndim > 1)
        groups.append(ParameterGroup(decayed, settings.weight_decay, rate))
        groups.append(ParameterGroup(tuple(p for p in own if p.ndim <= 1), 0.0, rate))
    return tuple(groups)


def learning_rate(settings: TrainingSection, step: int) -> float:
    """Return the rate of step ``step``: a linear rise, then half a cosine down to 0.

    The cosine is that of Loshchilov & Hutter (2017, eq. 5) without restarts.
    """
    warmup = settings.warmup_share * settings.steps
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1.0, settings.steps - warmup)
    return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def running_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Return the rule by which averaged weights follow the learning ones.

    average ← average + (1 − d)·(weights − average) with d = min(decay, (1 + n) / (10 + n)) after n
    steps, so that a short run does not end near its first weights. Counters are copied.
    """

    def follow(averages: Tensors, weights: Tensors, averaged: Tensor | int) -> None:
        n = int(averaged)
        rate = 1.0 - min(decay, (1 + n) / (10 + n))
        pairs = list(zip(averages, weights, strict=True))
        floats = [(a, w.to(a.dtype)) for a, w in pairs if a.is_floating_point()]
        if floats:  # all at once: on a GPU each of hundreds of small tensors costs a launch
            torch._foreach_lerp_([a for a, _ in floats], [w for _, w in floats], rate)
        for average, weight in pairs:
            if not average.is_floating_point():
                average.copy_(weight)

    return follow
