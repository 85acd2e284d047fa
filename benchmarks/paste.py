"""What does pasting objects cost beside a training step, and how many find room?

Batches of 8 windows of 312² (patches of 224² with the margin that augmentation crops) of magnetic
tiles, half of them empty, and of road cracks, where every image holds foreground. Times are the
processor's, on one core, for a whole batch, textures included. Needs real data in the folder that
RARESEG_DATA names.

    OMP_NUM_THREADS=1 python benchmarks/paste.py [--batches 60] [--cache DIR]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

import rareseg as rs
from rareseg.recipe import AugmentationSection
from rareseg.sampling.augmentation.augment import augment, window_for
from rareseg.sampling.pasting.paster import Paster

PATCH = (224, 224)
SETS = (("magnetic-tile", "negatives", "empty"), ("crackforest", "balanced", "any"))


def measure(store: rs.Store, strategy: str, into: str, paste: float, batches: int) -> str:
    """Return a row of the table: milliseconds a batch, and what came of the windows."""
    settings = AugmentationSection(paste=paste, paste_into=into)
    sampler = rs.PatchSampler(
        store,
        strategy=strategy,
        patch_size=PATCH,
        cut_size=window_for(settings, PATCH),
        batch_size=8,
        seed=0,
        border="shift",
        weighting="group",
    )
    paster = Paster.beside(sampler, settings)
    outcomes: Counter[str] = Counter()
    pasting, augmenting = [], []
    for k in range(-3, batches):  # the first ones compile
        batch = sampler.batch(k % batches)
        start = time.process_time()
        done = paster(batch, seed=k % batches)
        middle = time.process_time()
        augment(done.images, done.labels, settings, patch_size=PATCH, seed=k % batches)
        if k >= 0:
            pasting.append(1e3 * (middle - start))
            augmenting.append(1e3 * (time.process_time() - middle))
            outcomes.update(done.outcomes)
    del outcomes[""]
    low, middle_ms, high = np.percentile(pasting, (25, 50, 75))
    tried = max(1, sum(outcomes.values()))
    found = ", ".join(f"{name} {n / tried:.0%}" for name, n in sorted(outcomes.items()))
    return (
        f"{paste:g} | {tried / (8 * batches):.0%} | {middle_ms:.1f} ({low:.1f} to {high:.1f}) | "
        f"{np.median(augmenting):.1f} | {found}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--cache", type=Path, default=None, help="where stores are kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = Path(os.environ["RARESEG_DATA"])
    print("| data | paste | of the windows | ms a batch | augmentation, ms | what came of them |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, strategy, into in SETS:
            cache = (options.cache or Path(folder)) / name
            store = rs.build_store(rs.open_dataset(data / name), cache)
            for paste in (0.5, 1.0):
                row = measure(store, strategy, into, paste, options.batches)
                print(f"| {name} ({into}) | {row} |", flush=True)


if __name__ == "__main__":
    main()
