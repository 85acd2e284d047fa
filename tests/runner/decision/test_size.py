"""Sizes with their units: how they are read, written and counted in voxels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rareseg.errors import RecipeError, UsageError
from rareseg.recipe import make_recipe, to_yaml
from rareseg_runner.decision.component_size import ANY_SIZE, Size, as_size, as_sizes, unit_of

ISO, FINE = (1.0, 1.0, 1.0), (0.4, 0.4, 0.4)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5 mm³", Size(5, "mm³")),
        ("5mm3", Size(5, "mm³")),
        ("0.5 mm^3", Size(0.5, "mm³")),
        (".5 mm2", Size(0.5, "mm²")),
        ("20", Size(20, "voxels")),
        ("1 voxel", Size(1, "voxels")),
        ("20 pixels", Size(20, "pixels")),
        ("0 mm3", ANY_SIZE),
        (20, Size(20, "voxels")),
        (0, ANY_SIZE),
        (np.int64(7), Size(7, "voxels")),
    ],
)
def test_a_size_is_read(text, size):
    assert as_size(text) == size
    assert as_size(str(size)) == as_size(size.plain) == size


@pytest.mark.parametrize("text", ["big", "5 mm", "5 mm⁴", "5 cm3", "-5", "1e3 mm3", "", "5 5", "٥"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="'5 mm3'"):
        as_size(text)


@pytest.mark.parametrize("amount", [-1, float("nan"), float("inf"), 2.5])
def test_a_count_is_whole_and_not_negative(amount):
    with pytest.raises(UsageError, match="A smallest component of"):
        as_size(amount)


def test_a_volume_is_so_many_voxels_of_a_spacing():
    assert Size(5, "mm³").voxels(ISO) == 5
    assert Size(4.1, "mm³").voxels(ISO) == 5
    assert Size(1.728, "mm³").voxels(FINE) == 27
    assert Size(1.0, "mm²").voxels((9.0, 0.5, 0.5)) == 4
    assert Size(7, "voxels").voxels(FINE) == 7
    assert ANY_SIZE.voxels(FINE) == 0


@given(st.integers(1, 5000), st.lists(st.floats(0.05, 9.0), min_size=3, max_size=3))
def test_the_size_of_n_voxels_is_n_voxels_again(n, spacing):
    """Also where the file rounded the spacing to float32."""
    volume = Size(n * spacing[0] * spacing[1] * spacing[2], "mm³")
    assert volume.voxels(spacing) == n
    assert volume.voxels([float(np.float32(side)) for side in spacing]) == n


def test_an_area_needs_a_spacing():
    with pytest.raises(UsageError, match="without a spacing"):
        Size(5, "mm²").voxels(ISO)


def test_the_unit_of_images():
    assert unit_of([ISO, FINE], flat=False) == "mm³"
    assert unit_of([FINE, FINE], flat=True) == "mm²"
    assert unit_of([FINE, ISO], flat=True) == "pixels"


@pytest.mark.parametrize(
    ("size", "unit", "answer"),
    [
        ("20", "mm³", Size(20, "voxels")),
        ("20", "mm²", Size(20, "pixels")),
        ("20", "pixels", Size(20, "pixels")),
        ("20 pixels", "pixels", Size(20, "pixels")),
        ("5 mm3", "mm³", Size(5, "mm³")),
        ("20", "voxels", Size(20, "voxels")),
        ("0", "pixels", ANY_SIZE),
        ("5 mm2", "mm³", "volumes"),
        ("20 pixels", "mm³", "volumes"),
        ("5 mm3", "mm²", "'5 mm2'"),
        ("5 mm2", "pixels", "a number of pixels"),
        ("5 mm3", "pixels", "a number of pixels"),
        ("5 mm3", "voxels", "no spacing that is known"),
    ],
)
def test_a_unit_fits_the_images_or_is_refused(size, unit, answer):
    if isinstance(answer, Size):
        assert as_size(size).fitting(unit) == answer
        return
    with pytest.raises(UsageError, match=answer):
        as_size(size).fitting(unit)


def test_sizes_to_choose_from_ascend_in_one_unit():
    assert as_sizes([0, "2 mm3", "4 mm3"]) == (ANY_SIZE, Size(2, "mm³"), Size(4, "mm³"))
    for wrong in ([], [3, 2], [2, 2]):
        with pytest.raises(UsageError, match="ascending"):
            as_sizes(wrong)
    with pytest.raises(UsageError, match="one unit"):
        as_sizes([2, "4 mm3"])


def test_a_recipe_states_it():
    recipe = make_recipe({"decision": {"smallest_component": "5mm3"}})
    assert recipe.decision.smallest_component == Size(5, "mm³")
    assert "  smallest_component: 5 mm³\n" in to_yaml(recipe)
    assert make_recipe(recipe.model_dump()) == recipe
    assert make_recipe({}).decision.smallest_component == ANY_SIZE
    assert make_recipe({"decision": {"smallest_component": 8}}).model_dump()["decision"] == {
        "maximize": "dice",
        "smallest_component": 8,
    }
    for wrong in ("5 furlongs", True, [3]):
        with pytest.raises(RecipeError, match=r"decision.smallest_component"):
            make_recipe({"decision": {"smallest_component": wrong}})
