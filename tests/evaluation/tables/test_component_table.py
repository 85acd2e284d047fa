from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from rareseg.decision.operating_point import OperatingPoint
from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.metrics.objects import match_objects
from rareseg.evaluation.metrics.overlap import count_masks
from rareseg.evaluation.metrics.point_grid import point_grid
from rareseg.evaluation.tables.component_table import (
    GRID,
    ComponentTable,
    components_of_case,
    components_of_cases,
    components_of_regions,
    merge_components,
    share_found,
)
from rareseg.evaluation.tables.component_table_io import load_components, save_components
from rareseg.evaluation.tables.threshold_bins import bin_edges, bin_of
from rareseg_runner.decision.cut_point import apply_point
from rareseg_runner.image_records import IGNORE, Classes

COARSE = tuple(bin_of(p) for p in (0.125, 0.25, 0.5, 0.625))
EDGES = bin_edges()[list(COARSE)]

volumes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.float32, shape, elements=st.sampled_from([0.0, 0.2, 0.25, 0.5, 0.6, 1.0])),
        hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 1, IGNORE])),
    )
)


def case_of(scores, labels, case_id="a", grid=COARSE, **more):
    return components_of_case(
        np.asarray(scores, np.float32),
        labels,
        case_id=case_id,
        region="r",
        grid=grid,
        ignores=True,
        **more,
    )


def test_components_merge_as_the_threshold_falls_by_hand():
    scores = [[0.6, 0.3, 0.7, 0.0, 0.2, 0.5]]
    labels = np.array([[1, 0, 1, 0, 0, 0]], np.uint8)
    row = case_of(scores, labels)
    seen = list(zip(row.levels, row.sizes, row.inside, row.tops.round(2), strict=True))
    top, half, low = np.float32(0.7), np.float32(0.6), np.float32(0.5)
    assert seen == [
        (0, 3, 2, top),  # >= 0.125: two objects bridged, and a false positive of two
        (0, 2, 0, low),
        (1, 3, 2, top),  # >= 0.25: the false positive has shrunk
        (1, 1, 0, low),
        (2, 1, 1, half),  # >= 0.5: three components
        (2, 1, 1, top),
        (2, 1, 0, low),
        (3, 1, 1, top),  # >= 0.625: one object alone
    ]
    assert list(zip(row.touching, row.touched, strict=True)) == [
        (0, 0), (0, 1), (2, 0), (2, 1), (4, 0), (5, 1), (7, 1),
    ]  # fmt: skip
    assert row.object_sizes.tolist() == [1, 1]
    assert [share_found(row, level) for level in range(4)] == [1.0, 1.0, 1.0, 0.5]
    assert row.is_false.tolist() == [False, True, False, True, False, False, True, False]


@given(case=volumes)
def test_components_agree_with_scipy_at_every_threshold(case):
    scores, labels = case
    row = case_of(scores, labels)
    structure = np.ones((3,) * scores.ndim)
    objects, n_objects = ndimage.label(labels == 1, structure)
    assert row.object_sizes.tolist() == [(objects == i).sum() for i in range(1, n_objects + 1)]
    for level, edge in enumerate(EDGES):
        found, n = ndimage.label(scores >= edge, structure)
        here = np.flatnonzero(row.levels == level)
        assert len(here) == n
        for i, k in enumerate(here, start=1):  # both in raster order
            part = found == i
            assert row.sizes[k] == part.sum()
            assert row.inside[k] == (labels[part] == 1).sum()
            assert row.ignored[k] == (labels[part] == IGNORE).sum()
            assert row.tops[k] == scores[part].max()
            touched = set(objects[part]) - {0}
            assert {t + 1 for t in row.touched[row.touching == k]} == touched


