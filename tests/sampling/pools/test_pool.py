"""Pools are exact sets, and draws from them are exactly uniform."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_cdt
from scipy.stats import chisquare

from rareseg.data.store.array_store import store_from_arrays
from rareseg.data.store.store import Store
from rareseg.errors import UsageError
from rareseg.sampling.pools.pool import (
    Pool,
    difference,
    intersection,
    pool_class,
    pool_classes,
    pool_everything,
    pool_mask,
    pool_of_places,
    pool_of_runs,
    pool_rim,
    pool_where,
    pool_windows,
    union,
)
from rareseg.sampling.pools.windows import BORDERS, Border, as_zyx, corners
from rareseg_runner.image_records import IGNORE
from rareseg_runner.preprocessing.preprocess import Preprocessing


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


def test_draws_by_group_are_uniform_over_groups_then_cases_then_voxels(tmp_path: Path) -> None:
    """Patient p has two cases, of 1 and 3 voxels; q and the case without a group have one each."""
    sizes = {"a": 1, "b": 2, "c": 3, "d": 2, "e": 0}
    store = store_from_arrays(
        tmp_path / "store",
        {name: np.zeros((1, 1, 2, 3), np.uint8) for name in sizes},
        {name: (np.arange(6) < n).reshape(1, 2, 3).astype(np.uint8) for name, n in sizes.items()},
        groups={"a": "p", "b": "q", "c": "p", "e": "r"},
        preprocessing=Preprocessing(dimension=2),
    )
    pool = pool_class(store, 1)
    drawn = pool.draw(np.random.default_rng(2), 100_000, "group")
    places, counts = np.unique(drawn, return_counts=True)
    np.testing.assert_array_equal(places, voxels(pool))
    a, b, c, d = [1 / 3 / 2], [1 / 3 / 2] * 2, [1 / 3 / 2 / 3] * 3, [1 / 3 / 2] * 2
    assert chisquare(counts, 100_000 * np.array([*a, *b, *c, *d])).pvalue > 1e-3
    by_case = np.unique(pool.draw(np.random.default_rng(2), 100_000, "case"), return_counts=True)[1]
    expected = 100_000 / 4 * np.repeat([1, 1 / 2, 1 / 3, 1 / 2], [1, 2, 3, 2])
    assert chisquare(by_case, expected).pvalue > 1e-3


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


@pytest.mark.parametrize("border", BORDERS)
def test_window_pools_hold_as_much_as_they_say(
    scene: tuple[Store, tuple[int, ...]], border: Border
) -> None:
    store, patch_size = scene
    patch = as_zyx(patch_size)
    expected: dict[str, list[int]] = {"count": [], "share": []}
    for row in range(len(store)):
        label = store.label(row)
        for place, centre in enumerate(np.ndindex(label.shape)):
            if label[centre] == IGNORE:
                continue
            first = corners(np.array(centre), np.array(label.shape), patch, border)
            window = label[
                tuple(slice(max(c, 0), c + n) for c, n in zip(first, patch, strict=True))
            ]
            known = window[window != IGNORE]
            flat = int(store.cases.label_offset[row]) + place
            if (known == 2).sum() >= 3:
                expected["count"].append(flat)
            if (known != 0).mean() >= 0.05:
                expected["share"].append(flat)
    found = pool_windows(store, patch_size, border, 2, at_least=3)
    assert found.name == "windows with at least 3 voxels of line"
    np.testing.assert_array_equal(voxels(found), expected["count"])
    found = pool_windows(store, patch_size, border, "foreground", share=0.05)
    assert found.name == "windows with at least 5 % of foreground"
    np.testing.assert_array_equal(voxels(found), expected["share"])


def test_impossible_amounts_are_refused(flat_store: Store) -> None:
    for holds, wrong in (
        ("foreground", {"at_least": 0}),
        (1, {"share": 1.5}),
        ("nothing", {"at_least": 2}),
        ("nothing", {"share": 0.1}),
    ):
        with pytest.raises(UsageError, match="at_least must be 1 or more"):
            pool_windows(flat_store, (4, 4), "reflect", holds, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_rim_is_what_is_near_a_boundary(
    flat_store: Store, volume_store: Store, width: int
) -> None:
    """Against the distance to the next known voxel of another class, in-plane in photographs."""
    for store in (flat_store, volume_store):
        for index in range(store.classes.count):
            expected = []
            for row in range(len(store)):
                label = store.label(row)
                near = np.zeros(label.shape, bool)
                if ((label != index) & (label != IGNORE)).any():
                    distance = distance_transform_cdt(
                        (label == index) | (label == IGNORE), "chessboard"
                    )
                    near = (distance <= width) & (label == index)
                expected.append(store.cases.label_offset[row] + np.flatnonzero(near))
            rim = pool_rim(store, index, width)
            assert rim.name == f"rim of {store.classes.names[index]}"
            np.testing.assert_array_equal(voxels(rim), np.concatenate(expected))
            assert union(rim, pool_class(store, index)).size == pool_class(store, index).size
    with pytest.raises(UsageError, match="width of a rim is 0"):
        pool_rim(flat_store, 1, 0)


def test_a_rim_stays_in_the_plane_where_the_network_does(tmp_path: Path) -> None:
    """One lit plane of three: in planes its rim is its edge, in volumes all of it."""
    label = np.zeros((3, 9, 9), np.uint8)
    label[1, 2:7, 2:7] = 1
    sizes = {}
    for dimension in (2, 3):
        store = store_from_arrays(
            tmp_path / f"{dimension}",
            {"a": np.zeros((1, 3, 9, 9), np.uint8)},
            {"a": label},
            preprocessing=Preprocessing(dimension=dimension),
        )
        sizes[dimension] = pool_rim(store, 1, 1).size
    assert sizes == {2: 25 - 9, 3: 25}


def test_one_s_own_masks(flat_store: Store) -> None:
    def drawn(case: str) -> np.ndarray:
        row = flat_store.row(case)
        return np.random.default_rng(row).random(flat_store.label(row).shape) < 0.2

    pool = pool_mask(flat_store, "mine", {"e": drawn("e")[0], "b": drawn("b").astype(np.uint8)})
    expected = []
    for case in ("b", "e"):
        row = flat_store.row(case)
        known = flat_store.label(row) != IGNORE
        places = np.flatnonzero(drawn(case) & known)
        expected.append(flat_store.cases.label_offset[row] + places)
    np.testing.assert_array_equal(voxels(pool), np.concatenate(expected))
    again = pool_mask(flat_store, "mine", lambda case: drawn(case) if case in "be" else None)
    np.testing.assert_array_equal(voxels(again), voxels(pool))


def test_unfit_masks_are_refused_by_name(flat_store: Store) -> None:
    with pytest.raises(UsageError, match="no case 'z'"):
        pool_mask(flat_store, "mine", {"z": np.ones((3, 3), bool)})
    with pytest.raises(UsageError, match=r"'mine' of case 'b' has the shape \(3, 3\)"):
        pool_mask(flat_store, "mine", {"b": np.ones((3, 3), bool)})
    with pytest.raises(UsageError, match="'mine' of case 'b' holds values other than 0 and 1"):
        pool_mask(flat_store, "mine", {"b": np.full((25, 25), 255)})


masks = st.tuples(st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0]), st.integers(0, 1000))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(first=masks, second=masks, cases=st.sets(st.sampled_from("abcde"), min_size=1))
def test_pools_combine_as_sets(
    flat_store: Store, first: tuple[float, int], second: tuple[float, int], cases: set[str]
) -> None:
    store = flat_store.subset(cases)

    def made(density: float, seed: int) -> Pool:
        rng = np.random.default_rng(seed)
        return pool_where(
            store, str(seed), lambda row: rng.random(store.label(row).shape) < density
        )

    one, two = made(*first), made(*second)
    sets = [set(voxels(pool).tolist()) for pool in (one, two)]
    for combine, expected, word in (
        (union, sets[0] | sets[1], "or"),
        (intersection, sets[0] & sets[1], "and"),
        (difference, sets[0] - sets[1], "without"),
    ):
        pool = combine(one, two)
        assert pool.name == f"{one.name} {word} {two.name}"
        assert voxels(pool).tolist() == sorted(expected)
        # Each case has its own runs, as if its voxels had been named one by one.
        again = pool_of_places(store, "again", np.array(sorted(expected, reverse=True), np.int64))
        np.testing.assert_array_equal(pool.starts, again.starts)
        np.testing.assert_array_equal(pool.lengths, again.lengths)
        np.testing.assert_array_equal(pool.case_bounds, again.case_bounds)
        ends = np.append(store.cases.label_offset, 10**9)
        held = np.diff(np.searchsorted(sorted(expected), ends))
        np.testing.assert_array_equal(np.diff(pool.case_bounds), held)


def test_pools_of_other_cases_do_not_combine(flat_store: Store) -> None:
    other = pool_class(flat_store.subset(["a", "b"]), 1)
    with pytest.raises(UsageError, match="'spot' and 'line' are of other cases"):
        union(other, pool_class(flat_store, 2))


def test_a_pool_comes_back_from_its_runs(flat_store: Store) -> None:
    for pool in (*pool_classes(flat_store), pool_everything(flat_store)):
        again = pool_of_runs(flat_store, pool.name, pool.starts, pool.lengths)
        np.testing.assert_array_equal(voxels(again), voxels(pool))
        np.testing.assert_array_equal(again.case_bounds, pool.case_bounds)


def test_an_index_is_small_beside_its_mask(flat_store: Store, tmp_path: Path) -> None:
    """Runs, not voxels: the whole of a large empty mask is one run, and a run takes four bytes."""
    background = pool_class(flat_store.subset(["d"]), 0)
    assert len(background.starts) == 1
    z, y, x = np.ogrid[-15:15, -60:60, -60:60]
    label = ((z / 8) ** 2 + (y / 20) ** 2 + (x / 20) ** 2 < 1).astype(np.uint8)
    store = store_from_arrays(tmp_path / "ball", {"a": label[None]}, {"a": label})
    runs = sum(len(pool.starts) for pool in pool_classes(store))
    assert sum(pool.nbytes for pool in pool_classes(store)) < 5 * runs < 0.02 * label.size
