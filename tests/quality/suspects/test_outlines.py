"""Bands about outlines, compared with counts by hand."""

import numpy as np
import pytest

from rareseg.quality.suspects.outlines import band_reach, measure_moved

SPACING = (1.0, 1.0, 1.0)


def square(side, low, high):
    mask = np.zeros((1, side, side), bool)
    mask[0, low:high, low:high] = True
    return mask


def moved(component, shown, *, counts=None, foreground=None, cut=0.5, score=(0.0, 1.0), reach=2.0):
    scores = np.where(shown, score[1], score[0]).astype(np.float32)
    everywhere = np.ones(component.shape, bool)
    return measure_moved(
        component,
        scores,
        shown,
        everywhere if counts is None else counts,
        ~everywhere if foreground is None else foreground,
        cut=cut,
        reach_mm=reach,
        spacing=SPACING,
    )


def test_the_reach_is_a_third_of_the_radius_and_two_voxels_at_least():
    assert band_reach(10, SPACING, flat=True) == 2.0
    assert band_reach(10_000, SPACING, flat=True) == pytest.approx(np.sqrt(10_000 / np.pi) / 3)
    # In a volume by the ball of as many cubic millimetres; two voxels of its finest axis.
    assert band_reach(30_000, (5, 1, 1), flat=False) == pytest.approx(
        np.cbrt(3 * 30_000 * 5 / (4 * np.pi)) / 3
    )
    assert band_reach(1, (5, 0.5, 0.5), flat=False) == 1.0
    assert band_reach(1, (0.1, 0.5, 0.5), flat=True) == 1.0


def test_the_same_outline_is_not_moved():
    component = square(20, 5, 15)
    assert moved(component, component).share == 0.0


def test_a_object_that_is_grown_is_moved_by_what_is_beyond_in_the_band():
    # Ten by ten, grown by one voxel all around: 44 voxels, of which 40 lie beside a side and 4 at
    # a corner, all within the reach of 2. The band: two rings within, 36 + 28, and outside 40 at
    # a distance of 1, 40 of 2, and 4 corners at 1.41.
    found = moved(square(20, 5, 15), square(20, 4, 16))
    assert found.share == pytest.approx(44 / ((36 + 28 + 84) / 2))
    assert found.among == 0.0


def test_a_voxel_counts_by_how_far_its_score_is_from_the_cut():
    component, grown = square(20, 5, 15), square(20, 4, 16)
    sure = moved(component, grown, score=(0.0, 1.0)).share
    # Half way from the cut to 1; what is drawn has a score above the cut, and says nothing.
    assert moved(component, grown, cut=0.2, score=(0.0, 0.6)).share == pytest.approx(sure / 2)
    # An object that is not shown at all, half way from the cut to 0: 64 voxels of the band's 148.
    nothing = np.zeros_like(component)
    faint = moved(component, nothing, cut=0.4, score=(0.2, 0.2)).share
    assert faint == pytest.approx(0.5 * 64 / (148 / 2))


def test_what_does_not_count_and_what_is_foreground_to_both_is_told():
    component, grown = square(20, 5, 15), square(20, 4, 16)
    left = np.zeros(component.shape, bool)
    left[..., :10] = True
    whole = moved(component, grown)
    assert moved(component, grown, counts=left).share == pytest.approx(whole.share)
    assert moved(component, grown, foreground=left).among == pytest.approx(0.5)
    assert moved(component, grown, foreground=np.ones_like(left)).among == 1.0
    assert moved(component, grown, counts=np.zeros_like(left)).share == 0.0
