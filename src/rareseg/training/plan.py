"""From what is in the data to a complete recipe, every choice with its reason.

The rules are few and stated where they stand. What the user sets is taken as given, and the
choices that depend on it follow it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rareseg.data.examine import ChannelFacts
from rareseg.data.fingerprint import CaseFacts, Fingerprint
from rareseg.data.preprocess import Preprocessing
from rareseg.data.resampling import resampled_shape
from rareseg.errors import RecipeError
from rareseg.prediction.bundle import load_bundle
from rareseg.prediction.networks import stride
from rareseg.prediction.transfer import bundle_of, weights_file
from rareseg.recipe import (
    NETWORK_SECTIONS,
    NetworkSection,
    Overrides,
    Recipe,
    check_values,
    make_recipe,
)
from rareseg.recipe.networks import NO_ENCODER
from rareseg.training.advice import cite

LARGEST_WINDOW_2D = 320
"""Side in pixels up to which a whole image is one training window."""

LARGEST_WINDOW_ENCODER = 224
"""Side in pixels of the largest training window of a pretrained encoder: what it was trained on."""

LARGEST_WINDOW_3D = 48
"""Side in voxels of the largest training window of a volume."""

SMALLEST_TO_HALVE = 192
"""Pixels of the shorter side from which photographs may be trained at half resolution."""

THICK_ENOUGH = 4.0
"""Pixels of thickness from which what is drawn survives half resolution."""

BATCH_FOR_NORM = 8
"""Windows a batch from which the batch's own mean and deviation are steady, however small."""

VOXELS_FOR_NORM = 64_000
"""Voxels a batch from which they are steady with two windows and more: batches of 2 and 3 volumes
and of 4 and 7 photographs did better with them at their chosen points (docs/sampling-study.md)."""

EMPTY = 0.1
"""Share of images without foreground from which telling them apart is a task of its own."""

SUBSET = 1000
"""Voxels of each class that a round of mining judges at most, where it does not judge all."""

RARE = 0.04
"""Share of foreground voxels below which the loss looks for the hardest background."""

THICK_SLICES = 3.0
"""Ratio of the spacings beyond which a volume is a stack of slices (nnU-Net's rule)."""


@dataclass(frozen=True)
class Plan:
    """A complete recipe and, by ``section.key``, the reason for each planned value."""

    recipe: Recipe
    reasons: Mapping[str, str]


@dataclass
class _Draft:
    """A recipe in the making: what the user set wins, and says so."""

    overrides: Overrides
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def choose(self, name: str, value: Any, reason: str) -> Any:
        """Take ``value`` for ``section.key`` unless the user set one; returns what holds."""
        section, key = name.split(".")
        given = self.overrides.get(section, {})
        if key in given:
            value, reason = given[key], "set by you"
        self.values.setdefault(section, {})[key] = value
        self.reasons[name] = reason
        return value


def plan_recipe(fingerprint: Fingerprint, overrides: Overrides | None = None) -> Plan:
    """Return the recipe for a data set, with ``overrides`` (``{section: {key: value}}``) kept.

    Raises :class:`RecipeError` where an override is unknown or impossible, alone or together with
    the others.
    """
    overrides = overrides or {}
    check_values(overrides)
    draft = _Draft(overrides)
    dimension = _plan_dimension(draft, fingerprint)
    _plan_network(draft, dimension)
    _plan_grid(draft, fingerprint)
    _plan_windows(draft, fingerprint, dimension)
    _plan_strategy(draft, fingerprint)
    _plan_mining(draft, fingerprint)
    _plan_learning(draft, fingerprint, dimension)
    for section, values in overrides.items():
        for key, value in values.items():
            draft.choose(f"{section}.{key}", value, "set by you")
    return Plan(make_recipe(draft.values), draft.reasons)


def make_preprocessing(recipe: Recipe, fingerprint: Fingerprint) -> Preprocessing:
    """Return how images are prepared under ``recipe``.

    The normalisation ``dataset`` clips each channel to the median over cases of its 0.5 and 99.5
    percentiles, and standardises it by the median mean and deviation.
    """
    settings = recipe.data
    clip = mean = std = None
    if settings.normalisation == "dataset":
        channels = list(zip(*(case.intensities for case in fingerprint.cases), strict=True))
        clip = tuple((_median(c, "low"), _median(c, "high")) for c in channels)
        mean = tuple(_median(c, "mean") for c in channels)
        std = tuple(_median(c, "std") for c in channels)
    return Preprocessing(
        dimension=settings.dimension,
        target_spacing=settings.target_spacing,
        method=settings.normalisation,
        clip=clip,
        mean=mean,
        std=std,
    )


def _median(channels: Iterable[ChannelFacts], name: str) -> float:
    return float(statistics.median(getattr(channel, name) for channel in channels))


