"""Other libraries' ways to patches, each as a function that makes some and says how many.

All draw from the very cases of a store, as float32 (C, z, y, x) in memory unless the library reads
files of its own, in one thread, without augmentation.
"""

from __future__ import annotations

import importlib
import pickle
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from monai.data import DataLoader, MetaTensor, list_data_collate, set_track_meta
from monai.data import Dataset as MonaiDataset
from monai.transforms import (
    Compose,
    RandCropByLabelClasses,
    RandCropByLabelClassesd,
    RandCropByPosNegLabel,
    RandCropByPosNegLabeld,
)
from monai.transforms.utils import map_binary_to_indices, map_classes_to_indices

from rareseg.data.store.store import Store
from rareseg_runner.image_records import IGNORE

Turn = Callable[[], int]
"""Make some patches and return how many."""


@dataclass(frozen=True)
class Wish:
    """What every contender is to deliver: patches of a size, balanced or half of them positive."""

    patch_size: tuple[int, ...]
    batch_size: int
    balanced: bool


@dataclass(frozen=True)
class Array:
    """A case in memory: image float32 (C, z, y, x) and mask uint8 (1, z, y, x)."""

    image: torch.Tensor
    mask: torch.Tensor


def arrays_of(store: Store, wish: Wish) -> list[Array]:
    """Return the cases, each at least as large as a patch, since most libraries cut none beyond."""
    size = _zyx(wish.patch_size)
    cases = []
    for row in range(len(store)):
        image, mask = store.values(row), store.label(row)
        short = [max(0, n - have) for n, have in zip(size, mask.shape, strict=True)]
        pad = [(n // 2, n - n // 2) for n in short]
        padded = np.pad(np.where(mask == IGNORE, 0, mask), pad)
        cases.append(
            Array(
                torch.from_numpy(np.pad(image, [(0, 0), *pad])),
                torch.from_numpy(padded[None].astype(np.uint8)),
            )
        )
    return cases


def monai_at_its_fastest(store: Store, cases: list[Array], wish: Wish) -> Turn:
    """Crop one patch of a random case at a time: indices known, no copy and no metadata."""
    return _monai(store, cases, wish, each=1)


def monai_with_few_cases(store: Store, cases: list[Array], wish: Wish) -> Turn:
    """Crop many patches of a case in one call, the mask as one more channel: few cases a batch."""
    return _monai(store, cases, wish, each=-(-wish.batch_size // 4))


def _monai(store: Store, cases: list[Array], wish: Wish, *, each: int) -> Turn:
    set_track_meta(False)
    size = _zyx(wish.patch_size)
    whole = [torch.cat([case.image, case.mask.float()]) for case in cases]
    rng = np.random.default_rng(0)
    if wish.balanced:
        classes = store.classes.count
        places = [map_classes_to_indices(case.mask, classes) for case in cases]
        keys, rows = ("indices",), [list(range(len(cases)))]
        crops: list[Any] = [
            RandCropByLabelClasses(size, num_classes=classes, num_samples=each, warn=False)
        ]
    else:
        places = [map_binary_to_indices(case.mask) for case in cases]
        keys = ("fg_indices", "bg_indices")
        rows = [
            [row for row, (inside, _) in enumerate(places) if (len(inside) > 0) == wanted]
            for wanted in (True, False)
        ]
        crops = [
            RandCropByPosNegLabel(size, pos=pos, neg=1 - pos, num_samples=each) for pos in (1, 0)
        ]

    def turn() -> int:
        set_track_meta(False)
        images: list[torch.Tensor] = []
        masks: list[torch.Tensor] = []
        while len(images) < wish.batch_size:
            kind = (len(images) // each) % len(crops)
            row, crop = int(rng.choice(rows[kind])), crops[kind]
            found = [places[row]] if len(keys) == 1 else places[row]
            known = dict(zip(keys, found, strict=True))
            if each == 1:
                images += crop(cases[row].image, label=cases[row].mask, **known)
                masks += crop(cases[row].mask, randomize=False)
            else:
                images += crop(whole[row], label=cases[row].mask, **known)
        batch = torch.stack(images[: wish.batch_size])
        if masks:
            torch.stack(masks)
        return len(batch)

    return turn


def monai_as_documented(store: Store, cases: list[Array], wish: Wish) -> Turn:
    """Run the transforms of its tutorials, four samples a case, in its ``DataLoader``."""
    keys, size = ["image", "label"], _zyx(wish.patch_size)
    transform = (
        RandCropByLabelClassesd(
            keys, "label", size, num_classes=store.classes.count, num_samples=4, warn=False
        )
        if wish.balanced
        else RandCropByPosNegLabeld(keys, "label", size, pos=1, neg=1, num_samples=4)
    )
    set_track_meta(True)
    records = [{"image": MetaTensor(c.image), "label": MetaTensor(c.mask)} for c in cases]
    loader = DataLoader(
        MonaiDataset(records, Compose([transform])),
        batch_size=1,
        shuffle=True,
        collate_fn=list_data_collate,
    )
    batches = _endless(loader)

    def turn() -> int:
        set_track_meta(True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on every case without foreground it warns
            return len(next(batches)["image"])

    return turn


def torchio_queue(store: Store, cases: list[Array], wish: Wish) -> Turn:
    """Draw by ``LabelSampler`` through ``Queue``; classes in equal parts, or half on background."""
    tio = importlib.import_module("torchio")
    classes = store.classes.count
    shares = {k: 1.0 if wish.balanced or k else classes - 1.0 for k in range(classes)}
    subjects = [
        tio.Subject(image=tio.ScalarImage(tensor=c.image), label=tio.LabelMap(tensor=c.mask))
        for c in cases
    ]
    each = max(1, -(-wish.batch_size // len(cases)))
    queue = tio.Queue(
        tio.SubjectsDataset(subjects),
        max_length=wish.batch_size,
        samples_per_volume=each,
        sampler=tio.data.LabelSampler(_zyx(wish.patch_size), "label", shares),
    )
    part = min(wish.batch_size, each * len(cases))
    batches = _endless(tio.SubjectsLoader(queue, batch_size=part, num_workers=0))
    return lambda: len(next(batches)["image"]["data"])


def nnunet_loader(store: Store, cases: list[Array], wish: Wish) -> Turn:
    """Run its own data loader over its own unpacked files, mapped, foreground forced as often.

    It draws the case first, and of a class the voxels that its preprocessing lists.
    """
    loading = importlib.import_module("nnunetv2.training.dataloading.data_loader")
    datasets = importlib.import_module("nnunetv2.training.dataloading.nnunet_dataset")
    preparing = importlib.import_module("nnunetv2.preprocessing.preprocessors.default_preprocessor")
    folder = tempfile.TemporaryDirectory(prefix="nnunet-")
    labels = list(range(1, store.classes.count))
    for row, case in enumerate(cases):
        mask = case.mask.numpy().astype(np.int8)
        found = preparing.DefaultPreprocessor._sample_foreground_locations(mask, labels)
        stem = Path(folder.name) / f"case{row:05d}"
        np.save(f"{stem}.npy", case.image.numpy())
        np.save(f"{stem}_seg.npy", mask)
        Path(f"{stem}.pkl").write_bytes(pickle.dumps({"class_locations": found}))
    names = [f"case{row:05d}" for row in range(len(cases))]
    loader = loading.nnUNetDataLoader(
        datasets.nnUNetDatasetNumpy(folder.name, names),
        wish.batch_size,
        wish.patch_size,
        wish.patch_size,
        SimpleNamespace(all_labels=[0, *labels], has_ignore_label=False),
        oversample_foreground_percent=1 - 1 / store.classes.count if wish.balanced else 0.5,
    )

    def turn(folder: tempfile.TemporaryDirectory[str] = folder) -> int:
        return len(next(loader)["data"])

    return turn


PEERS: dict[str, Callable[[Store, list[Array], Wish], Turn]] = {
    "MONAI at its fastest": monai_at_its_fastest,
    "MONAI, few cases a batch": monai_with_few_cases,
    "MONAI as documented": monai_as_documented,
    "TorchIO LabelSampler + Queue": torchio_queue,
    "nnU-Net's loader": nnunet_loader,
}


def _endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def _zyx(patch_size: Sequence[int]) -> tuple[int, int, int]:
    z, y, x = (1, *patch_size) if len(patch_size) == 2 else patch_size
    return z, y, x
