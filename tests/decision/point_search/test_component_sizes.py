"""Smallest components in millimetres: chosen, counted and applied alike whatever the spacing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rareseg.decision.calibration.prevalence import calls_at
from rareseg.decision.guarantees.guarantee import make_guarantee
from rareseg.decision.guarantees.guarantee_search import CertifySet, keep_guarantee
from rareseg.decision.guarantees.point_path import path_to
from rareseg.decision.operating_point import (
    Goal,
    OperatingPoint,
    choose_operating_point,
    choose_with_frontier,
    fixed_point,
    usual_sizes,
)
from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.metrics.froc import froc
from rareseg.evaluation.metrics.objects import match_objects
from rareseg.evaluation.metrics.overlap import count_masks
from rareseg.evaluation.metrics.point_grid import point_grid
from rareseg.evaluation.tables.component_table import ComponentTable, components_of_cases
from rareseg.evaluation.tables.component_table_io import load_components, save_components
from rareseg.evaluation.tables.score_table import score_cases
from rareseg_runner.decision.component_size import ANY_SIZE, Size
from rareseg_runner.decision.cut_point import apply_point

SPACINGS = ((1.0, 1.0, 1.0), (0.4, 0.4, 0.4), (3.0, 0.7, 0.7))


def two_spacings():
    """12 cases at 0.4 and 1 mm: an object of 8 to 14 mm³, two false ones of 1 to 2 mm³ each."""
    rng = np.random.default_rng(3)
    scores, references, spacing = {}, {}, {}
    for k in range(12):
        mm = 0.4 if k % 2 else 1.0
        component, false, side = round(2.4 / mm), round(1.2 / mm), 30 if k % 2 else 14
        score = np.full((side,) * 3, 0.01, np.float32)
        mask = np.zeros(score.shape, bool)
        if k % 3:
            z, y, x = rng.integers(1, side // 2 - component, 3)
            mask[z : z + component, y : y + component, x : x + component] = True
        score[mask] = 0.9
        for at in (side // 2 + 1, side - false - 1):
            score[at : at + false, at : at + false, at : at + false] = 0.9
        name = f"c{k:02}"
        scores[name], references[name], spacing[name] = score, mask, (mm,) * 3
    return scores, references, spacing


@pytest.fixture(scope="module")
def cases():
    return two_spacings()


@pytest.fixture(scope="module")
def table(cases):
    scores, references, spacing = cases
    return components_of_cases(scores, references, region="r", spacing=spacing)


def masks_at(cases, point):
    scores, _, spacing = cases
    return {name: apply_point(scores[name], point, spacing=spacing[name]) for name in scores}


def test_a_size_in_mm3_removes_the_same_at_every_spacing(cases, table):
    sizes = [0, *(f"{2**k} mm3" for k in range(6))]
    point = choose_operating_point(table, region="r", smallest=sizes)
    assert point.smallest_component in (Size(2, "mm³"), Size(4, "mm³"), Size(8, "mm³"))
    assert (point.mean_dice, point.share_clean) == (1.0, 1.0)
    for name, mask in masks_at(cases, point).items():
        np.testing.assert_array_equal(mask, cases[1][name])
    # In voxels no size keeps every object and removes all that is false.
    assert choose_operating_point(table, region="r", smallest=[0, 4, 28, 64]).value < 1.0


def test_the_usual_sizes_are_powers_of_two_in_the_images_own_unit(table):
    sizes = usual_sizes(table, "r")
    assert sizes[0] == ANY_SIZE
    assert {size.unit for size in sizes[1:]} == {"mm³"}
    # From above a voxel of 0.064 mm³ to half of an object of 8 to 13.8 mm³.
    assert [size.amount for size in sizes[1:]] == [2.0**k for k in range(-3, 3)]
    assert [s.amount for s in usual_sizes(table, "r", unit="voxels")[1:]] == [2, 4, 8, 16, 32]
    assert choose_operating_point(
        table, region="r", maximize=Goal("f-beta")
    ).smallest_component == Size(2, "mm³")


volumes = st.tuples(
    st.integers(0, 10_000), st.sampled_from(SPACINGS), st.sampled_from([0.2, 0.5, 2.0, 3.1, 6.0])
)


@given(drawn=volumes, gate=st.sampled_from([0.0, 0.9]))
def test_tables_count_what_the_masks_hold_at_any_spacing(drawn, gate):
    seed, _, amount = drawn
    rng = np.random.default_rng(seed)
    scores, references, spacing = {}, {}, {}
    for k, mm in enumerate(SPACINGS):
        scores[f"c{k}"] = rng.choice(np.array([0.1, 0.25, 0.4, 0.8], np.float32), (4, 6, 6))
        references[f"c{k}"] = rng.random((4, 6, 6)) < 0.2
        spacing[f"c{k}"] = mm
    table = components_of_cases(scores, references, region="r", spacing=spacing)
    size = Size(amount, "mm³")
    grid = point_grid(table, region="r", smallest=(0, size))
    points = [OperatingPoint("r", t, gate, size) for t in (0.25, 0.375, 0.5)]
    for point in points:
        level = table.level_of(point.threshold)
        masks = masks_at((scores, references, spacing), point)
        false = 0
        for i, name in enumerate(grid.case_ids):
            assert grid.counts(i, level, 1, gate) == count_masks(masks[name], references[name])
            false += len(match_objects(references[name], masks[name]).false_positive_sizes)
        curve = froc(table, region="r", smallest=size, gate=gate)
        place = len(table.grid) - 1 - level
        assert curve.false_positives[place] == pytest.approx(false / 3)
        calls = calls_at(table, point)
        assert [call.on for call in calls] == [masks[name].any() for name in grid.case_ids]


def test_a_point_by_hand_reaches_what_its_masks_reach(cases, table):
    scores, references, spacing = cases
    tables = score_cases(scores, references, region="r", spacing=spacing), table
    point = fixed_point(*tables, region="r", threshold=0.5, smallest_component="1.5 mm3")
    assert point.smallest_component == Size(1.5, "mm³")
    masks = masks_at(cases, point)
    dice = [
        2 * (masks[n] & references[n]).sum() / (masks[n].sum() + references[n].sum())
        for n in masks
        if references[n].any()
    ]
    clean = [not masks[n].any() for n in masks if not references[n].any()]
    assert point.mean_dice == pytest.approx(np.mean(dice))
    assert point.share_clean == pytest.approx(np.mean(clean))
    assert 0 < point.share_clean < 1  # 1.5 mm³ lie between the two


def test_a_certificate_counts_the_masks_in_mm3(cases, table):
    guarantee = make_guarantee("false negative rate", 0.9, level="object", confidence=None)
    start = OperatingPoint("r", 0.5, smallest_component="9 mm3")
    certify_set = CertifySet(table, "certify", "d", {}, True)
    kept = keep_guarantee(guarantee, start, validation=table, certify_set=certify_set)
    assert kept.point.smallest_component == kept.statement.smallest_component == Size(9, "mm³")
    masks = masks_at(cases, kept.point)
    missed = [
        1.0 - match_objects(cases[1][name], mask).n_found
        for name, mask in masks.items()
        if cases[1][name].any()
    ]
    assert kept.statement.value == pytest.approx(np.mean(missed))
    assert 0 < kept.statement.value < 1  # objects of 8 mm³ are removed, of 13.8 are not
    assert path_to(start, table, guarantee).smallest_component == Size(9, "mm³")


def test_a_size_that_does_not_fit_the_images_is_refused(cases, table):
    with pytest.raises(UsageError, match="the images are volumes; give a size in mm³"):
        choose_operating_point(table, region="r", smallest=[0, "5 mm2"])
    flat = {name: np.full((6, 6), 0.3, np.float32) for name in "ab"}
    masks = {name: np.eye(6, dtype=bool) for name in "ab"}
    bare = components_of_cases(flat, masks)
    photographs = components_of_cases(flat, masks, spacing=(1.0, 0.5, 0.5))
    with pytest.raises(UsageError, match="give a number of pixels"):
        choose_operating_point(bare, region="foreground", smallest=["5 mm2"])
    with pytest.raises(UsageError, match="are photographs; give a size in mm²"):
        choose_operating_point(photographs, region="foreground", smallest=["5 mm3"])
    assert (bare.size_unit, photographs.size_unit, table.size_unit) == ("pixels", "mm²", "mm³")


def test_a_mask_in_mm3_needs_the_spacing():
    point = OperatingPoint("r", 0.5, smallest_component="2 mm3")
    with pytest.raises(UsageError, match="'r' is 2 mm³; give the image's spacing"):
        apply_point(np.zeros((2, 2, 2), np.float32), point)


def test_the_table_in_a_file_keeps_the_kind_of_images(table, tmp_path):
    save_components(table, tmp_path / "t.npz")
    again = load_components(tmp_path / "t.npz")
    assert again == table
    assert again.size_unit == "mm³"
    with np.load(tmp_path / "t.npz") as archive:
        earlier = {name: archive[name] for name in archive.files if name != "unit"}
    np.savez(tmp_path / "earlier.npz", **earlier)
    old = load_components(tmp_path / "earlier.npz")
    # Nothing says whether its spacings are millimetres: sizes are told in voxels, as before.
    assert {size.unit for size in usual_sizes(old, "r")} == {None, "voxels"}
    with pytest.raises(UsageError, match="no spacing that is known; give a number of voxels"):
        choose_operating_point(old, region="r", smallest=[0, "2 mm3"])
    np.savez(tmp_path / "odd.npz", **earlier, unit=np.full(len(old), "inches"))
    with pytest.raises(ScoreError, match="not a whole component table"):
        load_components(tmp_path / "odd.npz")


def test_without_a_spacing_sizes_are_voxels(cases):
    scores, references, _ = cases
    bare = components_of_cases(scores, references, region="r")
    assert bare.size_unit == ComponentTable().size_unit == "voxels"
    point = choose_operating_point(bare, region="r", maximize=Goal("f-beta"))
    assert point.smallest_component.unit in (None, "voxels")
    apply_point(scores["c00"], point)


@pytest.mark.parametrize(
    ("shape", "spacing", "unit"),
    [
        ((6, 6), None, "pixels"),
        ((1, 6, 6), None, "pixels"),
        ((1, 6, 6), (1.0, 0.5, 0.5), "mm²"),
        ((1, 6, 6), (5.0, 0.5, 0.5), "mm³"),
        ((2, 6, 6), (1.0, 1.0, 1.0), "mm³"),
        ((2, 6, 6), None, "voxels"),
    ],
)
def test_the_unit_of_a_case(shape, spacing, unit):
    arrays = {"a": np.zeros(shape, np.float32)}, {"a": np.ones(shape, bool)}
    assert components_of_cases(*arrays, spacing=spacing).size_unit == unit


def test_a_point_of_before_acts_as_before(cases):
    record = OperatingPoint("r", 0.5).to_dict()
    for voxels in (0, 1, 9, 40):
        point = OperatingPoint.from_dict(record | {"smallest_component": voxels})
        assert point.to_dict()["smallest_component"] == voxels
        for name, mask in masks_at(cases, point).items():
            np.testing.assert_array_equal(mask, apply_point(cases[0][name], point))
            sizes = match_objects(np.zeros(mask.shape, bool), mask).predicted_sizes
            assert min(sizes, default=voxels) >= voxels
    sized = OperatingPoint("r", 0.5, smallest_component="0.7 mm3")
    assert OperatingPoint.from_dict(json.loads(json.dumps(sized.to_dict()))) == sized
    with pytest.raises(ScoreError, match="damaged"):
        OperatingPoint.from_dict(record | {"smallest_component": {"mm": 3}})


def test_the_frontier_names_the_unit(table):
    choice = choose_with_frontier(table, region="r", smallest=[0, "1 mm3", "4 mm3"])
    record = [point.to_dict()["smallest_component"] for point in choice.frontier.points]
    assert "4 mm³" in record
    assert set(record) <= {0, "1 mm³", "4 mm³"}
