"""How much was seen: exact where the numbers are small, within the stated error beyond."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rareseg.data.store.array_store import store_from_arrays
from rareseg.data.store.store import Store
from rareseg.sampling.patches.coverage import Coverage, DistinctWindows
from rareseg.sampling.patches.places import Places, draw_places
from rareseg.sampling.pools.pool import pool_classes, pool_everything
from rareseg.sampling.pools.windows import as_zyx
from rareseg.sampling.strategies.strategy import Mixture, Share


def some_places(case: np.ndarray, corner: np.ndarray) -> Places:
    return Places(case.astype(np.int32), corner.astype(np.int32), np.zeros(len(case), np.int16))


class TestDistinctWindows:
    @settings(deadline=None)
    @given(
        st.lists(
            st.lists(st.tuples(*[st.integers(-2, 1)] * 3, st.integers(0, 2)), max_size=30),
            max_size=5,
        )
    )
    def test_a_few_are_counted_exactly(self, batches: list[list[tuple[int, ...]]]) -> None:
        counter = DistinctWindows()
        for batch in batches:
            rows = np.array(batch, np.int64).reshape(-1, 4)
            counter.add(some_places(rows[:, 3], rows[:, :3]))
        assert counter.count() == len({row for batch in batches for row in batch})

    def test_many_are_counted_within_the_stated_error(self) -> None:
        """20 times 100,000 different windows, each twice: 1.6 % is two standard errors."""
        errors = []
        for number in range(20):
            counter = DistinctWindows()
            for _ in range(2):
                for y in range(0, 1000, 50):
                    corner = np.stack(np.meshgrid([number], np.arange(y, y + 50), np.arange(100)))
                    corner = corner.reshape(3, -1).T
                    counter.add(some_places(np.full(len(corner), number), corner))
            errors.append(counter.count() / 100_000 - 1)
        assert np.max(np.abs(errors)) < 4 * 0.008
        assert np.mean(np.abs(errors)) < 0.016

    def test_it_goes_on_from_its_state(self) -> None:
        rng = np.random.default_rng(0)
        batches = [some_places(rng.integers(0, 9, 50), rng.integers(0, 9, (50, 3)))] * 2
        whole, first, second = DistinctWindows(), DistinctWindows(), DistinctWindows()
        for batch in batches:
            whole.add(batch)
        first.add(batches[0])
        second.restore(first.state())
        second.add(batches[1])
        assert second.count() == whole.count()
        assert second.state() == whole.state()


def covered_by_hand(store: Store, places: Places, patch: tuple[int, int, int]) -> np.ndarray:
    """Mark every voxel that lies in a window, case by case."""
    parts = [np.zeros(store.label(row).shape, bool) for row in range(len(store))]
    for case, corner in zip(places.case, places.corner, strict=True):
        window = tuple(slice(max(c, 0), max(c + n, 0)) for c, n in zip(corner, patch, strict=True))
        parts[case][window] = True
    return np.concatenate([part.reshape(-1) for part in parts])


class TestCoverage:
    @pytest.mark.parametrize("border", ["reflect", "shift"])
    def test_small_classes_are_watched_whole(
        self, scene: tuple[Store, tuple[int, ...]], border: str
    ) -> None:
        store, patch_size = scene
        pools = pool_classes(store)
        coverage = Coverage(store, pools)
        assert coverage.shares() == (0.0, 0.0, 0.0)
        mixture = Mixture((Share(pool_everything(store), 1.0),))
        covered = np.zeros(store.labels.size, bool)
        rng = np.random.default_rng(0)
        for _ in range(4):
            places = draw_places(
                store,
                mixture,
                np.zeros(9, np.int16),
                rng,
                patch_size=patch_size,
                border=border,  # type: ignore[arg-type]
            )
            coverage.add(places, as_zyx(patch_size))
            covered |= covered_by_hand(store, places, as_zyx(patch_size))
            expected = [covered[pool.at(np.arange(pool.size))].mean() for pool in pools]
            assert coverage.shares() == pytest.approx(expected)
        assert 0 < coverage.shares()[0] < 1
        again = Coverage(store, pools)
        again.restore(coverage.state())
        assert again.shares() == coverage.shares()

    def test_a_subset_and_an_absent_class(self, flat_store: Store) -> None:
        store = flat_store.subset(["c", "d"])
        coverage = Coverage(store, pool_classes(store))
        whole = some_places(np.array([0]), np.array([[0, -5, -5]]))
        coverage.add(whole, (1, 100, 100))
        shares = coverage.shares()
        assert shares[1:] == (None, 1.0)
        assert shares[0] == pytest.approx((12 * 50 - 12) / (12 * 50 - 12 + 9 * 7))

    def test_of_large_classes_a_sample_is_watched(
        self, tmp_path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A third of the rows is covered; 100 voxels at even distances tell it to the per cent."""
        monkeypatch.setattr("rareseg.sampling.patches.coverage.WATCHED", 100)
        store = store_from_arrays(
            tmp_path / "store",
            {"a": np.zeros((1, 1, 90, 90), np.uint8)},
            {"a": np.zeros((1, 90, 90), np.uint8)},
        )
        coverage = Coverage(store, pool_classes(store))
        coverage.add(some_places(np.array([0]), np.array([[0, 30, 0]])), (1, 30, 90))
        assert coverage.shares()[0] == pytest.approx(1 / 3, abs=0.01)
