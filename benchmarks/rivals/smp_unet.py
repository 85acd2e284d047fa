"""Learn as the examples of segmentation_models.pytorch do, on rareseg's encoder and its weights.

The network is its `Unet('tu-tf_efficientnet_lite0')`, the encoder begun with the ImageNet weights
that come with rareseg. From `examples/camvid_segmentation_multiclass.ipynb` (qubvel-org/
segmentation_models.pytorch): its pipeline of albumentations, `DiceLoss` in multiclass mode, Adam at
0.0002 with a cosine to 0.00001, the last weights; of one class as in
`examples/binary_segmentation_buildings.py`, `DiceLoss` in binary mode. Crops are as large as the
task says (320 x 320 there), images are padded to multiples of 32.

Validation cases are not learnt from. They are scored at the end, within the time, so that a point
can be chosen for the same network.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rareseg.errors import DataError
from rivals.cases import Loaded, load, write_scores
from rivals.learning import Batch, cosine, learn, progress_of
from rivals.lite_weights import NAME, timm_weights
from rivals.task import Report, RivalTask, asked
from rivals.torchvision_operators import declare_missing

declare_missing()

import segmentation_models_pytorch as smp  # noqa: E402 - needs the operators

RATE, LAST_RATE = 2e-4, 1e-5
ENCODER = f"tu-tf_{NAME}"
STRIDE = 32

TRIED = 5
"""Images that are scored before the training, to know how long scoring takes."""


def main() -> None:
    """Learn the task, and score its validation and tested cases."""
    task, begun = asked()
    torch.set_num_threads(task.threads)
    cv2.setNumThreads(task.threads)
    torch.manual_seed(task.seed)
    learned = photographs(load(task.learns, task.classes))
    assert task.validates is not None, "a point is chosen on validation cases"
    validation = photographs(load(task.validates, task.classes))
    network = Network(task.classes.count)
    reserve = 0.0
    if task.seconds is not None:
        # To choose a point, a program starts anew, reads all images, and counts in those scored.
        gone = time.time() - begun
        reserve = gone + 2 * seconds_to_score(validation, network, task)
    progress = progress_of(task, begun, reserve=reserve)
    learn(
        network,
        batches(learned, task),
        network.loss,
        torch.optim.Adam(network.parameters(), lr=RATE),
        progress,
        rate=lambda share: cosine(share, RATE, LAST_RATE),
    )
    network.eval()
    write_scores(task.scores("validation"), validation, network.probabilities)
    seconds = time.time() - begun
    tested = photographs(load(task.tested, task.classes))
    write_scores(task.scores("tested"), tested, network.probabilities)
    Report(
        steps=progress.made,
        seconds=seconds,
        settings=(
            f"Unet({ENCODER!r}) on the ImageNet weights of rareseg",
            f"DiceLoss ({network.loss.mode})",
            "flips, scale, shift, crops, perspective, noise, sharpness and colours",
            f"Adam {RATE}, cosine to {LAST_RATE}, the last weights",
        ),
        versions={
            "segmentation_models_pytorch": smp.__version__,
            "albumentations": A.__version__,
            "torch": torch.__version__,
        },
    ).write(task.report)


class Network(nn.Module):
    """The U-Net behind its encoder's normalisation, for images (B, 3, y, x) in [0, 1].

    Of one class beside the background it gives one logit, of several one for each class.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.binary = classes == 2
        mode = smp.losses.BINARY_MODE if self.binary else smp.losses.MULTICLASS_MODE
        self.loss = smp.losses.DiceLoss(mode, from_logits=True)
        self.unet = smp.Unet(ENCODER, encoder_weights=None, classes=1 if self.binary else classes)
        self.unet.encoder.model.load_state_dict(timm_weights())
        given = smp.encoders.get_preprocessing_params(ENCODER)
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(given[name]).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes, y, x)."""
        logits: Tensor = self.unet((images - self.mean) / self.std)
        return logits

    def probabilities(self, array: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities (classes, 1, y, x) of a photograph (C, 1, y, x)."""
        height, width = array.shape[2:]
        image = torch.from_numpy(coloured(array)[:, 0]).float()[None] / 255
        padding = (0, -width % STRIDE, 0, -height % STRIDE)
        with torch.no_grad():
            logits = self(nn.functional.pad(image, padding))[0, :, :height, :width]
        if self.binary:
            foreground = logits.sigmoid()
            return torch.stack([1 - foreground, foreground])[:, :1].numpy()
        return logits.softmax(dim=0)[:, None].numpy()


