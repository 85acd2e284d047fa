"""The strict NIfTI reader against SimpleITK, and where SimpleITK is silent or refuses."""

import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk

from rareseg.errors import ReadError
from rareseg_runner.formats import read_image, read_mask, write_mask
from rareseg_runner.formats.volumes.nifti import read_nifti

RNG = np.random.default_rng(0)
VOXELS = RNG.normal(100, 20, (5, 6, 7)).astype(np.float32)
OBLIQUE = (0.98, -0.1987, 0.0, 0.1987, 0.98, 0.0, 0.0, 0.0, 1.0)


def volume(array=VOXELS, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1), vector=False):
    image = sitk.GetImageFromArray(array, isVector=vector)
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetOrigin((10.0, -20.0, 30.0))
    image.SetDirection([float(v) for v in direction])
    return image


def with_frame(raw, *, sform=None, sform_code=None, qform_code=None):
    """Change the frame that a little-endian NIfTI-1 header states."""
    raw = bytearray(raw)
    if qform_code is not None:
        struct.pack_into("<h", raw, 252, qform_code)
    if sform_code is not None:
        struct.pack_into("<h", raw, 254, sform_code)
    if sform is not None:
        struct.pack_into("<12f", raw, 280, *np.ravel(sform))
    return bytes(raw)


@pytest.fixture
def plain(tmp_path):
    sitk.WriteImage(volume(), tmp_path / "plain.nii")
    return (tmp_path / "plain.nii").read_bytes()


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    "direction",
    [
        (1, 0, 0, 0, 1, 0, 0, 0, 1),
        (-1, 0, 0, 0, -1, 0, 0, 0, 1),
        (0, 0, 1, 1, 0, 0, 0, 1, 0),
        OBLIQUE,
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_reads_what_simpleitk_reads(tmp_path, suffix, direction, dtype):
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(volume(VOXELS.astype(dtype), direction), path)
    oracle = sitk.ReadImage(path)
    upright = sitk.DICOMOrient(oracle, "LPS")
    image = read_nifti(path)
    assert image.array.dtype == dtype
    np.testing.assert_array_equal(image.array[0], sitk.GetArrayFromImage(upright))
    np.testing.assert_allclose(image.geometry.spacing, upright.GetSpacing()[::-1], rtol=1e-6)
    np.testing.assert_allclose(image.geometry.origin, oracle.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(image.geometry.direction, oracle.GetDirection(), atol=1e-5)


def test_the_qform_alone_gives_the_same_frame(tmp_path):
    sitk.WriteImage(volume(direction=OBLIQUE), tmp_path / "a.nii")
    raw = with_frame((tmp_path / "a.nii").read_bytes(), sform_code=0)
    (tmp_path / "q.nii").write_bytes(raw)
    image, oracle = read_nifti(tmp_path / "q.nii"), sitk.ReadImage(tmp_path / "q.nii")
    np.testing.assert_allclose(image.geometry.direction, oracle.GetDirection(), atol=1e-5)
    np.testing.assert_allclose(image.geometry.origin, oracle.GetOrigin(), atol=1e-4)


def test_a_header_without_any_frame_is_read_as_simpleitk_reads_it(tmp_path, plain):
    (tmp_path / "n.nii").write_bytes(with_frame(plain, sform_code=0, qform_code=0))
    image, oracle = read_nifti(tmp_path / "n.nii"), sitk.ReadImage(tmp_path / "n.nii")
    np.testing.assert_allclose(image.geometry.direction, oracle.GetDirection(), atol=1e-6)
    upright = sitk.GetArrayFromImage(sitk.DICOMOrient(oracle, "LPS"))
    np.testing.assert_array_equal(image.array[0], upright)


def test_big_endian_and_scaled_integers(tmp_path):
    header = bytearray(348)
    struct.pack_into(">i", header, 0, 348)
    struct.pack_into(">8h", header, 40, 3, 2, 3, 2, 1, 1, 1, 1)
    struct.pack_into(">2h", header, 70, 4, 16)
    struct.pack_into(">8f", header, 76, 1, 1, 1, 1, 0, 0, 0, 0)
    struct.pack_into(">3f", header, 108, 352, 2.0, 10.0)
    header[344:348] = b"n+1\0"
    stored = np.arange(12, dtype=">i2")
    (tmp_path / "b.nii").write_bytes(bytes(header) + bytes(4) + stored.tobytes())
    image = read_nifti(tmp_path / "b.nii")
    assert image.array.dtype == np.float32
    oracle = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(tmp_path / "b.nii"), "LPS"))
    np.testing.assert_array_equal(image.array[0], oracle)
    assert sorted(image.array.ravel()) == [10.0 + 2.0 * k for k in range(12)]


def test_nifti_2(tmp_path):
    header = bytearray(544)
    struct.pack_into("<i", header, 0, 540)
    header[4:12] = b"n+2\0\r\n\x1a\n"
    struct.pack_into("<2h", header, 12, 2, 8)
    struct.pack_into("<8q", header, 16, 3, 2, 3, 4, 1, 1, 1, 1)
    struct.pack_into("<8d", header, 104, 1, 1, 2, 3, 0, 0, 0, 0)
    struct.pack_into("<q", header, 168, 544)
    struct.pack_into("<2i", header, 344, 0, 1)
    struct.pack_into("<12d", header, 400, -1, 0, 0, 5, 0, -2, 0, 6, 0, 0, 3, 7)
    stored = np.arange(24, dtype=np.uint8)
    (tmp_path / "b.nii").write_bytes(bytes(header) + stored.tobytes())
    image = read_nifti(tmp_path / "b.nii")
    np.testing.assert_array_equal(image.array[0], stored.reshape(4, 3, 2))
    assert image.geometry.orientation == "LPS"
    assert image.geometry.spacing == (3.0, 2.0, 1.0)
    assert image.geometry.origin == (-5.0, -6.0, 7.0)


