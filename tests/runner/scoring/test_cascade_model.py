"""How two stages meet, by hand."""

import numpy as np
import pytest

from rareseg_runner.image_records import Classes
from rareseg_runner.scoring.cascade_model import Cascade, first_stage_classes, found_within


def cascade(threshold=0.5, margin=0) -> Cascade:
    return Cascade(2, threshold, margin, {"train": 1.0}, {"train": 0.1})


def maps(*foreground: float) -> np.ndarray:
    """Probabilities (2, 1, 1, x) of background and foreground."""
    p = np.array(foreground, np.float32)[None, None]
    return np.stack([1 - p, p])


def test_of_one_class_the_second_stage_tells_it_from_false_finds():
    joined = cascade().join(maps(0.4, 0.6, 0.9), maps(1.0, 0.5, 0.2))
    np.testing.assert_allclose(joined[1, 0, 0], [0.0, 0.3, 0.18], rtol=1e-6)
    np.testing.assert_allclose(joined.sum(axis=0), 1.0, rtol=1e-6)


def test_of_several_classes_it_shares_out_what_the_first_one_found():
    second = np.array([[0.5, 0.2], [0.4, 0.2], [0.1, 0.6]], np.float32).reshape(3, 1, 1, 2)
    joined = cascade().join(maps(0.8, 0.1), second)
    np.testing.assert_allclose(joined[:, 0, 0, 0], [0.2, 0.8 * 0.8, 0.8 * 0.2], rtol=1e-5)
    np.testing.assert_allclose(joined[:, 0, 0, 1], [1.0, 0.0, 0.0], atol=1e-7)


def test_classes_that_the_second_stage_rules_out_are_no_division_by_zero():
    second = np.array([1.0, 0.0, 0.0], np.float32).reshape(3, 1, 1, 1)
    joined = cascade().join(maps(0.8), second)
    assert np.isfinite(joined).all()
    np.testing.assert_allclose(joined.sum(axis=0), 1.0)


@pytest.mark.parametrize("margin", [0, 1, 2])
def test_the_margin_is_a_box_and_slices_of_photographs_have_no_neighbours(margin):
    volume = np.zeros((7, 7, 7), np.float32)
    volume[3, 3, 3] = 0.9
    found = found_within(volume, 0.5, margin)
    assert found.sum() == (2 * margin + 1) ** 3
    assert found[3 - margin : 4 + margin, 3, 3].all()
    plate = np.zeros((1, 7, 7), np.float32)
    plate[0, 0, 0] = 0.5
    assert found_within(plate, 0.5, margin).sum() == (margin + 1) ** 2
    assert not found_within(plate, 0.51, margin).any()


def test_it_comes_back_from_plain_values():
    made = cascade(0.25, 3)
    assert Cascade.from_dict(made.to_dict()) == made


def test_the_first_stage_knows_one_class():
    classes = Classes(
        ("background", "core", "rim"), (0, 4, 7), {"whole": (1, 2), "core": (1,)}, ignore_value=9
    )
    one = first_stage_classes(classes)
    assert (one.names, one.values, dict(one.regions)) == (
        ("background", "foreground"),
        (0, 1),
        {"foreground": (1,)},
    )
    assert one.ignore_value == 9
