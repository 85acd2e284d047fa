"""Write a built-in data set of volumes with nested regions, as tumours have them.

A lump is a swelling around a core, and the core an active shell around a dead centre; the regions
*whole*, *core* and *active* lie within each other. In one channel the swelling is bright, as in
FLAIR, in the other the active shell, as in T1 with contrast. Scars look like swellings without a
core, vessels like active shells without one.

The mean shares of all pixels are those that Havaei et al. (2017, Brain tumor segmentation with deep
neural networks, section 3) give of the BraTS 2013 data: 98 % healthy, 1.1 % oedema, 0.18 %
necrosis, 0.12 % non-enhancing and 0.38 % enhancing tumour.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy import ndimage

from rareseg.errors import UsageError
from rareseg.progress import Track, silent
from rareseg_runner.atomic_files import atomic_folder

Floats = NDArray[np.float32]

LABELS = {"background": 0, "dead": 1, "swelling": 2, "solid": 3, "active": 4}
REGIONS = {"whole": [1, 2, 3, 4], "core": [1, 3, 4], "active": [4]}
SHARES = {1: 0.0018, 2: 0.011, 3: 0.0012, 4: 0.0038}
"""The mean share of all pixels of each mask value."""

CHANNELS = ("flair", "contrast")


@dataclass(frozen=True)
class LumpsSettings:
    """The knobs of the data set.

    ``empty_share`` of the pictures hold no lump, the others more, so that the mean shares of pixels
    stay; ``rarity`` multiplies these shares. ``contrast`` is the height of a part over the tissue,
    in standard deviations of its texture. ``scars`` and ``vessels`` are mean numbers per picture.
    Of each patient there are ``pictures_per_patient``, of one lump at several sizes.
    """

    images: int = 240
    size: int = 192
    empty_share: float = 0.3
    rarity: float = 1.0
    contrast: float = 1.5
    scars: float = 1.5
    vessels: float = 2.0
    pictures_per_patient: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("empty_share", 0.0, 0.95),
            ("rarity", 0.01, 4.0),
            ("contrast", 0.0, 100.0),
            ("scars", 0.0, 20.0),
            ("vessels", 0.0, 20.0),
            ("images", 1, 10**6),
            ("size", 64, 4096),
            ("pictures_per_patient", 1, 10**6),
        ):
            if not low <= getattr(self, name) <= high:
                raise UsageError(
                    f"lumps: {name} is {getattr(self, name):g}; it must lie between {low:g} and "
                    f"{high:g}."
                )
        if self.rarity / (1.0 - self.empty_share) > 8.0:
            raise UsageError(
                f"lumps: a rarity of {self.rarity:g} in {1 - self.empty_share:.0%} of the pictures "
                "leaves no room around a lump; lower rarity or empty_share."
            )


def write_lumps(folder: Path | str, settings: LumpsSettings, *, track: Track = silent) -> Path:
    r"""Write the data set as an nnU-Net raw folder with regions; masks hold :data:`LABELS`.

    Channels and masks are 8-bit PNG. Names are ``PATIENT_NUMBER``, so that
    ``--group-from '(p\d+)_'`` reads the patients. The same settings write the same bytes. Returns
    ``folder``; an existing one is replaced as a whole.
    """
    folder = Path(folder)
    patients = -(-settings.images // settings.pictures_per_patient)
    order = np.random.default_rng([settings.seed, 0]).permutation(patients)
    empty = set(order[: round(patients * settings.empty_share)].tolist())
    with atomic_folder(folder) as temporary:
        for name in ("imagesTr", "labelsTr"):
            (temporary / name).mkdir()
        for index in track(range(settings.images), "drawing lumps", settings.images):
            patient, number = divmod(index, settings.pictures_per_patient)
            image, mask = draw_lump(settings, patient, number, empty=patient in empty)
            name = f"p{patient:04d}_{number}"
            for channel, grey in enumerate(image):
                path = temporary / "imagesTr" / f"{name}_{channel:04d}.png"
                Picture.fromarray(grey).save(path)
            Picture.fromarray(mask).save(temporary / "labelsTr" / f"{name}.png")
        record = {
            "channel_names": {str(k): name for k, name in enumerate(CHANNELS)},
            "labels": LABELS,
            "regions": REGIONS,
            "numTraining": settings.images,
            "file_ending": ".png",
        }
        text = json.dumps(record, indent=1) + "\n"
        (temporary / "dataset.json").write_text(text, encoding="utf-8")
    return folder


def draw_lump(
    settings: LumpsSettings, patient: int, number: int, *, empty: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a picture (2, y, x) uint8 and its mask (y, x) uint8."""
    scene = np.random.default_rng([settings.seed, 1, patient])
    rng = np.random.default_rng([settings.seed, 2, patient, number])
    size = settings.size
    mask = np.zeros((size, size), np.uint8)
    distance = _lumpy_distance(size, scene)
    spread = scene.lognormal(-0.08, 0.4)  # of mean 1, as is the next
    if not empty:
        scale = spread * rng.lognormal(-0.02, 0.2) * settings.rarity / (1.0 - settings.empty_share)
        # From the outside in: each part covers those that lie nearest to the middle.
        ranks = np.argsort(distance, axis=None)
        for members, value in (((1, 2, 3, 4), 2), ((1, 3, 4), 3), ((1, 4), 4), ((1,), 1)):
            area = sum(SHARES[member] for member in members) * scale * size * size
            mask.reshape(-1)[ranks[: max(1, round(area))]] = value
    flair, contrast = (_texture(size, scene) for _ in CHANNELS)
    height = settings.contrast
    flair += height * _soft(np.isin(mask, (2, 3, 4))) + 0.5 * height * _soft(mask == 1)
    contrast += 1.5 * height * _soft(mask == 4) - 0.7 * height * _soft(mask == 1)
    clear = ndimage.distance_transform_edt(mask == 0) if mask.any() else np.full(mask.shape, size)
    for _ in range(rng.poisson(settings.scars)):
        flair += height * _soft(_blob(size, rng, radius=rng.uniform(4, 9)) & (clear > 6))
    for _ in range(rng.poisson(settings.vessels)):
        contrast += 1.5 * height * _soft(_vessel(size, rng) & (clear > 6))
    image = np.stack([_expose(channel, rng) for channel in (flair, contrast)])
    return image, mask


