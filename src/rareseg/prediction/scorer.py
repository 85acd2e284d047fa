"""Score an image: probabilities of its classes on the image's own grid.

:func:`score_array` is the one place where a network meets a whole image: validation, selection,
evaluation and prediction all go through it, so that an operating point is applied to the very
scores that it was chosen on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from torch import Tensor

from rareseg.data.photo_channels import with_channels
from rareseg.data.records import IGNORE, Classes, Image
from rareseg.data.store.preprocess import network_input, prepared_shape
from rareseg.data.store.resampling import resample
from rareseg.decision.calibration.presence_scaling import PresenceScaling
from rareseg.errors import DataError
from rareseg.memory_limit import refusal
from rareseg.prediction.model import Model, split_members
from rareseg.prediction.network_mean import as_terms, from_terms, mean_presence
from rareseg.prediction.networks import stride
from rareseg.prediction.presence_head import Windows, load_network
from rareseg.recipe import Recipe


@dataclass(frozen=True, eq=False)
class ImageScores:
    """What a model says of an image, on the image's own grid.

    ``probabilities`` (class, z, y, x) float32. ``presence`` leads from each region to the
    probability in [0, 1], of float32, that the case holds it; None where the model tells none.
    """

    probabilities: NDArray[np.float32]
    presence: Mapping[str, float] | None

    def presence_of(self, region: str) -> float | None:
        """Return the presence of one region."""
        return None if self.presence is None else self.presence[region]


@dataclass(frozen=True, eq=False)
class ArrayScores:
    """What a network says of an array: (class, z, y, x) float32, and (regions,) float32 or None."""

    probabilities: NDArray[np.float32]
    presence: NDArray[np.float32] | None

    def presence_of(self, regions: Sequence[str]) -> dict[str, float] | None:
        """Return the presence by region, in the order that the network learned them."""
        if self.presence is None:
            return None
        return dict(zip(regions, self.presence.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class BatchScores:
    """What a network says of images, on the CPU.

    ``probabilities`` (image, class, *space) float32, the mean over mirrors; ``presence`` (mirror,
    image, region) float32, or None where the network says nothing of whole images.
    """

    probabilities: Tensor
    presence: Tensor | None


class ImageScorer:
    """Scores whole images with the network of a model, the mean of several, or two stages.

    What is averaged is said by the recipe's ``prediction.mean_of``. Threads may share a scorer:
    its networks take one image at a time, since their deepest features are read by a hook, which
    would also meet another thread's image.
    """

    def __init__(self, model: Model, *, device: str | torch.device = "cpu") -> None:
        self.model = model
        self.device = torch.device(device)
        self.networks: list[torch.nn.Module] = []
        self._busy = Lock()
        first_stage = 0 if model.cascade is None else model.cascade.first_stage
        for number, weights in enumerate(split_members(model)):
            network = load_network(
                weights,
                model.recipe,
                channels=model.channels,
                classes=2 if number < first_stage else model.classes.count,
            )
            self.networks.append(prepare_network(network, model.recipe, self.device).eval())

    def score(self, image: Image) -> ImageScores:
        """Return the softmax probabilities and the presence of each region in an image.

        The presence is the largest over windows and, where a volume is predicted in 2D, over
        slices, and the mean over mirrors and networks, scaled as the model's presence says; of two
        stages it is the first one's. The channel of a grey photograph is repeated where the model
        was trained on three. Raises :class:`DataError` where the number of channels is not
        the one trained on, or the image is unlike those of the training.
        """
        if len(image.array) == 1:
            image, _ = with_channels(image, self.model.channels)
        if image.array.shape[0] != self.model.channels:
            raise DataError(
                f"the image has {image.array.shape[0]} channels, but the model was trained on "
                f"{self.model.channels}; give the same channels in the same order."
            )
        facts = self.model.training.images
        misfit = None if facts is None else facts.misfit(image, self.model.preprocessing)
        if misfit is not None:
            raise DataError(f"{misfit}.")
        self._require_memory(image)
        array = network_input(image, self.model.preprocessing)
        cascade = self.model.cascade
        with self._busy:
            if cascade is None:
                found = self._mean(self.networks, array)
                scores = found.probabilities
            else:
                found = self._mean(self.networks[: cascade.first_stage], array)
                second = self._mean(self.networks[-1:], array)
                scores = cascade.join(found.probabilities, second.probabilities)
        return ImageScores(resample(scores, image.array.shape[1:]), self._presence(found.presence))

    def probabilities(self, image: Image) -> NDArray[np.float32]:
        """Return the probabilities of :meth:`score` alone; a gate needs the presence too."""
        return self.score(image).probabilities

    def _require_memory(self, image: Image) -> None:
        """Raise DataError where an image's scores would not fit into the memory beside it."""
        shape, classes = image.array.shape[1:], self.model.classes.count
        grid = prepared_shape(shape, image.geometry.spacing, self.model.preprocessing)
        needed = score_bytes(
            shape, grid, classes=classes, channels=len(image.array), networks=len(self.networks)
        )
        if refused := refusal(needed, held=image.array.nbytes):
            sides = " × ".join(map(str, shape))
            raise DataError(f"the scores of {classes} classes on {sides} voxels: {refused}")

    def _mean(self, networks: Sequence[torch.nn.Module], array: NDArray[np.float32]) -> ArrayScores:
        """Return the mean of what the networks say, on their own grid."""
        of_log_odds = self.model.recipe.prediction.mean_of == "log_odds" and len(networks) > 1
        total: NDArray[np.float32] | None = None
        said: list[NDArray[np.float32]] = []
        for network in networks:
            found = score_array(
                network,
                array,
                self.model.recipe,
                device=self.device,
                precision=self.model.precision,
            )
            terms = as_terms(found.probabilities, of_log_odds=of_log_odds)
            total = terms if total is None else total + terms
            if found.presence is not None:
                said.append(found.presence)
        assert total is not None
        return ArrayScores(
            from_terms(total, len(networks), of_log_odds=of_log_odds),
            mean_presence(said, of_log_odds=of_log_odds) if said else None,
        )

    def _presence(self, said: NDArray[np.float32] | None) -> dict[str, float] | None:
        """Return the presence of every region, scaled; None where the networks say none."""
        if said is None:
            return None
        regions = self.model.classes.regions
        if self.model.cascade is not None and self.model.classes.count > 2:
            # The first stage knows one region, all foreground: no other can be where it is not.
            said = np.repeat(said, len(regions))
        unscaled = PresenceScaling()
        return {
            region: self.model.presence.get(region, unscaled).apply(float(value))
            for region, value in zip(regions, said, strict=True)
        }


