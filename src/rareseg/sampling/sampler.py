"""An endless, repeatable stream of patches for anyone's training loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rareseg.data.store import Store
from rareseg.errors import RunError, UsageError
from rareseg.recipe import SamplingSection
from rareseg.sampling.composition import Composition, Tally, count_classes
from rareseg.sampling.patches import Places, cut, draw_places
from rareseg.sampling.pool import Weighting
from rareseg.sampling.schedule import Schedule
from rareseg.sampling.strategy import Mixture, resolve
from rareseg.sampling.windows import Border, as_zyx


@dataclass(frozen=True, eq=False)
class Batch:
    """B patches: ``images`` float32 (B, C, *patch), ``labels`` int64 (B, *patch), their places.

    Labels are class indices, ``IGNORE`` = 255. ``voxels`` (256,) counts them, and
    ``with_foreground`` the patches that hold any foreground.
    """

    images: torch.Tensor
    labels: torch.Tensor
    places: Places
    voxels: NDArray[np.int64]
    with_foreground: int


class PatchSampler:
    """Draw batches of patches from a store by a strategy, the same ones for the same seed.

    Batch ``k`` depends on the seed and ``k`` alone: ``sampler.batch(k)`` gives it at any time, in
    any order. Iterating goes on where the last iteration ended, for ``epoch_length`` batches at a
    time or without end, and prepares ``prefetch`` batches ahead in a thread (0: none), which
    changes nothing of what is drawn.

    ``strategy`` is a name or a :class:`Mixture`. ``patch_size`` is (y, x), axial planes, or
    (z, y, x). ``batch_size`` is that of all ranks together: the ranks share one plan, each taking
    its own ``batch_size / world_size`` patches, so that their union is what a single process draws.
    After any number of patches each pool has had its share of them to within one patch, at any
    batch size. ``border`` and ``weighting`` are described at :data:`Border` and :data:`Weighting`;
    ``positive_share`` is read by the strategy ``negatives``.

    Raises :class:`UsageError` for impossible arguments and what :func:`resolve` raises.
    """

    def __init__(
        self,
        store: Store,
        *,
        strategy: str | Mixture = "balanced",
        patch_size: Sequence[int],
        batch_size: int,
        seed: int,
        border: Border = "reflect",
        weighting: Weighting = "voxel",
        positive_share: float = 0.5,
        epoch_length: int | None = None,
        prefetch: int = 2,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        as_zyx(patch_size)
        if batch_size < 1 or batch_size % world_size or not 0 <= rank < world_size:
            raise UsageError(
                f"batch_size {batch_size} cannot be shared by {world_size} ranks (this is rank "
                f"{rank}); it must be a multiple of world_size, and 0 ≤ rank < world_size."
            )
        if seed < 0 or prefetch < 0 or (epoch_length is not None and epoch_length < 1):
            raise UsageError(
                f"seed is {seed}, prefetch {prefetch} and epoch_length {epoch_length}; seed and "
                "prefetch must be at least 0, epoch_length at least 1 or None."
            )
        self.store = store
        self.patch_size = tuple(patch_size)
        self.batch_size = batch_size
        self.seed = seed
        self.border: Border = border
        self.epoch_length = epoch_length
        self.prefetch = prefetch
        self.rank, self.world_size = rank, world_size
        self.mixture = (
            strategy
            if isinstance(strategy, Mixture)
            else resolve(
                strategy,
                store,
                SamplingSection(
                    strategy=strategy,
                    patch_size=self.patch_size,
                    batch_size=batch_size,
                    border=border,
                    weighting=weighting,
                    positive_share=positive_share,
                ),
            )
        )
        self.position = 0
        self._schedule = Schedule(self.mixture.delivered)
        self._tally = Tally(len(self.mixture.shares))

    @classmethod
    def from_settings(
        cls,
        store: Store,
        settings: SamplingSection,
        *,
        seed: int,
        patch_size: Sequence[int] | None = None,
        epoch_length: int | None = None,
        prefetch: int = 2,
        rank: int = 0,
        world_size: int = 1,
    ) -> PatchSampler:
        """Make the sampler that a recipe describes.

        ``patch_size`` cuts larger windows than the recipe's, for an augmentation that crops them.
        """
        return cls(
            store,
            strategy=settings.strategy,
            patch_size=settings.patch_size if patch_size is None else patch_size,
            batch_size=settings.batch_size,
            seed=seed,
            border=settings.border,
            weighting=settings.weighting,
            positive_share=settings.positive_share,
            epoch_length=epoch_length,
            prefetch=prefetch,
            rank=rank,
            world_size=world_size,
        )

    def plan(self, k: int) -> Places:
        """Return where this rank's patches of batch ``k`` lie."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(k,)))
        places = draw_places(
            self.store,
            self.mixture,
            self._schedule.pools(k * self.batch_size, self.batch_size),
            rng,
            patch_size=self.patch_size,
            border=self.border,
        )
        # The slices rotate: with few patches each, no rank always gets the same pools.
        size = self.batch_size // self.world_size
        first = (self.rank + k) % self.world_size * size
        return places.part(first, first + size)

    def batch(self, k: int) -> Batch:
        """Return this rank's part of batch ``k``, cut from the store."""
        places = self.plan(k)
        images, labels = cut(self.store, places, patch_size=self.patch_size, border=self.border)
        voxels, with_foreground = count_classes(labels)
        return Batch(
            images=torch.from_numpy(images),
            labels=torch.from_numpy(labels).long(),
            places=places,
            voxels=voxels,
            with_foreground=with_foreground,
        )

    def __iter__(self) -> Iterator[Batch]:
        """Yield the next batches, to the end of the epoch where there is one."""
        end = None
        if self.epoch_length is not None:
            end = (self.position // self.epoch_length + 1) * self.epoch_length
        for batch in self._prepared(self.position, end):
            self.position += 1
            self._tally.add(batch.places.pool, batch.voxels, batch.with_foreground)
            yield batch

    def _prepared(self, first: int, end: int | None) -> Iterator[Batch]:
        """Yield batches ``first`` … ``end − 1`` in order, made ahead in one thread."""
        if self.prefetch == 0:
            while end is None or first < end:
                yield self.batch(first)
                first += 1
            return
        executor = ThreadPoolExecutor(1, thread_name_prefix="patch-sampler")
        waiting: deque[Future[Batch]] = deque()
        try:
            while True:
                while len(waiting) < self.prefetch and (end is None or first < end):
                    waiting.append(executor.submit(self.batch, first))
                    first += 1
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            executor.shutdown(wait=True, cancel_futures=True)

    def delivered(self) -> Composition:
        """Return the composition that this rank's loop received so far, beside what was asked."""
        return self._tally.composition(
            pools=self.mixture.names,
            asked=self.mixture.asked,
            drawn=self.mixture.delivered,
            classes=self.store.classes.names,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers from which another sampler goes on after the last batch received."""
        return {
            "position": self.position,
            "stream": self._stream(),
            "tally": self._tally.to_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken.

        Raises :class:`RunError` where that sampler drew another stream of patches.
        """
        mine, theirs = self._stream(), state["stream"]
        for name, value in mine.items():
            if theirs.get(name) != value:
                raise RunError(
                    f"The saved sampler had {name} = {theirs.get(name)}, this one has {value}; "
                    "resume with the same data and settings, or start a new run."
                )
        self.position = int(state["position"])
        self._tally = Tally.from_dict(state["tally"])

    def _stream(self) -> dict[str, Any]:
        """Return all that decides which patches are drawn."""
        return {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "patch_size": list(self.patch_size),
            "border": self.border,
            "weighting": self.mixture.weighting,
            "pools": list(self.mixture.names),
            "pool_sizes": [share.pool.size for share in self.mixture.shares],
            "shares": self.mixture.delivered.tolist(),
            "world_size": self.world_size,
            "store": self.store.key,
        }