def test_a_fourth_axis_and_vectors_are_channels(tmp_path):
    both = np.stack([VOXELS, VOXELS + 1])
    sitk.WriteImage(sitk.GetImageFromArray(both, isVector=False), tmp_path / "t.nii.gz")
    sitk.WriteImage(volume(np.moveaxis(both, 0, -1), vector=True), tmp_path / "v.nii.gz")
    np.testing.assert_array_equal(read_nifti(tmp_path / "t.nii.gz").array, both)
    np.testing.assert_array_equal(read_nifti(tmp_path / "v.nii.gz").array, both)


def test_a_single_slice_file_of_two_axes_is_a_picture(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS[0]), tmp_path / "s.nii.gz")
    image = read_nifti(tmp_path / "s.nii.gz")
    assert (image.array.shape, image.geometry.dimension) == ((1, 1, 6, 7), 2)
    np.testing.assert_array_equal(image.array[0, 0], VOXELS[0])


@pytest.mark.parametrize("skew", [1e-3, 1e-2])
def test_a_slightly_skewed_matrix_that_simpleitk_refuses_is_repaired(tmp_path, plain, skew):
    matrix = np.array([[-0.5, skew * 0.5, 0, -10], [0, -0.75, 0, 20], [0, 0, 2, 30]])
    path = tmp_path / "skew.nii"
    path.write_bytes(with_frame(plain, sform=matrix, sform_code=1, qform_code=0))
    with pytest.raises(RuntimeError, match="orthonormal"):
        sitk.ReadImage(path)
    image = read_image([path])
    np.testing.assert_array_equal(image.array[0], VOXELS)
    direction = np.reshape(image.geometry.direction, (3, 3))
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(direction, np.eye(3), atol=skew)
    write_mask(tmp_path / "m.nii.gz", image.array[0] > 100, image.geometry)
    written = sitk.ReadImage(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), VOXELS > 100)


def test_a_skewed_sform_yields_to_a_sound_qform(tmp_path, plain):
    matrix = np.array([[-0.5, 0.01, 0, -10], [0, -0.75, 0, 20], [0, 0, 2, 30]])
    (tmp_path / "s.nii").write_bytes(with_frame(plain, sform=matrix, sform_code=1, qform_code=1))
    image, oracle = read_nifti(tmp_path / "s.nii"), sitk.ReadImage(tmp_path / "s.nii")
    np.testing.assert_allclose(image.geometry.direction, oracle.GetDirection(), atol=1e-6)


def test_a_sheared_volume_is_refused(tmp_path, plain):
    matrix = np.array([[-0.5, 0.3, 0, 0], [0, -0.75, 0, 0], [0, 0, 2, 0]])
    path = tmp_path / "sheared.nii"
    path.write_bytes(with_frame(plain, sform=matrix, sform_code=1, qform_code=0))
    with pytest.raises(ReadError, match=r"sheared\.nii has sheared axes .* resample"):
        read_nifti(path)


def test_nan_reaches_the_caller(tmp_path, plain):
    """SimpleITK would turn it into 0 without a word."""
    path = tmp_path / "nan.nii"
    path.write_bytes(plain[:352] + struct.pack("<f", float("nan")) + plain[356:])
    assert np.isfinite(sitk.GetArrayFromImage(sitk.ReadImage(path))).all()
    assert np.isnan(read_nifti(path).array).sum() == 1


@pytest.mark.parametrize("keep", [0, 3, 100, 348, 400])
def test_truncated_files_are_errors(tmp_path, plain, keep):
    """SimpleITK would fill the missing voxels of the longest with zeros, without a word."""
    (tmp_path / "t.nii").write_bytes(plain[:keep])
    (tmp_path / "t.nii.gz").write_bytes(gzip.compress(plain)[:keep])
    for name in ("t.nii", "t.nii.gz"):
        with pytest.raises(ReadError, match=name.replace(".", r"\.")):
            read_nifti(tmp_path / name)


def test_other_files_and_number_types_are_errors(tmp_path, plain):
    (tmp_path / "text.nii").write_text("not an image" * 50)
    complex_type = bytearray(plain)
    struct.pack_into("<h", complex_type, 70, 32)
    (tmp_path / "complex.nii").write_bytes(complex_type)
    with pytest.raises(ReadError, match="is not a NIfTI"):
        read_nifti(tmp_path / "text.nii")
    with pytest.raises(ReadError, match="complex"):
        read_nifti(tmp_path / "complex.nii")


def test_float_labels_are_accepted_and_fractions_are_not(tmp_path):
    sitk.WriteImage(volume(np.full((2, 2, 2), 3.0, np.float32)), tmp_path / "whole.nii")
    sitk.WriteImage(volume(np.full((2, 2, 2), 0.5, np.float32)), tmp_path / "half.nii")
    assert np.unique(read_mask(tmp_path / "whole.nii").array).tolist() == [3]
    with pytest.raises(ReadError, match="whole numbers"):
        read_mask(tmp_path / "half.nii")
