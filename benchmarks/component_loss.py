"""What the loss by component adds to a training step on a processor, part by part.

Batches are drawn from real data as a run draws them, half of the windows with foreground, augmented
as planned, and learned from by a network's output that is drawn at random. Times are processor
times of this one process, medians and largest of the rounds; the loss includes the way back.

    OMP_NUM_THREADS=1 python benchmarks/component_loss.py magnetic-tile/ --patch 224 224 --batch 8
    OMP_NUM_THREADS=1 python benchmarks/component_loss.py brats2013/ --patch 96 96 96 --batch 2
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

import rareseg as rs
from rareseg.recipe import AugmentationSection, make_recipe
from rareseg.sampling.augmentation.augment import (
    apply_plan,
    apply_to_components,
    draw_plan,
    window_for,
)
from rareseg.sampling.patches.window_components import map_components
from rareseg.training.losses import make_loss, training_loss
from rareseg.training.losses.component_cells import find_cells

T = TypeVar("T")
LOSSES = ("dice_hard_cross_entropy", "component_dice_cross_entropy")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--patch", type=int, nargs="+", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="rareseg-components-") as folder:
        store = rs.build_store(rs.open_dataset(arguments.data), Path(folder) / "store")
        measure(store, tuple(arguments.patch), arguments.batch, arguments.rounds)


def measure(store: rs.Store, patch: tuple[int, ...], batch_size: int, rounds: int) -> None:
    """Print what each part takes, for batches of one store."""
    times: dict[str, list[float]] = {}

    def timed(part: str, work: Callable[[], T]) -> T:
        begun = time.process_time()
        result = work()
        times.setdefault(part, []).append(time.process_time() - begun)
        return result

    begun = time.process_time()
    known = map_components(store, by_plane=len(patch) == 2)
    print(
        f"{len(store)} images of {store.labels.size / 1e6:.0f} million voxels hold "
        f"{len(known.whole) - 1} components of {len(store.classes.regions)} regions, found in "
        f"{time.process_time() - begun:.2f} s and kept in {len(known.starts)} runs"
    )
    settings = AugmentationSection()
    samplers = {
        part: rs.PatchSampler(
            store,
            strategy="negatives",
            patch_size=patch,
            cut_size=window_for(settings, patch),
            batch_size=batch_size,
            seed=0,
            components=components,
        )
        for part, components in (("cut", False), ("cut, with components", True))
    }
    losses = {
        name: make_loss(make_recipe({"loss": {"name": name}}).loss, store.classes)
        for name in LOSSES
    }
    cells = []
    for k in range(rounds + 2):  # the first two compile, and fetch the store
        # In turns: the second finds its windows in the cache.
        cut = {
            part: timed(part, lambda own=samplers[part], k=k: own.batch(k))
            for part in sorted(samplers, reverse=k % 2 == 1)
        }
        batch = cut["cut, with components"]
        plan = draw_plan(
            settings,
            patches=batch_size,
            patch_size=patch,
            generator=torch.Generator().manual_seed(k),
        )
        _, labels = timed(
            "augment", lambda b=batch, p=plan: apply_plan(b.images, b.class_indices, p)
        )
        components = timed(
            "augment the components", lambda b=batch, p=plan: apply_to_components(b.components, p)
        )
        found = timed(
            "cells, of the last loss",
            lambda c=components: [find_cells(c, r) for r in range(len(store.classes.regions))],
        )
        cells.append(sum(len(one.row) for one in found if one is not None))
        logits = torch.randn(batch_size, store.classes.count, *patch, requires_grad=True)
        truth = labels.long()
        for name, loss in losses.items():
            timed(
                name,
                lambda own=loss, x=logits, y=truth, c=components: training_loss(
                    own, x, y, components=c
                ).backward(),
            )
    size = " x ".join(map(str, patch))
    print(f"{batch_size} windows of {size}, {np.median(cells[2:]):.0f} cells, milliseconds:")
    for part, seconds in times.items():
        took = 1000 * np.array(seconds[2:])
        print(f"| {part} | {np.median(took):.1f} | {took.max():.1f} |")


if __name__ == "__main__":
    main()
