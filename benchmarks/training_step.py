"""How fast a training step and a prediction are, against eager float32 with images channels first.

Contenders are the planned networks: half_unet on photographs (8 of 224²) and on volumes (2 of 48³),
and encoder_unet (8 of 224²) where there is one. A step is the network, its loss, the way back,
clipping and AdamW; what precedes it (cutting, augmentation) is the same for all. Rounds are
interleaved, and a ratio is that of two times of one round: processor times on one thread of a CPU,
so that other work on the machine counts little, else times on the wall.

Where a processor has no instructions for bfloat16 its rows are left out; --imitated measures how
slow it is there. --compile adds rows of torch.compile, which needs a C++ compiler and minutes.

    OMP_NUM_THREADS=1 python benchmarks/training_step.py [--rounds 9] [--threads 1] [--device cuda]
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rareseg.prediction.networks import build_network, networks
from rareseg.prediction.scorer import (
    autocast,
    computes_in_bf16,
    memory_layout,
    prepare_network,
)
from rareseg.recipe import Recipe, make_recipe
from rareseg.training.arithmetic import random_windows
from rareseg.training.losses import Loss, make_loss
from rareseg.training.optimiser import parameter_groups
from rareseg_runner.image_records import IGNORE, Classes

TARGET = 1.9
CLASSES = Classes(("background", "object"), (0, 1), {"object": (1,)}, ignore_value=IGNORE)

Turn = Callable[[], None]


@dataclass(frozen=True)
class Task:
    """A network and what a batch of it is."""

    name: str
    network: dict[str, object]
    patch: tuple[int, ...]
    batch: int
    channels: int

    @property
    def recipe(self) -> Recipe:
        """The recipe, as far as a step depends on it."""
        return make_recipe(
            {
                "data": {"dimension": len(self.patch)},
                "network": self.network,
                "sampling": {"patch_size": list(self.patch), "batch_size": self.batch},
            }
        )


HALF_2D = {"name": "half_unet", "width": [16, 32, 64, 128, 192], "norm": "batch"}
HALF_3D = {"name": "half_unet", "width": [32, 64, 128], "norm": "batch"}
TASKS = {
    "2d": Task("half_unet, 8 x 224², 1 channel", HALF_2D, (224, 224), 8, 1),
    "2d-colour": Task("half_unet, 8 x 224², 3 channels", HALF_2D, (224, 224), 8, 3),
    "2d-group": Task(
        "half_unet, 8 x 224², group norm", {**HALF_2D, "norm": "group"}, (224, 224), 8, 1
    ),
    "3d": Task("half_unet, 2 x 48³, 1 channel", HALF_3D, (48, 48, 48), 2, 1),
    "encoder": Task(
        "encoder_unet, 8 x 224², 1 channel", {"name": "encoder_unet"}, (224, 224), 8, 1
    ),
}


@dataclass(frozen=True)
class Way:
    """An arithmetic, a memory layout, and whether torch compiles the network."""

    name: str
    precision: str = "32"
    channels_last: bool = True
    compiled: bool = False


FIRST = Way("float32, channels first", channels_last=False)


def ways(device: torch.device, *, imitated: bool, compiled: bool) -> Iterator[Way]:
    """Yield the contenders, what the others are compared with first."""
    yield FIRST
    yield Way("float32, channels last")
    half = imitated or computes_in_bf16(device)
    if half:
        yield Way("bfloat16, channels last", precision="bf16")
    if compiled:
        yield Way("float32, channels last, compiled", compiled=True)
    if compiled and half:
        yield Way("bfloat16, channels last, compiled", precision="bf16", compiled=True)


class Contender:
    """One way's own network, with the weights that all begin with."""

    def __init__(self, way: Way, network: torch.nn.Module, task: Task, device: torch.device):
        recipe = task.recipe
        self.way, self.device = way, device
        self.loss: Loss = make_loss(recipe.loss, CLASSES)
        images, labels = random_windows(recipe, task.channels, CLASSES.count)
        self.images, self.labels = images.to(device), labels.to(device)
        own = copy.deepcopy(network)
        if way.channels_last:
            self.network = prepare_network(own, recipe, device)
            self.images = self.images.to(memory_format=memory_layout(recipe.data.dimension))
        else:
            self.network = own.to(device)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": group.parameters, "weight_decay": group.weight_decay}
                for group in parameter_groups(self.network, (), recipe.training)
            ],
            lr=1e-3,
        )
        self.compute = torch.compile(self.network) if way.compiled else self.network

    def step(self) -> None:
        """Learn once from the batch."""
        self.network.train()
        self.optimizer.zero_grad()
        with autocast(self.device, self.way.precision):
            logits: Tensor = self.compute(self.images)
        self.loss(logits.float(), self.labels).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()

    def predict(self) -> None:
        """Score the batch."""
        self.network.eval()
        with torch.inference_mode(), autocast(self.device, self.way.precision):
            self.compute(self.images).float().softmax(1)


def measure(
    turns: dict[str, Turn], rounds: int, device: torch.device, clock: Callable[[], float]
) -> dict[str, np.ndarray]:
    """Return each contender's seconds per round, after two rounds to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(rounds + 2):
        for name, turn in turns.items():
            started = clock()
            turn()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number >= 2:
                seconds[name].append(clock() - started)
    return {name: np.array(own) for name, own in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default=",".join(TASKS))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--imitated", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    alone = device.type == "cpu" and options.threads == 1
    clock = time.process_time if alone else time.perf_counter
    contenders = list(ways(device, imitated=options.imitated, compiled=options.compile))
    print(
        f"{device.type}, {torch.backends.cpu.get_cpu_capability()}, bfloat16 in hardware: "
        f"{computes_in_bf16(device)}, torch {torch.__version__}, {options.threads} threads\n"
    )
    print("| network | work | by | times as fast (quartiles) |\n|---|---|---|---|")
    rows = []
    for key in options.only.split(","):
        task = TASKS[key]
        if task.network["name"] not in networks():
            print(f"| {task.name} | left out: there is no such network | | |")
            continue
        torch.manual_seed(0)
        network = build_network(
            task.recipe.network,
            dimension=len(task.patch),
            channels=task.channels,
            classes=CLASSES.count,
        )
        made = {way.name: Contender(way, network, task, device) for way in contenders}
        for work in ("step", "predict"):
            turns: dict[str, Turn] = {name: getattr(own, work) for name, own in made.items()}
            seconds = measure(turns, options.rounds, device, clock)
            for name, own in seconds.items():
                ratio = seconds[FIRST.name] / own
                low, middle, high = np.percentile(ratio, (25, 50, 75)).tolist()
                rows.append(
                    {
                        "task": key,
                        "work": work,
                        "by": name,
                        "ratio": middle,
                        "quartiles": [low, high],
                        "seconds": float(np.median(own)),
                    }
                )
                if name != FIRST.name:
                    reached = "" if middle >= TARGET else f"  (below {TARGET:g})"
                    print(
                        f"| {task.name} | {work} | {name} | {middle:.2f} "
                        f"({low:.2f} to {high:.2f}){reached} |",
                        flush=True,
                    )
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
