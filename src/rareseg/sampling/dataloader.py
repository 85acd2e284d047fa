"""Cut a sampler's batches in the worker processes of a ``DataLoader``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from rareseg.errors import UsageError
from rareseg.sampling.patches.batch import Batch, Cutter
from rareseg.sampling.patches.places import Places
from rareseg.sampling.sampler import PatchSampler

Planned = tuple[int, Places]
"""A batch's number, and where its patches lie."""


class PatchLoader:
    """Iterate over a sampler as it would itself, while ``workers`` processes cut the patches.

    The batches and their order are those of ``sampler``, for any number of workers: the calling
    process plans, up to ``ahead`` batches for each worker, and the workers only cut what they are
    told, each in a single thread. They therefore stay as they are when a round of mining changes
    what is planned. 0 workers: the sampler's own thread prepares ahead.

    A batch counts as delivered when it is handed over, so that the sampler's state, which is also
    this object's, is that after the last batch that was used, however many were prepared. Its
    length is that of a whole epoch, after which an iteration ends. Lightning needs no more than
    that to train, to save in mid-epoch and to resume.

    ``pin_memory`` and ``context`` ("fork", "spawn", "forkserver") are passed on to the
    ``DataLoader``. Raises :class:`UsageError` for impossible numbers.
    """

    def __init__(
        self,
        sampler: PatchSampler,
        *,
        workers: int,
        ahead: int = 2,
        pin_memory: bool = False,
        context: str | None = None,
    ) -> None:
        if workers < 0 or ahead < 1:
            raise UsageError(
                f"workers is {workers} and ahead {ahead}; workers must be at least 0 and ahead, "
                "the batches planned for each worker, at least 1."
            )
        self.sampler = sampler
        self._batches: DataLoader[Batch] | PatchSampler = sampler
        if workers:
            self._batches = DataLoader(
                _Cut(sampler.cutter),
                sampler=_Plans(sampler),
                batch_size=None,
                num_workers=workers,
                prefetch_factor=ahead,
                persistent_workers=True,
                pin_memory=pin_memory,
                multiprocessing_context=context,
                # A loader draws a number for each iteration, by default from the generator that
                # dropout draws from.
                generator=torch.Generator(),
            )

    def __iter__(self) -> Iterator[Batch]:
        """Yield the next batches, to the end of the epoch where there is one."""
        if self._batches is self.sampler:
            yield from self.sampler
            return
        for batch in self._batches:
            self.sampler.receive(batch)
            yield batch

    def __len__(self) -> int:
        """The batches of a whole epoch; raises :class:`TypeError` where there are none."""
        if self.sampler.epoch_length is None:
            raise TypeError("the stream has no end and no length; give the sampler an epoch_length")
        return self.sampler.epoch_length

    def state_dict(self) -> dict[str, Any]:
        """Return the sampler's state; see :meth:`PatchSampler.state_dict`."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the next iteration where a state was taken, with any number of workers."""
        self.sampler.load_state_dict(state)


class _Plans:
    """The plans of the batches to come, each drawn when a worker is free to cut it."""

    def __init__(self, sampler: PatchSampler) -> None:
        self._sampler = sampler

    def __iter__(self) -> Iterator[Planned]:
        for number in self._sampler.upcoming():
            yield number, self._sampler.plan(number)


class _Cut(Dataset[Batch]):
    """The data set whose index is a plan and whose item is the batch."""

    def __init__(self, cutter: Cutter) -> None:
        self._cutter = cutter

    def __getitem__(self, planned: Planned) -> Batch:
        return self._cutter.batch(*planned)
