"""Labels out of floats, scaled integers, colours and one-hot classes; what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rareseg.errors import ReadError
from rareseg_runner.formats import read_mask
from rareseg_runner.formats.mask_values import from_one_hot, labels_of, unscaled, whole
from rareseg_runner.image_records import Geometry, Image

PATH = Path("m.nii")
SMALL = arrays.arrays(np.uint8, (2, 3, 4), elements=st.integers(0, 5))


@given(SMALL, st.floats(-9e-4, 9e-4))
def test_floats_near_whole_numbers_are_those_numbers(labels, off):
    floats = np.where(labels > 0, labels + off, 0.0)
    np.testing.assert_array_equal(whole(floats, PATH), labels)


@pytest.mark.parametrize("value", [0.5, 0.99, np.nan, np.inf, 2.0**31, 1e-4, -0.002])
def test_other_floats_are_refused(value):
    with pytest.raises(ReadError, match=r"m\.nii is a mask with values that are no whole numbers"):
        whole(np.array([[0.0, 1.0, value]]), PATH)


def test_noise_around_zero_is_zero_and_small_probabilities_are_not():
    assert not whole(np.array([[1e-9, -1e-7]]), PATH).any()
    with pytest.raises(ReadError):
        whole(np.array([[0.0, 2e-6]]), PATH)


@given(SMALL, st.integers(1, 40), st.floats(0.995, 1.005))
def test_labels_that_a_header_scales_are_found_again(labels, factor, off):
    stored = (labels.astype(np.int16) * factor).astype(np.int16)
    np.testing.assert_array_equal(unscaled(stored, off / factor, 0.0, PATH), labels)


@pytest.mark.parametrize(
    ("stored", "slope"),
    [([0, 84, 60], 0.0117647), ([0, 128], 1 / 255), ([0, 2, 3], 0.01), ([0, 99, 100], 0.01)],
)
def test_scaled_probabilities_are_refused(stored, slope):
    with pytest.raises(ReadError, match=r"m\.nii .* scales its values to 0, 0.*scl_slope"):
        unscaled(np.array(stored, np.uint8), slope, 0.0, PATH)


class TestOneHot:
    @given(SMALL)
    def test_with_its_background_every_voxel_has_one(self, labels):
        one_hot = np.stack([labels == k for k in range(6)]).astype(np.uint8)
        np.testing.assert_array_equal(from_one_hot(one_hot, PATH), labels)

    @given(SMALL)
    def test_without_a_background_no_channel_is_0(self, labels):
        labels = labels.copy()
        labels[0, 0, 0] = 0
        one_hot = np.stack([labels == k for k in range(1, 6)]).astype(np.uint8) * 255
        np.testing.assert_array_equal(from_one_hot(one_hot, PATH), labels)

    def test_overlaps_and_channels_of_several_values_are_said(self):
        one_hot = np.zeros((3, 1, 4, 4), np.uint8)
        one_hot[1, 0, 1:3], one_hot[2, 0, 2:] = 1, 1
        with pytest.raises(ReadError, match=r"overlap in 4 voxels \(as 1 and 2\)"):
            from_one_hot(one_hot, PATH)
        one_hot[2, 0, 3, 3] = 7
        with pytest.raises(
            ReadError, match=r"3 channels that differ, and channel 2 holds 0, 1, 7:"
        ):
            from_one_hot(one_hot, PATH)

    def test_a_softmax_is_no_one_hot_mask(self):
        share = np.linspace(0, 1, 16).reshape(1, 1, 4, 4)
        image = Image(np.concatenate([share, 1 - share]), Geometry(dimension=2))
        with pytest.raises(ReadError, match="no whole numbers"):
            labels_of(image, PATH, colours=False)


class TestColours:
    RED = np.zeros((6, 8, 3), np.uint8)
    RED[2:4, 3:6] = (128, 0, 0)

    def written(self, folder, array, name="m.png"):
        PIL.Image.fromarray(array).save(folder / name)
        return folder / name

    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".jp2"])
    def test_one_colour_on_black_is_1_and_the_colour_is_told(self, tmp_path, suffix):
        options = {"lossless": True} if suffix == ".webp" else {}
        PIL.Image.fromarray(self.RED).save(tmp_path / f"m{suffix}", **options)
        mask = read_mask(tmp_path / f"m{suffix}")
        np.testing.assert_array_equal(mask.array[0], self.RED[..., 0] > 0)
        assert mask.palette == ((1, (128, 0, 0)),)

    def test_what_is_transparent_is_background(self, tmp_path):
        alpha = np.where(self.RED[..., :1] > 0, 255, 0).astype(np.uint8)
        white = np.where(alpha > 0, self.RED, 255)
        mask = read_mask(self.written(tmp_path, np.concatenate([white, alpha], -1)))
        np.testing.assert_array_equal(mask.array[0], self.RED[..., 0] > 0)

    @pytest.mark.parametrize("faint", [(10, 20, 30, 128), (0, 0, 0, 255)])
    def test_half_transparent_and_black_on_transparent_are_refused(self, tmp_path, faint):
        array = np.zeros((6, 8, 4), np.uint8)
        array[2:4, 3:6] = faint
        with pytest.raises(ReadError, match="alpha channel that varies"):
            read_mask(self.written(tmp_path, array))

    def test_several_colours_are_named(self, tmp_path):
        array = self.RED.copy()
        array[0, 0], array[0, 1] = (0, 0, 200), (255, 255, 255)
        with pytest.raises(ReadError, match=r"3 beside black: #0000c8, #800000, #ffffff\)"):
            read_mask(self.written(tmp_path, array))

    def test_grey_in_three_channels_keeps_its_values(self, tmp_path):
        grey = np.repeat(np.array([[0, 7], [255, 7]], np.uint8)[..., None], 3, -1)
        mask = read_mask(self.written(tmp_path, grey))
        np.testing.assert_array_equal(mask.array[0], grey[..., 0])
        assert mask.palette is None

    def test_of_a_gif_in_black_and_white_the_greys_are_the_values(self, tmp_path):
        picture = PIL.Image.new("P", (4, 3))
        picture.putdata([0, 0, 1, 1] * 3)
        picture.putpalette([0, 0, 0, 255, 255, 255])
        picture.save(tmp_path / "m.gif", optimize=False)
        mask = read_mask(tmp_path / "m.gif")
        np.testing.assert_array_equal(np.unique(mask.array), [0, 255])
        assert mask.palette is None

    @pytest.mark.parametrize("suffix", [".png", ".tif", ".gif"])
    def test_a_palette_is_told_beside_its_indices(self, tmp_path, suffix):
        picture = PIL.Image.new("P", (4, 3))
        picture.putdata([0, 0, 2, 2] * 3)
        picture.putpalette([0, 0, 0, 9, 9, 9, 200, 10, 20])
        picture.save(tmp_path / f"m{suffix}", **({"optimize": False} if suffix == ".gif" else {}))
        mask = read_mask(tmp_path / f"m{suffix}")
        np.testing.assert_array_equal(np.unique(mask.array), [0, 2])
        assert mask.palette == ((0, (0, 0, 0)), (2, (200, 10, 20)))
