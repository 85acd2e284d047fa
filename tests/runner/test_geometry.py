"""The canonical frame, against SimpleITK's DICOMOrient and Pillow's EXIF transposition."""

import itertools

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from rareseg_runner.geometry import (
    Frame,
    canonical_frame,
    disagreement,
    file_spacing,
    from_canonical,
    orientation_of,
    place,
    to_canonical,
    upright,
)
from rareseg_runner.image_records import Geometry

ORIENTATIONS = [
    "".join(letters)
    for axes in itertools.permutations(("LR", "PA", "SI"))
    for letters in itertools.product(*axes)
]
VOXELS = np.arange(2 * 3 * 4).reshape(2, 3, 4)


def as_sitk(orientation: str) -> sitk.Image:
    """A volume whose axes grow towards ``orientation``, spacing (i, j, k) = (1, 2, 3)."""
    image = sitk.GetImageFromArray(VOXELS)
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetOrigin((5.0, -6.0, 7.0))
    image.SetDirection(sitk.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation(orientation))
    return image


def placed(image: sitk.Image):
    direction = np.reshape(image.GetDirection(), (3, 3))
    array = sitk.GetArrayFromImage(image)[None]
    return place(array, Frame(image.GetSpacing(), image.GetOrigin(), direction, 3))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_all_48_orientations_agree_with_simpleitk(orientation):
    image = as_sitk(orientation)
    ours, oracle = placed(image), sitk.DICOMOrient(image, "LPS")
    assert ours.geometry.orientation == orientation
    np.testing.assert_array_equal(ours.array[0], sitk.GetArrayFromImage(oracle))
    assert ours.geometry.spacing == oracle.GetSpacing()[::-1]
    origin, direction = canonical_frame(ours.geometry, ours.array.shape[1:])
    np.testing.assert_allclose(origin, oracle.GetOrigin())
    np.testing.assert_allclose(direction, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_way_back_undoes_the_way_in(orientation):
    ours = placed(as_sitk(orientation))
    np.testing.assert_array_equal(from_canonical(ours.array[0], orientation), VOXELS)
    assert file_spacing(ours.geometry) == (1.0, 2.0, 3.0)


@given(st.sampled_from(ORIENTATIONS), st.integers(0, 2))
def test_leading_axes_are_left_alone(orientation, lead):
    array = np.arange(2**lead * 24).reshape(*(2,) * lead, 2, 3, 4)
    back = from_canonical(to_canonical(array, orientation), orientation)
    np.testing.assert_array_equal(back, array)


def test_an_oblique_frame_claims_every_world_axis_once():
    angle = np.deg2rad(50)  # i leans more to P than to L, and so does j to R
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    assert orientation_of(turn) == "PRS"


@pytest.mark.parametrize("exif", range(1, 9))
def test_exif_turns_as_pillow_does(exif):
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    picture = PIL.Image.fromarray(pixels)
    picture.getexif()[274] = exif
    np.testing.assert_array_equal(
        upright(pixels, exif), np.asarray(PIL.ImageOps.exif_transpose(picture))
    )


def test_an_orientation_outside_the_standard_is_upright():
    np.testing.assert_array_equal(upright(VOXELS, 0), VOXELS)
    np.testing.assert_array_equal(upright(VOXELS, 9), VOXELS)


class TestDisagreement:
    shape = (2, 3, 4)
    base = Geometry(
        spacing=(3.0, 2.0, 1.0),
        dimension=3,
        origin=(0.0, 0.0, 0.0),
        direction=tuple(np.eye(3).ravel()),
        orientation="LPS",
    )

    def other(self, **changes):
        return Geometry(**{**self.base.__dict__, **changes})

    def test_the_same_place_in_another_orientation_agrees(self):
        lps, ras = placed(as_sitk("LPS")), placed(sitk.DICOMOrient(as_sitk("LPS"), "RAI"))
        assert ras.geometry.origin != lps.geometry.origin
        assert disagreement(lps.geometry, ras.geometry, lps.array.shape[1:]) is None

    def test_rounding_agrees(self):
        assert disagreement(self.base, self.other(origin=(0.01, 0.0, 0.0)), self.shape) is None
        assert disagreement(self.base, self.other(spacing=(3.0001, 2.0, 1.0)), self.shape) is None

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"spacing": (3.0, 2.0, 1.1)}, "spacing"),
            ({"origin": (0.0, 5.0, 0.0)}, "first voxel"),
            ({"direction": (0.98, -0.2, 0.0, 0.2, 0.98, 0.0, 0.0, 0.0, 1.0)}, "directions"),
        ],
    )
    def test_what_differs_is_named(self, changes, words):
        assert words in (disagreement(self.base, self.other(**changes), self.shape) or "")

    def test_a_photograph_states_nothing_that_could_disagree(self):
        assert disagreement(self.base, Geometry(), self.shape) is None
