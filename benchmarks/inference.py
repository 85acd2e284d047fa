"""How fast networks are on whole images: engines and ours against MONAI's sliding window.

Contenders on one network with random weights, in turns on the same image:

- `monai`: MONAI's sliding window (windows of the size that is trained on, its overlap of 0.25,
  Gaussian weights, four at once) in eager float32, images channels first, volumes slice by slice
  where the network is of 2D;
- `torch 32`, `torch bf16`: `rareseg.prediction.scorer.score_array`, as `rareseg predict` calls it:
  photographs and slices whole, volumes in the windows that the row names;
- `openvino 32`, `openvino bf16`: the same network exported, by `rareseg_runner`.

Printed: seconds (median over rounds), times as fast as MONAI, and how far each is from torch in
float32: the largest difference of a probability, and the share of voxels of another most
probable class. The matrix peak of the machine is measured in the same run (a product of
1,024 x 1,024 matrices), and beside each network stands how much of it its convolutions reach.

    OMP_NUM_THREADS=1 python benchmarks/inference.py [--rounds 3] [--only 2d,volume,3d]

Rows whose engine is not installed are left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from rareseg.prediction.engine_export import write_network
from rareseg.prediction.networks import build_network, stride
from rareseg.prediction.scorer import computes_in_bf16, prepare_network, score_array
from rareseg.recipe import Recipe, make_recipe
from rareseg.training.plan.plan_tile import LARGEST_HALF_3D, best_tile
from rareseg_runner.scoring.engine_windows import score_with_engine
from rareseg_runner.scoring.engines import engine_named
from rareseg_runner.scoring.model_description import ScoringSettings

Array = NDArray[np.float32]
CPU = torch.device("cpu")

PHOTOGRAPHS = (256, 1024, 2048, 4096)
VOLUME = (155, 240, 240)
"""Axes z, y, x of a volume of BraTS: a sixth at each end, which is no brain, is 0."""


@dataclass(frozen=True)
class Subject:
    """A network and the image that it is shown."""

    name: str
    recipe: Recipe
    array: Array


def subjects(only: set[str], sides: tuple[int, ...]) -> Iterator[Subject]:
    """Yield what is measured."""
    generator = np.random.default_rng(0)
    flat = make_recipe(
        {"network": {"name": "encoder_unet"}, "sampling": {"patch_size": [224, 224]}}
    )
    if "2d" in only:
        for side in sides:
            array = generator.normal(size=(1, 1, side, side)).astype(np.float32)
            yield Subject(f"encoder_unet, photograph of {side}²", flat, array)
    volume = np.zeros((4, *VOLUME), np.float32)
    inside = tuple(slice(side // 6, -(side // 6)) for side in VOLUME)
    volume[(slice(None), *inside)] = generator.normal(size=volume[(slice(None), *inside)].shape)
    if "volume" in only:
        yield Subject("encoder_unet, 155 slices of 240²", flat, volume)
    if "3d" in only:
        for tile in ([128, 128, 128], list(best_tile(VOLUME, 16, 0.25, LARGEST_HALF_3D))):
            deep = make_recipe(
                {
                    "data": {"dimension": 3},
                    "network": {"name": "half_unet", "norm": "batch"},
                    "sampling": {"patch_size": [48, 48, 48]},
                    "prediction": {"tile": tile, "overlap": 0.25},
                }
            )
            sides = " x ".join(map(str, tile))
            yield Subject(f"half_unet, 155 x 240 x 240 in windows of {sides}", deep, volume)


def contenders(subject: Subject, folder: Path, threads: int) -> dict[str, Callable[[], Array]]:
    """Return each contender as a function that scores the subject's image once."""
    torch.manual_seed(0)
    recipe, array = subject.recipe, subject.array
    dimension = recipe.data.dimension
    plain = build_network(recipe.network, dimension=dimension, channels=len(array), classes=4)
    network = plain.eval()
    fast = build_network(recipe.network, dimension=dimension, channels=len(array), classes=4)
    fast.load_state_dict(network.state_dict())
    fast = prepare_network(fast, recipe, CPU).eval()
    ours = partial(score_array, fast, array, recipe, device=CPU)
    found: dict[str, Callable[[], Array]] = {
        "monai": partial(_monai, network, subject),
        "torch 32": lambda: ours(precision="32").probabilities,
    }
    if computes_in_bf16(CPU):
        found["torch bf16"] = lambda: ours(precision="bf16").probabilities
    if find_spec("openvino") is None:
        print("openvino is not installed: its rows are left out", file=sys.stderr)
        return found
    engine = engine_named("openvino")
    sides = (4 * stride(recipe.network),) * dimension
    example = torch.zeros(2, len(array), *sides)
    write_network("openvino", network, example, folder / "network.xml")
    settings = ScoringSettings(
        dimension, stride(recipe.network), recipe.prediction.tile, recipe.prediction.overlap
    )
    for precision in ("32", "bf16"):
        if engine.computes_in(precision) == precision:
            opened = engine.open(folder / "network.xml", precision, threads)
            found[f"openvino {precision}"] = partial(_engine, opened, array, settings)
    return found


