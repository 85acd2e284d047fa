"""A trained model in your own code: arrays in, flags, objects and masks out.

python examples/predict_in_your_code.py FOLDER

A small model is trained first (a minute or two), on specks that are drawn for it, and zipped into
one file, as somebody would give it to you. What you need of this script begins at `use`.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image

import rareseg as rs
from rareseg.run.setup.prepare import TrainingOptions
from rareseg_runner.bundle_archive import write_archive


def train_one(folder: Path) -> Path:
    """Train a model for this example and return it in one file."""
    specks = rs.SpecksSettings(
        images=30, size=64, contrast=8.0, foreground_share=0.06, distractors=1, seed=1
    )
    small = [
        "network.encoder=none",
        "network.width=[4,8,8]",
        "sampling.patch_size=[32,32]",
        "training.steps=60",
        "training.learning_rate=0.02",
    ]
    rs.train(
        rs.write_specks(folder / "data", specks),
        folder / "run",
        training_options=TrainingOptions(settings=small),
    )
    write_archive(folder / "run" / "bundle", folder / "model.rareseg")
    return folder / "model.rareseg"


def use(file: Path, photographs: list[np.ndarray]) -> None:
    """Load a model once, and call it on whatever comes, from several threads."""
    model = rs.load(file)
    with ThreadPoolExecutor(2) as threads:
        for number, found in enumerate(threads.map(model, photographs)):
            flagged = [region for region, on in found.flagged.items() if on]
            print(f"photograph {number}: {', '.join(flagged) or 'nothing'}")
            for one in found.objects:
                (top, _), (left, _) = one.box
                print(f"  {one.region} at y {top}, x {left}: {one.voxels} pixels")


def main() -> None:
    """Train a model and use it on photographs of another size than those of the training."""
    folder = Path(sys.argv[1])
    file = train_one(folder)
    specks = rs.SpecksSettings(images=6, size=96, contrast=8.0, foreground_share=0.04, seed=2)
    cases = rs.open_dataset(rs.write_specks(folder / "others", specks)).cases
    use(file, [np.asarray(PIL.Image.open(case.images[0])) for case in cases])


if __name__ == "__main__":
    main()
