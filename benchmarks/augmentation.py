"""How fast batches are augmented on one core, against MONAI and batchgeneratorsv2 (nnU-Net's).

All contenders get the same windows and return batches of patches, in one process on one thread.
Rounds are interleaved, and a ratio is that of two processor times of one round, so that other work
on the machine counts little. MONAI runs without metadata, on tensors. batchgeneratorsv2 is compared
where it can be imported (`pip install batchgeneratorsv2`).

* warp: rotation by up to 15° (in 3D about each axis) and sizes from 1/1.2 to 1.2 in every patch;
  masks by nearest neighbour, or by class votes (batchgeneratorsv2's "bilinear", its own default;
  MONAI has nearest alone);
* elastic: the same with a smooth deformation by up to 6 voxels on top, each in its own way;
* pipeline: everything that a recipe does where nothing is set, at its probabilities.

    OMP_NUM_THREADS=1 python benchmarks/augmentation.py [--rounds 9] [--out results.json]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monai
import monai.transforms as mt
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from rareseg.recipe import AugmentationSection
from rareseg.sampling.augmentation.augment import augment, window_for

TARGET = 5.0
NAMES = ("mirror", "rotate", "scale", "brightness", "contrast", "gamma", "noise", "blur")
OFF = AugmentationSection(**dict.fromkeys(NAMES, 0))
WARP = OFF.model_copy(update={"rotate": 1.0, "scale": 1.0})
VOTES = WARP.model_copy(update={"labels": "votes"})
ELASTIC = WARP.model_copy(update={"elastic": 1.0})
PIPELINE = AugmentationSection()

Patch = dict[str, Tensor]
Turn = Callable[[], object]


@dataclass(frozen=True)
class Task:
    """A batch as it is trained on."""

    name: str
    patch: tuple[int, ...]
    channels: int
    patches: int


TASKS = (
    Task("2D 64², 2 channels", (64, 64), 2, 120),
    Task("2D 160², 1 channel", (160, 160), 1, 16),
    Task("2D 256², 1 channel", (256, 256), 1, 8),
    Task("2D 256², 3 channels", (256, 256), 3, 8),
    Task("3D 48³, 2 channels", (48, 48, 48), 2, 4),
    Task("3D 64³, 2 channels", (64, 64, 64), 2, 2),
)


def draw_windows(task: Task, window: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return smooth images and blobs of five classes, the four rare ones in 3 % of the voxels."""
    rng = np.random.default_rng(0)
    images = rng.normal(0, 1, (task.patches, task.channels, *window)).astype(np.float32)
    depth = np.stack([ndimage.gaussian_filter(image[0], 4) for image in images])
    edges = np.quantile(depth, (0.97, 0.98, 0.99, 0.995))
    return torch.from_numpy(images), torch.from_numpy(np.digitize(depth, edges).astype(np.uint8))


def each(transform: Callable[[Patch], Patch], images: Tensor, labels: Tensor, key: str) -> Turn:
    """Return the loop over patches that a data loader makes of a transform."""

    def turn() -> object:
        done = [
            transform({"image": image, key: label[None]})
            for image, label in zip(images, labels, strict=True)
        ]
        return torch.stack([d["image"] for d in done]), torch.stack([d[key] for d in done])

    return turn


def monai_spatial(settings: AugmentationSection, task: Task) -> list[Any]:
    """Return MONAI's warp of the same strengths."""
    axes = len(task.patch)
    turn = math.radians(settings.rotate_degrees)
    shared: dict[str, Any] = {
        "keys": ("image", "label"),
        "spatial_size": task.patch,
        "rotate_range": (turn,) * (1 if axes == 2 else 3),
        "scale_range": ((1 / 1.2 - 1, 0.2),) * axes,
        "mode": ("bilinear", "nearest"),
        "padding_mode": ("reflection", "zeros"),
    }
    if settings.elastic:
        if axes == 2:
            return [mt.Rand2DElasticd(prob=1, spacing=(32, 32), magnitude_range=(0, 6), **shared)]
        # Magnitudes are those of noise before it is smoothed: the field is about 6 voxels large.
        return [mt.Rand3DElasticd(prob=1, sigma_range=(8, 8), magnitude_range=(0, 600), **shared)]
    # One probability for both; three quarters are what two halves amount to.
    probability = 1 - (1 - settings.rotate) * (1 - settings.scale)
    return [mt.RandAffined(prob=probability, cache_grid=True, **shared)]


def monai_transform(settings: AugmentationSection, task: Task) -> Callable[[Patch], Patch]:
    """Return what a MONAI user writes for these settings."""
    s, axes = settings, len(task.patch)
    steps = monai_spatial(s, task)
    if s.mirror:
        steps += [
            mt.RandFlipd(("image", "label"), prob=s.mirror, spatial_axis=a) for a in range(axes)
        ]
        steps += [
            mt.RandAdjustContrastd("image", prob=s.gamma, gamma=(1 / 1.3, 1.3)),
            mt.RandScaleIntensityd("image", factors=s.contrast_range, prob=s.contrast),
            mt.RandShiftIntensityd("image", offsets=s.brightness_range, prob=s.brightness),
            mt.RandGaussianSmoothd(
                "image", prob=s.blur, **{f"sigma_{a}": (0.3, s.blur_sigma) for a in "xyz"}
            ),
            mt.RandGaussianNoised("image", prob=s.noise, std=s.noise_level),
        ]
    return mt.Compose(steps).set_random_state(0)


