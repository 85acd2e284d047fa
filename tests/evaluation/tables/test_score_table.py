from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rareseg.decision.operating_point import OperatingPoint
from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.measures.case_result import measure_case
from rareseg.evaluation.metrics.overlap import Counts, count_masks, counts_at
from rareseg.evaluation.tables.component_table import components_of_cases
from rareseg.evaluation.tables.highest_scores import UNKNOWN
from rareseg.evaluation.tables.score_table import (
    ScoreTable,
    merge,
    region_references,
    score_case,
    score_cases,
    score_regions,
)
from rareseg.evaluation.tables.score_table_io import load_table, save_table
from rareseg.evaluation.tables.threshold_bins import bin_edges
from rareseg_runner.decision.region_scores import region_scores
from rareseg_runner.image_records import IGNORE, Classes

BRATS = Classes(
    names=("background", "necrosis", "edema", "other", "active"),
    values=(0, 1, 2, 3, 4),
    regions={"whole": (1, 2, 3, 4), "core": (1, 3, 4), "active": (4,)},
)

cases = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float32, n, elements=st.floats(0, 1, width=32)),
        hnp.arrays(np.uint8, n, elements=st.sampled_from([0, 1, IGNORE])),
    )
)


def table_of(scores, reference, case_id="a", region="foreground"):
    return ScoreTable(
        (score_case(scores, reference, case_id=case_id, region=region, ignores=True),)
    )


@pytest.mark.parametrize("kind", ["smooth", "saturated"])
def test_counts_at_every_occurring_threshold_equal_those_of_the_mask(kind, draw_scores):
    scores, reference = draw_scores(kind, 20_000)
    labels = reference.astype(np.uint8)
    labels[:500] = IGNORE
    row = score_case(scores, labels, case_id="a", region="foreground")
    for threshold in [*bin_edges()[row.bins[::37]], 0.5, 0.0, 1.0]:
        mask = scores >= np.float32(threshold)
        assert counts_at(row, float(threshold)) == count_masks(mask, labels, ignores=True)


@given(case=cases, edge=st.integers(0, len(bin_edges()) - 1))
def test_counts_from_the_table_equal_counts_of_the_mask(case, edge):
    scores, labels = case
    threshold = float(bin_edges()[edge])
    row = score_case(scores, labels, case_id="a", region="r", ignores=True)
    assert counts_at(row, threshold) == count_masks(
        scores >= np.float32(threshold), labels, ignores=True
    )


def test_a_threshold_between_edges_is_refused():
    row = score_case([0.2, 0.9], [0, 1], case_id="a", region="r")
    with pytest.raises(ScoreError, match=r"0\.3 is no bin edge.*nearest edge below is 0\.29"):
        counts_at(row, 0.3)


@given(case=cases, cut=st.integers(0, 60))
def test_merge_of_two_halves_is_the_whole(case, cut):
    scores, labels = case
    whole = table_of(scores, labels)
    halves = table_of(scores[:cut], labels[:cut]), table_of(scores[cut:], labels[cut:])
    assert merge(*halves) == merge(*reversed(halves)) == whole


def test_merge_of_tables_of_different_cases_holds_both():
    a, b = table_of([0.1], [0], "a"), table_of([0.2], [1], "b")
    assert merge(a, b) == merge(b, a)
    assert merge(a, b).case_ids == ("a", "b")
    assert merge() == ScoreTable()


def test_merge_refuses_parts_that_disagree():
    a = score_case([0.1], [0], case_id="a", region="r", group="p1")
    b = score_case([0.1], [0], case_id="a", region="r", group="p2")
    with pytest.raises(ScoreError, match=r"'a'.*disagree on group"):
        merge(ScoreTable((a,)), ScoreTable((b,)))


def test_a_table_refuses_two_rows_of_one_case_and_region():
    row = score_case([0.1], [0], case_id="a", region="r")
    with pytest.raises(ScoreError, match="two rows"):
        ScoreTable((row, row))


def test_ignored_voxels_count_nowhere_but_the_gate_sees_them():
    row = score_case([0.1, 0.9, 0.4], [0, IGNORE, 1], case_id="a", region="r")
    assert row.n_voxels == 2
    assert row.n_inside == 1
    assert row.top == np.float32(0.9)


def test_negative_zero_is_zero():
    row = score_case(np.array([-0.0, 0.5], np.float32), [1, 0], case_id="a", region="r")
    assert row == score_case([0.0, 0.5], [1, 0], case_id="a", region="r")


