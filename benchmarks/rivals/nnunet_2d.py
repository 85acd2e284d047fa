"""Learn as nnU-Net v2 does in its configuration 2d, ending with the time.

Its own fingerprint, planner, preprocessing, trainer and predictor are called, as
`nnUNetv2_train DATASET 2d all` does: all cases are learnt from, and the last weights predict, over
mirrored images. What differs: windows of photographs are at most as large as the task says, and a
batch holds as many pixels (its planner fills 8 GB of a GPU; such a step takes minutes on a
processor). In place of 1000 epochs it makes steps until the time is over, the polynomial rate
ending there, without the epochs' validations, which choose nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rareseg.errors import DataError
from rareseg_runner.formats import suffix_of, write_mask
from rivals.cases import Loaded, load
from rivals.learning import Progress, polynomial, progress_of, set_rate
from rivals.task import Report, RivalTask, asked
from rivals.torchvision_operators import declare_missing

declare_missing()
# It reads this when it is imported: one process prepares the data.
os.environ |= {"nnUNet_def_n_proc": "1"}

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import (  # noqa: E402
    ExperimentPlanner,
)
from nnunetv2.experiment_planning.plan_and_preprocess_api import (  # noqa: E402
    extract_fingerprints,
    preprocess_dataset,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: E402
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer  # noqa: E402

NUMBER, DATASET = 1, "Dataset001_Task"
CONFIGURATION = "2d"
LEAST_BATCH = 2
"""nnU-Net plans none smaller."""

CPU = torch.device("cpu")


def main() -> None:
    """Learn the task and score its tested cases."""
    task, begun = asked()
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(task.folder / name)
    torch.set_num_threads(task.threads)
    torch.manual_seed(task.seed)
    np.random.seed(task.seed)  # noqa: NPY002 - nnU-Net draws from this one
    # Its planner sets as many threads, which must be one at least.
    os.environ |= {"nnUNet_n_proc_DA": "1"}
    described = write_raw(load(task.learns, task.classes), task)
    extract_fingerprints([NUMBER], show_progress_bar=False)
    plans = Planner(task).plan_experiment()
    preprocess_dataset(NUMBER, configurations=[CONFIGURATION], num_processes=[1])
    torch.set_num_threads(task.threads)
    # Batches are made by this process, so that no more threads work than the task says.
    os.environ |= {"nnUNet_n_proc_DA": "0"}
    trainer = Trainer(plans | {"continue_training": False}, CONFIGURATION, "all", described, CPU)
    trainer.on_train_start()
    trainer.progress = progress_of(task, begun)
    trainer.run_training()
    seconds = time.time() - begun
    predict(trainer, load(task.tested, task.classes), task)
    planned = plans["configurations"][CONFIGURATION]
    Report(
        steps=trainer.progress.made,
        seconds=seconds,
        settings=(
            f"{planned['batch_size']} windows of {' x '.join(map(str, planned['patch_size']))}",
            "its network, loss, augmentation and SGD, polynomial rate, all cases",
            "mirrored prediction",
        ),
        versions={"nnunetv2": version("nnunetv2"), "torch": torch.__version__},
    ).write(task.report)


class Planner(ExperimentPlanner):
    """nnU-Net's planner, with the task's windows and pixels in a batch."""

    def __init__(self, task: RivalTask) -> None:
        super().__init__(NUMBER)
        self.task = task

    def get_plans_for_configuration(
        self, spacing: Any, median_shape: Any, *others: Any
    ) -> dict[str, Any]:
        """Return its plan for images no larger than a window; volumes' slices are small anyway."""
        if self.task.dimension == len(spacing) == 2:
            median_shape = np.minimum(median_shape, self.task.patch_size)
        plan: dict[str, Any] = super().get_plans_for_configuration(spacing, median_shape, *others)
        wanted = np.prod(self.task.patch_size) * self.task.batch_size
        plan["batch_size"] = max(LEAST_BATCH, round(wanted / np.prod(plan["patch_size"])))
        return plan


class Trainer(nnUNetTrainer):
    """nnU-Net's trainer, which makes steps until ``progress`` is over."""

    progress: Progress

    def run_training(self) -> None:
        """Train from where ``on_train_start`` has put it."""
        self.network.train()
        while not self.progress.over:
            set_rate(self.optimizer, polynomial(self.progress.share, self.initial_lr))
            self.train_step(next(self.dataloader_train))
            self.progress.made += 1


def predict(trainer: Trainer, cases: Sequence[Loaded], task: RivalTask) -> None:
    """Write the probabilities of whole images, as ``nnUNetv2_predict --save_probabilities``."""
    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    predictor = nnUNetPredictor(device=CPU, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    images = [write_channels(loaded, task.folder / "images") for loaded in cases]
    out = task.scores("tested")
    out.mkdir(parents=True, exist_ok=True)
    places = [str(out / loaded.case.id) for loaded in cases]
    predictor.predict_from_files_sequential(
        [list(map(str, own)) for own in images], places, save_probabilities=True
    )


def write_raw(cases: Sequence[Loaded], task: RivalTask) -> dict[str, Any]:
    """Write the cases in nnU-Net's raw format; returns its ``dataset.json``."""
    raw = task.folder / "raw" / DATASET
    (raw / "labelsTr").mkdir(parents=True)
    for loaded in cases:
        write_channels(loaded, raw / "imagesTr")
        ending = ending_of(loaded)
        write_mask(
            raw / "labelsTr" / f"{loaded.case.id}{ending}", loaded.labels, loaded.image.geometry
        )
    described = {
        "channel_names": {str(k): f"channel {k}" for k in range(len(cases[0].array))},
        "labels": {name: index for index, name in enumerate(task.classes.names)},
        "numTraining": len(cases),
        "file_ending": ending_of(cases[0]),
    }
    (raw / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    return described


def write_channels(loaded: Loaded, folder: Path) -> list[Path]:
    """Write an image as nnU-Net reads it, a file a channel; NIfTI files are linked."""
    folder.mkdir(parents=True, exist_ok=True)
    ending, places = ending_of(loaded), []
    for k, channel in enumerate(loaded.array):
        place = folder / f"{loaded.case.id}_{k:04d}{ending}"
        if ending == ".png":
            write_mask(place, eight_bits(channel, loaded), loaded.image.geometry)
        else:
            place.symlink_to(loaded.case.images[k].absolute())
        places.append(place)
    return places


def ending_of(loaded: Loaded) -> str:
    """Return the ending of a case's files in nnU-Net's raw format."""
    suffix = suffix_of(loaded.case.images[0])
    if loaded.image.geometry.origin is None:
        return ".png"
    if suffix != ".nii.gz" or len(loaded.case.images) != len(loaded.array):
        raise DataError(
            f"{loaded.case.images[0]} is no .nii.gz of one channel, and is not converted for "
            "nnU-Net; leave this row out."
        )
    return suffix


def eight_bits(channel: NDArray[Any], loaded: Loaded) -> NDArray[np.uint8]:
    """Return a channel of a photograph; raises DataError where it does not fit a PNG."""
    if channel.dtype != np.uint8:
        raise DataError(
            f"{loaded.case.images[0]} holds {channel.dtype}, and is not converted for nnU-Net; "
            "leave this row out."
        )
    return channel


if __name__ == "__main__":
    main()