def nnunet_transform(settings: AugmentationSection, task: Task) -> Callable[..., Patch]:
    """Return what nnU-Net's library is told for these settings."""
    from batchgeneratorsv2.transforms.intensity.brightness import (
        BrightnessAdditiveTransform,
    )
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    s = settings
    turn = math.radians(s.rotate_degrees)
    low, high = 1 - s.contrast_range, 1 + s.contrast_range
    steps: list[Any] = [
        SpatialTransform(
            task.patch,
            0,
            False,
            p_rotation=s.rotate,
            rotation=(-turn, turn),
            p_scaling=s.scale,
            scaling=(1 / 1.2, 1.2),
            p_synchronize_scaling_across_axes=1,
            p_elastic_deform=s.elastic,
            elastic_deform_scale=(16 / task.patch[-1], 16 / task.patch[-1]),
            elastic_deform_magnitude=(0, 6),
            p_synchronize_def_scale_across_axes=1,
            mode_seg="bilinear" if s.labels == "votes" else "nearest",
            padding_mode_image="reflection",
            border_mode_seg="constant",
            padding_value_seg=255,
        )
    ]
    if s.mirror:
        steps += [
            MirrorTransform(tuple(range(len(task.patch)))),
            RandomTransform(
                GammaTransform(
                    (1 / 1.3, 1.3),
                    p_invert_image=0,
                    synchronize_channels=True,
                    p_per_channel=1,
                    p_retain_stats=0,
                ),
                s.gamma,
            ),
            RandomTransform(
                ContrastTransform(BGContrast((low, high)), False, synchronize_channels=True),
                s.contrast,
            ),
            RandomTransform(BrightnessAdditiveTransform(0, s.brightness_range), s.brightness),
            RandomTransform(
                GaussianBlurTransform(
                    (0.3, s.blur_sigma), synchronize_channels=True, synchronize_axes=True
                ),
                s.blur,
            ),
            RandomTransform(GaussianNoiseTransform((0, s.noise_level**2)), s.noise),
        ]
    composed = ComposeTransforms(steps)
    return lambda patch: composed(**patch)


def contenders(settings: AugmentationSection, task: Task, labels_by: str) -> dict[str, Turn]:
    """Return everyone's turn on the same windows, ours first."""
    images, labels = draw_windows(task, window_for(settings, task.patch))
    steps = iter(range(10**9))

    def ours() -> object:
        return augment(images, labels, settings, seed=next(steps), patch_size=task.patch)

    turns: dict[str, Turn] = {"rareseg": ours}
    if labels_by == "nearest":
        turns["MONAI"] = each(monai_transform(settings, task), images, labels, "label")
    if importlib.util.find_spec("batchgeneratorsv2"):
        np.random.seed(0)  # noqa: NPY002 - what that library draws from
        turns["batchgeneratorsv2"] = each(
            nnunet_transform(settings, task), images, labels.to(torch.int16), "segmentation"
        )
    return turns


def measure(turns: dict[str, Turn], rounds: int) -> dict[str, np.ndarray]:
    """Return each contender's processor seconds per round, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(rounds + 1):
        for name, turn in turns.items():
            start = time.process_time()
            turn()
            if number:
                seconds[name].append(time.process_time() - start)
    return {name: np.array(times) for name, times in seconds.items()}


def run(what: str, settings: AugmentationSection, rounds: int, labels_by: str) -> list[dict]:
    """Measure one kind of work on every task, and print a line for each contender."""
    rows = []
    for task in TASKS:
        times = measure(contenders(settings, task, labels_by), rounds)
        window = window_for(settings, task.patch)
        area = math.prod(window) / math.prod(task.patch)
        for name, seconds in times.items():
            ratio = seconds / times["rareseg"]
            low, middle, high = np.percentile(ratio, (25, 50, 75)).tolist()
            rows.append(
                {
                    "what": what,
                    "task": task.name,
                    "window_ratio": area,
                    "contender": name,
                    "ms_per_patch": float(np.median(seconds)) / task.patches * 1e3,
                    "ratio": middle,
                    "quartiles": [low, high],
                }
            )
            verdict = (
                ""
                if name == "rareseg" or what == "pipeline"
                else ("" if middle >= TARGET else f"  (below {TARGET:g})")
            )
            print(
                f"| {what} | {task.name} | {name} | {rows[-1]['ms_per_patch']:.3f} | "
                f"{middle:.1f} ({low:.1f} to {high:.1f}){verdict} |",
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="warp,votes,elastic,pipeline")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    monai.data.set_track_meta(False)
    if not importlib.util.find_spec("batchgeneratorsv2"):
        print("batchgeneratorsv2 cannot be imported here and is left out.")
    print("| work | batch | by | ms a patch | times as long as rareseg (quartiles) |")
    print("|---|---|---|---|---|")
    works = {
        "warp": (WARP, "nearest"),
        "votes": (VOTES, "votes"),
        "elastic": (ELASTIC, "nearest"),
        "pipeline": (PIPELINE, "nearest"),
    }
    rows = [
        row
        for what in options.only.split(",")
        for row in run(what, works[what][0], options.rounds, works[what][1])
    ]
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
