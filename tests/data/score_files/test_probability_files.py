"""Which probability file belongs to which case, and what it holds on the grid of its image."""

from __future__ import annotations

import re
import struct
import zlib

import nibabel
import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk

from rareseg.data.score_files.probability_files import list_probabilities, read_probabilities
from rareseg.errors import DataError, ReadError
from rareseg_runner.formats import read_image, write_probabilities
from rareseg_runner.geometry import from_canonical

IDS = ("a", "b.1")


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")


class TestListing:
    def test_one_file_per_case_by_its_id(self, tmp_path):
        touch(tmp_path, "a.nii.gz", "b.1.nii", ".hidden.png", "notes.txt")
        found = list_probabilities(tmp_path, IDS)
        assert found.regions == ()
        assert {case: by[""].name for case, by in found.files.items()} == {
            "a": "a.nii.gz",
            "b.1": "b.1.nii",
        }

    def test_what_nnunet_writes_beside_its_npz_is_passed_over(self, tmp_path):
        touch(tmp_path, "a.npz", "a.pkl", "a.nii.gz", "b.1.npz", "b.1.pkl", "b.1.nii.gz")
        touch(tmp_path, "dataset.json", "plans.json", "predict_from_raw_data_args.json")
        found = list_probabilities(tmp_path, IDS)
        assert [by[""].suffix for by in found.files.values()] == [".npz", ".npz"]

    def test_a_folder_per_region(self, tmp_path):
        touch(tmp_path / "core", "a.png", "b.1.png")
        touch(tmp_path / "whole", "a.png", "b.1.png")
        (tmp_path / "logs").mkdir()
        found = list_probabilities(tmp_path, IDS)
        assert found.regions == ("core", "whole")
        assert found.files["a"]["core"] == tmp_path / "core" / "a.png"

    def test_cases_that_are_not_needed_may_lack_scores(self, tmp_path):
        touch(tmp_path, "a.npy")
        assert set(list_probabilities(tmp_path, IDS, ["a"]).files) == {"a"}

    @pytest.mark.parametrize(
        ("files", "said"),
        [
            ([], r"holds no probability file; allowed are \.npz, \.png"),
            (["a.png"], r"no file for 1 of 2 cases \(the first is b\.1\.png\)"),
            (
                ["a.png", "b.1.png", "aa.png"],
                r"aa\.png belongs to no case of the references \(did you mean 'a'\?\)",
            ),
            (["a.png", "a.nii", "b.1.png"], r"holds a\.nii and a\.png of one case"),
            (["a.png", "core/a.png"], "probability files and the folders core"),
            (["core/a.png", "core/b.1.png", "whole/a.png"], r"whole has no file for 1"),
            (["a/a_trans.nii.gz"], r"folder of one case.*write a\.nii\.gz.*separate_folder=False"),
        ],
    )
    def test_each_fault_is_one_sentence(self, tmp_path, files, said):
        for name in files:
            touch((tmp_path / name).parent, (tmp_path / name).name)
        with pytest.raises(DataError, match=said) as error:
            list_probabilities(tmp_path, IDS)
        assert str(tmp_path) in str(error.value)
        assert str(error.value).endswith(".")

    def test_a_folder_that_is_none(self, tmp_path):
        with pytest.raises(DataError, match="is no folder"):
            list_probabilities(tmp_path / "absent", IDS)


