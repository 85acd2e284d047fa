"""Plan patch size, tile, batch size and norm."""

from __future__ import annotations

import statistics
from typing import get_args

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.prediction.networks import stride
from rareseg.recipe import NETWORK_SECTIONS, NetworkSection, make_recipe
from rareseg.training.plan.plan_tile import plan_tile
from rareseg.training.plan.recipe_draft import Draft, resampled

LARGEST_WINDOW_2D = 320
"""Side in pixels up to which a whole image is one training window."""

LARGEST_WINDOW_ENCODER = 224
"""Side in pixels of the largest training window of a pretrained encoder: what it was trained on."""

LARGEST_WINDOW_3D = 48
"""Side in voxels of the largest training window of a volume."""

BATCH_FOR_NORM = 8
"""Windows a batch from which the batch's own mean and deviation are steady, however small."""

VOXELS_FOR_NORM = 64_000
"""Voxels a batch from which they are steady with two windows and more: batches of 2 and 3 volumes
and of 4 and 7 photographs did better with them at their chosen points (docs/sampling-study.md)."""


def plan_windows(draft: Draft, fingerprint: Fingerprint, dimension: int) -> None:
    """Choose the training window, the batch and the window of prediction."""
    multiple = stride(_network_so_far(draft))
    shapes = [resampled(case, draft)[3 - dimension :] for case in fingerprint.cases]
    median = [statistics.median(shape[axis] for shape in shapes) for axis in range(dimension)]
    pretrained = draft.values["network"]["name"] == "encoder_unet"
    if pretrained:
        limit = LARGEST_WINDOW_ENCODER
    else:
        limit = LARGEST_WINDOW_2D if dimension == 2 else LARGEST_WINDOW_3D
    # Rounded down: a window that is a little smaller than the image can lie in many places.
    window = [_round_down(min(side, limit), multiple) for side in median]
    whole = all(side <= limit for side in median)
    reason = (
        "nearly the whole median image, a multiple of the network's stride"
        if whole
        else f"at most {limit} voxels a side: larger windows cost more than context gains"
    )
    window = list(draft.choose("sampling.patch_size", window, reason))
    # Centred on a voxel near the border, a window as large as the image hangs half outside.
    roomy = all(2 * side <= whole for side, whole in zip(window, median, strict=False))
    draft.choose(
        "sampling.border",
        "reflect" if roomy else "shift",
        "windows are small beside the image: what lies outside is its reflection"
        if roomy
        else "windows are nearly as large as the image: they are moved inside it, so that no voxel "
        "is spent on what lies outside",
    )
    voxels = 1
    for side in window:
        voxels *= int(side)
    wanted = (
        2 * 40**3 if dimension == 3 else 8 * (LARGEST_WINDOW_ENCODER if pretrained else 160) ** 2
    )
    batch = max(2, min(32, round(wanted / voxels)))
    batch = draft.choose(
        "sampling.batch_size", batch, "small: many steps with a full decay beat few large ones"
    )
    network = draft.values["network"]
    if "norm" not in network and _has_both_norms(network["name"]):
        _plan_norm(draft, int(batch), voxels)
    plan_tile(draft, shapes, multiple)
    volumes = any(case.dimension == 3 for case in fingerprint.cases)
    mirrored = draft.overrides.get("augmentation", {}).get("mirror", 0 if volumes else 1)
    if pretrained and mirrored != 0:
        draft.choose(
            "prediction.mirror",
            True,
            "the mean over mirrored images raises fewer false alarms at as much dice or more "
            "(docs/few-labels.md); false is three times as fast",
        )


def _network_so_far(draft: Draft) -> NetworkSection:
    """Return the network's section as planned and set up to here."""
    planned, given = draft.values["network"], draft.overrides.get("network", {})
    return make_recipe({"network": {**planned, **given}}).network


def _has_both_norms(name: object) -> bool:
    """Say whether ``network.norm`` of the network called ``name`` can be batch and group."""
    norm = NETWORK_SECTIONS.member(name).model_fields.get("norm")
    return norm is not None and {"batch", "group"} <= set(get_args(norm.annotation))


def _plan_norm(draft: Draft, batch: int, voxels: int) -> None:
    many = batch >= BATCH_FOR_NORM
    enough = many or (batch > 1 and batch * voxels >= VOXELS_FOR_NORM)
    what = f"{batch} window{'' if batch == 1 else 's'} a batch"
    if enough and not many:
        what += f", of {voxels:,} voxels each,"
    draft.choose(
        "network.norm",
        "batch" if enough else "group",
        f"{what} are enough to normalise by, which fits faster than group norm"
        if enough
        else f"{what}: too little to normalise by",
    )


def _round_down(value: float, multiple: int) -> int:
    return max(multiple, int(value // multiple) * multiple)
