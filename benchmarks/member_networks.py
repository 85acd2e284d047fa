"""Does a point that is chosen out of fold suit the mean of all networks? Small trained networks.

As `member_points.py`, on networks that were trained: of each small set of *specks* 40 images, which
hold a few faint grains or none, are learnt from by five networks that each leave out one, two or
three of five folds, and 400 others are judged. What each network says of each image is kept in
`--out`, so that the script can be stopped and called anew; training takes a minute a line of
progress on one core. Points are chosen on groups that are drawn from the 40 again and again.

    python benchmarks/member_networks.py --out networks
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from member_points import HEAD, RULES, Draw, Rule, Values, apply, line_of
from member_worlds import NETWORKS, Pool

from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.data.dataset import open_dataset
from rareseg.evaluation.tables.threshold_bins import bin_edges
from rareseg.prediction.bundle import load_model
from rareseg.prediction.scorer import ModelScorer, score_array
from rareseg.run.scores.case_scoring import read_labels
from rareseg.run.setup.prepare import Machine, TrainingOptions
from rareseg.run.setup.run_folder import DataOptions
from rareseg.run.setup.split_files import read_folds
from rareseg.run.train import learn
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.formats import read_image
from rareseg_runner.preprocessing.preprocess import network_input

SETTINGS = (
    f"split.folds={NETWORKS}",
    "split.train=0.8",
    "split.validation=0.2",
    "split.test=0",
    "loss.presence=1",
    "network.encoder=none",
    "network.norm=batch",
    "network.width=[8,16,32]",
    "sampling.patch_size=[64,64]",
    "sampling.batch_size=8",
    "training.learning_rate=0.005",
    "training.steps=300",
    "training.precision=32",
    "training.threads=1",
    "prediction.precision=32",
)
LEARNT, JUDGED = 40, 400


def speak(folder: Path, seed: int, held_out: int) -> Path:
    """Train, and keep what each network says of every image; returns the file, which may stand."""
    kept = folder / f"held_out_{held_out}.npz"
    if kept.is_file():
        return kept
    for name, images, own in (("learnt", LEARNT, seed), ("judged", JUDGED, 1000 + seed)):
        if not (folder / name).is_dir():
            specks = SpecksSettings(
                images=images,
                size=64,
                contrast=2.5 if seed % 2 else 2.0,
                foreground_share=0.01,
                distractors=6.0,
                empty_share=0.6,
                seed=own,
            )
            write_specks(folder / name, specks)
    machine = Machine()
    fabric = machine.fabric("32")
    fabric.launch()
    settings = (*SETTINGS, f"split.held_out={held_out}", f"training.seed={seed}")
    options = TrainingOptions(settings=settings)
    data = DataOptions(str(folder / "learnt"))
    run = learn(data, folder / f"run_{held_out}", fabric, training_options=options, machine=machine)
    model = load_model(run.bundle)
    scorer = ModelScorer(replace(model, presence={}))
    fold_of = read_folds(run.folds)
    scores, said, inside, folds = [], [], [], []
    for name in ("learnt", "judged"):
        for case in open_dataset(folder / name).cases:
            image = read_image(case.images)
            array = network_input(image, model.preprocessing)
            found = [
                score_array(
                    network, array, model.recipe, device=torch.device("cpu"), precision="32"
                )
                for network in scorer.networks
            ]
            scores.append([each.probabilities[1].ravel() for each in found])
            said.append([each.presence for each in found])
            inside.append(read_labels(case, model.classes, image).ravel() == 1)
            folds.append(fold_of[case.id] if name == "learnt" else -1)
    with atomic_write(kept) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            probs=np.array(scores, np.float32),
            q=np.array(said, np.float32).reshape(len(said), NETWORKS),
            inside=np.array(inside),
            fold=np.array(folds),
        )
    return kept


def read_pool(path: Path) -> tuple[Pool, np.ndarray]:
    """Return the images, each a group of its own, and their folds; −1 of those that are judged."""
    with np.load(path) as kept:
        low, high = 1e-12, float(bin_edges()[-1])
        scores = np.clip(kept["probs"].astype(np.float64), low, high)
        said = np.clip(kept["q"].astype(np.float64), low, high)
        inside, fold = kept["inside"], kept["fold"]
    odds = np.log(scores) - np.log1p(-scores)
    return Pool(inside.any(axis=1), np.arange(len(fold)), inside, odds, said), fold


def main() -> None:
    """Train what does not stand yet, choose points and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", type=int, default=4, help="data sets, each of a seed of its own")
    parser.add_argument("--runs", type=int, default=25, help="draws of groups in each")
    parser.add_argument("--groups", type=int, nargs="+", default=[5, 10])
    given = parser.parse_args()
    reached: dict[tuple[int, Rule], list[Values]] = defaultdict(list)
    rules = [rule for rule in RULES if not rule.aside]
    for seed in range(given.sets):
        pools = {}
        for held_out in sorted({rule.held_out for rule in rules}):
            print(f"set {seed}, {held_out} folds left out", file=sys.stderr, flush=True)
            pools[held_out] = read_pool(speak(given.out / f"set_{seed}", seed, held_out))
        for n in given.groups:
            for run in range(given.runs):
                for rule in rules:
                    pool, fold = pools[rule.held_out]
                    rng = np.random.default_rng([seed, n, run])
                    learnt = np.flatnonzero(fold >= 0)
                    positive = learnt[pool.positive[learnt]]
                    others = np.setdiff1d(learnt, positive)
                    few = round(len(others) * n / len(positive))
                    cases = [rng.choice(positive, n, False), rng.choice(others, few, False)]
                    drawn = np.sort(np.concatenate(cases))
                    got = apply(rule, pool, Draw(drawn, fold[drawn]), np.flatnonzero(fold < 0))
                    if got is not None:
                        reached[n, rule].append(got)
    print(HEAD)
    for (n, rule), values in sorted(reached.items(), key=lambda item: item[0][0]):
        print(line_of(f"networks, {n}", rule, values))


if __name__ == "__main__":
    main()
