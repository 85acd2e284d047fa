"""Score images with torch: a network, its windows and mirrors.

:func:`score_array` is the one place where a torch network meets a whole image: the looks during
training and every :class:`ModelScorer` go through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from torch import Tensor

from rareseg.prediction.model import Model, split_members
from rareseg.prediction.networks import stride
from rareseg.prediction.presence_head import Windows, load_network
from rareseg.recipe import Recipe
from rareseg_runner.scoring.engine_windows import flipped_axes, reflected_places, window_within
from rareseg_runner.scoring.image_scorer import ArrayScorer, ImageScorer
from rareseg_runner.scoring.image_scores import ArrayScores
from rareseg_runner.scoring.model_description import ModelDescription, ScoringSettings


@dataclass(frozen=True, eq=False)
class BatchScores:
    """What a network says of images, on the CPU.

    ``probabilities`` (image, class, *space) float32, the mean over mirrors; ``presence`` (mirror,
    image, region) float32, or None where the network says nothing of whole images.
    """

    probabilities: Tensor
    presence: Tensor | None


class ModelScorer(ImageScorer):
    """Scores whole images with the networks of a model: by torch, or by its engine.

    ``networks`` are torch's, none of an exported model.

    Threads may share one: its networks take one image at a time, since their deepest features are
    read by a hook, which would also meet another thread's image.
    """

    def __init__(self, model: Model, *, device: str | torch.device = "cpu") -> None:
        self.model = model
        self.device = torch.device(device)
        about = describe_model(model)
        self.networks: list[torch.nn.Module] = []
        if model.engine is None or model.folder is None:
            self.networks = [
                prepare_network(network, model.recipe, self.device).eval()
                for network in member_networks(model)
            ]
            members = [self._scores(network) for network in self.networks]
        else:
            members = model.engine.open(model.folder, about.settings)
        super().__init__(about, members)

    def _scores(self, network: torch.nn.Module) -> ArrayScorer:
        """Return the network with its windows."""
        return partial(
            score_array,
            network,
            recipe=self.model.recipe,
            device=self.device,
            precision=self.model.precision,
        )


def member_networks(model: Model) -> Iterator[torch.nn.Module]:
    """Yield the networks of a model in their order; raises BundleError for weights of others."""
    first_stage = 0 if model.cascade is None else model.cascade.first_stage
    for number, weights in enumerate(split_members(model)):
        yield load_network(
            weights,
            model.recipe,
            channels=model.channels,
            classes=2 if number < first_stage else model.classes.count,
        )


def describe_model(model: Model) -> ModelDescription:
    """Return everything but the weights that the scores of a model depend on."""
    prediction = model.recipe.prediction
    return ModelDescription(
        classes=model.classes,
        channels=model.channels,
        preprocessing=model.preprocessing,
        settings=ScoringSettings(
            dimension=model.recipe.data.dimension,
            stride=stride(model.recipe.network),
            tile=prediction.tile,
            overlap=prediction.overlap,
            mirror=prediction.mirror,
            mean_of=prediction.mean_of,
        ),
        members=model.members,
        cascade=model.cascade,
        presence=model.presence,
        images=model.training.images,
    )


def prepare_network(
    network: torch.nn.Module, recipe: Recipe, device: torch.device
) -> torch.nn.Module:
    """Move a network to its device, in the memory layout that its convolutions run fastest in."""
    layout = memory_layout(recipe.data.dimension)
    # The stubs of Module.to leave out memory_format.
    moved: torch.nn.Module = network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    return moved


def memory_layout(dimension: int) -> torch.memory_format:
    """Return the memory layout of weights and images: channels last, in 2 or 3 dimensions.

    ``Tensor.to`` brings images into it. ``contiguous`` leaves those of one channel as they are,
    and what is joined with them then falls back to channels first.
    """
    return torch.channels_last if dimension == 2 else torch.channels_last_3d


def score_array(
    network: torch.nn.Module,
    array: NDArray[np.float32],
    recipe: Recipe,
    *,
    device: torch.device,
    precision: str,
) -> ArrayScores:
    """Return what a network says of a normalised array (channel, z, y, x).

    In 2D every slice is an image of its own. An image no larger than ``prediction.tile`` is taken
    at once, padded by reflection to the network's stride; a larger one in windows of that size
    whose predictions are blended with Gaussian weights. Softmax is computed in float32 whatever
    the network's precision. The presence is the largest over windows and slices, then the mean over
    mirrors.
    """
    volume = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    if recipe.data.dimension == 2:
        pieces = [
            score_images(network, piece, recipe, device, precision)
            for piece in _slices(volume, recipe)
        ]
        probabilities = torch.cat([piece.probabilities for piece in pieces]).transpose(0, 1)
    else:
        pieces = [score_images(network, volume.unsqueeze(0), recipe, device, precision)]
        probabilities = pieces[0].probabilities[0]
    said = [piece.presence for piece in pieces if piece.presence is not None]
    presence = torch.cat(said, dim=1).amax(1).mean(0).numpy() if said else None
    return ArrayScores(probabilities.numpy(), presence)


def score_images(
    network: torch.nn.Module, batch: Tensor, recipe: Recipe, device: torch.device, precision: str
) -> BatchScores:
    """Return what a network says of images (image, channel, *space).

    As :func:`score_array`, for images that lie side by side in one batch.
    """
    space = batch.shape[2:]
    layout = memory_layout(len(space))
    padded = _pad_to_stride(batch, stride(recipe.network))
    tile = recipe.prediction.tile
    mirrors = flipped_axes(len(space), mirror=recipe.prediction.mirror)
    total: Tensor | None = None
    said: list[Tensor] = []
    with torch.inference_mode(), autocast(device, precision):
        for flipped in mirrors:
            images = padded.flip(flipped).to(device, memory_format=layout)
            windows = Windows(network)
            if tile is None or all(a <= b for a, b in zip(space, tile, strict=True)):
                logits = windows(images)
            else:
                logits = sliding_window_inference(
                    images,
                    roi_size=window_within(tile, padded.shape[2:], stride(recipe.network)),
                    sw_batch_size=1,
                    predictor=windows,
                    overlap=recipe.prediction.overlap,
                    mode="gaussian",
                )
            scores = logits.float().softmax(1).flip(flipped)
            total = scores if total is None else total + scores
            presence = windows.presence(len(images))
            if presence is not None:
                said.append(presence)
    assert total is not None
    mean = (total / len(mirrors)).cpu()
    return BatchScores(
        mean[(slice(None), slice(None), *(slice(0, side) for side in space))],
        torch.stack(said).cpu() if said else None,
    )


BF16_FEATURES = frozenset({"avx512_bf16", "amx_bf16", "bf16", "sve_bf16", "svebf16"})
"""What torch and Linux call the instructions of x86 and ARM processors that multiply bfloat16."""


def computes_in_bf16(device: torch.device) -> bool:
    """Say whether the device multiplies bfloat16 in hardware, so that it can gain by it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and not BF16_FEATURES.isdisjoint(_processor_features())


def _processor_features() -> set[str]:
    """Return the names of the instructions that the processor has, as far as they are known."""
    if hasattr(torch.cpu, "get_capabilities"):  # torch had none at first
        return {name for name, there in torch.cpu.get_capabilities().items() if there is True}
    described = Path("/proc/cpuinfo")
    return set(described.read_text(encoding="utf-8").split()) if described.is_file() else set()


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context in which a network computes in ``"32"`` or ``"bf16"``."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def _slices(volume: Tensor, recipe: Recipe) -> list[Tensor]:
    """Cut (channel, z, y, x) into batches of slices (slices, channel, y, x) that fit in memory."""
    slices = volume.transpose(0, 1)
    voxels_per_slice = max(1, slices[0, 0].numel())
    at_once = max(1, 2**18 // voxels_per_slice)
    return list(torch.split(slices, at_once))


def _pad_to_stride(batch: Tensor, multiple: int) -> Tensor:
    """Pad the far end of every axis to a multiple by reflection, however small the image is."""
    for axis in range(2, batch.ndim):
        if batch.shape[axis] % multiple:
            places = reflected_places(batch.shape[axis], multiple)
            batch = batch.index_select(axis, torch.from_numpy(places))
    return batch
