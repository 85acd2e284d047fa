"""Pools are exact sets, and draws from them are exactly uniform."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from rareseg.data.records import IGNORE
from rareseg.data.store import Store
from rareseg.sampling.pool import (
    Pool,
    pool_class,
    pool_classes,
    pool_everything,
    pool_where,
    pool_windows,
)
from rareseg.sampling.windows import BORDERS, Border, as_zyx, corners


def voxels(pool: Pool) -> np.ndarray:
    return pool.at(np.arange(pool.size))


def test_classes_partition_everything(flat_store: Store) -> None:
    pools = pool_classes(flat_store)
    for index, pool in enumerate(pools):
        np.testing.assert_array_equal(voxels(pool), np.flatnonzero(flat_store.labels == index))
    assert sum(pool.size for pool in pools) == pool_everything(flat_store).size
    assert (flat_store.labels == IGNORE).sum() == 25
    assert pool_everything(flat_store).size == flat_store.labels.size - 25
    assert [pool.name for pool in pools] == ["background", "spot", "line"]
    np.testing.assert_array_equal(voxels(pool_class(flat_store, 2)), voxels(pools[2]))


def test_runs_do_not_cross_cases(volume_store: Store) -> None:
    pool = pool_where(volume_store, "all", lambda row: np.ones_like(volume_store.label(row), bool))
    assert len(pool.starts) == len(volume_store)
    np.testing.assert_array_equal(np.diff(pool.case_bounds), pool.lengths)


def test_a_subset_s_pools_cover_its_cases_alone(flat_store: Store) -> None:
    subset = flat_store.subset(["e", "b"])
    assert subset.cases.ids == ("b", "e")
    found = voxels(pool_everything(subset))
    expected = np.concatenate(
        [
            flat_store.cases.label_offset[row] + np.flatnonzero(flat_store.label(row) != IGNORE)
            for row in (1, 4)
        ]
    )
    np.testing.assert_array_equal(found, expected)
    assert pool_class(subset, 2).size == 0


def test_membership(flat_store: Store) -> None:
    places = np.arange(flat_store.labels.size)
    pool = pool_class(flat_store, 1)
    np.testing.assert_array_equal(pool.contains(places), flat_store.labels == 1)
    assert not pool_class(flat_store.subset(["d"]), 1).contains(places).any()


def test_draws_are_uniform_over_voxels(flat_store: Store) -> None:
    pool = pool_classes(flat_store)[2]
    drawn = pool.draw(np.random.default_rng(0), 200_000)
    places, counts = np.unique(drawn, return_counts=True)
    np.testing.assert_array_equal(places, voxels(pool))
    assert chisquare(counts).pvalue > 1e-3


def test_draws_by_case_are_uniform_over_cases_then_voxels(flat_store: Store) -> None:
    pool = pool_classes(flat_store)[2]  # 28 voxels in a, 12 in c
    drawn = pool.draw(np.random.default_rng(1), 200_000, "case")
    places, counts = np.unique(drawn, return_counts=True)
    np.testing.assert_array_equal(places, voxels(pool))
    expected = np.concatenate([np.full(28, 100_000 / 28), np.full(12, 100_000 / 12)])
    assert chisquare(counts, expected).pvalue > 1e-3


def test_an_empty_pool_cannot_be_drawn_from(flat_store: Store) -> None:
    pool = pool_class(flat_store.subset(["d"]), 1)
    assert (pool.size, pool.nbytes > 0) == (0, True)
    with pytest.raises(ValueError, match="'spot' is empty"):
        pool.draw(np.random.default_rng(0), 1)


@pytest.mark.parametrize("border", BORDERS)
def test_window_pools_hold_what_they_say(
    scene: tuple[Store, tuple[int, ...]], border: Border
) -> None:
    """Against a slow look into the window of every single voxel."""
    store, patch_size = scene
    patch = as_zyx(patch_size)
    holds: dict[str | int, list[int]] = {"foreground": [], "nothing": [], 1: [], 2: []}
    for row in range(len(store)):
        label = store.label(row)
        for place, centre in enumerate(np.ndindex(label.shape)):
            if label[centre] == IGNORE:
                continue
            first = corners(np.array(centre), np.array(label.shape), patch, border)
            window = label[
                tuple(slice(max(c, 0), c + n) for c, n in zip(first, patch, strict=True))
            ]
            flat = int(store.cases.label_offset[row]) + place
            inside = set(np.unique(window)) - {0, IGNORE}
            holds["foreground" if inside else "nothing"].append(flat)
            for index in inside:
                holds[int(index)].append(flat)
    for what, expected in holds.items():
        pool = pool_windows(store, patch_size, border, what)  # type: ignore[arg-type]
        np.testing.assert_array_equal(voxels(pool), expected)


def test_an_index_is_small_beside_its_mask(flat_store: Store) -> None:
    """Runs, not voxels: the whole of a large empty mask is one run."""
    background = pool_class(flat_store.subset(["d"]), 0)
    assert len(background.starts) == 1