@given(case=volumes, smallest=st.integers(0, 6), gate=st.sampled_from([0.0, 0.25, 0.55, 1.0]))
def test_the_grid_counts_what_the_written_masks_hold(case, smallest, gate):
    scores, labels = case
    sizes = (0, *sorted({2, 4, smallest} - {0}))
    grid = point_grid(
        ComponentTable((case_of(scores, labels),), COARSE), region="r", smallest=sizes
    )
    for level, edge in enumerate(EDGES):
        for k, size in enumerate(sizes):
            point = OperatingPoint("r", float(edge), gate=gate, smallest_component=size)
            mask = apply_point(scores, point)
            assert grid.counts(0, level, k, gate) == count_masks(mask, labels, ignores=True)
            if grid.admitted(gate)[0]:
                match = match_objects(labels, mask, ignores=True)
                assert grid.found[0, level, k] == match.n_found
                assert grid.false_components[0, level, k] == len(match.false_positive_sizes)


def test_a_smooth_volume_on_the_usual_grid_agrees_with_scipy():
    rng = np.random.default_rng(0)
    logits = ndimage.gaussian_filter(rng.normal(0, 1, (12, 40, 40)), 2) * 60 - 6
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    labels = (logits + rng.normal(0, 1, logits.shape) > 2).astype(np.uint8)
    row = case_of(scores, labels, grid=GRID)
    for level in range(0, len(GRID), 9):
        found, n = ndimage.label(scores >= bin_edges()[GRID[level]], np.ones((3, 3, 3)))
        assert row.sizes[row.levels == level].tolist() == np.bincount(found.ravel())[1:].tolist()
    assert n < (row.levels == 0).sum() or row.sizes[0] > 1000


def test_the_usual_grid_ascends_and_holds_one_half():
    thresholds = ComponentTable().thresholds
    assert np.all(np.diff(thresholds) > 0)
    assert 0.5 in thresholds.tolist()
    assert thresholds[0] == 2.0**-14
    assert thresholds[-1] == np.float32(1 - 2.0**-14 + 2.0**-24)
    assert np.abs(thresholds - 0.75).min() < 1e-7


@given(cases=st.lists(volumes, max_size=4), cut=st.integers(0, 4))
def test_merging_the_tables_of_two_halves_is_the_table_of_the_whole(cases, cut):
    rows = tuple(case_of(*case, case_id=str(i)) for i, case in enumerate(cases))
    halves = ComponentTable(rows[:cut], COARSE), ComponentTable(rows[cut:], COARSE)
    whole = ComponentTable(rows, COARSE)
    assert merge_components(*halves) == merge_components(*reversed(halves)) == whole


def test_tables_that_do_not_fit_are_not_merged():
    row = case_of(np.zeros((1, 1)), np.zeros((1, 1), bool))
    one = ComponentTable((row,), COARSE)
    with pytest.raises(ScoreError, match="'a' has two rows"):
        merge_components(one, one)
    with pytest.raises(ScoreError, match="different grids"):
        merge_components(one, ComponentTable())
    assert merge_components() == ComponentTable()


def test_empty_silent_and_full_cases():
    empty = case_of(np.zeros((0, 3)), np.zeros((0, 3), bool))
    assert (empty.n_voxels, empty.n_objects, len(empty.sizes), empty.top) == (0, 0, 0, 0.0)
    silent = case_of(np.zeros((2, 2)), np.ones((2, 2), bool))
    assert (silent.n_inside, silent.n_objects, len(silent.sizes)) == (4, 1, 0)
    full = case_of(np.ones((2, 2)), np.zeros((2, 2), bool))
    assert full.sizes.tolist() == [4] * len(COARSE)
    assert full.n_inside == 0


def test_ignored_voxels_join_components_but_count_nowhere():
    row = case_of([[0.9, 0.9, 0.0, 0.9]], np.array([[0, IGNORE, 0, IGNORE]], np.uint8))
    assert row.sizes[-2:].tolist() == [2, 1]
    assert row.outside[-2:].tolist() == [1, 0]
    assert row.is_false[-2:].tolist() == [True, False]
    assert row.n_voxels == 2


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), r"shape \(2, 3\).*shape \(3, 2\)"),
        (np.array([[0.5, np.nan]]), np.zeros((1, 2)), "without NaN"),
        (np.array([[1.5, 0.0]]), np.zeros((1, 2)), "run from 0.0 to 1.5.*not logits"),
        (np.array([[-2.0, 0.0]]), np.zeros((1, 2)), r"run from -2\.0"),
        (np.array([[128, 0]], np.uint8), np.zeros((1, 2)), "uint8.*divide"),
        (np.array([[0.5, 0.5]]), np.array([[0, 2]]), "labels == 2"),
        (np.array([0.5, 0.5]), np.array([0, 1]), "1 axes"),
    ],
)
def test_impossible_input_is_named_with_case_and_region(scores, labels, message):
    with pytest.raises(ScoreError, match=f"Case 'p7', region 'core'.*{message}"):
        components_of_case(scores, labels, case_id="p7", region="core")


