"""Masks of a NIfTI image state their frame as its header does, bit for bit; pairs and scales."""

from __future__ import annotations

import gzip
import struct

import nibabel
import numpy as np
import pytest

from rareseg.errors import ReadError
from rareseg_runner.formats import (
    files_of,
    header_of,
    read_image,
    read_mask,
    write_mask,
    write_probabilities,
)
from rareseg_runner.formats.volumes.nifti import read_nifti

RNG = np.random.default_rng(6)
VOXELS = RNG.integers(-50, 900, (7, 6, 5)).astype(np.int16)
"""Axes (i, j, k)."""
FIELDS = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)


def turned(degrees, spacing=(0.7, 0.9, 2.5), first=(-31.7, 40.123456, 12.3)):
    """Return a matrix (4, 4) turned about z, then tilted about x."""
    a, b = np.radians(degrees), np.radians(degrees / 3)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = about_x @ about_z @ np.diag(spacing)
    affine[:3, 3] = first
    return affine


def written(path, kind=nibabel.Nifti1Image, sform=(1, 2), qform=(1, 1), units="mm"):
    """Write an image whose two forms differ by a shift, as scanners' and registrations' do."""
    image = kind(VOXELS, None)
    scale, code = sform
    shifted = turned(20 * scale)
    shifted[:3, 3] += 0.25
    image.set_sform(shifted, code)
    image.set_qform(turned(20 * qform[0]), qform[1])
    image.header.set_xyzt_units(units)
    image.header["descrip"] = b"patient's name"
    image.to_filename(path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize(
    ("sform", "qform"),
    [((1, 2), (1, 1)), ((1, 4), (0, 0)), ((1, 0), (1, 3)), ((3, 1), (1, 1)), ((0, 0), (0, 0))],
)
def test_both_forms_of_a_mask_are_those_of_its_image(tmp_path, suffix, kind, sform, qform):
    path = written(tmp_path / f"a{suffix}", kind, sform, qform)
    image = read_image([path])
    write_mask(tmp_path / f"m{suffix}", image.array[0] > 100, image.geometry)
    own, mask = nibabel.load(path), nibabel.load(tmp_path / f"m{suffix}")
    assert type(mask) is type(own)
    for field in FIELDS:
        expected, found = np.ravel(own.header[field]), np.ravel(mask.header[field])
        last = 4 if field == "pixdim" else None
        np.testing.assert_array_equal(found[:last], expected[:last], err_msg=field)
    assert mask.header["descrip"] == b"", "what else the header says stays with the image"
    np.testing.assert_array_equal(np.asarray(mask.dataobj), VOXELS > 100)
    again = read_mask(tmp_path / f"m{suffix}")
    np.testing.assert_array_equal(again.array, image.array[0] > 100)
    assert again.geometry == image.geometry


def test_probabilities_keep_it_too_and_other_formats_take_what_they_hold(tmp_path):
    image = read_image([written(tmp_path / "a.nii.gz", units="micron")])
    scores = RNG.random(image.array.shape[1:]).astype(np.float32)
    write_probabilities(tmp_path / "p.nii.gz", scores, image.geometry)
    again = read_image([tmp_path / "p.nii.gz"])
    np.testing.assert_array_equal(again.array[0], scores)
    assert again.geometry == image.geometry
    write_mask(tmp_path / "m.nrrd", scores > 0.5, image.geometry)
    assert read_mask(tmp_path / "m.nrrd").geometry.spacing == pytest.approx(image.geometry.spacing)


class TestPairs:
    @pytest.mark.parametrize("packed", [False, True])
    def test_a_header_and_its_data_are_one_image(self, tmp_path, packed):
        image = nibabel.Nifti1Pair(VOXELS, turned(30))
        image.to_filename(tmp_path / "a.hdr")
        if packed:
            content = (tmp_path / "a.img").read_bytes()
            (tmp_path / "a.img.gz").write_bytes(gzip.compress(content))
            (tmp_path / "a.img").unlink()
        nibabel.Nifti1Image(VOXELS, turned(30)).to_filename(tmp_path / "b.nii")
        pair, single = read_image([tmp_path / "a.hdr"]), read_nifti(tmp_path / "b.nii")
        np.testing.assert_array_equal(pair.array, single.array)
        assert pair.geometry.origin == pytest.approx(single.geometry.origin)

    def test_the_data_file_stands_for_its_header(self, tmp_path):
        nibabel.Nifti1Pair(VOXELS, turned(30)).to_filename(tmp_path / "a.hdr")
        assert header_of(tmp_path / "a.img") == tmp_path / "a.hdr"
        assert header_of(tmp_path / "a.hdr") is None
        assert header_of(tmp_path / "b.img") is None
        assert files_of(tmp_path / "a.hdr") == (tmp_path / "a.hdr", tmp_path / "a.img")
        assert files_of(tmp_path) == (tmp_path / "a.hdr", tmp_path / "a.img")
        assert files_of(tmp_path / "b.nii") == (tmp_path / "b.nii",)
        by_data = read_image([tmp_path / "a.img"])
        np.testing.assert_array_equal(by_data.array, read_image([tmp_path / "a.hdr"]).array)

    def test_analyze_is_read_as_nibabel_reads_it(self, tmp_path):
        image = nibabel.AnalyzeImage(VOXELS, np.diag([-2.0, 3, 4, 1]))
        image.to_filename(tmp_path / "a.hdr")
        found, oracle = read_image([tmp_path / "a.hdr"]), nibabel.load(tmp_path / "a.hdr")
        assert found.geometry.spacing == pytest.approx((4, 3, 2))
        assert found.geometry.orientation == "".join(nibabel.aff2axcodes(oracle.affine))
        assert np.array_equal(np.sort(found.array, None), np.sort(VOXELS, None))

    def test_a_header_alone_and_cut_data_are_refused(self, tmp_path):
        for kind in (nibabel.Nifti1Pair, nibabel.AnalyzeImage):
            kind(VOXELS, np.diag([-2.0, 3, 4, 1])).to_filename(tmp_path / "a.hdr")
            content = (tmp_path / "a.img").read_bytes()
            (tmp_path / "a.img").write_bytes(content[:-1])
            with pytest.raises(ReadError, match=r"a\.hdr is truncated"):
                read_image([tmp_path / "a.hdr"])
            (tmp_path / "a.img").unlink()
            with pytest.raises(ReadError, match=r"a\.hdr is a header without its data; put a\.img"):
                read_image([tmp_path / "a.hdr"])

    def test_other_files_called_hdr_are_refused(self, tmp_path):
        (tmp_path / "a.hdr").write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n" * 20)
        with pytest.raises(ReadError, match=r"a\.hdr is no header of NIfTI or Analyze"):
            read_image([tmp_path / "a.hdr"])


def test_a_mask_whose_header_scales_it_has_whole_numbers(tmp_path):
    labels = (VOXELS > 400).astype(np.uint8)
    image = nibabel.Nifti1Image(labels * 84, turned(0))
    image.header.set_slope_inter(0.0117647, 0)
    image.to_filename(tmp_path / "m.nii.gz")
    mask = read_mask(tmp_path / "m.nii.gz").array
    assert mask.sum() == labels.sum()
    assert set(np.unique(mask)) == {0, 1}
    assert read_image([tmp_path / "m.nii.gz"]).array.max() == pytest.approx(0.988, abs=1e-3)


def test_four_axes_are_channels_of_an_image_and_classes_of_a_mask(tmp_path):
    labels = RNG.integers(0, 3, (7, 6, 5)).astype(np.uint8)
    one_hot = np.stack([labels == k for k in range(3)], -1).astype(np.uint8)
    nibabel.Nifti1Image(one_hot, turned(0)).to_filename(tmp_path / "m.nii")
    nibabel.Nifti1Image(labels[..., None], turned(0)).to_filename(tmp_path / "s.nii")
    assert read_image([tmp_path / "m.nii"]).array.shape[0] == 3
    mask = read_mask(tmp_path / "m.nii").array
    np.testing.assert_array_equal(mask, read_mask(tmp_path / "s.nii").array)
    np.testing.assert_array_equal(np.sort(mask, None), np.sort(labels, None))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_voxels_that_begin_nowhere_are_refused(tmp_path, value):
    nibabel.Nifti1Image(VOXELS, turned(0)).to_filename(tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<f", content, 108, value)
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(ReadError, match=r"a\.nii states no byte at which"):
        read_image([tmp_path / "a.nii"])


def test_what_follows_the_voxels_is_dropped_and_its_checksum_compared(tmp_path, monkeypatch):
    nibabel.Nifti1Image(VOXELS, turned(0)).to_filename(tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    packed = bytearray(gzip.compress(content + bytes(3 << 20)))
    (tmp_path / "b.nii.gz").write_bytes(packed)
    np.testing.assert_array_equal(
        read_image([tmp_path / "b.nii.gz"]).array, read_image([tmp_path / "a.nii"]).array
    )
    packed[-6] ^= 1
    (tmp_path / "b.nii.gz").write_bytes(packed)
    with pytest.raises(ReadError, match=r"b\.nii\.gz cannot be decompressed \(CRC"):
        read_image([tmp_path / "b.nii.gz"])
    monkeypatch.setattr("rareseg_runner.formats.volumes.gzip_files.PLAUSIBLE_BYTES", 2 << 20)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(content + bytes(3 << 20)))
    with pytest.raises(ReadError, match=r"b\.nii\.gz goes on for more than"):
        read_image([tmp_path / "b.nii.gz"])