def _plan_dimension(draft: _Draft, fingerprint: Fingerprint) -> int:
    """Choose whether slices or volumes are learned from."""
    cases = fingerprint.cases
    spacing = _median_spacing(cases)
    depth = statistics.median(case.shape[0] for case in cases)
    photographs = _are_photographs(cases)
    if photographs:
        wanted, reason = 2, "the images are photographs"
    elif spacing[0] > THICK_SLICES * min(spacing[1:]):
        wanted = 2
        reason = f"slices are {spacing[0]:.3g} mm apart, pixels {min(spacing[1:]):.3g} mm"
    elif depth < 16:
        wanted, reason = 2, f"volumes have only {depth:.0f} slices in the median"
    else:
        wanted, reason = 3, f"volumes of near-cubic voxels, {depth:.0f} slices in the median"
    dimension = int(draft.choose("data.dimension", wanted, reason))
    if photographs and dimension == 3:
        raise RecipeError(
            "data.dimension is 3, but the images are photographs; 2 is allowed for them."
        )
    return dimension


def _median_spacing(cases: Sequence[CaseFacts]) -> list[float]:
    return [statistics.median(case.spacing[axis] for case in cases) for axis in range(3)]


def _are_photographs(cases: Sequence[CaseFacts]) -> bool:
    return all(case.dimension == 2 for case in cases)


def _plan_grid(draft: _Draft, fingerprint: Fingerprint) -> None:
    """Choose the resolution, or the spacing, and the normalisation."""
    cases = fingerprint.cases
    spacing, photographs = _median_spacing(cases), _are_photographs(cases)
    same = all(
        abs(case.spacing[axis] - spacing[axis]) <= 0.05 * spacing[axis]
        for case in cases
        for axis in range(3)
    )
    if photographs:
        _plan_resolution(draft, cases, spacing)
    elif same:
        draft.choose("data.target_spacing", None, "all cases share one spacing; none is resampled")
    else:
        draft.choose(
            "data.target_spacing",
            [round(value, 4) for value in spacing],
            "the median spacing in mm; probabilities are resampled back to each case's own grid",
        )
    if photographs:
        reason = "each photograph by its own mean and deviation, so that exposure does not matter"
    else:
        reason = "each volume by its own mean and deviation; its intensities have no fixed scale"
    draft.choose("data.normalisation", "zscore", reason)


def _plan_resolution(draft: _Draft, cases: Sequence[CaseFacts], spacing: Sequence[float]) -> None:
    """Halve the resolution of photographs where what is drawn stays thick enough to be seen.

    A pretrained encoder keeps it: it halves the image by itself, and its first layers know what
    edges and textures look like at the resolution of photographs.
    """
    if draft.values["network"]["name"] == "encoder_unet":
        draft.choose(
            "data.target_spacing", None, "full resolution, at which the encoder was pretrained"
        )
        return
    sides = [statistics.median(case.shape[axis] for case in cases) for axis in (1, 2)]
    drawn = [case.thickness for case in cases if case.thickness is not None]
    thick = statistics.median(drawn) if drawn else 0.0
    if min(sides) >= SMALLEST_TO_HALVE and thick >= THICK_ENOUGH:
        draft.choose(
            "data.target_spacing",
            [spacing[0], 2 * spacing[1], 2 * spacing[2]],
            f"half resolution: what is drawn is {thick:.1f} pixels thick in the median, so that "
            "four times as many images are seen in a time; null keeps every pixel",
        )
    else:
        draft.choose(
            "data.target_spacing",
            None,
            f"full resolution: what is drawn is {thick:.1f} pixels thick in the median, the "
            f"shorter side {min(sides):.0f} pixels long",
        )


def _plan_network(draft: _Draft, dimension: int) -> None:
    weights = draft.overrides.get("training", {}).get("initial_weights")
    bundle = None if weights is None else bundle_of(weights_file(Path(weights)))
    if bundle is not None:
        earlier = load_bundle(bundle).recipe.network
        for key, value in earlier.model_dump(mode="json").items():
            draft.choose(f"network.{key}", value, "as in the weights to begin with")
        return
    name, reason = _network_name(draft, dimension)
    draft.choose("network.name", name, reason)
    if name == "half_unet":
        width = [16, 32, 64, 128, 192] if dimension == 2 else [32, 64, 128]
        reason = "channels per level; twice as wide is about 4 x as slow"
        draft.choose("network.width", width, reason)


def _network_name(draft: _Draft, dimension: int) -> tuple[str, str]:
    """Return the network to plan, and why: in 2D one with a pretrained encoder."""
    given = NETWORK_SECTIONS.current(draft.overrides.get("network", {}))
    if "name" in given:
        return str(given["name"]), "set by you"
    half = "a U-Net at half resolution with a light head at full: 4 to 8 times the steps in a time"
    if dimension == 3:
        return "half_unet", half
    if draft.overrides.get("network", {}).get("encoder") == NO_ENCODER:
        return "half_unet", f"no pretrained encoder, as set by you: {half}"
    readers = NETWORK_SECTIONS.readers(given)
    if "encoder_unet" in readers:
        return "encoder_unet", (
            "its encoder has learned from a million photographs (ImageNet), which finds far more "
            "with few labels (docs/few-labels.md); network.encoder=none plans one without"
        )
    if "half_unet" in readers or not readers:
        keys = ", ".join(f"network.{key}" for key in given)
        return "half_unet", f"it reads what you set ({keys})"
    return readers[0], "the first network that reads what you set"