def _lumpy_distance(size: int, rng: np.random.Generator) -> Floats:
    """Return the distance to a middle, bent so that what lies within one is lumpy."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    cy, cx = rng.uniform(0.25 * size, 0.75 * size, 2)
    angle = np.arctan2(y - cy, x - cx)
    bent = np.ones_like(angle)
    for harmonic in (2, 3, 5):
        bent += rng.uniform(0, 0.18) * np.cos(harmonic * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.hypot(y - cy, x - cx) * bent, np.float32)


def _texture(size: int, rng: np.random.Generator) -> Floats:
    """Return tissue of two scales, mean 0 and deviation 1."""
    layers = [
        height * layer / layer.std()
        for sigma, height in ((1.5, 0.6), (8.0, 0.8))
        for layer in [ndimage.gaussian_filter(rng.normal(size=(size, size)), sigma, mode="wrap")]
    ]
    surface = np.sum(layers, axis=0)
    return np.asarray((surface - surface.mean()) / surface.std(), np.float32)


def _soft(mask: NDArray[np.bool_]) -> Floats:
    """Return a mask with edges as soft as a scanner draws them."""
    return np.asarray(ndimage.gaussian_filter(mask.astype(np.float32), 0.8), np.float32)


def _blob(size: int, rng: np.random.Generator, *, radius: float) -> NDArray[np.bool_]:
    distance = _lumpy_distance(size, rng)
    return np.asarray(distance < radius, np.bool_)


def _vessel(size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a thin, bent line."""
    mask = np.zeros((size, size), np.bool_)
    place, heading = rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.uniform(0.1, 0.3) * size)):
        heading += rng.normal(0, 0.15)
        place += np.array([np.sin(heading), np.cos(heading)])
        y, x = np.round(place).astype(int)
        if 0 <= y < size and 0 <= x < size:
            mask[y, x] = True
    return np.asarray(ndimage.binary_dilation(mask), np.bool_)


def _expose(surface: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    noisy = surface + rng.normal(0, 0.3, surface.shape)
    return np.asarray(np.clip(100 + rng.uniform(-10, 10) + 22 * noisy, 0, 255), np.uint8)