def photographs(cases: Sequence[Loaded]) -> list[Loaded]:
    """Return the cases as they are where they are photographs of 8 bits.

    Raises DataError where the pipeline of colours cannot take them.
    """
    for loaded in cases:
        if loaded.array.dtype != np.uint8 or loaded.array.shape[1] != 1:
            raise DataError(
                f"{loaded.case.images[0]} holds {loaded.array.dtype} of {loaded.array.shape}; this "
                "rival takes photographs of 8 bits alone."
            )
    return list(cases)


def seconds_to_score(cases: Sequence[Loaded], network: Network, task: RivalTask) -> float:
    """Return how long it takes to score the cases and write them, from a few of them."""
    network.eval()
    tried = cases[:TRIED]
    started = time.monotonic()
    write_scores(task.folder / "tried", tried, network.probabilities)
    return (time.monotonic() - started) / len(tried) * len(cases)


def coloured(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a photograph (3, 1, y, x), grey ones three times, as OpenCV reads them."""
    return np.broadcast_to(array, (3, *array.shape[1:])).copy()


def batches(cases: Sequence[Loaded], task: RivalTask) -> Iterator[Batch]:
    """Yield batches of augmented crops without end, every case once a round in a random order."""
    change, rng = augmentation(task), np.random.default_rng(task.seed)
    order: list[int] = []
    while True:
        while len(order) < task.batch_size:
            order += rng.permutation(len(cases)).tolist()
        chosen, order = order[: task.batch_size], order[task.batch_size :]
        changed = [
            change(image=pixels(cases[k]), mask=np.ascontiguousarray(cases[k].labels[0]))
            for k in chosen
        ]
        images = torch.from_numpy(np.stack([one["image"] for one in changed]))
        masks = torch.from_numpy(np.stack([one["mask"] for one in changed]))
        yield images.permute(0, 3, 1, 2).float() / 255, masks.long()


def pixels(loaded: Loaded) -> NDArray[np.uint8]:
    """Return a photograph as OpenCV holds it, (y, x, 3)."""
    return np.ascontiguousarray(coloured(loaded.array)[:, 0].transpose(1, 2, 0))


def augmentation(task: RivalTask) -> A.Compose:
    """Return the pipeline of the example, its crop of the task's size."""
    height, width = task.patch_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ShiftScaleRotate has a newer name
        return A.Compose(
            [
                A.HorizontalFlip(p=0.5),
                A.ShiftScaleRotate(
                    scale_limit=0.5, rotate_limit=0, shift_limit=0.1, p=1, border_mode=0
                ),
                A.PadIfNeeded(min_height=height, min_width=width),
                A.RandomCrop(height=height, width=width),
                A.GaussNoise(p=0.2),
                A.Perspective(p=0.5),
                A.OneOf([A.CLAHE(p=1), A.RandomBrightnessContrast(p=1), A.RandomGamma(p=1)], p=0.9),
                A.OneOf(
                    [A.Sharpen(p=1), A.Blur(blur_limit=3, p=1), A.MotionBlur(blur_limit=3, p=1)],
                    p=0.9,
                ),
                A.OneOf([A.RandomBrightnessContrast(p=1), A.HueSaturationValue(p=1)], p=0.9),
            ],
            seed=task.seed,
        )


if __name__ == "__main__":
    main()
