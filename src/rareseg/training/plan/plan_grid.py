"""Plan dimension, resolution and normalisation."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from rareseg.data.checks.case_checks import ChannelFacts
from rareseg.data.checks.fingerprint import CaseFacts, Fingerprint
from rareseg.errors import RecipeError
from rareseg.recipe import Recipe
from rareseg.training.plan.recipe_draft import Draft
from rareseg_runner.preprocessing.preprocess import Preprocessing

SMALLEST_TO_HALVE = 192
"""Pixels of the shorter side from which photographs may be trained at half resolution."""

THICK_ENOUGH = 4.0
"""Pixels of thickness from which what is drawn survives half resolution."""

THICK_SLICES = 3.0
"""Ratio of the spacings beyond which a volume is a stack of slices (nnU-Net's rule)."""


def plan_dimension(draft: Draft, fingerprint: Fingerprint) -> int:
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
    elif _is_thick(spacing):
        wanted = 3
        reason = (
            f"slices are {max(spacing):.3g} mm thick along {'zyx'[spacing.index(max(spacing))]}: "
            "axial planes would cut across them, so that volumes are learned from"
        )
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


def _is_thick(spacing: Sequence[float]) -> bool:
    """Whether voxels are far longer along one axis than along the next shorter one."""
    _, middle, longest = sorted(spacing)
    return longest > THICK_SLICES * middle


def plan_grid(draft: Draft, fingerprint: Fingerprint) -> None:
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
    method = "zscore"
    if photographs:
        reason = "each photograph by its own mean and deviation, so that exposure does not matter"
    elif _is_ct(fingerprint):
        method = "dataset"
        reason = (
            "the channels are called CT: Hounsfield units mean the same in every volume, so that "
            "all are clipped and scaled alike, by the data set's percentiles, mean and deviation"
        )
    else:
        reason = "each volume by its own mean and deviation; its intensities have no fixed scale"
    draft.choose("data.normalisation", method, reason)


def _is_ct(fingerprint: Fingerprint) -> bool:
    names = fingerprint.channel_names or ()
    return bool(names) and all(name.strip().lower() == "ct" for name in names)


def _plan_resolution(draft: Draft, cases: Sequence[CaseFacts], spacing: Sequence[float]) -> None:
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


def _median_spacing(cases: Sequence[CaseFacts]) -> list[float]:
    return [statistics.median(case.spacing[axis] for case in cases) for axis in range(3)]


def _are_photographs(cases: Sequence[CaseFacts]) -> bool:
    return all(case.dimension == 2 for case in cases)


def _median(channels: Iterable[ChannelFacts], name: str) -> float:
    return float(statistics.median(getattr(channel, name) for channel in channels))