def test_empty_array_gives_an_empty_row():
    row = score_case(np.zeros((0, 3)), np.zeros((0, 3), bool), case_id="a", region="r")
    assert (row.n_voxels, row.top, row.top_bin) == (0, 0.0, -1)
    assert counts_at(row, 0.5) == Counts(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("scores", "reference", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), r"shape \(2, 3\).*shape \(3, 2\)"),
        (np.array([0.5, np.nan]), np.zeros(2), "1 of 2 scores are NaN"),
        (np.array([1.5, -2.0]), np.zeros(2), "2 of 2 scores.*not logits"),
        (np.array([128, 0], np.uint8), np.zeros(2), "uint8.*divide"),
        (np.array([0.5, 0.5]), np.array([0, 2]), "labels == 2"),
        (np.array([0.5, 0.5]), np.array([0, 300]), "labels == 2"),
        (np.array([0.5, 0.5]), np.array([0, 0.5]), "labels == 2"),
    ],
)
def test_impossible_input_is_named_with_case_and_region(scores, reference, message):
    with pytest.raises(ScoreError, match=f"Case 'p7', region 'core'.*{message}"):
        score_case(scores, reference, case_id="p7", region="core")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_strides_and_number_types_do_not_matter(dtype):
    rng = np.random.default_rng(0)
    scores = rng.random((4, 6, 5)).astype(np.float16)
    reference = rng.random((4, 6, 5)) < 0.3
    plain = score_case(scores.astype(np.float32), reference, case_id="a", region="r")
    turned = score_case(
        np.asfortranarray(scores.astype(dtype))[:, ::-1],
        reference.astype(np.int64)[:, ::-1],
        case_id="a",
        region="r",
    )
    assert turned == plain


def test_a_region_is_the_float32_sum_of_its_classes():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 8, (5, 2, 7, 7)).astype(np.float32)
    softmax = np.exp(logits - logits.max(0))
    softmax /= softmax.sum(0)
    scores = region_scores(softmax, BRATS)
    assert list(scores) == ["whole", "core", "active"]
    np.testing.assert_array_equal(scores["active"], softmax[4])
    np.testing.assert_allclose(scores["core"], softmax[[1, 3, 4]].sum(0), atol=1e-6)
    assert all(score.dtype == np.float32 and score.max() <= 1 for score in scores.values())


def test_rounding_is_clamped_but_logits_are_refused():
    probabilities = np.zeros((5, 1, 1, 2), np.float32)
    probabilities[1:] = np.nextafter(np.float32(0.25), np.float32(1))
    assert region_scores(probabilities, BRATS)["whole"].max() == 1.0
    with pytest.raises(ScoreError, match=r"Case 'a', region 'whole'.*logits"):
        score_regions(probabilities * 3, np.zeros((1, 1, 2), np.uint8), BRATS, case_id="a")
    with pytest.raises(ScoreError, match=r"3 channels.*5 classes"):
        region_scores(probabilities[:3], BRATS)


def test_region_references_unite_classes_and_keep_ignore():
    labels = np.array([[[0, 1, 2, 3, 4, IGNORE]]], np.uint8)
    references = region_references(labels, BRATS)
    assert references["whole"].ravel().tolist() == [0, 1, 1, 1, 1, IGNORE]
    assert references["core"].ravel().tolist() == [0, 1, 0, 1, 1, IGNORE]


def test_score_cases_takes_anyones_arrays():
    probabilities = {"b": np.array([[0.2, 0.9]]), "a": np.array([[0.1, 0.3]])}
    references = {"a": np.array([[False, False]]), "b": np.array([[False, True]])}
    table = score_cases(probabilities, references, region="whole", groups={"a": "p1"})
    assert [(row.case_id, row.group, row.n_inside) for row in table] == [
        ("a", "p1", 0),
        ("b", None, 1),
    ]


def test_score_cases_names_cases_that_stand_on_one_side_only():
    one = {"a": np.zeros(1), "b": np.zeros(1)}
    with pytest.raises(ScoreError, match="'b', 'c' stand on one side only"):
        score_cases(one, {"a": np.zeros(1), "c": np.zeros(1)})


def test_select_keeps_what_was_asked_for_and_helps_with_names():
    rows = [
        score_case([0.5], [0], case_id=c, region=r, role=role)
        for c, role in [("a", "validation"), ("b", "test")]
        for r in ["core", "whole"]
    ]
    table = ScoreTable(tuple(rows))
    assert len(table.select(region="core", roles=["test"])) == 1
    assert table.select(case_ids=["a"]).regions == ("core", "whole")
    assert len(table.select(roles=["certify"])) == 0
    with pytest.raises(UsageError, match="did you mean 'core'"):
        table.select(region="coer")


