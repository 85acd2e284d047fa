"""Write a built-in data set of photographs with rare defects beside look-alike distractors.

A speck is a small bright grain with a dark rim. A distractor is a grain of the same size and
brightness without the rim, or a streak with one. Half of the images hold no speck, all of them
hold distractors, so that a model which merely looks for bright grains raises false alarms
everywhere. Every difficulty is a knob.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy import ndimage

from rareseg.errors import UsageError
from rareseg.progress import Track, silent
from rareseg_runner.atomic_files import atomic_folder

Bools = NDArray[np.bool_]

MARGIN = 6.0
"""Pixels between a grain's edge and the next grain's."""


@dataclass(frozen=True)
class SpecksSettings:
    """The knobs of the built-in data set.

    ``foreground_share`` is the mean share of speck pixels in images that hold any;
    ``empty_share`` the share of images without; ``contrast`` the height of a speck over the
    plate, in standard deviations of the plate's texture; ``distractors`` their mean number per
    image; ``missed_share`` and ``spurious_share`` the shares of specks left out of the mask and
    of distractors drawn as specks (annotation noise); ``pictures_per_plate`` how often each plate
    is photographed, at another exposure (its pictures form one group).
    """

    images: int = 240
    size: int = 256
    foreground_share: float = 0.012
    empty_share: float = 0.5
    contrast: float = 2.5
    distractors: float = 12.0
    missed_share: float = 0.0
    spurious_share: float = 0.0
    pictures_per_plate: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("foreground_share", "empty_share", "missed_share", "spurious_share"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise UsageError(f"specks: {name} is {value:g}; it must lie between 0 and 1.")
        for name in ("contrast", "distractors"):
            if getattr(self, name) < 0:
                raise UsageError(
                    f"specks: {name} is {getattr(self, name):g}; it must not be negative."
                )
        if self.foreground_share > 0.2:
            raise UsageError(
                f"specks: foreground_share is {self.foreground_share:g}; "
                "beyond 0.2 specks no longer fit side by side."
            )
        for name, least in (("images", 1), ("size", 64), ("pictures_per_plate", 1)):
            if getattr(self, name) < least:
                raise UsageError(
                    f"specks: {name} is {getattr(self, name)}; it must be at least {least}."
                )


@dataclass(frozen=True)
class Plate:
    """One scene before it is photographed: ``surface`` in texture deviations, ``mask`` 0/1."""

    surface: NDArray[np.float32]
    mask: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Grain:
    """One ellipse inside ``box`` (y, x): its ``cover`` and the ``rim`` around it, each 0 to 1."""

    box: tuple[slice, slice]
    cover: NDArray[np.float32]
    rim: NDArray[np.float32]


def write_specks(folder: Path | str, settings: SpecksSettings, *, track: Track = silent) -> Path:
    """Write the data set as ``images/``, ``masks/`` and ``manifest.csv`` below ``folder``.

    Images and masks are 8-bit PNG of ``size`` x ``size`` pixels, masks 0 and 255. The same
    settings write the same bytes. Returns ``folder``; an existing one is replaced as a whole.
    """
    folder = Path(folder)
    plates = -(-settings.images // settings.pictures_per_plate)
    empty = set(
        np.random.default_rng([settings.seed, 0])
        .permutation(plates)[: round(plates * settings.empty_share)]
        .tolist()
    )
    with atomic_folder(folder) as temporary:
        (temporary / "images").mkdir()
        (temporary / "masks").mkdir()
        rows = []
        for index in track(range(settings.images), "drawing specks", settings.images):
            number = index // settings.pictures_per_plate
            plate = draw_plate(settings, number, empty=number in empty)
            picture = photograph(plate.surface, np.random.default_rng([settings.seed, 2, index]))
            name = f"plate{number:04d}_{index % settings.pictures_per_plate}"
            Picture.fromarray(picture).save(temporary / "images" / f"{name}.png")
            Picture.fromarray(plate.mask * np.uint8(255)).save(temporary / "masks" / f"{name}.png")
            rows.append((name, f"images/{name}.png", f"masks/{name}.png", f"plate{number:04d}"))
        with (temporary / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("id", "image", "mask", "group"))
            writer.writerows(rows)
    return folder


def draw_plate(settings: SpecksSettings, number: int, *, empty: bool) -> Plate:
    """Draw plate ``number``: texture, specks (unless ``empty``) and distractors, none touching."""
    rng = np.random.default_rng([settings.seed, 1, number])
    size = settings.size
    surface = _texture(size, rng)
    mask = np.zeros((size, size), np.uint8)
    taken: Bools = np.zeros((size, size), np.bool_)
    wanted = 0.0 if empty else settings.foreground_share * size * size * rng.uniform(0.6, 1.4)
    drawn = 0
    while drawn < wanted:
        grain = _grain(size, rng, taken, elongation=rng.uniform(1.0, 1.5))
        if grain is None:
            break
        height = settings.contrast * rng.uniform(0.8, 1.2)
        surface[grain.box] += height * (grain.cover - grain.rim)
        drawn += int((grain.cover > 0.5).sum())
        if rng.uniform() >= settings.missed_share:
            mask[grain.box] |= grain.cover > 0.5
    for _ in range(rng.poisson(settings.distractors)):
        streak = rng.uniform() < 0.4
        elongation = rng.uniform(3.0, 4.5) if streak else rng.uniform(1.0, 1.5)
        grain = _grain(size, rng, taken, elongation=elongation)
        if grain is None:
            break
        height = settings.contrast * rng.uniform(0.8, 1.2)
        surface[grain.box] += height * (grain.cover - (grain.rim if streak else 0))
        if rng.uniform() < settings.spurious_share:
            mask[grain.box] |= grain.cover > 0.5
    return Plate(surface, mask)


def photograph(surface: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Expose a surface: gain, level, uneven light and grain noise; returns uint8 (y, x)."""
    size = surface.shape[0]
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    light = rng.uniform(0, 15) * (np.cos(angle) * ramp[:, None] + np.sin(angle) * ramp[None, :])
    noisy = surface + rng.normal(0, 0.25, surface.shape)
    grey = np.clip(rng.uniform(105, 135) + light + rng.uniform(15, 21) * noisy, 0, 255)
    return np.asarray(grey, dtype=np.uint8)


