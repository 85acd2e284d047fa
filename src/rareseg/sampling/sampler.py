"""Sample batches of patches from a store: endless, and repeatable by seed and number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import torch

from rareseg.data.store.store import Store
from rareseg.errors import RunError, UsageError
from rareseg.recipe import MiningSection, Phase, SamplingSection, make_recipe
from rareseg.sampling.mining.hard_examples import Predict, mine
from rareseg.sampling.patches.batch import Batch as Batch
from rareseg.sampling.patches.batch import Cutter
from rareseg.sampling.patches.composition import Composition, PasteCount
from rareseg.sampling.patches.places import Places, draw_places
from rareseg.sampling.patches.run_composition import RunComposition
from rareseg.sampling.patches.window_components import map_components
from rareseg.sampling.pools.mined_pools import MinedPools, nothing_mined, restore_mined
from rareseg.sampling.pools.pool import Weighting
from rareseg.sampling.pools.windows import Border, as_zyx
from rareseg.sampling.prefetch import prefetched
from rareseg.sampling.strategies.phases import Phases
from rareseg.sampling.strategies.strategy import Cases, Mixture, find_phases, mines

FEWEST_BETWEEN_ROUNDS = 20
"""Steps between two rounds of mining at least, where the recipe does not say how many."""

MOST_ROUNDS = 9
"""Rounds of mining in a run, where the recipe does not say how often: one after each tenth."""


class PatchSampler:
    """Draw batches of patches from a store by a strategy, the same ones for the same seed.

    Batch ``k`` depends on the seed, on ``k`` and on what was mined alone: ``sampler.batch(k)``
    gives it at any time, in any order. Iterating goes on where the last iteration ended, for
    ``epoch_length`` batches at a time or without end, and prepares ``prefetch`` batches ahead in a
    thread (0: none), which changes nothing of what is drawn.

    ``strategy`` is a name or a :class:`Mixture`. ``patch_size`` is (y, x), axial planes, or
    (z, y, x); ``cut_size`` cuts larger windows about the same patches, for an augmentation that
    crops them: where patches lie and which pools hold them does not depend on it, and under the
    border ``shift`` what only the window holds beyond the image is reflected. ``batch_size`` is
    that of all ranks together: the ranks share one plan, each taking its own ``batch_size /
    world_size`` patches, so that their union is what a single process draws.
    After any number of patches each pool has had its share of them to within one patch, at any
    batch size. ``border`` and ``weighting`` are described at :data:`Border` and :data:`Weighting`;
    ``positive_share``, ``exponent``, ``shares``, ``balanced_until`` and ``phases`` are the recipe's
    settings for strategies. Several phases need ``steps``, the batches of the whole run.

    ``components`` gives batches the components that their voxels belong to, for a loss that reads
    them; those of the whole store are found at the beginning. In patches of two axes they are those
    of an axial plane.

    A strategy that mines needs an ``epoch_length``: between two epochs :meth:`mine` looks for what
    the network finds hard, as the recipe's section ``mining`` says.

    Raises :class:`UsageError` for impossible arguments, :class:`RecipeError` for impossible
    settings, and what :class:`Mixture` raises.
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
        exponent: float = 0.5,
        shares: Mapping[str, float] | None = None,
        balanced_until: float = 0.8,
        phases: Sequence[Phase | Mapping[str, Any]] | None = None,
        mining: MiningSection | None = None,
        cut_size: Sequence[int] | None = None,
        components: bool = False,
        steps: int | None = None,
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
        settings: dict[str, Any] = {
            "phases": phases,
            "patch_size": tuple(patch_size),
            "batch_size": batch_size,
            "border": border,
            "weighting": weighting,
            "positive_share": positive_share,
            "exponent": exponent,
            "shares": shares,
            "balanced_until": balanced_until,
        }
        if isinstance(strategy, str):
            settings["strategy"] = strategy
        self.store = store
        self.settings = _checked(settings)
        self.mining = mining or MiningSection()
        self.cutter = Cutter(
            store,
            patch_size=self.settings.patch_size,
            cut_size=tuple(patch_size if cut_size is None else cut_size),
            border=border,
            components=map_components(store, by_plane=len(patch_size) == 2) if components else None,
        )
        self.batch_size = batch_size
        self.seed = seed
        self.epoch_length = epoch_length
        self.prefetch = prefetch
        self.rank, self.world_size = rank, world_size
        cases = Cases(
            store,
            self.settings,
            nothing_mined(store),
            self.mining,
            epoch_patches=(epoch_length or 0) * batch_size,
        )
        if isinstance(strategy, Mixture):
            self._program = Phases.of_mixture(cases, strategy)
        else:
            found = find_phases(self.settings)
            if epoch_length is None and any(map(mines, found)):
                raise UsageError(
                    f"The strategy '{next(filter(mines, found)).strategy}' draws from what is "
                    "mined between epochs; give an epoch_length, the batches between two rounds."
                )
            self._program = Phases(cases, found, steps)
        self.position = 0
        self._ledger = self._new_ledger()

    @classmethod
    def from_settings(
        cls,
        store: Store,
        settings: SamplingSection,
        *,
        seed: int,
        mining: MiningSection | None = None,
        steps: int | None = None,
        patch_size: Sequence[int] | None = None,
        components: bool = False,
        epoch_length: int | None = None,
        prefetch: int = 2,
        rank: int = 0,
        world_size: int = 1,
    ) -> PatchSampler:
        """Make the sampler that a recipe describes.

        ``patch_size`` cuts larger windows than the recipe's, for an augmentation that crops them.
        Where a strategy mines, epochs of no given length are ``mining.every`` batches long, or a
        tenth of the ``steps``.
        """
        mining = mining or MiningSection()
        if epoch_length is None and any(map(mines, find_phases(settings))):
            epoch_length = mining.every
            if epoch_length is None and steps is not None:
                epoch_length = max(FEWEST_BETWEEN_ROUNDS, -(-steps // (MOST_ROUNDS + 1)))
        return cls(
            store,
            **dict(settings),
            seed=seed,
            mining=mining,
            cut_size=patch_size,
            components=components,
            steps=steps,
            epoch_length=epoch_length,
            prefetch=prefetch,
            rank=rank,
            world_size=world_size,
        )

    @property
    def mixture(self) -> Mixture:
        """What the next batch is drawn from."""
        return self._program.at(self.position).mixture

    @property
    def mined(self) -> MinedPools:
        """What the last round of mining found."""
        return self._program.mined

    def plan(self, k: int) -> Places:
        """Return where this rank's patches of batch ``k`` lie.

        Raises :class:`UsageError` for a batch of before the last round of mining.
        """
        stretch = self._program.at(k)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(k,)))
        pools, nth = stretch.schedule.draws((k - stretch.first) * self.batch_size, self.batch_size)
        places = draw_places(
            self.store,
            stretch.mixture,
            pools,
            rng,
            patch_size=self.settings.patch_size,
            border=self.settings.border,
            nth=nth,
            seed=(self.seed, stretch.first),
        )
        # The slices rotate: with few patches each, no rank always gets the same pools.
        size = self.batch_size // self.world_size
        first = (self.rank + k) % self.world_size * size
        return places.part(first, first + size)

    def batch(self, k: int) -> Batch:
        """Return this rank's part of batch ``k``, cut from the store; raises as :meth:`plan`."""
        return self.cutter.batch(k, self.plan(k))

    def upcoming(self) -> Iterable[int]:
        """Return the numbers of the next batches, to the end of the epoch where there is one."""
        if self.epoch_length is None:
            return count(self.position)
        # Nothing is made ahead across the end, where what is drawn from may change.
        end = (self.position // self.epoch_length + 1) * self.epoch_length
        return range(self.position, end)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the next batches, to the end of the epoch where there is one."""
        for batch in prefetched(self.batch, self.upcoming(), self.prefetch):
            self.receive(batch)
            yield batch

    def receive(self, batch: Batch) -> None:
        """Count a batch as delivered, the next one being that after it; iterating does it."""
        self.position = batch.number + 1
        self._ledger.add(
            self._program.phase_at(batch.number),
            self._program.at(batch.number).mixture,
            batch.places,
            as_zyx(self.settings.patch_size),
            batch.voxels,
            batch.with_foreground,
        )

    def recount(self, batch: Batch, labels: torch.Tensor, pasted: PasteCount | None = None) -> None:
        """Count ``labels`` (B, patch) in place of those cut: what an augmentation left of them.

        ``pasted`` is what was pasted before, for the record.
        """
        self._ledger.recount(
            self._program.phase_at(batch.number),
            batch.voxels,
            batch.with_foreground,
            labels,
            pasted,
        )

    @property
    def mining_due(self) -> bool:
        """Whether an epoch is over, and the next one draws from what :meth:`mine` would find."""
        length, position = self.epoch_length, self.position
        return (
            length is not None
            and position > 0
            and position % length == 0
            and self.mined.step != position
            and self._program.mines_between(position, position + length)
        )

    def mine(self, predict: Predict, *, weights: str = "") -> MinedPools:
        """Look for what the network finds hard, and draw from it from the next batch on.

        ``predict`` takes images as batches have them and returns probabilities (see
        :data:`Predict`); ``weights`` names those that it computes with, for the record. Several
        ranks must draw from the same pools: mine in one, and :meth:`use` what it found in all.

        Raises :class:`UsageError` within an epoch, and what
        :func:`rareseg.sampling.mining.hard_examples.mine` raises.
        """
        self._require_boundary()
        mined = mine(
            self.store,
            predict,
            self.settings,
            self.mining,
            last=self.mined,
            step=self.position,
            weights=weights,
            seed=self.seed,
        )
        self.use(mined)
        return mined

    def use(self, mined: MinedPools) -> None:
        """Draw from what was mined, from the next batch on; raises as :meth:`mine`."""
        self._require_boundary()
        if mined.step != self.position:
            raise UsageError(
                f"What was mined before batch {mined.step} cannot be used from batch "
                f"{self.position} on; mine at the same batch in all ranks."
            )
        self._program.renew(mined)

    def _require_boundary(self) -> None:
        if self.epoch_length is None or self.position % self.epoch_length:
            epoch = "there are none" if self.epoch_length is None else f"{self.epoch_length} each"
            raise UsageError(
                f"Mined pools change between epochs of batches ({epoch}), not at batch "
                f"{self.position}; give an epoch_length, and mine when an iteration has ended."
            )

    def delivered(self) -> Composition:
        """Return the composition that this rank's loop received so far, beside what was asked."""
        return self._ledger.composition(self._program.mixtures)

    def state_dict(self) -> dict[str, Any]:
        """Return plain values and tensors from which another sampler goes on after the last batch.

        What is mined is part of it.
        """
        return {
            "position": self.position,
            "stream": self._stream(),
            "ledger": self._ledger.state(),
            "mined": self.mined.state() if self.mined.round else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken.

        Raises :class:`RunError` where that sampler drew another stream of patches.
        """
        own, theirs = self._stream(), state["stream"]
        for name, value in own.items():
            if theirs.get(name) != value:
                raise RunError(
                    f"The saved sampler had {name} = {theirs.get(name)}, this one has {value}; "
                    "resume with the same data and settings, or start a new run."
                )
        self.position = int(state["position"])
        self._ledger = self._new_ledger()
        self._ledger.restore(state["ledger"])
        if state["mined"] is not None:
            self._program.renew(restore_mined(self.store, state["mined"]))

    def _new_ledger(self) -> RunComposition:
        return RunComposition(self.store, [phase.title for phase in self._program.phases])

    def _stream(self) -> dict[str, Any]:
        """Return all that decides which patches are drawn."""
        return {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "patch_size": list(self.settings.patch_size),
            "cut_size": list(self.cutter.cut_size),
            "border": self.cutter.border,
            "weighting": self.mixture.weighting,
            "world_size": self.world_size,
            "store": self.store.key,
            **self._program.stream,
            "mining": self.mining.model_dump(mode="json"),
        }


def _checked(values: Mapping[str, Any]) -> SamplingSection:
    """Return the settings as a recipe would hold them; raises :class:`RecipeError`."""
    dimension = len(values["patch_size"])
    recipe = make_recipe(
        {"data": {"dimension": dimension}, "sampling": values}, source="the sampler's settings"
    )
    return recipe.sampling
