"""A threshold and a report for what MONAI's inference wrote.

Needs nibabel, with which MONAI reads and writes NIfTI. python examples/outside_monai.py FOLDER

Two arguments of `SaveImaged` matter: separate_folder=False and output_postfix="", so that each file
is named after its case.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.data import DataLoader, Dataset, decollate_batch
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from monai.transforms import (
    Activationsd,
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensityd,
    SaveImaged,
)

from rareseg.progress import silent
from rareseg.run.evaluate import evaluate_source
from rareseg.run.scores.file_scores import ScoreFiles
from rareseg.run.scores.file_source import FileSource
from rareseg.run.setup.run_folder import DataOptions
from rareseg.run.tune import tune_source

AFFINE = np.diag([0.8, -0.8, 2.0, 1.0])


def write_cases(folder: Path, cases: int, seed: int, prefix: str) -> list[dict[str, str]]:
    """Write noisy volumes, half of them with a bright box, and their masks."""
    rng = np.random.default_rng(seed)
    written = []
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(cases):
        mask = np.zeros((32, 32, 16), np.uint8)
        if number % 2:
            x, y, z = rng.integers((4, 4, 2), (22, 22, 10))
            mask[x : x + 6, y : y + 5, z : z + 4] = 1
        image = (rng.normal(size=mask.shape) + 2.0 * mask).astype(np.float32)
        paths = {}
        for key, array in (("image", image), ("label", mask)):
            path = folder / f"{key.replace('label', 'mask')}s" / f"{prefix}{number:02d}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)
            paths[key] = str(path)
        written.append(paths)
    return written


def reading(keys: list[str]) -> Compose:
    """Return MONAI's usual reading of a case."""
    return Compose(
        [LoadImaged(keys), EnsureChannelFirstd(keys), NormalizeIntensityd("image", nonzero=False)]
    )


def train(cases: list[dict[str, str]], steps: int) -> torch.nn.Module:
    """Train a small 3D U-Net for a moment."""
    torch.manual_seed(0)
    network = BasicUNet(3, in_channels=1, out_channels=2, features=(8, 8, 8, 8, 8, 8))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    loss = DiceCELoss(softmax=True, to_onehot_y=True)
    loader = DataLoader(Dataset(cases, reading(["image", "label"])), batch_size=4)
    taken = 0
    while taken < steps:
        for batch in loader:
            optimizer.zero_grad()
            loss(network(batch["image"]), batch["label"]).backward()
            optimizer.step()
            taken += 1
    return network.eval()


def predict(network: torch.nn.Module, cases: list[dict[str, str]], out: Path) -> None:
    """Write the softmax of every case with MONAI's own parts."""
    infer = SlidingWindowInferer(roi_size=(32, 32, 16), overlap=0.25)
    finish = Compose(
        [
            Activationsd("scores", softmax=True),
            SaveImaged(
                "scores",
                meta_keys="image_meta_dict",
                output_dir=out,
                output_postfix="",
                separate_folder=False,
                print_log=False,
            ),
        ]
    )
    with torch.inference_mode():
        for batch in DataLoader(Dataset(cases, reading(["image"])), batch_size=1):
            batch["scores"] = infer(batch["image"], network)
            for case in decollate_batch(batch):
                finish(case)


def main(folder: Path, steps: int = 40) -> None:
    """Train, predict, choose a point and evaluate, all below ``folder``."""
    network = train(write_cases(folder / "training", 12, 0, "train"), steps)
    for name, seed in (("validation", 1), ("test", 2)):
        predict(network, write_cases(folder / name, 12, seed, name), folder / f"{name}_scores")

    chosen_on = ScoreFiles(folder / "validation_scores", DataOptions(str(folder / "validation")))
    source = FileSource.to_decide(chosen_on, folder / "points", roles=("validation",), track=silent)
    tune_source(source, say=print)
    new = ScoreFiles(folder / "test_scores", DataOptions(str(folder / "test")))
    judged = FileSource.to_judge(new, folder / "points", track=silent)
    evaluation = evaluate_source(judged, folder / "evaluation")
    print("\n".join(evaluation.summary))
    print("report:", evaluation.report)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
