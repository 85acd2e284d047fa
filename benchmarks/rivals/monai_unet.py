"""Learn as MONAI's tutorials do: crops around foreground and background, a plain U-Net, Adam.

From `2d_segmentation/torch/unet_training_dict.py` and its twin in `3d_segmentation` (of
Project-MONAI/tutorials): intensities scaled to [0, 1], `RandCropByPosNegLabeld` with pos = neg = 1
and four crops of a case, turns by 90°, `UNet` of 16 to 256 channels with two residual units, Adam
at 0.001, sliding windows of the crops' size, and the weights of the best mean dice on validation
cases. The loss is `DiceCELoss` over all classes, as in `unetr_btcv_segmentation_3d.ipynb`: the
files above have one class and `DiceLoss`. Crops are as large as the task says.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import monai
import numpy as np
import torch
from monai.data import CacheDataset, DataLoader, list_data_collate
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.metrics import DiceMetric
from monai.networks.nets import UNet
from monai.transforms import (
    AsDiscrete,
    Compose,
    RandCropByPosNegLabeld,
    RandRotate90d,
    ScaleIntensity,
    ScaleIntensityd,
    SpatialPadd,
)
from monai.utils import set_determinism
from numpy.typing import NDArray
from torch import Tensor, nn

from rivals.cases import Loaded, load, write_scores
from rivals.learning import Batch, Progress, learn, progress_of
from rivals.task import Report, RivalTask, asked

RATE = 1e-3
CHANNELS = (16, 32, 64, 128, 256)
CROPS = 4
"""Of a case, where a batch can be made of so many."""

VALIDATIONS = 5
VALIDATION_SHARE = 0.1
"""Of the time that all validations may take together; the last one is always made."""

KEYS = ("image", "label")


def main() -> None:
    """Learn the task and score its tested cases."""
    task, begun = asked()
    torch.set_num_threads(task.threads)
    set_determinism(task.seed)
    learned = load(task.learns, task.classes)
    assert task.validates is not None, "the best weights are chosen on validation cases"
    validation = load(task.validates, task.classes)
    network = UNet(
        spatial_dims=task.dimension,
        in_channels=len(learned[0].array),
        out_channels=task.classes.count,
        channels=CHANNELS,
        strides=(2,) * (len(CHANNELS) - 1),
        num_res_units=2,
    )
    started = time.monotonic()
    judge = Judge(network, validation, task)
    judge.mean_dice()
    once = time.monotonic() - started
    count = VALIDATIONS
    if task.seconds is not None:
        count = min(VALIDATIONS, max(1, int(VALIDATION_SHARE * task.seconds / once)))
    progress = progress_of(task, begun, reserve=once)
    best = Best(judge, progress, count)
    learn(
        network,
        batches(learned, task),
        DiceCELoss(to_onehot_y=True, softmax=True),
        torch.optim.Adam(network.parameters(), RATE),
        progress,
        rate=lambda share: RATE,
        between=best.look,
    )
    best.look(last=True)
    network.load_state_dict(best.weights)
    seconds = time.time() - begun
    write_scores(task.scores("tested"), load(task.tested, task.classes), judge.probabilities)
    Report(
        steps=progress.made,
        seconds=seconds,
        settings=(
            "UNet of 16, 32, 64, 128, 256 channels, two residual units",
            "RandCropByPosNegLabeld pos = neg = 1, RandRotate90d",
            "DiceCELoss (softmax)",
            f"Adam {RATE}",
            f"the best of {count} validations (mean dice)",
        ),
        versions={"monai": monai.__version__, "torch": torch.__version__},
    ).write(task.report)


def batches(cases: Sequence[Loaded], task: RivalTask) -> Iterator[Batch]:
    """Yield batches without end: a few crops of each of a few cases, in a random order."""
    crops = CROPS if task.batch_size % CROPS == 0 else 1
    size = task.patch_size
    transform = Compose(
        [
            ScaleIntensityd("image"),
            SpatialPadd(KEYS, size),
            RandCropByPosNegLabeld(KEYS, "label", size, pos=1, neg=1, num_samples=crops),
            *turns(size),
        ]
    )
    transform.set_random_state(task.seed)
    records = [
        {"image": flat(loaded.array, task), "label": flat(loaded.labels[None], task)}
        for loaded in cases
    ]
    loader = DataLoader(
        CacheDataset(records, transform, num_workers=1, progress=False),
        batch_size=task.batch_size // crops,
        shuffle=True,
        drop_last=len(records) >= task.batch_size // crops,
        collate_fn=list_data_collate,
    )
    while True:
        for batch in loader:
            yield tuple(batch[key].as_tensor() for key in KEYS)


def turns(size: Sequence[int]) -> list[RandRotate90d]:
    """Return turns by 90° in the first plane in which a crop stays as large as it is."""
    planes = [(a, b) for a in range(len(size)) for b in range(a + 1, len(size))]
    square = [(a, b) for a, b in planes if size[a] == size[b]]
    return [RandRotate90d(KEYS, prob=0.5, spatial_axes=plane) for plane in square[:1]]


def flat(array: NDArray[Any], task: RivalTask) -> NDArray[np.float32]:
    """Return an array (C, z, y, x), of photographs (C, y, x), as float32."""
    return np.asarray(array if task.dimension == 3 else array[:, 0], np.float32)


@dataclass
class Judge:
    """Scores whole images with the network as it stands, and what they are worth."""

    network: nn.Module
    cases: Sequence[Loaded]
    task: RivalTask

    def probabilities(self, array: NDArray[Any]) -> NDArray[np.float32]:
        """Return the probabilities (classes, z, y, x) of an image (C, z, y, x)."""
        found = self._logits(array)[0].softmax(dim=0).numpy()
        return found if self.task.dimension == 3 else found[:, None]

    def mean_dice(self) -> float:
        """Return the mean dice of the validation cases' classes, NaN where they hold none."""
        count = self.task.classes.count
        predicted, given = AsDiscrete(argmax=True, to_onehot=count), AsDiscrete(to_onehot=count)
        metric = DiceMetric(include_background=False, reduction="mean")
        for loaded in self.cases:
            labels = torch.from_numpy(flat(loaded.labels[None], self.task))
            metric([predicted(self._logits(loaded.array)[0])], [given(labels)])
        return float(metric.aggregate())

    def _logits(self, array: NDArray[Any]) -> Tensor:
        image = ScaleIntensity()(torch.from_numpy(flat(array, self.task)))
        training = self.network.training
        self.network.eval()
        with torch.no_grad():
            found = sliding_window_inference(
                image.as_tensor()[None], self.task.patch_size, CROPS, self.network
            )
        self.network.train(training)
        return found


class Best:
    """Keeps the weights of the best validation, of ``count`` evenly spread ones."""

    def __init__(self, judge: Judge, progress: Progress, count: int) -> None:
        self.judge, self.progress, self.count = judge, progress, count
        self.made, self.dice = 0, -1.0
        self.weights: dict[str, Tensor] = {}

    def look(self, *, last: bool = False) -> None:
        """Validate where it is time to, and keep the weights where they are the best so far."""
        next_one = (self.made + 1) / self.count
        if not last and (next_one == 1 or self.progress.share < next_one):
            return
        self.made += 1
        dice = self.judge.mean_dice()
        if dice > self.dice or not self.weights:
            self.dice = dice
            state = self.judge.network.state_dict()
            self.weights = {name: tensor.clone() for name, tensor in state.items()}


if __name__ == "__main__":
    main()