def _texture(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return grain at three scales with a brushing direction, mean 0 and deviation 1."""
    surface = np.zeros((size, size))
    stretch = rng.uniform(1.0, 3.0)
    for sigma, height in ((1.0, 0.5), (3.0, 0.7), (12.0, 0.8)):
        layer = ndimage.gaussian_filter(
            rng.normal(size=(size, size)), (sigma, sigma * stretch), mode="wrap"
        )
        surface += height * layer / layer.std()
    if rng.uniform() < 0.5:
        surface = surface.T
    return np.ascontiguousarray((surface - surface.mean()) / surface.std(), dtype=np.float32)


def _grain(size: int, rng: np.random.Generator, taken: Bools, *, elongation: float) -> Grain | None:
    """Place one soft-edged ellipse where nothing lies yet and mark its place in ``taken``.

    ``None`` where 200 tries found no free place.
    """
    radius = rng.uniform(4.0, 7.0)
    major, minor = radius * np.sqrt(elongation), radius / np.sqrt(elongation)
    angle = rng.uniform(0, np.pi)
    reach = int(np.ceil(major + MARGIN * max(1.0, elongation)))
    for _ in range(200):
        cy, cx = rng.uniform(0, size, 2)
        box = (
            slice(max(0, int(cy) - reach), min(size, int(cy) + reach + 2)),
            slice(max(0, int(cx) - reach), min(size, int(cx) + reach + 2)),
        )
        yy, xx = np.mgrid[box].astype(np.float32)
        u = (yy - cy) * np.cos(angle) + (xx - cx) * np.sin(angle)
        v = (xx - cx) * np.cos(angle) - (yy - cy) * np.sin(angle)
        # Distance to the ellipse's edge in pixels, to first order.
        level = np.sqrt((u / major) ** 2 + (v / minor) ** 2)
        distance = ((level - 1.0) * minor).astype(np.float32)
        near = distance < MARGIN
        if not (taken[box] & near).any():
            taken[box] |= near
            cover = np.clip(0.5 - distance, 0, 1)
            rim = np.exp(-(((distance - 2.2) / 1.1) ** 2)).astype(np.float32)
            return Grain(box, cover, rim * (cover < 0.5))
    return None
