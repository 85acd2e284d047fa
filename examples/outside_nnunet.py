"""A threshold, a guarantee and a report for what nnU-Net wrote.

python examples/outside_nnunet.py FOLDER

`nnUNetv2_predict ... --save_probabilities` leaves ID.npz beside each segmentation ID.nii.gz; so do
the validation folders of a training with `--npz`. Here a blur stands for the network.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the field's own name for it
from scipy import ndimage

from rareseg.data.records import Role
from rareseg.decision.guarantees.guarantee import make_guarantee
from rareseg.progress import silent
from rareseg.run.certify import certify_source
from rareseg.run.evaluate import evaluate_source
from rareseg.run.scores.file_scores import ScoreFiles
from rareseg.run.scores.file_source import FileSource
from rareseg.run.setup.run_folder import DataOptions
from rareseg.run.tune import tune_source

DATASET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "object": 1},
    "numTraining": 24,
    "file_ending": ".nii.gz",
}


def write(path: Path, array: np.ndarray) -> None:
    """Write (z, y, x) with a header that is neither upright nor of 1 mm."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.8, 0.8, 3.0))
    image.SetDirection((-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def draw(rng: np.random.Generator, *, empty: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return a noisy volume and its mask, with a few bright balls or none."""
    mask = np.zeros((8, 40, 40), np.uint8)
    z, y, x = np.indices(mask.shape)
    for _ in range(0 if empty else int(rng.integers(1, 4))):
        centre = rng.uniform((1, 5, 5), (7, 35, 35))
        distance = (3 * (z - centre[0])) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
        mask[distance < rng.uniform(3, 5) ** 2] = 1
    return (rng.normal(size=mask.shape) + 1.5 * mask).astype(np.float32), mask


def write_cases(raw: Path, predicted: Path, cases: int, seed: int, prefix: str) -> None:
    """Write an nnU-Net raw data set, and what nnU-Net would write for its images."""
    rng = np.random.default_rng(seed)
    for number in range(cases):
        name = f"{prefix}{number:03d}"
        image, mask = draw(rng, empty=number % 2 == 0)
        write(raw / "imagesTr" / f"{name}_0000.nii.gz", image)
        write(raw / "labelsTr" / f"{name}.nii.gz", mask)
        component = 1 / (1 + np.exp(8 - 12 * ndimage.gaussian_filter(image, (0.5, 1.5, 1.5))))
        softmax = np.stack([1 - component, component]).astype(np.float32)
        write(predicted / f"{name}.nii.gz", softmax.argmax(0).astype(np.uint8))
        np.savez_compressed(predicted / f"{name}.npz", probabilities=softmax)
    (raw / "dataset.json").write_text(json.dumps(DATASET), encoding="utf-8")


def main(folder: Path) -> None:
    """Tune on one data set below ``folder``, certify on its certify cases, evaluate on another."""
    write_cases(folder / "Dataset001", folder / "predicted", 24, seed=0, prefix="old")
    write_cases(folder / "Dataset002", folder / "predicted_new", 12, seed=1, prefix="new")
    split = folder / "split.csv"
    # Empty and other cases take turns in the data set, and so must the roles within either kind.
    roles = ["validation", "validation", "certify", "certify"] * 6
    lines = [f"old{number:03d},,{role}" for number, role in enumerate(roles)]
    split.write_text("\n".join(["id,group,role", *lines]) + "\n", encoding="utf-8")

    old = ScoreFiles(folder / "predicted", DataOptions(str(folder / "Dataset001")), split)
    roles: tuple[Role, ...] = ("validation", "certify")
    source = FileSource.to_decide(old, folder / "points", roles=roles, track=silent)
    tune_source(source, say=print)
    guarantee = make_guarantee("false negative rate", 0.4, confidence=None)
    certify_source(source, guarantee, say=print)

    new = ScoreFiles(folder / "predicted_new", DataOptions(str(folder / "Dataset002")))
    judged = FileSource.to_judge(new, folder / "points", track=silent)
    evaluation = evaluate_source(judged, folder / "evaluation")
    print("\n".join(evaluation.summary))
    print("report:", evaluation.report)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
