"""Single DICOM files are pictures with a spacing; damaged ones are refused."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from rareseg.errors import ReadError
from rareseg_runner.formats import is_image, mask_suffix, read_image, stem_of

RNG = np.random.default_rng(10)


def write(path, array, **tags):
    image = sitk.GetImageFromArray(array, isVector=array.ndim == 3 and array.shape[-1] == 3)
    image.SetSpacing((0.4, 0.3, 2.0)[: image.GetDimension()])
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for tag, value in tags.items():
        image.SetMetaData(tag.replace("_", "|")[1:], value)
    writer.SetFileName(str(path))
    writer.Execute(image)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_a_slice_is_a_picture_with_a_spacing(tmp_path, dtype):
    array = RNG.integers(0, 200, (12, 15)).astype(dtype)
    path = write(tmp_path / "x.dcm", array)
    assert is_image(path)
    assert (stem_of(path), mask_suffix(path)) == ("x", ".nii.gz")
    image = read_image([path])
    np.testing.assert_array_equal(image.array, array[None, None])
    assert image.array.dtype == dtype
    assert image.geometry.spacing == pytest.approx((1.0, 0.3, 0.4))
    assert (image.geometry.dimension, image.geometry.origin) == (2, None)


def test_it_keeps_its_rows_whichever_way_it_lies_in_the_body(tmp_path):
    array = RNG.integers(0, 900, (12, 15)).astype(np.int16)
    tags = {"_0020_0037": "0\\-1\\0\\0\\0\\-1", "_0020_0032": "10\\20\\30", "_0008_0060": "MR"}
    image = read_image([write(tmp_path / "sagittal.dcm", array, **tags)])
    np.testing.assert_array_equal(image.array, array[None, None])


def test_colours_are_channels(tmp_path):
    array = RNG.integers(0, 256, (12, 15, 3), dtype=np.uint8)
    image = read_image([write(tmp_path / "c.dcm", array)])
    np.testing.assert_array_equal(image.array[:, 0], np.moveaxis(array, -1, 0))


def test_a_cut_file_is_refused(tmp_path):
    path = write(tmp_path / "x.dcm", RNG.integers(0, 900, (32, 40)).astype(np.int16))
    content = path.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ReadError, match=r"x\.dcm"):
            read_image([path])