@pytest.fixture
def volume(tmp_path):
    """An oblique image whose axes are permuted and flipped, as a file and as read."""
    rng = np.random.default_rng(0)
    image = sitk.GetImageFromArray(rng.normal(size=(3, 4, 5)).astype(np.float32))
    image.SetSpacing((2.0, 1.0, 0.5))
    image.SetOrigin((10.0, -4.0, 3.0))
    image.SetDirection((0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    path = tmp_path / "image.nii.gz"
    sitk.WriteImage(image, str(path))
    return image, read_image((path,))


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "photo.png"
    PIL.Image.fromarray(np.arange(20, dtype=np.uint8).reshape(4, 5)).save(path)
    return read_image((path,))


class TestReading:
    def test_npz_lies_as_the_images_own_file_does(self, volume, tmp_path):
        image, read = volume
        plain = sitk.GetArrayFromImage(image)
        softmax = np.stack([1 / (1 + np.exp(plain)), 1 / (1 + np.exp(-plain))])
        for key, dtype in (("probabilities", np.float32), ("softmax", np.float16)):
            np.savez_compressed(tmp_path / "a.npz", **{key: softmax.astype(dtype)})
            found = read_probabilities(tmp_path / "a.npz", read)
            assert found.dtype == np.float32
            expected = 1 / (1 + np.exp(-read.array[0]))
            np.testing.assert_allclose(found[1], expected, atol=1e-3)

    def test_nifti_by_simpleitk_and_by_nibabel_are_the_same(self, volume, tmp_path):
        image, read = volume
        plain = sitk.GetArrayFromImage(image)
        scores = (1 / (1 + np.exp(-plain))).astype(np.float32)
        itk = sitk.GetImageFromArray(scores)
        itk.CopyInformation(image)
        sitk.WriteImage(itk, str(tmp_path / "a.nii.gz"))
        affine = nibabel.load(tmp_path / "image.nii.gz").affine
        channels = np.stack([1 - scores, scores], axis=-1).transpose(2, 1, 0, 3)
        nibabel.save(nibabel.Nifti1Image(channels, affine), tmp_path / "b.nii.gz")
        np.save(tmp_path / "c.npy", scores)
        expected = 1 / (1 + np.exp(-read.array))
        np.testing.assert_allclose(
            read_probabilities(tmp_path / "a.nii.gz", read), expected, atol=1e-6
        )
        both = read_probabilities(tmp_path / "b.nii.gz", read)
        np.testing.assert_allclose(both[1:], expected, atol=1e-6)
        np.testing.assert_allclose(both[0], 1 - both[1], atol=1e-6)
        np.testing.assert_allclose(
            read_probabilities(tmp_path / "c.npy", read), expected, atol=1e-6
        )

    @pytest.mark.parametrize(("dtype", "levels"), [(np.uint8, 255), (np.uint16, 65535)])
    def test_greyscale_png_is_scaled(self, photograph, tmp_path, dtype, levels):
        values = np.linspace(0, levels, 20).reshape(4, 5).astype(dtype)
        PIL.Image.fromarray(values).save(tmp_path / "a.png")
        found = read_probabilities(tmp_path / "a.png", photograph)
        np.testing.assert_array_equal(found[0, 0], values.astype(np.float32) / np.float32(levels))
        assert found.max() == 1.0

    def test_what_predict_writes_is_read(self, photograph, volume, tmp_path):
        scores = np.random.default_rng(1).random((1, 4, 5)).astype(np.float32)
        write_probabilities(tmp_path / "a.png", scores, photograph.geometry)
        found = read_probabilities(tmp_path / "a.png", photograph)
        np.testing.assert_allclose(found[0], scores, atol=1e-5)
        _, read = volume
        write_probabilities(tmp_path / "a.nrrd", np.abs(np.sin(read.array[0])), read.geometry)
        np.testing.assert_allclose(
            read_probabilities(tmp_path / "a.nrrd", read)[0], np.abs(np.sin(read.array[0]))
        )

    @pytest.mark.parametrize("affine", [np.eye(4), np.diag([-1.0, -1.0, 1.0, 1.0])])
    def test_a_photographs_scores_as_nifti_keep_their_pixels(self, photograph, tmp_path, affine):
        scores = np.random.default_rng(1).random((4, 5)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(scores.T, affine), tmp_path / "a.nii.gz")
        found = read_probabilities(tmp_path / "a.nii.gz", photograph)
        np.testing.assert_array_equal(found[0, 0], scores)

    def test_a_photograph_turned_by_its_exif_note(self, tmp_path):
        pixels = np.arange(20, dtype=np.uint8).reshape(4, 5)
        exif = PIL.Image.Exif()
        exif[274] = 6
        PIL.Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
        image = read_image((tmp_path / "photo.png",))
        assert image.array.shape == (1, 1, 5, 4)
        scores = pixels[None, None].astype(np.float32) / 20
        np.savez(tmp_path / "a.npz", probabilities=np.concatenate([1 - scores, scores]))
        found = read_probabilities(tmp_path / "a.npz", image)
        np.testing.assert_allclose(found[1] * 20, image.array[0], atol=1e-5)

    def test_npz_of_a_photograph_without_slices(self, photograph, tmp_path):
        np.savez(tmp_path / "a.npz", probabilities=np.full((2, 4, 5), 0.5, np.float32))
        assert read_probabilities(tmp_path / "a.npz", photograph).shape == (2, 1, 4, 5)


def _npz(path, **arrays):
    np.savez(path, **arrays)


class TestFaults:
    def refused(self, path, image, said):
        with pytest.raises(ReadError, match=said) as error:
            read_probabilities(path, image)
        assert str(path) in str(error.value)
        assert re.search(r"[^.]\.$", str(error.value))

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            (np.nan, "holds 1 values of 20 that are NaN or outside"),
            (1.01, "logits"),
            (-0.01, "logits"),
        ],
    )
    def test_values_that_are_no_probability(self, photograph, tmp_path, value, said):
        scores = np.full((1, 1, 4, 5), 0.5, np.float32)
        scores[0, 0, 2, 2] = value
        _npz(tmp_path / "a.npz", probabilities=scores)
        self.refused(tmp_path / "a.npz", photograph, said)

    def test_rounding_is_no_fault(self, photograph, tmp_path):
        _npz(tmp_path / "a.npz", probabilities=np.full((1, 1, 4, 5), 1.0005, np.float32))
        assert read_probabilities(tmp_path / "a.npz", photograph).max() > 1

    def test_a_cropped_npz_names_nnunet_1(self, photograph, tmp_path):
        _npz(tmp_path / "a.npz", softmax=np.full((2, 1, 3, 5), 0.5, np.float16))
        self.refused(tmp_path / "a.npz", photograph, "nnU-Net 1 writes the cropped part")

    def test_another_grid(self, volume, tmp_path):
        image, read = volume
        other = sitk.GetImageFromArray(np.full((3, 4, 5), 0.5, np.float32))
        other.CopyInformation(image)
        other.SetOrigin((0.0, 0.0, 0.0))
        sitk.WriteImage(other, str(tmp_path / "a.nii.gz"))
        self.refused(tmp_path / "a.nii.gz", read, "does not lie on its image: the first voxel")
        small = sitk.GetImageFromArray(np.full((2, 4, 5), 0.5, np.float32))
        small.SetDirection(image.GetDirection())
        sitk.WriteImage(small, str(tmp_path / "b.nii.gz"))
        self.refused(tmp_path / "b.nii.gz", read, "has the shape")

    def test_segmentations_in_place_of_probabilities(self, volume, photograph, tmp_path):
        image, read = volume
        mask = sitk.GetImageFromArray(np.ones((3, 4, 5), np.uint8))
        mask.CopyInformation(image)
        sitk.WriteImage(mask, str(tmp_path / "a.nii.gz"))
        self.refused(tmp_path / "a.nii.gz", read, "uint8, which looks like a segmentation")
        _npz(tmp_path / "a.npz", probabilities=np.ones((2, 1, 4, 5), np.int64))
        self.refused(tmp_path / "a.npz", photograph, "int64")

    def test_other_keys_ranks_and_damage(self, photograph, tmp_path):
        _npz(tmp_path / "a.npz", data=np.zeros(3), seg=np.zeros(3))
        self.refused(tmp_path / "a.npz", photograph, "holds data, seg; the array must be named")
        _npz(tmp_path / "b.npz", softmax=np.zeros(3))
        self.refused(tmp_path / "b.npz", photograph, r"shape \(3,\)")
        (tmp_path / "c.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:40])
        self.refused(tmp_path / "c.npz", photograph, r"cannot be read \(")

    def test_nothing_is_unpickled(self, photograph, tmp_path):
        _npz(tmp_path / "a.npz", softmax=np.array([{"a": 1}], dtype=object))
        self.refused(tmp_path / "a.npz", photograph, r"cannot be read \(Object arrays")

    def test_png_in_colours_or_of_few_bits(self, photograph, tmp_path):
        PIL.Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / "a.png")
        self.refused(tmp_path / "a.png", photograph, "colour type 2")
        PIL.Image.fromarray(np.zeros((4, 5), bool)).save(tmp_path / "b.png")
        self.refused(tmp_path / "b.png", photograph, "1 bits a sample")
        chunk = struct.pack(">IIBBBBB", 5, 4, 8, 0, 0, 0, 0)
        head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + chunk
        head += struct.pack(">I", zlib.crc32(b"IHDR" + chunk))
        (tmp_path / "c.png").write_bytes(head)
        self.refused(tmp_path / "c.png", photograph, "cannot be read")


def test_from_canonical_undoes_what_the_reader_did(volume):
    image, read = volume
    plain = from_canonical(read.array, read.geometry.orientation)
    np.testing.assert_array_equal(plain[0], sitk.GetArrayFromImage(image))
