"""One plan: repeatable, resumable, divisible among ranks, and reported as it was."""

from __future__ import annotations

import itertools
import json
import pickle
import threading

import numpy as np
import pytest
import torch

from rareseg.data.store.store import Store
from rareseg.errors import RunError, UsageError
from rareseg.recipe import SamplingSection
from rareseg.sampling.patches.places import Places
from rareseg.sampling.sampler import Batch, PatchSampler
from rareseg_runner.image_records import IGNORE


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


class TestPhases:
    def make(self, store: Store) -> PatchSampler:
        """Ten batches: four balanced, three random, three on lines alone."""
        chain = [
            {"strategy": "balanced", "until": 0.4},
            {"strategy": "random", "until": 0.7},
            {"strategy": "table", "until": 1.0, "name": "lines"},
        ]
        return make(store, phases=chain, steps=10, shares={"line": 1.0}, prefetch=2)

    def test_they_change_at_their_batch_whatever_is_made_ahead(self, flat_store: Store) -> None:
        batches = list(itertools.islice(self.make(flat_store), 12))
        in_pools = [set(batch.places.pool.tolist()) for batch in batches]
        assert in_pools == [{0, 1, 2}] * 4 + [{0}] * 3 + [{2}] * 5
        assert all(same(batch, self.make(flat_store).batch(k)) for k, batch in enumerate(batches))

    def test_each_is_reported_by_itself(self, flat_store: Store) -> None:
        sampler = self.make(flat_store)
        first = [batch.voxels for batch in itertools.islice(sampler, 5)]
        report = sampler.delivered()
        assert [phase.phase for phase in report.phases] == ["balanced", "random"]
        rest = [batch.voxels for batch in itertools.islice(sampler, 5)]
        report = sampler.delivered()
        balanced, random, lines = report.phases
        assert [phase.patches for phase in report.phases] == [48, 36, 36]
        assert (balanced.pools, balanced.centres) == (("background", "spot", "line"), (16, 16, 16))
        assert (random.pools, random.centres) == (("everything",), (36,))
        assert (lines.phase, lines.centres) == ("lines", (0, 0, 36))
        assert balanced.voxels == tuple(np.sum(first[:4], axis=0)[:3].tolist())
        assert lines.voxels == tuple(np.sum(rest[2:], axis=0)[:3].tolist())
        assert report.pools == ("background", "spot", "line", "everything")
        assert report.centres == (16, 16, 52, 36)
        assert report.asked == pytest.approx((16 / 120, 16 / 120, 52 / 120, 36 / 120))
        assert report.cases == tuple(np.sum([phase.cases for phase in report.phases], axis=0))
        # What was seen is counted from the beginning to the end of each phase.
        assert 0 < balanced.windows < random.windows < lines.windows == report.windows
        assert balanced.covered[0] < random.covered[0] <= lines.covered[0]
        assert type(report).from_dict(json.loads(json.dumps(report.to_dict()))) == report

    def test_a_resumed_run_reports_as_one_that_was_not(self, flat_store: Store) -> None:
        whole, stopped, resumed = (self.make(flat_store) for _ in range(3))
        list(itertools.islice(whole, 9))
        list(itertools.islice(stopped, 6))
        resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
        list(itertools.islice(resumed, 3))
        assert resumed.delivered() == whole.delivered()


def test_what_an_augmentation_left_is_counted_in_place_of_what_was_cut(flat_store: Store) -> None:
    sampler = make(flat_store)
    kept = torch.zeros(4, dtype=torch.int64)
    positive = 0
    for number, batch in enumerate(itertools.islice(sampler, 4)):
        labels = batch.labels.clone()
        if number % 2:
            labels[:, :3] = IGNORE
            labels[0] = 1
            sampler.recount(batch, labels)
        kept += torch.tensor([(labels == index).sum() for index in (0, 1, 2, IGNORE)])
        positive += int(((labels > 0) & (labels != IGNORE)).flatten(1).any(1).sum())
    report = sampler.delivered()
    assert (*report.voxels, report.ignored) == tuple(kept.tolist())
    assert report.with_foreground == positive


@pytest.mark.parametrize("border", ["reflect", "background", "shift"])
def test_windows_that_are_cut_larger_cover_what_is_left_of_them(
    flat_store: Store, border: str
) -> None:
    """Cut with a margin of three pixels and cropped, windows show what small ones do."""
    small = make(flat_store, border=border)
    large = make(flat_store, border=border, cut_size=(14, 14))
    for sampler in (small, large):
        list(itertools.islice(sampler, 3))
    assert large.batch(0).images.shape == (12, 2, 14, 14)
    assert torch.equal(large.batch(2).labels[:, 3:-3, 3:-3], small.batch(2).labels)
    assert large.delivered().covered == small.delivered().covered
    assert large.delivered().windows == small.delivered().windows


def test_batches_that_another_process_cut_are_counted(flat_store: Store) -> None:
    worker, sampler, alone = make(flat_store), make(flat_store), make(flat_store)
    for k in range(3):
        sampler.receive(worker.batch(k))
    list(itertools.islice(alone, 3))
    assert sampler.delivered() == alone.delivered()
    assert sampler.state_dict() == alone.state_dict()


def test_weighting_by_case(flat_store: Store) -> None:
    """Lines lie in a (28 pixels) and c (12): half and half by case, 70 to 30 by voxel."""
    for weighting, share in (("voxel", 0.7), ("case", 0.5)):
        sampler = make(flat_store, batch_size=3000, weighting=weighting)
        places = sampler.plan(0)
        assert (places.case[places.pool == 2] == 0).mean() == pytest.approx(share, abs=0.06)


def test_weighting_by_group(told_store: Store) -> None:
    """Spots lie in a (6 pixels) and b (1), both of one group; lines in a (28) and c (12)."""
    for weighting, spots, lines in (("case", 0.5, 0.5), ("group", 0.5, 0.5), ("voxel", 6 / 7, 0.7)):
        places = make(told_store, batch_size=3000, weighting=weighting).plan(0)
        for pool, share in ((1, spots), (2, lines)):
            drawn = (places.case[places.pool == pool] == 0).mean()
            assert drawn == pytest.approx(share, abs=0.06)
    background = make(told_store, batch_size=6000, weighting="group").plan(0)
    cases = background.case[background.pool == 0]
    # a and b share one group; c, d and e are one each.
    shares = np.bincount(cases) / len(cases)
    assert shares == pytest.approx([1 / 8, 1 / 8, 1 / 4, 1 / 4, 1 / 4], abs=0.05)


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
