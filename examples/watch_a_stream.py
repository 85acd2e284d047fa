"""Watch a stream of images: no change, then darker ones, then which groups to label.

python examples/watch_a_stream.py FOLDER

A small model is trained first (a minute or two), on specks that are drawn for it. What you need of
this script begins at `watch`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import PIL.Image

import rareseg as rs
from rareseg.run.monitor import monitor
from rareseg.run.setup.prepare import TrainingOptions
from rareseg.run.watching.label_list import Labels

EASY = {"size": 64, "contrast": 8.0, "foreground_share": 0.06, "distractors": 1}


def train_one(folder: Path) -> Path:
    """Train a model for this example."""
    small = [
        "network.encoder=none",
        "network.width=[4,8,8]",
        "sampling.patch_size=[32,32]",
        "training.steps=60",
        "training.learning_rate=0.02",
    ]
    rs.train(
        rs.write_specks(folder / "data", rs.SpecksSettings(images=30, seed=1, **EASY)),
        folder / "run",
        training_options=TrainingOptions(settings=small),
    )
    return folder / "run"


def write_weeks(folder: Path) -> dict[str, Path]:
    """Write the images of four weeks without masks; in the last the lamp has aged."""
    weeks = {}
    for number, name in enumerate(("first", "second", "third", "dark"), start=10):
        specks = rs.SpecksSettings(images=60, seed=number, **EASY)
        cases = rs.open_dataset(rs.write_specks(folder / f"drawn_{name}", specks)).cases
        weeks[name] = folder / name
        weeks[name].mkdir()
        for case in cases:
            image = np.asarray(PIL.Image.open(case.images[0]))
            image = image if name != "dark" else (image * 0.6).astype(np.uint8)
            PIL.Image.fromarray(image).save(weeks[name] / f"{name}_{case.id}.png")
    return weeks


def watch(run: Path, weeks: dict[str, Path], out: Path) -> None:
    """Hold each week against the first, and ask which groups to label."""
    for name in ("second", "third", "dark"):
        report = monitor(run, weeks[name], out, reference=weeks["first"])
        print(f"{name}: {'changed' if report.changed else 'no change found'}")
        for feature in report.content.test.noticed_at:
            print(f"  {feature.words}")
    labels = Labels.of("false-alarm-rate=0.2", prevalence=0.5)
    drawn = monitor(run, weeks["dark"], out, labels=labels).drawn
    assert drawn is not None, "it was asked for"
    print(f"{len(drawn.groups)} groups to label in {drawn.folder.name}")


def main() -> None:
    """Train a model, draw four weeks of images and watch them."""
    folder = Path(sys.argv[1])
    watch(train_one(folder), write_weeks(folder), folder / "watch")


if __name__ == "__main__":
    main()