@pytest.mark.parametrize("grid", [(), (0, 5), (5, 5), (7, 5), tuple(range(1, 300)), (40_000,)])
def test_impossible_grids_are_refused(grid):
    with pytest.raises(ScoreError, match="1 to 255 bins, ascending"):
        ComponentTable((), grid)


def test_thresholds_outside_the_grid_are_refused_with_the_nearest():
    table = ComponentTable((), COARSE)
    assert table.level_of(0.5) == 2
    with pytest.raises(ScoreError, match=r"0\.3 is not in.*nearest that is: 0\.25"):
        table.level_of(0.3)


def test_smallest_components_must_ascend():
    with pytest.raises(UsageError, match="ascending from 0"):
        point_grid(ComponentTable(), region="r", smallest=(3, 2))


def test_regions_and_anyones_arrays_give_rows():
    classes = Classes(
        names=("background", "a", "b"), values=(0, 1, 2), regions={"all": (1, 2), "b": (2,)}
    )
    softmax = np.zeros((3, 1, 1, 4), np.float32)
    softmax[0, 0, 0, :2] = softmax[1, 0, 0, 2] = softmax[2, 0, 0, 3] = 1
    table = components_of_regions(
        softmax, np.array([[[0, 0, 1, 2]]], np.uint8), classes, case_id="x"
    )
    assert table.regions == ("all", "b")
    assert [row.n_inside for row in table] == [2, 1]
    own = components_of_cases({"x": softmax[2]}, {"x": softmax[2] > 0}, region="b")
    assert own == ComponentTable((table.select(region="b").rows[0],))
    with pytest.raises(ScoreError, match="'y' stand on one side only"):
        components_of_cases({"x": softmax[2]}, {"x": softmax[2] > 0, "y": softmax[2] > 0})
    with pytest.raises(UsageError, match="did you mean 'all'"):
        table.select(region="al")


@settings(max_examples=25)
@given(case=volumes, group=st.none() | st.text("pü1", max_size=3))
def test_a_table_comes_back_from_disk_as_it_was(case, group, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "components.npz"
    rows = (
        case_of(*case, case_id="ä", group=group, role="test"),
        case_of(*case, case_id="b", spacing=(3.0, 0.5, 0.5)),
    )
    table = ComponentTable(rows, COARSE)
    save_components(table, path)
    assert load_components(path) == table


def test_an_empty_table_comes_back_from_disk(tmp_path):
    save_components(ComponentTable(), tmp_path / "c.npz")
    assert load_components(tmp_path / "c.npz") == ComponentTable()


def test_a_missing_damaged_or_impossible_table_is_refused(tmp_path):
    path = tmp_path / "c.npz"
    with pytest.raises(ScoreError, match="does not exist"):
        load_components(path)
    save_components(
        ComponentTable((case_of([[0.6, 0.0, 0.7]], np.array([[1, 0, 0]])),), COARSE), path
    )
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:200] + os.urandom(64) + whole[264:]):
        path.write_bytes(damaged)
        with pytest.raises(ScoreError, match=r"c\.npz is not a whole component table"):
            load_components(path)
    path.write_bytes(whole)
    with np.load(path) as archive:
        arrays = dict(archive)
    changes = {"levels": 9, "touched": 5, "touching": 99, "sizes": 0, "grid": 7, "pair_starts": 9}
    for name, change in changes.items():
        np.savez(path, **(arrays | {name: np.full_like(arrays[name], change)}))
        with pytest.raises(ScoreError, match="not a whole"):
            load_components(path)
    np.savez(path, **(arrays | {"version": np.array(3)}))
    with pytest.raises(ScoreError, match="version 3"):
        load_components(path)