def _engine(opened, array: Array, settings: ScoringSettings) -> Array:
    return score_with_engine(opened, array, settings).probabilities


def _monai(network: torch.nn.Module, subject: Subject) -> Array:
    """Return the probabilities (class, z, y, x) as MONAI's tutorials compute them."""
    images = torch.from_numpy(subject.array)
    images = images[None] if subject.recipe.data.dimension == 3 else images.transpose(0, 1)
    patch = subject.recipe.sampling.patch_size
    size = [min(window, side) for window, side in zip(patch, images.shape[2:], strict=True)]
    with torch.inference_mode():
        logits = [
            sliding_window_inference(one[None], size, 4, network, overlap=0.25, mode="gaussian")
            for one in images
        ]
        scores = torch.cat(logits).softmax(1)
    return (scores[0] if subject.recipe.data.dimension == 3 else scores.transpose(0, 1)).numpy()


def peak(dtype: torch.dtype) -> float:
    """Return the machine's products of matrices in operations a second."""
    first, second = (torch.randn(1024, 1024).to(dtype) for _ in range(2))
    best = min(_seconds(lambda: torch.mm(first, second)) for _ in range(10))
    return 2 * 1024**3 / best


def operations(subject: Subject) -> int:
    """Return how many operations the network needs for the image, taken once and whole."""
    recipe = subject.recipe
    dimension = recipe.data.dimension
    network = build_network(
        recipe.network, dimension=dimension, channels=len(subject.array), classes=4
    ).eval()
    step = stride(recipe.network)
    sides = subject.array.shape[1:] if dimension == 3 else subject.array.shape[2:]
    padded = [-(-side // step) * step for side in sides]
    small = [min(side, 2 * step) for side in padded]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, len(subject.array), *small))
    images = 1 if dimension == 3 else subject.array.shape[1]
    return int(counter.get_total_flops() * np.prod(padded) / np.prod(small)) * images


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", 1)))
    parser.add_argument("--only", default="2d,volume,3d")
    parser.add_argument("--sides", default=",".join(map(str, PHOTOGRAPHS)))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    peaks = {"32": peak(torch.float32), "bf16": peak(torch.bfloat16)}
    print(
        f"{given.threads} threads, matrix peak {peaks['32'] / 1e9:.0f} (float32) and "
        f"{peaks['bf16'] / 1e9:.0f} (bfloat16) GFLOP/s\n"
    )
    print("| image | computed by | seconds | x MONAI | of the peak | largest difference | other |")
    print("|---|---|---|---|---|---|---|")
    sides = tuple(map(int, given.sides.split(",")))
    for subject in subjects(set(given.only.split(",")), sides):
        with tempfile.TemporaryDirectory() as folder:
            for line in rows(subject, Path(folder), given, peaks):
                print(line, flush=True)


def rows(
    subject: Subject, folder: Path, given: argparse.Namespace, peaks: dict[str, float]
) -> Iterator[str]:
    """Yield the rows of one subject."""
    chosen = contenders(subject, folder, given.threads)
    scores = {name: work() for name, work in chosen.items()}
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(given.rounds):
        for name, work in chosen.items():
            seconds[name].append(_seconds(work))
    needed, exact = operations(subject), scores["torch 32"]
    for name, own in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(seconds["monai"], own, strict=True))
        apart = np.abs(scores[name] - exact).max()
        other = (scores[name].argmax(0) != exact.argmax(0)).mean()
        of_peak = needed / statistics.median(own) / peaks[name.split()[-1] if " " in name else "32"]
        yield (
            f"| {subject.name} | {name} | {statistics.median(own):.3f} | {ratio:.2f} | "
            f"{100 * of_peak:.0f} % | {apart:.2g} | {100 * other:.2g} % |"
        )


if __name__ == "__main__":
    main()