@settings(max_examples=25)
@given(case=cases, group=st.none() | st.text("pü1", max_size=3))
def test_a_table_comes_back_from_disk_as_it_was(case, group, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "scores.npz"
    table = ScoreTable(
        (
            score_case(*case, case_id="ä", region="r", group=group, role="test", ignores=True),
            score_case(*case, case_id="b", region="r", spacing=(3.0, 0.5, 0.5), ignores=True),
        )
    )
    save_table(table, path)
    assert load_table(path) == table


def test_a_table_of_an_earlier_release_is_read_without_its_highest_scores(tmp_path):
    path = tmp_path / "scores.npz"
    table = table_of(np.linspace(0, 1, 500), np.arange(500) % 2)
    save_table(table, path)
    with np.load(path) as archive:
        earlier = {name: archive[name] for name in archive.files if "highest" not in name}
    np.savez(path, **earlier)
    assert load_table(path) == ScoreTable(tuple(replace(r, highest=UNKNOWN) for r in table))


def test_an_empty_table_comes_back_from_disk(tmp_path):
    save_table(ScoreTable(), tmp_path / "scores.npz")
    assert load_table(tmp_path / "scores.npz") == ScoreTable()


def test_a_missing_damaged_or_pickled_table_is_refused(tmp_path):
    path = tmp_path / "scores.npz"
    with pytest.raises(ScoreError, match="does not exist"):
        load_table(path)
    save_table(table_of(np.linspace(0, 1, 500), np.arange(500) % 2), path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:200] + os.urandom(64) + whole[264:]):
        path.write_bytes(damaged)
        with pytest.raises(ScoreError, match=r"scores\.npz is not a whole score table"):
            load_table(path)
    np.savez(path, version=np.array(1), case_id=np.array([{}], object))
    with pytest.raises(ScoreError, match="not a whole"):
        load_table(path)


def test_columns_that_do_not_fit_together_are_refused(tmp_path):
    path = tmp_path / "scores.npz"
    save_table(table_of([0.1, 0.9], [0, 1]), path)
    with np.load(path) as archive:
        arrays = dict(archive)
    for name, change in {
        "bins": 40_000,
        "starts": 9,
        "inside": -1,
        "highest_starts": 1,
        "highest_scores": 0.5,
        "highest_outside": -1,
        "highest_floor": 0.5,
    }.items():
        broken = arrays | {name: np.full_like(arrays[name], change)}
        np.savez(path, **broken)
        with pytest.raises(ScoreError, match="not a whole"):
            load_table(path)
    np.savez(path, **(arrays | {"version": np.array(3)}))
    with pytest.raises(ScoreError, match="version 3"):
        load_table(path)


def test_saving_leaves_nothing_but_the_file(tmp_path):
    save_table(table_of([0.1, 0.9], [0, 1]), tmp_path / "scores.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.npz"]


class TestMasksOfZeroAnd255:
    MASK = np.zeros((4, 4), np.uint8)
    MASK[1:3, 1:3] = 255

    @pytest.mark.parametrize("make", [score_cases, components_of_cases])
    def test_they_are_refused_since_nothing_in_them_would_be_inside(self, make):
        scores = {"a": np.full((4, 4), 0.5, np.float32)}
        with pytest.raises(ScoreError, match=r"holds 255 and no 1.*mask > 0"):
            make(scores, {"a": self.MASK})
        (row,) = make(scores, {"a": self.MASK}, ignores=True).rows
        assert (row.n_inside, row.n_voxels) == (0, 12)

    def test_a_case_is_refused_alike(self):
        nothing = np.zeros((4, 4), np.bool_)
        point = OperatingPoint("r", 0.5)
        with pytest.raises(ScoreError, match="holds 255 and no 1"):
            measure_case(nothing, self.MASK, case_id="a", point=point, top_score=0.1)

    def test_masks_with_a_one_are_taken_as_they_are(self):
        mask = self.MASK.copy()
        mask[0, 0] = 1
        (row,) = score_cases({"a": np.full((4, 4), 0.5, np.float32)}, {"a": mask}).rows
        assert (row.n_inside, row.n_voxels) == (1, 12)


@pytest.mark.parametrize("make", [score_cases, components_of_cases])
def test_sums_that_leave_the_range_by_rounding_are_probabilities(make):
    scores = np.full((3, 3), 1.0000001, np.float32)
    (row,) = make({"a": scores}, {"a": np.ones((3, 3), bool)}).rows
    assert row.top == 1.0
    assert scores.max() > 1.0  # what was given stays as it is
    with pytest.raises(ScoreError):
        make({"a": scores * np.float32(1.01)}, {"a": np.ones((3, 3), bool)})
