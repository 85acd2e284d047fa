"""Every reader round-trips volumes in their own frame, checked with SimpleITK."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk

from rareseg.errors import OutputError, ReadError
from rareseg_runner.formats import (
    mask_suffix,
    read_image,
    read_mask,
    stem_of,
    suffix_of,
    write_mask,
    write_probabilities,
)
from rareseg_runner.image_records import Geometry

RNG = np.random.default_rng(1)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 4, (4, 5, 6), dtype=np.uint8)
OBLIQUE = (0.98, -0.1987, 0.0, 0.1987, 0.98, 0.0, 0.0, 0.0, 1.0)
DATA = os.environ.get("RARESEG_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="RARESEG_DATA does not name the real data")


def volume(array, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetOrigin((10.0, -20.0, 30.0))
    image.SetDirection([float(v) for v in direction])
    return image


def assert_same_frame(first, second):
    assert first.GetSize() == second.GetSize()
    np.testing.assert_allclose(first.GetSpacing(), second.GetSpacing(), rtol=1e-5)
    np.testing.assert_allclose(first.GetOrigin(), second.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(first.GetDirection(), second.GetDirection(), atol=1e-5)


def write_dicom(folder: Path, array, spacing=2.5, skip=()):
    """Write a series of int16 slices, ``spacing`` mm apart, leaving out some."""
    folder.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for z, plane in enumerate(array):
        if z in skip:
            continue
        piece = sitk.GetImageFromArray(plane[None].astype(np.int16))
        piece.SetSpacing((0.5, 0.75, spacing))
        tags = {
            "0008|0060": "MR",
            "0008|0018": f"1.2.3.4.{z + 1}",
            "0020|000d": "1.2.3",
            "0020|000e": "1.2.3.4",
            "0020|0013": str(z + 1),
            "0020|0032": f"1\\2\\{z * spacing}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for tag, value in tags.items():
            piece.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{z}.dcm"))
        writer.Execute(piece)


class TestNames:
    @pytest.mark.parametrize(
        ("name", "suffix", "stem"),
        [
            ("a.nii.gz", ".nii.gz", "a"),
            ("A.NII.GZ", ".nii.gz", "A"),
            ("b.1.JPG", ".jpg", "b.1"),
            ("scan.v2", ".v2", "scan.v2"),
        ],
    )
    def test_suffix_and_stem(self, name, suffix, stem):
        assert (suffix_of(Path(name)), stem_of(Path(name))) == (suffix, stem)

    def test_masks_of_what_cannot_hold_them(self):
        names = {"a.JPG": ".png", "a.nhdr": ".nrrd", "a.mhd": ".mha", "series": ".nii.gz"}
        assert {name: mask_suffix(Path(name)) for name in names} == names


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize(
    "direction",
    [
        (1, 0, 0, 0, 1, 0, 0, 0, 1),
        (-1, 0, 0, 0, -1, 0, 0, 0, 1),
        (0, 0, 1, 1, 0, 0, 0, 1, 0),
        (0, 0, -1, -1, 0, 0, 0, 1, 0),
        OBLIQUE,
    ],
    ids=["LPS", "RAS", "PSL", "ASR", "oblique"],
)
def test_a_volume_round_trips_in_its_own_frame(tmp_path, suffix, direction):
    source, written = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    sitk.WriteImage(volume(LABELS, direction), source)
    image, mask = read_image([source]), read_mask(source)
    np.testing.assert_array_equal(image.array[0], mask.array)
    assert image.geometry == mask.geometry
    write_mask(written, mask.array, image.geometry)
    ours, theirs = sitk.ReadImage(written), sitk.ReadImage(source)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(ours), LABELS)
    assert_same_frame(ours, theirs)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_all_medical_formats_give_one_canonical_volume(tmp_path, suffix):
    sitk.WriteImage(volume(LABELS, (-1, 0, 0, 0, -1, 0, 0, 0, 1)), tmp_path / f"a{suffix}")
    image = read_image([tmp_path / f"a{suffix}"])
    np.testing.assert_array_equal(image.array[0], LABELS[:, ::-1, ::-1])
    assert image.geometry.spacing == (2.0, 0.75, 0.5)
    assert image.geometry.orientation == "RAS"


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_components_and_a_fourth_axis_are_channels(tmp_path, suffix):
    both = np.stack([LABELS, LABELS + 1])
    vector = sitk.GetImageFromArray(np.moveaxis(both, 0, -1).copy(), isVector=True)
    sitk.WriteImage(vector, tmp_path / f"v{suffix}")
    sitk.WriteImage(sitk.GetImageFromArray(both, isVector=False), tmp_path / f"t{suffix}")
    np.testing.assert_array_equal(read_image([tmp_path / f"v{suffix}"]).array, both)
    np.testing.assert_array_equal(read_image([tmp_path / f"t{suffix}"]).array, both)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_flat_medical_file_stays_flat(tmp_path, suffix):
    sitk.WriteImage(sitk.GetImageFromArray(GREY), tmp_path / f"a{suffix}")
    image = read_image([tmp_path / f"a{suffix}"])
    assert (image.array.shape, image.geometry.dimension) == ((1, 1, 6, 9), 2)
    write_mask(tmp_path / f"b{suffix}", image.array[0] > 9, image.geometry)
    assert sitk.ReadImage(tmp_path / f"b{suffix}").GetSize() == (9, 6)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_probabilities_of_a_volume_keep_every_bit(tmp_path, suffix):
    scores = RNG.random(LABELS.shape, dtype=np.float32)
    sitk.WriteImage(volume(LABELS, OBLIQUE), tmp_path / "a.nii.gz")
    image = read_image([tmp_path / "a.nii.gz"])
    write_probabilities(tmp_path / f"p{suffix}", scores, image.geometry)
    np.testing.assert_array_equal(read_image([tmp_path / f"p{suffix}"]).array[0], scores)


class TestDicom:
    def test_a_series_is_an_image_and_its_mask_a_volume_in_its_frame(self, tmp_path):
        write_dicom(tmp_path / "s", LABELS * 100)
        image = read_image([tmp_path / "s"])
        np.testing.assert_array_equal(image.array[0], LABELS * 100)
        assert image.geometry.spacing == (2.5, 0.75, 0.5)
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "s"))
        for suffix in (".nii.gz", ".nrrd"):
            write_mask(tmp_path / f"m{suffix}", LABELS, image.geometry)
            written = sitk.ReadImage(tmp_path / f"m{suffix}")
            np.testing.assert_array_equal(sitk.GetArrayFromImage(written), LABELS)
            assert_same_frame(written, sitk.ReadImage(names))

    def test_a_missing_slice_is_an_error(self, tmp_path):
        write_dicom(tmp_path / "s", np.concatenate([LABELS, LABELS]), skip={3})
        with pytest.raises(ReadError, match=r"misses slices: 5 mm lie after 2\.dcm"):
            read_image([tmp_path / "s"])

    def test_two_series_in_a_folder_are_an_error(self, tmp_path):
        write_dicom(tmp_path / "s", LABELS)
        for file in (tmp_path / "s").iterdir():
            file.unlink()
        with pytest.raises(ReadError, match="holds no pictures that can be read as slices"):
            read_image([tmp_path / "s"])

    @needs_data
    def test_real_series(self, tmp_path):
        folder = Path(DATA) / "dicom" / "t2"
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
        theirs = sitk.ReadImage(names)
        image = read_image([folder])
        np.testing.assert_array_equal(image.array[0], sitk.GetArrayFromImage(theirs))
        write_mask(tmp_path / "m.nii.gz", image.array[0] > 100, image.geometry)
        written = sitk.ReadImage(tmp_path / "m.nii.gz")
        assert_same_frame(written, theirs)
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(theirs) > 100
        )


class TestChannelsInFiles:
    def test_files_are_stacked_in_order_in_a_type_that_holds_both(self, tmp_path):
        sitk.WriteImage(volume(LABELS), tmp_path / "a.nii.gz")
        sitk.WriteImage(volume(LABELS.astype(np.float32) + 0.5), tmp_path / "b.nii.gz")
        image = read_image([tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"])
        np.testing.assert_array_equal(image.array[0] + 0.5, image.array[1])
        assert image.array.dtype == np.float32

    def test_files_that_do_not_fit_are_named(self, tmp_path):
        sitk.WriteImage(volume(LABELS), tmp_path / "a.nii.gz")
        sitk.WriteImage(volume(LABELS[:3]), tmp_path / "b.nii.gz")
        shifted = volume(LABELS)
        shifted.SetOrigin((0.0, 0.0, 0.0))
        sitk.WriteImage(shifted, tmp_path / "c.nii.gz")
        with pytest.raises(ReadError, match=r"b\.nii\.gz does not fit .*shape"):
            read_image([tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"])
        with pytest.raises(ReadError, match=r"c\.nii\.gz does not fit .*first voxel"):
            read_image([tmp_path / "a.nii.gz", tmp_path / "c.nii.gz"])


class TestMasksThatTeach:
    def test_equal_channels_collapse(self, tmp_path):
        PIL.Image.fromarray(np.stack([GREY] * 3, -1)).save(tmp_path / "m.png")
        np.testing.assert_array_equal(read_mask(tmp_path / "m.png").array[0], GREY)

    def test_colours_are_refused(self, tmp_path):
        PIL.Image.fromarray(COLOUR).save(tmp_path / "m.png")
        with pytest.raises(ReadError, match="which say no class; name the colour"):
            read_mask(tmp_path / "m.png")

    def test_a_constant_alpha_is_dropped_and_a_varying_one_refused(self, tmp_path):
        picture = PIL.Image.fromarray(GREY).convert("LA")
        picture.save(tmp_path / "m.png")
        np.testing.assert_array_equal(read_mask(tmp_path / "m.png").array[0], GREY)
        picture.putalpha(PIL.Image.fromarray(GREY))
        picture.save(tmp_path / "m.png")
        with pytest.raises(ReadError, match="alpha"):
            read_mask(tmp_path / "m.png")

    def test_jpeg_is_refused_whatever_its_name(self, tmp_path):
        PIL.Image.fromarray(GREY).save(tmp_path / "m.jpg")
        shutil.copy(tmp_path / "m.jpg", tmp_path / "disguised.png")
        PIL.Image.fromarray(GREY).save(tmp_path / "m.tif", compression="jpeg")
        assert read_image([tmp_path / "m.tif"]).array.shape == (1, 1, 6, 9)
        with pytest.raises(ReadError, match=r"m\.tif is a mask stored as TIFF with JPEG"):
            read_mask(tmp_path / "m.tif")
        for name in ("m.jpg", "disguised.png"):
            with pytest.raises(ReadError, match=rf"{name} is a mask stored as JPEG.*PNG"):
                read_mask(tmp_path / name)


class TestRefusals:
    def test_what_is_no_image_is_an_error(self, tmp_path):
        (tmp_path / "notes.txt").write_text("no image")
        (tmp_path / "fake.png").write_text("no image")
        with pytest.raises(ReadError, match=r"'\.txt', which is not read"):
            read_image([tmp_path / "notes.txt"])
        with pytest.raises(ReadError, match=r"fake\.png"):
            read_image([tmp_path / "fake.png"])
        with pytest.raises(ReadError, match="does not exist"):
            read_image([tmp_path / "absent.png"])
        with pytest.raises(ReadError, match="at least one file"):
            read_image([])

    def test_floats_beyond_32_bits_are_no_labels(self, tmp_path):
        for value in (2.0**31, np.nan, np.inf, 0.5):
            np.save(tmp_path / "m.npy", np.array([[0.0, value]], np.float32))
            with pytest.raises(ReadError, match="no whole numbers"):
                read_mask(tmp_path / "m.npy")

    def test_a_format_that_cannot_hold_the_mask_is_refused(self, tmp_path):
        with pytest.raises(OutputError, match="JPEG"):
            write_mask(tmp_path / "m.jpg", np.zeros((1, 2, 2), np.uint8), Geometry())
        with pytest.raises(OutputError, match=r"allowed are \.tif, .*\.mha\.$"):
            write_mask(tmp_path / "m.png", np.zeros((3, 2, 2), np.uint8), Geometry())
        assert list(tmp_path.iterdir()) == []


def test_what_reads_photographs_does_not_import_itk():
    """It takes 90 MB, and is imported where it reads or writes a file."""
    asked = "import sys, rareseg_runner.formats, rareseg.data.annotation_export.segment_file; "
    asked += "sys.exit('SimpleITK' in sys.modules)"
    subprocess.run([sys.executable, "-c", asked], check=True)
