"""How long a rival learns, by steps or by the clock, and the rates that follow it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rareseg.errors import UsageError
from rivals.task import RivalTask

Batch = tuple[Tensor, Tensor]
"""Images (B, C, …) float32, and what the loss takes beside the network's answer."""


@dataclass
class Progress:
    """How much of a training has passed: a share of its steps, or of its time.

    By the clock it begins at ``begins`` and ends at ``ends``, seconds as ``clock`` tells them. A
    schedule that follows :attr:`share` is at its end where the training is, whatever else the
    machine does meanwhile.
    """

    steps: int | None
    begins: float
    ends: float
    clock: Callable[[], float] = field(default=time.time, repr=False)
    made: int = 0

    @property
    def share(self) -> float:
        """From 0 to 1."""
        if self.steps is not None:
            return min(1.0, self.made / self.steps)
        return min(1.0, (self.clock() - self.begins) / (self.ends - self.begins))

    @property
    def over(self) -> bool:
        """Whether no step is left, or none that would end in time."""
        if self.steps is not None:
            return self.made >= self.steps
        now = self.clock()
        usual = (now - self.begins) / self.made if self.made else 0.0
        return now + usual > self.ends


def progress_of(task: RivalTask, begun: float, *, reserve: float = 0.0) -> Progress:
    """Return the progress of a training that begins now.

    Of the task's seconds since ``begun``, ``reserve`` are kept for what follows the last step.
    Raises UsageError where nothing is left.
    """
    now = time.time()
    if task.steps is not None:
        return Progress(task.steps, now, math.inf)
    assert task.seconds is not None
    ends = begun + task.seconds - reserve
    if ends <= now:
        raise UsageError(
            f"--budget {task.seconds:.0f}s is over before the first step: {now - begun:.0f} s went "
            f"into the data and {reserve:.0f} s are needed after the last step; give more."
        )
    return Progress(None, now, ends)


def cosine(share: float, first: float, last: float) -> float:
    """Return the rate at a share of the training, from ``first`` to ``last``.

    Loshchilov & Hutter 2017 (arXiv 1608.03983), equation 5, without restarts.
    """
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


def polynomial(share: float, first: float, power: float = 0.9) -> float:
    """Return the rate at a share of the training, from ``first`` to 0, as nnU-Net's schedule."""
    return first * (1 - share) ** power


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter the same rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def learn(
    network: nn.Module,
    batches: Iterator[Batch],
    loss: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    *,
    rate: Callable[[float], float],
    between: Callable[[], None] = lambda: None,
) -> None:
    """Make steps until the progress is over; ``between`` is called after each."""
    network.train()
    while not progress.over:
        images, labels = next(batches)
        set_rate(optimizer, rate(progress.share))
        optimizer.zero_grad()
        loss(network(images), labels).backward()
        optimizer.step()
        progress.made += 1
        between()
