"""Copy and paste rare objects from the training cases into other windows of a batch.

:meth:`Paster.plan` draws what is pasted from a seed, and :meth:`Paster.apply` carries it out. It
comes after cutting and before augmentation, on the CPU, so that what is pasted is turned, scaled
and blurred with what surrounds it. In anyone's loop::

    paster = Paster.beside(sampler, settings)
    for batch in sampler:
        pasted = paster(batch, seed=batch.number)
        images, labels = augment(pasted.images.to(device), pasted.labels.to(device), ...)
        sampler.recount(batch, labels, pasted.count)

An object that the image or the window cuts off is pasted against the same side of the other one, so
that no straight edge is invented. Sources: TumorCP (Yang et al. 2021, MICCAI) pastes objects of
tumours, Soft-CP (Dai et al. 2022, arXiv 2203.10507) fades their edge out; Cut, Paste and Learn
(Dwibedi et al. 2017, ICCV) pastes things that are not to be found as well, since a network
otherwise learns the edge of what is pasted.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rareseg.errors import UsageError
from rareseg.recipe import AugmentationSection
from rareseg.sampling.pasting.blending import Target, blend_in, with_texture
from rareseg.sampling.pasting.donor import Donor, take_donor
from rareseg.sampling.patches.batch import Batch, Cutter
from rareseg.sampling.patches.composition import PasteCount
from rareseg.sampling.patches.cutting import cut
from rareseg.sampling.patches.places import locate, windows_about
from rareseg.sampling.patches.window_components import Components
from rareseg.sampling.pools.pool import Pool, Weighting, pool_classes
from rareseg.sampling.sampler import PatchSampler
from rareseg_runner.image_records import IGNORE

log = logging.getLogger(__name__)

TRIES = 10
"""Places that are tried in a window; where none is free, nothing is pasted."""

Outcome = Literal["", "object", "texture", "touches ignored", "no room"]
"""What came of one window: nothing was meant for it, what was pasted, or why nothing was."""

Part = tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.int64]]
"""Of a window within its image: values (C, *part), class indices (*part), and a voxel (D,)."""


@dataclass(frozen=True, eq=False)
class PastePlan:
    """What is to be pasted into each of B windows of D axes, and where it is tried.

    ``chosen`` (B,) bool. ``donor`` (B,) int64 is a flat place in the store, a voxel of the object;
    ``texture`` (B,) int64 one of background, beside which the content is looked for, or −1 where
    the object itself is pasted. ``mirror`` (B, D) bool and ``quarters`` (B,) turn the object.
    ``tries`` and ``contents`` (B, TRIES, D), 0…1, are places, as shares of the room that there is,
    in the window and in that of the texture.
    """

    chosen: NDArray[np.bool_]
    donor: NDArray[np.int64]
    texture: NDArray[np.int64]
    mirror: NDArray[np.bool_]
    quarters: NDArray[np.int64]
    tries: NDArray[np.float64]
    contents: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.chosen)


@dataclass(frozen=True, eq=False)
class PastedBatch:
    """A batch after pasting: images, labels as class indices, and what came of each window.

    ``components`` are those of the batch where it has any, each pasted object being one of its own.
    """

    images: Tensor
    labels: Tensor
    outcomes: tuple[Outcome, ...]
    components: Components | None = None

    @property
    def count(self) -> PasteCount:
        """How many windows got an object, how many texture, and in how many there was no room."""
        found = Counter(self.outcomes)
        failed = found["touches ignored"] + found["no room"]
        return PasteCount(found["object"], found["texture"], failed)


class Paster:
    """Paste objects of a sampler's cases into windows, the same ones for the same seed.

    An object's class is drawn evenly among the foreground classes that have voxels, then one of its
    voxels by ``weighting`` (:data:`~rareseg.sampling.pools.pool.Weighting`). The object is what is
    connected to that in a window of the size that ``cutter`` cuts. ``settings`` are those of the
    recipe that begin with ``paste``. Where no case holds foreground nothing is pasted, which is
    logged.
    """

    def __init__(
        self, cutter: Cutter, settings: AugmentationSection, *, weighting: Weighting = "case"
    ) -> None:
        self.cutter, self.settings = cutter, settings
        self.weighting: Weighting = weighting

    @classmethod
    def beside(cls, sampler: PatchSampler, settings: AugmentationSection) -> Paster:
        """Return what pastes into the batches of a sampler, from its cases and by its weighting."""
        return cls(sampler.cutter, settings, weighting=sampler.mixture.weighting)

    def __call__(self, batch: Batch, *, seed: int) -> PastedBatch:
        """Paste into a batch what :meth:`plan` draws; returns and raises as :meth:`apply`."""
        return self.apply(batch, self.plan(len(batch.images), seed=seed))

    @cached_property
    def _pools(self) -> tuple[Pool, tuple[Pool, ...]]:
        """The pool of background, and those of the foreground classes that have voxels."""
        background, *foreground = pool_classes(self.cutter.store)
        present = tuple(pool for pool in foreground if pool.size)
        if not present:
            log.warning(
                "augmentation: paste is %g, and none of the %d cases holds an object; nothing is "
                "pasted",
                self.settings.paste,
                len(self.cutter.store),
            )
        return background, present

    def plan(self, windows: int, *, seed: int) -> PastePlan:
        """Draw what is to be pasted into so many windows: for each of them, used or not."""
        rng = np.random.default_rng(seed)
        store, settings, axes = self.cutter.store, self.settings, len(self.cutter.cut_size)
        chosen = rng.random(windows) < settings.paste
        textured = rng.random(windows) < settings.paste_texture
        mirror = rng.random((windows, axes)) < 0.5
        quarters = rng.integers(4, size=windows)
        tries, contents = rng.random((2, windows, TRIES, axes))
        donor, texture = np.full((2, windows), -1, np.int64)
        background, present = self._pools if chosen.any() else (None, ())
        if background is not None and present:
            which = rng.integers(len(present), size=windows)
            for index, pool in enumerate(present):
                own = np.flatnonzero(which == index)
                donor[own] = pool.draw(rng, len(own), self.weighting)
            if background.size:
                drawn = background.draw(rng, windows, self.weighting)
                texture = np.where(textured, drawn, texture)
            # A quarter turn would stretch an object whose voxels are no squares.
            height, width = store.cases.spacing[locate(store, donor)[0], 1:].T
            quarters = np.where(np.abs(height / width - 1) < 0.1, quarters, quarters & 2)
        return PastePlan(
            chosen=chosen & (donor >= 0),
            donor=donor,
            texture=texture,
            mirror=mirror & settings.paste_turns,
            quarters=np.where(settings.paste_turns, quarters, 0),
            tries=tries,
            contents=contents,
        )

    def apply(self, batch: Batch, plan: PastePlan) -> PastedBatch:
        """Carry a plan out on a batch of the sampler whose cutter this is.

        Returns new tensors where anything is pasted, otherwise those of the batch. An object keeps
        its classes, and what it fades into stays background. Where it would touch foreground or
        ``IGNORE`` it is not pasted. Without randomness: the same plan changes a batch in the same
        way.

        Raises :class:`UsageError` where the batch does not fit to the plan, or is not on the CPU.
        """
        self._require_fit(batch, plan)
        outcomes: list[Outcome] = [""] * len(plan)
        into = [n for n in np.flatnonzero(plan.chosen) if self._takes(batch.class_indices[n])]
        if not into:
            return PastedBatch(batch.images, batch.class_indices, tuple(outcomes), batch.components)
        images, labels = batch.images.clone(), batch.class_indices.clone()
        within = self.cutter.within(batch.places.widened(self.cutter.margin.tolist()))
        textured = [n for n in into if plan.texture[n] >= 0]
        textures = dict(zip(textured, self._parts_about(plan.texture[textured]), strict=True))
        donors = self._parts_about(plan.donor[into])
        for n, (values, held, voxel) in zip(into, donors, strict=True):
            quarters = int(plan.quarters[n])
            donor = take_donor(values, held, voxel, mirror=plan.mirror[n], quarters=quarters)
            if donor is None:
                outcomes[n] = "touches ignored"
                continue
            if n in textures:
                donor = with_texture(donor, *textures[n][:2], plan.contents[n])
            if donor is None or not self._paste(
                donor, images[n].numpy(), labels[n].numpy(), within[n], plan.tries[n]
            ):
                outcomes[n] = "no room"
            else:
                outcomes[n] = "texture" if n in textures else "object"
        components = batch.components
        if components is not None:
            regions = tuple(self.cutter.store.classes.regions.values())
            for window, outcome in enumerate(outcomes):
                if outcome == "object":
                    before, after = batch.class_indices[window], labels[window]
                    fresh = torch.where(after != before, after, 0)
                    components = components.pasted(window, fresh, regions)
        return PastedBatch(images, labels, tuple(outcomes), components)

    def _takes(self, labels: Tensor) -> bool:
        """Say whether anything may be pasted into a window with these labels."""
        background = labels == 0
        empty = bool((background | (labels == IGNORE)).all())
        return bool(background.any()) and (empty or self.settings.paste_into == "any")

    def _paste(
        self,
        donor: Donor,
        values: NDArray[np.float32],
        labels: NDArray[np.uint8],
        within: NDArray[np.int64],
        tries: NDArray[np.float64],
    ) -> bool:
        """Paste into one window (C, *window), in place; say whether there was room."""
        box = tuple(slice(first, end) for first, end in within)
        begin = self.cutter.margin[-len(box) :] - within[:, 0]
        patch = np.stack([begin, begin + self.cutter.patch_size], 1)
        if not blend_in(donor, Target(values[:, *box], labels[box], patch), tries):
            return False
        if self.cutter.beyond == "reflect":
            _reflect(values, within)
        return True

    def _parts_about(self, places: NDArray[np.int64]) -> Iterator[Part]:
        """Yield the window about each flat place as far as it lies within its image."""
        store, size = self.cutter.store, self.cutter.cut_size
        pools = np.zeros(len(places), np.int16)
        # Inside the image, where they show as much of it as they can.
        windows = windows_about(store, places, pools, patch_size=size, border="shift")
        patches = cut(store, windows, patch_size=size, border="shift")
        voxels = (locate(store, places)[1] - windows.corner)[:, -len(size) :]
        for n, within in enumerate(self.cutter.within(windows)):
            box = tuple(slice(first, end) for first, end in within)
            yield patches.images[n][:, *box], patches.labels[n][box], voxels[n] - within[:, 0]

    def _require_fit(self, batch: Batch, plan: PastePlan) -> None:
        shape = (len(plan), self.cutter.store.channels, *self.cutter.cut_size)
        if batch.images.shape != shape:
            raise UsageError(
                f"The plan is for a batch of {shape}, the images are {tuple(batch.images.shape)}; "
                "paste into a batch as the sampler gives it, before it is augmented."
            )
        if batch.images.device.type != "cpu":
            raise UsageError(
                f"The batch is on {batch.images.device}; paste on the CPU, before it is moved."
            )


def _reflect(values: NDArray[np.float32], within: NDArray[np.int64]) -> None:
    """Show beyond the image its reflection as it is now, in a window (C, *window), in place.

    ``within`` (D, 2) is the part that lies within the image.
    """
    first, end = within.T
    beyond = np.stack([first, values.shape[1:] - end], 1)
    # A window over one end of the image may reflect what lies behind its own other end: no change.
    reach = np.where(
        beyond.all(1, keepdims=True), beyond, np.minimum(beyond, (end - first - 1)[:, np.newaxis])
    )
    part = tuple(slice(a, b) for a, b in within)
    around = tuple(slice(a, b) for a, b in within + reach * np.array([-1, 1]))
    values[:, *around] = np.pad(values[:, *part], ((0, 0), *reach.tolist()), mode="reflect")
