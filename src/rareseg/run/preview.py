"""Preview patches before and after augmentation."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import torch
from torch import Tensor

from rareseg.data.checks.fingerprint import Fingerprint, inspect_dataset
from rareseg.data.folder_lock import one_writer
from rareseg.data.identity import content_hash
from rareseg.data.records import Dataset
from rareseg.data.store.build import build_store
from rareseg.data.store.store import Store
from rareseg.errors import OutputError, ProblemsError, UsageError
from rareseg.progress import Track, silent
from rareseg.recipe import Recipe
from rareseg.report.figures.display_window import DisplayWindow
from rareseg.report.figures.patch_sheet import Panel, SheetRow, draw_sheet
from rareseg.report.wording.augmentation_text import describe_changes
from rareseg.run.setup.prepare import TrainingOptions
from rareseg.run.setup.run_folder import DataOptions
from rareseg.sampling.augmentation.augment import apply_plan, draw_plan, window_for
from rareseg.sampling.pasting.paster import Paster
from rareseg.sampling.sampler import Batch, PatchSampler
from rareseg.training.loop import seed_of
from rareseg.training.plan import check_overrides, make_preprocessing, plan_recipe
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.image_records import IGNORE

VERSIONS = 4
"""Augmented versions beside each original."""

MOST_PATCHES = 50

MADE_BY = ("Software", "rareseg preview")
"""What a sheet says of itself, so that it may be replaced by the next one."""


@dataclass(frozen=True)
class Shares:
    """Shares, 0…1: of voxels that are foreground or ignored, of patches with any foreground."""

    foreground: float
    ignored: float
    with_foreground: float


@dataclass(frozen=True)
class ShownPatch:
    """An original: the case, its first voxel (z, y, x), its pool, and each version's changes."""

    case: str
    corner: tuple[int, int, int]
    pool: str
    versions: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """What a sheet shows, and ``shown``: which channel, and of volumes which slice."""

    file: Path
    recipe: Recipe
    window: tuple[int, ...]
    shown: str
    patches: tuple[ShownPatch, ...]
    before: Shares
    after: Shares

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "file": str(self.file),
            "strategy": self.recipe.sampling.strategy,
            "patch_size": list(self.recipe.sampling.patch_size),
            "window": list(self.window),
            "augmentation": self.recipe.augmentation.model_dump(mode="json"),
            "shown": self.shown,
            "patches": [asdict(patch) for patch in self.patches],
            "before": asdict(self.before),
            "after": asdict(self.after),
        }


@one_writer("out", beside=True)
def preview(
    data: DataOptions | Path | str,
    out: Path | str,
    *,
    training_options: TrainingOptions | None = None,
    patches: int = 6,
    seed: int = 0,
    track: Track = silent,
) -> Preview:
    """Draw ``patches`` patches as a run would, and write them beside augmented versions to ``out``.

    The recipe is planned from the data, as far as ``training_options`` leave it open. Some cases
    are read: as many as patches, every class among them, and half as many without any. A sheet that
    stands at ``out`` is replaced.

    Raises :class:`UsageError` for a number that is out of range, :class:`OutputError` where ``out``
    is no PNG or holds another file, :class:`ProblemsError` for data with problems, and
    :class:`RecipeError` for impossible settings.
    """
    out, training_options = Path(out), training_options or TrainingOptions()
    if not 1 <= patches <= MOST_PATCHES or seed < 0:
        raise UsageError(
            f"--patches is {patches} and --seed {seed}; 1 to {MOST_PATCHES} patches and seeds from "
            "0 are allowed."
        )
    overrides = training_options.overrides()
    check_overrides(overrides, source=training_options.source)
    _require_replaceable(out)
    options = data if isinstance(data, DataOptions) else DataOptions(str(data))
    dataset = options.open()
    fingerprint = inspect_dataset(dataset, track=track)
    if fingerprint.problems:
        raise ProblemsError(fingerprint.problems)
    recipe = plan_recipe(fingerprint, overrides).recipe
    with tempfile.TemporaryDirectory(prefix="rareseg-preview-") as folder:
        some = _choose(fingerprint, patches, seed)
        store = _small_store(dataset, fingerprint, some, recipe, Path(folder), track)
        look = DisplayWindow.at(store, fingerprint, dataset.channel_names)
        window = window_for(recipe.augmentation, recipe.sampling.patch_size)
        sampler = PatchSampler.from_settings(
            store,
            recipe.sampling.model_copy(update={"batch_size": patches}),
            seed=seed,
            mining=recipe.mining,
            steps=recipe.training.steps,
            patch_size=window,
            prefetch=0,
        )
        batch = sampler.batch(0)
        paster = Paster.beside(sampler, recipe.augmentation)
        rows, before, after = _make_rows(batch, paster, recipe, look, seed)
    places, names = batch.places, sampler.mixture.names
    made = Preview(
        file=out,
        recipe=recipe,
        window=window,
        shown=look.words,
        patches=tuple(
            ShownPatch(
                case=store.cases.ids[places.case[number]],
                corner=tuple(places.corner[number].tolist()),
                pool=names[places.pool[number]],
                versions=tuple(panel.caption for panel in row.panels[1:]),
            )
            for number, row in enumerate(rows)
        ),
        before=before,
        after=after,
    )
    size = " x ".join(map(str, recipe.sampling.patch_size))
    sheet = draw_sheet(
        [
            replace(row, title=f"{patch.case} · drawn from: {patch.pool}")
            for row, patch in zip(rows, made.patches, strict=True)
        ],
        heading=(
            f"{dataset.root.name}: patches of {size} voxels, {look.words}",
            f"strategy {recipe.sampling.strategy}, seed {seed}; voxels ignored: "
            f"{before.ignored:.1%} before, {after.ignored:.1%} after augmentation",
        ),
        columns=("original", *(f"augmented {number + 1}" for number in range(VERSIONS))),
        classes=store.classes.names,
    )
    about = PIL.PngImagePlugin.PngInfo()
    about.add_text(*MADE_BY)
    with atomic_write(out) as temporary:
        sheet.save(temporary, "PNG", pnginfo=about, optimize=True)
    return made


