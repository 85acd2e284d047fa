"""What every strategy guarantees, mined pools and phases included: one suite for all of them.

The network is told what to say (conftest), so that what is mined is known by construction.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from rareseg.data.store.store import Store
from rareseg.recipe import MiningSection
from rareseg.sampling.patches.places import Places, locate
from rareseg.sampling.sampler import Batch, PatchSampler
from rareseg.sampling.strategies import strategy_registry
from rareseg.sampling.strategies.strategy import strategies
from rareseg_runner.image_records import IGNORE

EPOCH, STEPS, PATCH = 4, 12, (5, 7)
NEEDS: dict[str, dict[str, object]] = {
    "table": {"shares": {"background": 0.5, "spot": 0.2, "line": 0.3}},
    "decoupled": {"balanced_until": 0.5},
}
"""What a strategy cannot do without."""

MINING = MiningSection(voxels=0, hard_share=0.6, suspect_rounds=1, suspect_confidence=0.99)

EXAMPLE = "half-rarest"
"""The strategy that CONTRIBUTING.md adds, registered for this suite alone."""

thorough = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seeds = st.integers(0, 2**40)
Tell = Callable[[torch.Tensor], torch.Tensor]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", [*strategies(), EXAMPLE])


@pytest.fixture(scope="module", autouse=True)
def _example_of_contributing() -> Iterator[None]:
    page = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    chapter = page.split("## Add a sampling strategy\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", chapter, re.DOTALL)
    with pytest.MonkeyPatch.context() as patch:
        for register in ("_strategies", "_chains", "_mining"):
            patch.setattr(strategy_registry, register, getattr(strategy_registry, register).copy())
        exec(compile(block, "CONTRIBUTING.md", "exec", dont_inherit=True), {"__name__": "mine"})
        yield


def make(store: Store, name: str, **changes: object) -> PatchSampler:
    """A sampler of short epochs; the run is three of them long."""
    arguments: dict[str, Any] = {
        "strategy": name,
        "patch_size": PATCH,
        "batch_size": 12,
        "seed": 3,
        "mining": MINING,
        "epoch_length": EPOCH,
        "steps": STEPS,
        "prefetch": 0,
    }
    return PatchSampler(store, **(arguments | NEEDS.get(name, {}) | changes))


def at_second_epoch(sampler: PatchSampler, tell: Tell) -> PatchSampler:
    """Receive one epoch, and mine where the strategy asks for it."""
    list(sampler)
    if sampler.mining_due:
        sampler.mine(tell, weights="told")
    return sampler


def second_epochs(store: Store, name: str, tell: Tell, **changes: object) -> PatchSampler:
    return at_second_epoch(make(store, name, **changes), tell)


def centres(store: Store, places: Places) -> np.ndarray:
    """The flat places that windows of odd size are centred on."""
    case = places.case
    z, y, x = (places.corner + np.array([0, PATCH[0] // 2, PATCH[1] // 2])).T
    shape = store.cases.shape[case]
    return store.cases.label_offset[case] + (z * shape[:, 1] + y) * shape[:, 2] + x


def rows(places: Places) -> list[tuple[int, ...]]:
    return list(map(tuple, np.column_stack([places.case, places.corner, places.pool]).tolist()))


def same(first: Batch, second: Batch) -> bool:
    return torch.equal(first.images, second.images) and torch.equal(first.labels, second.labels)


@thorough
@given(seed=seeds, batch_size=st.sampled_from([1, 12, 120]), ahead=st.integers(0, EPOCH - 1))
def test_the_same_seed_gives_the_same_plan(
    told_store: Store, tell: Tell, name: str, seed: int, batch_size: int, ahead: int
) -> None:
    first, second = (
        second_epochs(told_store, name, tell, seed=seed, batch_size=batch_size) for _ in range(2)
    )
    streamed = list(second)
    assert rows(first.plan(EPOCH + ahead)) == rows(streamed[ahead].places)
    assert same(first.batch(EPOCH + ahead), streamed[ahead])
    other = second_epochs(told_store, name, tell, seed=seed + 1, batch_size=120)
    assert rows(other.plan(EPOCH)) != rows(first.plan(EPOCH))


def in_force(sampler: PatchSampler) -> tuple[np.ndarray, np.ndarray]:
    """The flat centres and the pools of all patches since the mixture in force came into force."""
    first = sampler._program.at(sampler.position).first
    end = max(sampler.position, first) + 18
    plans = [sampler.plan(k) for k in range(first, end) if sampler._program.at(k).first == first]
    places = np.concatenate([centres(sampler.store, plan) for plan in plans])
    return places, np.concatenate([plan.pool for plan in plans])


@pytest.mark.parametrize("batch_size", [1, 120])
def test_every_pool_has_had_its_share_to_within_one_patch(
    told_store: Store, tell: Tell, name: str, batch_size: int
) -> None:
    sampler = make(told_store, name, batch_size=batch_size)
    for _ in range(3):
        mixture = sampler.mixture
        _, pools = in_force(sampler)
        counts = np.cumsum(pools[:, None] == np.arange(len(mixture.shares)), axis=0)
        expected = np.arange(1, len(pools) + 1)[:, None] * mixture.delivered
        assert np.abs(counts - expected).max() < 1.0
        np.testing.assert_allclose(mixture.asked.sum(), 1.0)
        at_second_epoch(sampler, tell)


def test_draws_are_uniform_over_their_pool_borders_included(
    told_store: Store, tell: Tell, name: str
) -> None:
    sampler = make(told_store, name, batch_size=4000)
    for _ in range(2):
        places, pools = in_force(sampler)
        checked = 0
        for index, share in enumerate(sampler.mixture.shares):
            drawn = places[pools == index]
            if share.pool.size < 2 or len(drawn) < 10 * share.pool.size:
                continue
            members = share.pool.at(np.arange(share.pool.size))
            edge = members[_on_the_border(told_store, members)]
            assert_uniform(drawn, members, edge, in_turn=share.in_turn)
            checked += 1
        assert checked, "nothing was checked"
        at_second_epoch(sampler, tell)


def assert_uniform(
    drawn: np.ndarray, members: np.ndarray, edge: np.ndarray, *, in_turn: bool
) -> None:
    """Members alone were drawn, all alike often, and each of ``edge`` where chance missed none.

    Of n voxels that are drawn d times each on average, chance misses fewer than n·exp(−d). Below
    0.001 a voxel that was missed is a fault; above it the chi-square alone can tell.
    """
    found, counts = np.unique(drawn, return_counts=True)
    assert np.isin(found, members).all()
    if in_turn:
        np.testing.assert_array_equal(found, members)
        assert counts.max() - counts.min() <= 1
        return
    full = np.zeros(len(members))
    full[np.searchsorted(members, found)] = counts
    assert chisquare(full).pvalue > 1e-4
    if len(edge) * math.exp(-len(drawn) / len(members)) < 1e-3:
        assert np.isin(edge, found).all()


@pytest.mark.parametrize(("draws", "is_a_fault"), [(11.4, False), (22.8, True)])
def test_a_border_voxel_that_was_missed_is_a_fault_where_chance_misses_none(
    draws: float, is_a_fault: bool
) -> None:
    members, edge = np.arange(3153), np.arange(400)
    drawn = np.random.default_rng(0).integers(2, 3153, round(draws * 3153))  # never 0 or 1
    with pytest.raises(AssertionError) if is_a_fault else nullcontext():
        assert_uniform(drawn, members, edge, in_turn=False)


def _on_the_border(store: Store, flat: np.ndarray) -> np.ndarray:
    case, centre = locate(store, flat)
    last = store.cases.shape[case] - 1
    return ((centre == 0) | (centre == last))[:, 1:].any(1)


@thorough
@given(seed=seeds, border=st.sampled_from(["reflect", "background", "shift"]))
def test_windows_hold_what_their_pool_says(
    told_store: Store, tell: Tell, name: str, seed: int, border: str
) -> None:
    sampler = second_epochs(told_store, name, tell, seed=seed, border=border, batch_size=40)
    for number in range(EPOCH, 2 * EPOCH):
        mixture, batch = sampler.mixture, sampler.batch(number)
        labels = batch.labels.flatten(1)
        foreground = ((labels > 0) & (labels != IGNORE)).any(1).numpy()
        for index, pool in enumerate(mixture.names):
            chosen = batch.places.pool == index
            if pool == "windows with nothing" or pool == "false positives":
                assert not foreground[chosen].any()
            elif pool.startswith("windows with"):
                kind = told_store.classes.names.index(pool.removeprefix("windows with "))
                assert (labels[chosen] == kind).any(1).all()
        sampler.receive(batch)


@thorough
@given(seed=seeds, stop=st.integers(0, 3 * EPOCH - 1), batch_size=st.sampled_from([3, 12]))
def test_a_run_that_is_resumed_anywhere_goes_on_alike(
    told_store: Store, tell: Tell, name: str, seed: int, stop: int, batch_size: int
) -> None:
    def go_on(sampler: PatchSampler, until: int) -> list[Batch]:
        received = []
        while sampler.position < until:
            if sampler.mining_due:
                sampler.mine(tell, weights="told")
            for batch in sampler:
                received.append(batch)
                if sampler.position == until:
                    break
        return received

    whole = make(told_store, name, seed=seed, batch_size=batch_size)
    expected = go_on(whole, 3 * EPOCH)
    stopped = make(told_store, name, seed=seed, batch_size=batch_size, prefetch=2)
    go_on(stopped, stop)
    file = io.BytesIO()
    torch.save(stopped.state_dict(), file)
    file.seek(0)
    resumed = make(told_store, name, seed=seed, batch_size=batch_size)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    rest = go_on(resumed, 3 * EPOCH)
    assert len(rest) == 3 * EPOCH - stop
    assert all(same(*pair) for pair in zip(rest, expected[stop:], strict=True))
    assert resumed.delivered() == whole.delivered()
    assert resumed.mined.round == whole.mined.round
    for pool, runs in whole.mined.pools.items():
        np.testing.assert_array_equal(resumed.mined.pools[pool].starts, runs.starts)


@thorough
@given(seed=seeds, world_size=st.sampled_from([2, 3, 4, 12]))
def test_ranks_divide_the_plan_of_one_process(
    told_store: Store, tell: Tell, name: str, seed: int, world_size: int
) -> None:
    alone = second_epochs(told_store, name, tell, seed=seed)
    ranks = [
        make(told_store, name, seed=seed, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    for sampler in ranks:
        list(sampler)
        if sampler.mining_due:
            sampler.use(alone.mined)
    for k in range(EPOCH, 2 * EPOCH):
        parts = [rows(sampler.plan(k)) for sampler in ranks]
        assert {len(part) for part in parts} == {12 // world_size}
        assert sorted(row for part in parts for row in part) == sorted(rows(alone.plan(k)))


def test_cases_without_foreground_are_survived(told_store: Store, tell: Tell, name: str) -> None:
    """The stated rule: shares that nothing can fill go to what there is."""
    clean = told_store.subset(["d", "e"])
    sampler = second_epochs(clean, name, tell, batch_size=8)
    for k in range(EPOCH, 2 * EPOCH):
        assert set(np.unique(sampler.batch(k).labels)) <= {0, IGNORE}
    report = sampler.delivered()
    assert sum(report.centres) == report.patches == 8 * EPOCH
    assert report.covered[1:] == (None, None)
    np.testing.assert_allclose(sum(report.drawn), 1.0)


def test_what_was_delivered_is_what_was_asked(told_store: Store, tell: Tell, name: str) -> None:
    sampler = make(told_store, name, batch_size=60)
    for _ in range(3):
        at_second_epoch(sampler, tell)
    report = sampler.delivered()
    assert report.patches == sum(report.centres) == sum(report.cases) == 60 * 3 * EPOCH
    np.testing.assert_allclose(sum(report.asked), 1.0)
    # Each of at most four stretches may be off by one patch in every pool.
    off = np.abs(np.array(report.centres) - np.array(report.drawn) * report.patches)
    assert off.max() < 4.0
    for phase in report.phases:
        assert phase.patches == sum(phase.centres)
    assert sum(phase.patches for phase in report.phases) in (0, report.patches)
