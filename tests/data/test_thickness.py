import numpy as np
import pytest

from rareseg.data.checks.mask_facts import thickness


def test_a_line_is_as_thick_as_it_is_wide() -> None:
    mask = np.zeros((40, 200), np.uint8)
    mask[18:24, :] = 1  # 6 pixels wide, from border to border
    assert thickness(mask) == pytest.approx(6.0)


def test_a_disc_is_about_as_thick_as_its_radius() -> None:
    y, x = np.mgrid[:101, :101]
    mask = ((y - 50) ** 2 + (x - 50) ** 2 <= 30**2).astype(np.uint8)
    assert thickness(mask) == pytest.approx(30.0, rel=0.15)


def test_nothing_drawn_has_no_thickness_and_all_drawn_has_no_rim() -> None:
    assert thickness(np.zeros((8, 8), np.uint8)) is None
    assert thickness(np.ones((8, 8), np.uint8)) == pytest.approx(128.0)
