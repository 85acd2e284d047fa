"""Under DataLoader workers: the stream of one process, and its state at the last batch used."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from rareseg.data.store.store import Store
from rareseg.errors import UsageError
from rareseg.recipe import MiningSection
from rareseg.sampling.dataloader import PatchLoader, Planned
from rareseg.sampling.patches.batch import Batch, Cutter
from rareseg.sampling.sampler import PatchSampler

Tell = Callable[[torch.Tensor], torch.Tensor]


def make(store: Store, **changes: object) -> PatchSampler:
    arguments: dict[str, object] = {"patch_size": (8, 8), "batch_size": 12, "seed": 3} | changes
    return PatchSampler(store, **arguments)  # type: ignore[arg-type]


def mining(store: Store) -> PatchSampler:
    """Epochs of four batches, and the network's errors in between."""
    return make(
        store, strategy="hard", epoch_length=4, mining=MiningSection(voxels=0, suspect_rounds=2)
    )


def same(first: Batch, second: Batch) -> bool:
    return (
        first.number == second.number
        and torch.equal(first.images, second.images)
        and torch.equal(first.class_indices, second.class_indices)
        and (first.places.pool == second.places.pool).all()
    )


def all_same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) > 0 and all(map(same, first, second))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_any_number_of_workers_gives_the_stream_of_one_process(
    flat_store: Store, workers: int
) -> None:
    store = flat_store.subset(["a", "c", "e"])
    alone, sampler = make(store, cut_size=(12, 12)), make(store, cut_size=(12, 12))
    expected = list(itertools.islice(alone, 7))
    loader = PatchLoader(sampler, workers=workers)
    assert all_same(list(itertools.islice(loader, 7)), expected)
    assert sampler.state_dict() == alone.state_dict()
    assert sampler.delivered() == alone.delivered()


def test_phases_change_at_their_batch_whatever_is_planned_ahead(flat_store: Store) -> None:
    def phased() -> PatchSampler:
        chain = [{"strategy": "random", "until": 0.5}, {"strategy": "balanced", "until": 1.0}]
        return make(flat_store, phases=chain, steps=6)

    loader = PatchLoader(phased(), workers=2, ahead=4)
    assert all_same(list(itertools.islice(loader, 6)), list(itertools.islice(phased(), 6)))


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_stay_while_mining_changes_what_is_drawn(
    told_store: Store, tell: Tell, context: str
) -> None:
    alone, sampler = mining(told_store), mining(told_store)
    loader = PatchLoader(sampler, workers=1, context=context)
    for _ in range(2):
        assert all_same(list(loader), list(alone))
        assert sampler.mining_due
        sampler.mine(tell)
        alone.mine(tell)
    rest = list(loader)
    assert all_same(rest, list(alone))
    drawn = {alone.mixture.names[pool] for batch in rest for pool in batch.places.pool.tolist()}
    assert any(name.startswith("low confidence") for name in drawn)
    assert sampler.delivered() == alone.delivered()


def test_a_state_saved_in_mid_epoch_goes_on_after_the_last_batch_used(
    told_store: Store, tell: Tell
) -> None:
    """Two batches into the epoch after a round; two workers have prepared more by then."""
    whole = mining(told_store)
    list(whole)
    whole.mine(tell)
    expected = list(whole)
    stopped = PatchLoader(mining(told_store), workers=2)
    list(stopped)
    stopped.sampler.mine(tell)
    list(itertools.islice(stopped, 2))
    state = stopped.state_dict()
    assert state["position"] == 6
    assert state["mined"] is not None
    resumed = PatchLoader(mining(told_store), workers=1)
    resumed.load_state_dict(state)
    assert all_same(list(resumed), expected[2:])
    assert resumed.sampler.delivered() == whole.delivered()
    # The loader that was left goes on as well: what was prepared and not used is cut again.
    assert all_same(list(stopped), expected[2:])


@pytest.mark.parametrize("workers", [0, 2])
def test_the_generator_of_dropout_is_left_alone(flat_store: Store, workers: int) -> None:
    before = torch.get_rng_state()
    list(itertools.islice(PatchLoader(make(flat_store), workers=workers), 2))
    assert torch.equal(torch.get_rng_state(), before)


class CountsThreads(Dataset[list[int]]):
    """Cuts, and says how many threads its process had before and after."""

    def __init__(self, cutter: Cutter) -> None:
        self._cutter = cutter

    def __getitem__(self, planned: Planned) -> list[int]:
        before = len(os.listdir("/proc/self/task"))  # noqa: PTH208
        for _ in range(5):
            self._cutter.batch(*planned)
        return [before, len(os.listdir("/proc/self/task"))]  # noqa: PTH208


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted as Linux tells them")
def test_a_worker_cuts_in_a_single_thread(flat_store: Store) -> None:
    sampler = make(flat_store, batch_size=120)
    plans = [(k, sampler.plan(k)) for k in range(2)]
    loader: DataLoader[list[int]] = DataLoader(
        CountsThreads(sampler.cutter), sampler=plans, batch_size=None, num_workers=1
    )
    # The second number of a later item may count the thread that sends the items.
    (first_before, first_after), _ = loader
    assert first_before == first_after


def test_its_length_is_that_of_an_epoch(flat_store: Store) -> None:
    loader = PatchLoader(make(flat_store, epoch_length=3), workers=0)
    assert (len(loader), len(list(loader)), len(list(loader))) == (3, 3, 3)
    with pytest.raises(TypeError, match="epoch_length"):
        len(PatchLoader(make(flat_store), workers=0))


@pytest.mark.parametrize("wrong", [{"workers": -1}, {"workers": 1, "ahead": 0}])
def test_impossible_numbers(flat_store: Store, wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        PatchLoader(make(flat_store), **wrong)


def test_a_batch_moves_with_both_tensors(flat_store: Store) -> None:
    """The device ``meta`` has shapes and no values: the one besides the CPU that is everywhere."""
    batch = make(flat_store).batch(0)
    moved = batch.to("meta")
    assert {moved.images.device.type, moved.class_indices.device.type} == {"meta"}
    assert moved.labels.device.type == "meta"
    assert (moved.places, moved.number) == (batch.places, 0)
    assert same(batch.to("cpu"), batch)