def _require_replaceable(out: Path) -> None:
    """Raise :class:`OutputError` unless ``out`` is a PNG that is not there or was made here."""
    if out.suffix.lower() != ".png":
        raise OutputError(f"--out is {out}; the sheet is a picture, so its name must end in .png.")
    if not out.exists():
        return
    try:
        with PIL.Image.open(out) as image:
            own = image.info.get(MADE_BY[0]) == MADE_BY[1]
    except OSError:
        own = False
    if not own:
        raise OutputError(
            f"{out} exists and is no sheet of `rareseg preview`; nothing was changed. Choose "
            "another --out."
        )


def _choose(fingerprint: Fingerprint, count: int, seed: int) -> list[str]:
    """Return the ids of some cases: ``count`` with each class in turn, and half as many without."""
    order = np.random.default_rng(seed).permutation(len(fingerprint.cases))
    mixed = [fingerprint.cases[row] for row in order]
    positive = [case for case in mixed if case.is_positive]
    chosen: list[str] = []
    for index in cycle(range(1, fingerprint.classes.count)):
        if not positive or len(chosen) >= count:
            break
        for taken in [case for case in positive if case.voxels[index]][:1]:
            positive.remove(taken)
            chosen.append(taken.id)
    return chosen + [case.id for case in mixed if not case.is_positive][: (count + 1) // 2]


def _small_store(
    dataset: Dataset,
    fingerprint: Fingerprint,
    some: Sequence[str],
    recipe: Recipe,
    folder: Path,
    track: Track,
) -> Store:
    """Return a store of some of the cases, prepared as a run prepares them."""
    part = replace(dataset, cases=tuple(case for case in dataset.cases if case.id in some))
    return build_store(
        part,
        folder / "store",
        preprocessing=make_preprocessing(recipe, fingerprint),
        fingerprint=replace(
            fingerprint,
            cases=tuple(case for case in fingerprint.cases if case.id in some),
            content_hash=content_hash(part),
        ),
        track=track,
    )


def _make_rows(
    batch: Batch, paster: Paster, recipe: Recipe, look: DisplayWindow, seed: int
) -> tuple[list[SheetRow], Shares, Shares]:
    """Return the originals beside their versions, and what both hold."""
    size = recipe.sampling.patch_size
    middle = tuple(
        slice((window - side) // 2, (window + side) // 2)
        for window, side in zip(batch.images.shape[2:], size, strict=True)
    )
    inner: tuple[Any, ...] = (..., *middle)
    images, labels = batch.images[inner], batch.class_indices[inner]
    cases = batch.places.case.tolist()
    limits = [look.limits(case) for case in cases]

    def panels(images: Tensor, labels: Tensor, captions: Sequence[str]) -> list[Panel]:
        shown = zip(cases, images, labels, limits, captions, strict=True)
        return [look.panel(*one) for one in shown]

    columns, after = [panels(images, labels, [""] * len(cases))], []
    for version in range(VERSIONS):
        plan = draw_plan(
            recipe.augmentation,
            patches=len(cases),
            patch_size=size,
            generator=torch.Generator().manual_seed(seed_of(seed, "preview", version)),
        )
        pasted = paster(batch, seed=seed_of(seed, "preview paste", version))
        changed, classes = apply_plan(pasted.images, pasted.labels, plan)
        captions = [
            describe_changes(plan, number, pasted=outcome)
            for number, outcome in enumerate(pasted.outcomes)
        ]
        columns.append(panels(changed, classes, captions))
        after.append(classes)
    rows = [SheetRow("", row) for row in zip(*columns, strict=True)]
    return rows, _shares(labels), _shares(torch.cat(after))


def _shares(labels: Tensor) -> Shares:
    positive = (labels > 0) & (labels != IGNORE)
    return Shares(
        foreground=float(positive.float().mean()),
        ignored=float((labels == IGNORE).float().mean()),
        with_foreground=float(positive.flatten(1).any(1).float().mean()),
    )