def _plan_windows(draft: _Draft, fingerprint: Fingerprint, dimension: int) -> None:
    """Choose the training window, the batch and the window of prediction."""
    multiple = stride(_network_so_far(draft))
    shapes = [_resampled(case, draft)[3 - dimension :] for case in fingerprint.cases]
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
    if "norm" not in draft.values["network"]:
        _plan_norm(draft, int(batch), voxels)
    tile = [1024, 1024] if dimension == 2 else [128, 128, 128]
    draft.choose(
        "prediction.tile", tile, "images up to this size are scored at once, larger ones in windows"
    )


def _network_so_far(draft: _Draft) -> NetworkSection:
    """Return the network's section as planned and set up to here."""
    planned, given = draft.values["network"], draft.overrides.get("network", {})
    values = NETWORK_SECTIONS.current({**planned, **given})
    section = NETWORK_SECTIONS.validate(values)
    assert isinstance(section, NetworkSection)
    return section


def _plan_norm(draft: _Draft, batch: int, voxels: int) -> None:
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


def _resampled(case: CaseFacts, draft: _Draft) -> tuple[int, int, int]:
    """Return a case's shape on the planned grid."""
    target = draft.values["data"]["target_spacing"]
    return resampled_shape(case.shape, case.spacing, target or case.spacing)


def _plan_strategy(draft: _Draft, fingerprint: Fingerprint) -> None:
    cases = fingerprint.cases
    empty = sum(1 for case in cases if not any(case.voxels[1:]))
    share = empty / len(cases)
    if share >= EMPTY:
        draft.choose(
            "loss.presence",
            1.0,
            "many images hold nothing: beside the outlines the network learns which images hold "
            "what, and the image-level gate reads that too",
        )
        draft.choose(
            "sampling.strategy",
            "negatives",
            f"{empty} of {len(cases)} images ({share:.0%}) hold nothing: half of the windows "
            f"hold foreground, its classes in equal shares, half hold none"
            + cite(fingerprint, "negatives"),
        )
        draft.choose("sampling.positive_share", 0.5, "as many windows with foreground as without")
    else:
        draft.choose(
            "sampling.strategy",
            "balanced",
            "nearly every image holds foreground: every class gets an equal share of the centres"
            + cite(fingerprint, "balanced"),
        )


def _plan_mining(draft: _Draft, fingerprint: Fingerprint) -> None:
    """Judge all voxels where that takes no longer than the windows about a subset."""
    window = math.prod(draft.values["sampling"]["patch_size"])
    subset = SUBSET * fingerprint.classes.count * window
    whole = sum(math.prod(_resampled(case, draft)) for case in fingerprint.cases)
    if whole <= subset:
        reason = f"every voxel: {SUBSET} windows of each class would hold more than all images do"
    else:
        reason = f"a random subset of each class: all voxels would take {whole / subset:.2g} times"
        reason += " as long"
    draft.choose("mining.voxels", 0 if whole <= subset else SUBSET, reason)


def _plan_learning(draft: _Draft, fingerprint: Fingerprint, dimension: int) -> None:
    total = [
        sum(case.voxels[k] for case in fingerprint.cases) for k in range(fingerprint.classes.count)
    ]
    rare = sum(total[1:]) / max(1, sum(total))
    draft.choose(
        "loss.name",
        "dice_hard_cross_entropy" if rare < RARE else "dice_cross_entropy",
        f"{rare:.2%} of the voxels are foreground: dice does not see how rare it is, "
        "cross-entropy makes false positives cost"
        + (", most of all the hardest background" if rare < RARE else ""),
    )
    steps = _round_up(max(600, min(6000, 8 * len(fingerprint.cases))), 100)
    draft.choose(
        "training.steps", steps, "a start; --budget 20min measures how many fit into a time"
    )
    pretrained = draft.values["network"]["name"] == "encoder_unet"
    draft.choose(
        "training.learning_rate",
        1e-3 if pretrained else 3e-3 if dimension == 2 else 2e-3,
        "AdamW, rising and falling to 0 by a cosine",
    )
    if dimension == 3:
        draft.choose("augmentation.mirror", 0.0, "left and right differ in volumes of the body")


def _round_up(value: float, multiple: int) -> int:
    return int(-(-value // multiple) * multiple)


def _round_down(value: float, multiple: int) -> int:
    return max(multiple, int(value // multiple) * multiple)