def score_bytes(
    shape: Sequence[int], grid: Sequence[int], *, classes: int, channels: int, networks: int = 1
) -> int:
    """Return the bytes that scoring an image takes beside the image, in main memory.

    ``shape`` (z, y, x) is the image's and ``grid`` the one that the networks see. float32 all: what
    the networks see; a sum of scores (over mirrors, slices or networks) and what is added to it;
    then the mean and its scores on the image's own grid.
    """
    seen = math.prod(grid)
    added = 2 if networks == 1 else 3
    on_image = 0 if tuple(shape) == tuple(grid) else math.prod(shape)
    return 4 * (channels * seen + classes * max(added * seen, seen + on_image))


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
    axes = range(2, batch.ndim)
    mirrors = list(product((False, True), repeat=len(space))) if recipe.prediction.mirror else [()]
    total: Tensor | None = None
    said: list[Tensor] = []
    with torch.inference_mode(), autocast(device, precision):
        for mirror in mirrors:
            flipped = [axis for axis, on in zip(axes, mirror, strict=False) if on]
            images = padded.flip(flipped).to(device, memory_format=layout)
            windows = Windows(network)
            if tile is None or all(a <= b for a, b in zip(space, tile, strict=True)):
                logits = windows(images)
            else:
                logits = sliding_window_inference(
                    images,
                    roi_size=_tile_within(tile, padded.shape[2:], stride(recipe.network)),
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


def class_map(
    probabilities: NDArray[np.float32],
    masks: Mapping[str, NDArray[np.bool_]],
    classes: Classes,
) -> NDArray[np.uint8]:
    """Return one class index per voxel (z, y, x) from class probabilities and region masks.

    Background where no region is on; elsewhere the most probable class among those of the
    innermost region that is on (the region with the fewest classes; of equals, the later one).
    """
    chosen = np.zeros(probabilities.shape[1:], np.uint8)
    outermost_first = sorted(classes.regions, key=lambda name: -len(classes.regions[name]))
    for region in outermost_first:
        members = np.asarray(classes.regions[region])
        best = members[probabilities[members].argmax(axis=0)].astype(np.uint8)
        chosen = np.where(masks[region], best, chosen)
    return chosen


def label_map(
    probabilities: NDArray[np.float32],
    masks: Mapping[str, NDArray[np.bool_]],
    classes: Classes,
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return one mask value per voxel (z, y, x): those of :func:`class_map`'s classes."""
    chosen, values = class_map(probabilities, masks, classes), np.asarray(classes.values)
    if values.max() <= IGNORE:
        return values.astype(np.uint8)[chosen]
    return values.astype(np.uint16)[chosen]


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
        side = batch.shape[axis]
        wanted = -(-side // multiple) * multiple
        if wanted == side:
            continue
        period = max(1, 2 * (side - 1))
        places = torch.arange(wanted) % period
        batch = batch.index_select(axis, torch.where(places < side, places, period - places))
    return batch


def _tile_within(
    tile: tuple[int, ...], space: tuple[int, ...] | torch.Size, multiple: int
) -> tuple[int, ...]:
    """Return the tile, rounded up to the stride and no larger than the padded image."""
    return tuple(
        min(-(-side // multiple) * multiple, whole) for side, whole in zip(tile, space, strict=True)
    )
