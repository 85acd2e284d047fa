"""What the usual recipe reaches on the cases of a finished run, in its network, for its steps.

The usual recipe is that of MONAI's tutorials: crops centred on foreground or background in equal
shares wherever an image has both (``RandCropByPosNegLabeld``, pos = neg = 1), random flips,
``DiceCELoss``, the last weights, cut at 0.5. Cases, normalisation, network, optimiser, schedule,
patch size, batch size and number of steps are those of the run, so that what differs is where the
network looked, what a mistake cost, and where it was cut.

    python benchmarks/usual_recipe.py RUN --region foreground
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.transforms import Compose, RandCropByPosNegLabeld, RandFlipd, SpatialPadd
from rich.progress import track as progress

from rareseg.data.store.store import open_store
from rareseg.decision.operating_point import default_point
from rareseg.evaluation.measures.scorecard import RegionScorecard, make_scorecard
from rareseg.evaluation.statistics.undefined import is_defined
from rareseg.prediction.bundle import load_model
from rareseg.prediction.model import Model
from rareseg.prediction.networks import build_network
from rareseg.prediction.scorer import ModelScorer, prepare_network
from rareseg.run.scores.case_scoring import score_all
from rareseg.run.scores.network_source import cases_of
from rareseg.run.setup.run_folder import open_run
from rareseg.run.setup.split_files import read_split
from rareseg.training.loop import learning_rate


def train_as_usual(run: Path, model: Model, threads: int) -> Model:
    """Return the run's model with weights that were trained by the usual recipe.

    On ``threads`` threads, or on as many as the run where that is 0.
    """
    folder = open_run(run)
    recipe = model.recipe
    settings = recipe.training
    roles = read_split(folder.split)
    store = open_store(folder.store)
    rows = [row for row, case in enumerate(store.cases.ids) if roles[case] == "train"]
    patch = recipe.sampling.patch_size
    transform = Compose(
        [
            SpatialPadd(["image", "label"], patch),
            RandCropByPosNegLabeld(["image", "label"], "label", patch, pos=1, neg=1, num_samples=1),
            *(RandFlipd(["image", "label"], prob=0.5, spatial_axis=a) for a in range(len(patch))),
        ]
    )
    transform.set_random_state(settings.seed)
    rng = np.random.default_rng(settings.seed)
    torch.manual_seed(settings.seed)
    torch.set_num_threads(threads or settings.threads)
    network = build_network(
        recipe.network,
        dimension=recipe.data.dimension,
        channels=model.channels,
        classes=model.classes.count,
    )
    network = prepare_network(network, recipe, torch.device("cpu")).train()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=settings.weight_decay)
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    order: list[int] = []
    for step in progress(range(settings.steps), "the usual recipe"):
        patches = []
        while len(patches) < recipe.sampling.batch_size:
            if not order:
                order = rng.permutation(rows).tolist()
            row = order.pop()
            image, label = store.values(row), store.label(row)[None]
            if recipe.data.dimension == 2:
                plane = rng.integers(image.shape[1])
                image, label = image[:, plane], label[:, plane]
            patches.append(transform({"image": image, "label": label})[0])
        images = torch.stack([torch.as_tensor(p["image"]) for p in patches]).float()
        labels = torch.stack([torch.as_tensor(p["label"]) for p in patches])
        labels = torch.where(labels == 255, torch.zeros_like(labels), labels)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step)
        optimizer.zero_grad()
        value = loss(network(images), labels)
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
        optimizer.step()
    return replace(model, weights=network.state_dict())


def describe(part: RegionScorecard) -> dict[str, object]:
    """Return the three headline numbers with their intervals and counts."""
    numbers = {
        "dice": part["dice"],
        "found": part["found"],
        "false_alarms": part["false_alarm"],
    }
    return {
        name: [
            round(value, 3) if is_defined(value) else str(value)
            for value in (number.value, number.low, number.high)
        ]
        + [number.n_cases, number.n_groups]
        for name, number in numbers.items()
    }


def main() -> None:
    """Train, score the run's test cases at 0.5 and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--region", default="foreground")
    parser.add_argument("--threads", type=int, default=0, help="0: those of the run")
    arguments = parser.parse_args()
    folder = open_run(arguments.run)
    usual = train_as_usual(arguments.run, load_model(folder.bundle), arguments.threads)
    cases = cases_of(folder, "test")
    points = {arguments.region: default_point(arguments.region)}
    scored = score_all(ModelScorer(usual), cases, role="test", points=(points,))
    card = make_scorecard(scored.results[0]).region(arguments.region)
    print(json.dumps({"run": str(arguments.run), "usual at 0.5": describe(card)}))


if __name__ == "__main__":
    main()
