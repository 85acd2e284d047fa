"""One image score for gates, curves and files: √(presence · top), or the top alone."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rareseg.decision.operating_point import OperatingPoint, default_point
from rareseg.errors import ScoreError
from rareseg.evaluation.measures.case_result import measure_case, write_cases_csv
from rareseg.evaluation.metrics.froc import froc, recall_by_size
from rareseg.evaluation.metrics.image_level_roc import image_level
from rareseg.evaluation.metrics.point_grid import point_grid
from rareseg.evaluation.tables.component_table import (
    ComponentTable,
    components_of_case,
    components_of_cases,
    components_of_regions,
    merge_components,
)
from rareseg.evaluation.tables.component_table_io import load_components, save_components
from rareseg.evaluation.tables.score_table import (
    ScoreTable,
    merge,
    score_case,
    score_cases,
    score_regions,
)
from rareseg.evaluation.tables.score_table_io import load_table, save_table
from rareseg_runner.decision.cut_point import apply_point
from rareseg_runner.decision.image_score import image_score
from rareseg_runner.image_records import Classes

shares = st.floats(0, 1, width=32)


def one(top, presence, *, positive=False, case_id="a", region="r", of=score_case):
    """A case of two voxels: one of score ``top``, in the region where it is positive."""
    return of(
        np.array([[top, 0.0]]),
        np.array([[int(positive), 0]]),
        case_id=case_id,
        region=region,
        presence=presence,
    )


def test_the_image_score_is_the_geometric_mean_or_the_top_alone():
    assert image_score(0.81, 0.25) == np.float32(0.45)
    assert image_score(0.81) == np.float32(0.81)
    assert image_score(0.0, 1.0) == 0.0
    assert image_score(1.0, 0.0) == 0.0


@given(top=shares, presence=st.none() | shares, gate=shares)
def test_one_gate_cuts_masks_tables_and_results_alike(top, presence, gate):
    row = one(top, presence, positive=True)
    parts = one(top, presence, positive=True, of=components_of_case)
    point = OperatingPoint("r", threshold=0.0, gate=gate)
    mask = apply_point(np.array([[top, 0.0]], np.float32), point, presence)
    result = measure_case(
        mask, np.array([[1, 0]], np.uint8), case_id="a", point=point, top_score=row.top,
        presence=presence,
    )  # fmt: skip
    assert row.image_score == parts.image_score == result.image_score
    passes = np.float32(row.image_score) >= np.float32(gate)
    assert mask.all() == mask.any() == passes
    grid = point_grid(ComponentTable((parts,)), region="r")
    assert grid.admitted(gate)[0] == passes


def test_a_gate_below_the_threshold_silences_where_the_presence_is_low():
    scores = np.array([[0.9, 0.1]], np.float32)
    gated = OperatingPoint("r", threshold=0.5, gate=0.4)
    assert apply_point(scores, gated).any()
    assert apply_point(scores, gated, 0.5).any()
    assert not apply_point(scores, gated, 0.1).any(), "√(0.9 · 0.1) is 0.3"


@pytest.mark.parametrize("presence", [-0.1, 1.5, math.nan])
def test_a_presence_that_is_no_probability_is_refused(presence):
    for of in (score_case, components_of_case):
        with pytest.raises(ScoreError, match=r"Case 'a', region 'r': the presence is .* \[0, 1\]"):
            one(0.5, presence, of=of)
    with pytest.raises(ScoreError, match="Region 'r': the presence is"):
        apply_point(np.zeros((1, 2), np.float32), default_point("r"), presence)


def test_scores_with_and_without_a_presence_are_not_mixed():
    known, unknown = one(0.5, 0.5), one(0.5, None, case_id="b")
    with pytest.raises(ScoreError, match="Region 'r' of a score table: some image scores"):
        ScoreTable((known, unknown))
    with pytest.raises(ScoreError, match="some image scores"):
        merge(ScoreTable((known,)), ScoreTable((unknown,)))
    with pytest.raises(ScoreError, match="Parts of case 'a'"):
        merge(ScoreTable((known,)), ScoreTable((one(0.5, None),)))
    components = [
        one(0.5, q, case_id=c, of=components_of_case) for c, q in (("a", 0.5), ("b", None))
    ]
    with pytest.raises(ScoreError, match="Region 'r' of a component table"):
        merge_components(*(ComponentTable((row,)) for row in components))
    both = ScoreTable((known, replace(unknown, region="s")))
    assert both.has_presence("r")
    assert not both.has_presence("s")


def test_the_parts_of_a_case_are_as_present_as_the_most_present_one():
    whole = merge(*(ScoreTable((one(0.5, q),)) for q in (0.25, 0.75, 0.5)))
    assert whole.rows[0].presence == 0.75
    assert (
        merge(ScoreTable((one(0.5, None),)), ScoreTable((one(0.5, None),))).rows[0].presence is None
    )


def test_rows_that_differ_in_presence_are_not_equal():
    for of in (score_case, components_of_case):
        assert one(0.5, 0.5, of=of) == one(0.5, 0.5, of=of)
        assert one(0.5, 0.5, of=of) != one(0.5, 0.25, of=of)
        assert one(0.5, 0.5, of=of) != one(0.5, None, of=of)


@given(presence=shares)
def test_a_presence_comes_back_from_disk_as_it_was(presence, tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    table = ScoreTable((one(0.5, presence), one(0.5, None, region="s")))
    save_table(table, folder / "scores.npz")
    assert load_table(folder / "scores.npz") == table
    rows = [one(0.5, q, region=r, of=components_of_case) for r, q in (("r", presence), ("s", None))]
    components = ComponentTable(tuple(rows))
    save_components(components, folder / "components.npz")
    assert load_components(folder / "components.npz") == components


def test_files_of_the_first_version_have_no_presence(tmp_path):
    kinds = [
        (save_table, load_table, ScoreTable((one(0.5, None),))),
        (
            save_components,
            load_components,
            ComponentTable((one(0.5, None, of=components_of_case),)),
        ),
    ]
    for save, load, table in kinds:
        save(table, tmp_path / "new.npz")
        with np.load(tmp_path / "new.npz") as archive:
            arrays = {name: archive[name] for name in archive.files if "presence" not in name}
        np.savez(tmp_path / "old.npz", **(arrays | {"version": np.array(1)}))
        assert load(tmp_path / "old.npz") == table


def test_a_file_with_an_impossible_presence_is_refused(tmp_path):
    save_table(ScoreTable((one(0.5, 0.5),)), tmp_path / "scores.npz")
    with np.load(tmp_path / "scores.npz") as archive:
        arrays = dict(archive)
    for wrong in (1.5, np.nan):
        np.savez(tmp_path / "wrong.npz", **(arrays | {"presence": np.array([wrong], np.float32)}))
        with pytest.raises(ScoreError, match="not a whole score table"):
            load_table(tmp_path / "wrong.npz")


def test_every_region_and_every_case_has_its_own_presence_or_none_has():
    classes = Classes(("background", "a", "b"), (0, 1, 2), {"a": (1,), "all": (1, 2)})
    arrays = (np.full((3, 1, 2, 2), 1 / 3, np.float32), np.zeros((1, 2, 2), np.uint8), classes)
    said = {"a": 0.25, "all": 0.75}
    for table in (
        score_regions(*arrays, case_id="c", presence=said),
        components_of_regions(*arrays, case_id="c", presence=said),
    ):
        assert {row.region: row.presence for row in table} == said
    for of in (score_regions, components_of_regions):
        with pytest.raises(ScoreError, match="Case 'c': there is no presence of 'all'"):
            of(*arrays, case_id="c", presence={"a": 0.5})
    scores = {"c": np.zeros((2, 2), np.float32), "d": np.ones((2, 2), np.float32)}
    masks = dict.fromkeys(scores, np.zeros((2, 2), bool))
    for of in (score_cases, components_of_cases):
        table = of(scores, masks, presence={"c": 0.5, "d": 0.75})
        assert {row.case_id: row.presence for row in table} == {"c": 0.5, "d": 0.75}
        with pytest.raises(ScoreError, match="no presence of 'd'"):
            of(scores, masks, presence={"c": 0.5})


def test_the_image_level_roc_orders_cases_by_their_image_score():
    # By the top alone the negative one comes first; its low presence puts it last.
    rows = (one(0.8, 0.9, positive=True, case_id="p"), one(0.9, 0.1, case_id="n"))
    assert image_level(ScoreTable(rows), region="r").auc.value == 1.0
    tops = tuple(replace(row, presence=None) for row in rows)
    assert image_level(ScoreTable(tops), region="r").auc.value == 0.0


def test_detection_behind_a_gate_reads_the_image_score():
    rows = [
        one(0.8, q, positive=True, case_id=c, of=components_of_case)
        for c, q in (("a", 0.9), ("b", 0.1))
    ]
    table = ComponentTable(tuple(rows))
    assert froc(table, region="r").recall.max() == 1.0
    assert froc(table, region="r", gate=0.5).recall.max() == 0.5
    assert recall_by_size(table, region="r", threshold=0.5, gate=0.5)[0].recall.value == 0.5


def test_cases_csv_holds_presence_and_image_score_beside_the_top_score(tmp_path):
    nothing = np.zeros((1, 2), bool)
    point = default_point("r")
    results = [
        measure_case(nothing, nothing, case_id=c, point=point, top_score=0.81, presence=q)
        for c, q in (("with", 0.25), ("without", None))
    ]
    write_cases_csv(tmp_path / "cases.csv", results)
    with (tmp_path / "cases.csv").open(newline="", encoding="utf-8") as file:
        told, untold = csv.DictReader(file)
    assert (told["top_score"], told["presence"]) == ("0.81", "0.25")
    assert float(told["image_score"]) == np.float32(0.45)
    assert (untold["presence"], float(untold["image_score"])) == ("", np.float32(0.81))
