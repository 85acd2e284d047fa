"""One plan: repeatable, resumable, divisible among ranks, and reported as it was."""

from __future__ import annotations

import itertools
import pickle
import threading

import numpy as np
import pytest
import torch

from rareseg.data.records import IGNORE
from rareseg.data.store import Store
from rareseg.errors import RunError, UsageError
from rareseg.recipe import SamplingSection
from rareseg.sampling.patches import Places
from rareseg.sampling.sampler import Batch, PatchSampler


def make(store: Store, **changes: object) -> PatchSampler:
    arguments: dict[str, object] = {"patch_size": (8, 8), "batch_size": 12, "seed": 3} | changes
    return PatchSampler(store, **arguments)  # type: ignore[arg-type]


def same(first: Batch, second: Batch) -> bool:
    return torch.equal(first.images, second.images) and torch.equal(first.labels, second.labels)


def as_rows(places: Places) -> list[tuple[int, ...]]:
    return sorted(map(tuple, np.column_stack([places.case, places.corner, places.pool]).tolist()))


def test_types_and_shapes(flat_store: Store, volume_store: Store) -> None:
    batch = make(flat_store).batch(0)
    assert (batch.images.shape, batch.images.dtype) == ((12, 2, 8, 8), torch.float32)
    assert (batch.labels.shape, batch.labels.dtype) == ((12, 8, 8), torch.int64)
    assert make(volume_store, patch_size=(2, 4, 4)).batch(0).images.shape == (12, 2, 2, 4, 4)


def test_a_batch_depends_on_seed_and_number_alone(flat_store: Store) -> None:
    sampler = make(flat_store)
    streamed = list(itertools.islice(sampler, 6))
    for k in (5, 0, 3):
        assert same(streamed[k], make(flat_store).batch(k))
    assert not same(streamed[0], streamed[1])
    assert not same(streamed[0], make(flat_store, seed=4).batch(0))


@pytest.mark.parametrize("prefetch", [0, 1, 4])
def test_preparing_ahead_changes_nothing(flat_store: Store, prefetch: int) -> None:
    ahead = itertools.islice(make(flat_store, prefetch=prefetch), 5)
    assert all(same(batch, make(flat_store).batch(k)) for k, batch in enumerate(ahead))


def test_no_thread_is_left_behind(flat_store: Store) -> None:
    for _ in make(flat_store):
        break
    assert not [t for t in threading.enumerate() if t.name.startswith("patch-sampler")]


def test_epochs_end_and_go_on(flat_store: Store) -> None:
    sampler = make(flat_store, epoch_length=3)
    first, second = list(sampler), list(sampler)
    assert (len(first), len(second)) == (3, 3)
    assert same(second[0], make(flat_store).batch(3))


def test_resuming_in_mid_epoch_gives_the_rest(flat_store: Store) -> None:
    whole = make(flat_store, epoch_length=5)
    expected = list(whole)
    stopped = make(flat_store, epoch_length=5)
    for number, _ in enumerate(stopped):
        if number == 1:
            break
    # Two batches were received; more were prepared, which the state must not count.
    state = stopped.state_dict()
    assert state["position"] == 2
    resumed = make(flat_store, epoch_length=5)
    resumed.load_state_dict(state)
    rest = list(resumed)
    assert len(rest) == 3
    assert all(same(*pair) for pair in zip(rest, expected[2:], strict=True))
    assert resumed.delivered() == whole.delivered()


def test_a_state_of_another_stream_is_refused(flat_store: Store) -> None:
    state = make(flat_store).state_dict()
    with pytest.raises(RunError, match="seed = 3, this one has 4"):
        make(flat_store, seed=4).load_state_dict(state)


@pytest.mark.parametrize("world_size", [2, 3, 12])
def test_ranks_divide_the_plan_of_one_process(flat_store: Store, world_size: int) -> None:
    ranks = [make(flat_store, rank=r, world_size=world_size) for r in range(world_size)]
    for k in (0, 1, 7):
        rows = [row for rank in ranks for row in as_rows(rank.plan(k))]
        assert sorted(rows) == as_rows(make(flat_store).plan(k))


def test_no_rank_is_left_with_one_pool(flat_store: Store) -> None:
    rank = make(flat_store, batch_size=3, rank=1, world_size=3)
    assert {int(rank.plan(k).pool[0]) for k in range(3)} == {0, 1, 2}


def test_what_was_delivered_is_counted(flat_store: Store) -> None:
    sampler = make(flat_store, patch_size=(31, 9))
    batches = list(itertools.islice(sampler, 7))
    labels = torch.cat([batch.labels for batch in batches])
    report = sampler.delivered()
    assert report.patches == 84
    assert report.pools == ("background", "spot", "line")
    assert report.centres == (28, 28, 28)
    assert report.voxels == tuple(int((labels == k).sum()) for k in range(3))
    assert report.ignored == int((labels == IGNORE).sum())
    positive = ((labels > 0) & (labels != IGNORE)).flatten(1).any(1)
    assert report.with_foreground == int(positive.sum())
    assert sum(report.prior) == pytest.approx(1.0)
    assert sum(report.voxels) + report.ignored == labels.numel()


def test_an_empty_pool_shows_in_the_report(flat_store: Store) -> None:
    sampler = make(flat_store.subset(["b", "d"]))
    list(itertools.islice(sampler, 2))
    report = sampler.delivered()
    assert report.asked == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert report.drawn == pytest.approx((0.5, 0.5, 0.0))
    assert report.centres == (12, 12, 0)


def test_weighting_by_case(flat_store: Store) -> None:
    """Lines lie in a (28 pixels) and c (12): half and half by case, 70 to 30 by voxel."""
    for weighting, share in (("voxel", 0.7), ("case", 0.5)):
        sampler = make(flat_store, batch_size=3000, weighting=weighting)
        places = sampler.plan(0)
        assert (places.case[places.pool == 2] == 0).mean() == pytest.approx(share, abs=0.06)


def test_the_recipe_s_sampler(flat_store: Store) -> None:
    settings = SamplingSection(strategy="negatives", patch_size=(8, 8), batch_size=6)
    sampler = PatchSampler.from_settings(flat_store, settings, seed=1)
    assert same(
        sampler.batch(2),
        make(flat_store, strategy="negatives", batch_size=6, seed=1, weighting="case").batch(2),
    )
    larger = PatchSampler.from_settings(flat_store, settings, seed=1, patch_size=(12, 12))
    assert larger.batch(0).images.shape == (6, 2, 12, 12)


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"batch_size": 5, "world_size": 2}, {"rank": 1}, {"seed": -1}],
)
def test_impossible_arguments(flat_store: Store, wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        make(flat_store, **wrong)


def test_a_sampler_travels_to_a_worker(flat_store: Store) -> None:
    """Its store goes as a path, not as the data."""
    sampler = make(flat_store.subset(["a", "c"]))
    packed = pickle.dumps(sampler.store)
    assert len(packed) < 1000
    arrived = make(pickle.loads(packed))
    assert same(arrived.batch(1), sampler.batch(1))
