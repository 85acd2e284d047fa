"""nnU-Net, lists in JSON, 3D Slicer."""

import json

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
import tifffile

from rareseg.data.case_files import read_case_mask
from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.errors import ReadError
from rareseg_runner.formats import read_image


def picture(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.asarray(array, np.uint8)).save(path)


def volume(path, array=None, names=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.zeros((2, 3, 4), np.uint8) if array is None else array)
    for number, (name, value) in enumerate(names):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(value))
        image.SetMetaData(f"Segment{number}_ID", f"Segment_{number}")
    sitk.WriteImage(image, str(path))


def describe(root, **content):
    standard = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "tumour": 1}}
    (root / "dataset.json").write_text(json.dumps({**standard, **content}))


class TestNnunet:
    def test_three_channels_in_one_picture(self, tmp_path):
        for k in range(3):
            picture(tmp_path / "imagesTr" / f"u{k}_0000.png", np.full((4, 5, 3), k))
            picture(tmp_path / "labelsTr" / f"u{k}.png", np.eye(4, 5))
        describe(tmp_path, channel_names={"0": "R", "1": "G", "2": "B"})
        dataset = open_dataset(tmp_path)
        assert dataset.problems == ()
        assert inspect_dataset(dataset, jobs=1).problems == ()

    def test_files_without_the_ending_are_read_and_named(self, tmp_path):
        for k in range(3):
            volume(tmp_path / "imagesTr" / f"pancreas_{k:04d}.nii.gz")
            volume(tmp_path / "labelsTr" / f"pancreas_{k:04d}.nii.gz")
        describe(tmp_path)
        dataset = open_dataset(tmp_path)
        assert [case.id for case in dataset.cases] == [f"pancreas_{k:04d}" for k in range(3)]
        assert dataset.problems == ()
        assert any("lack nnU-Net's ending _0000" in note for note in dataset.notes)

    def test_labelled_test_cases_are_test_cases(self, tmp_path):
        for k in range(5):
            part = "Tr" if k < 3 else "Ts"
            volume(tmp_path / f"images{part}" / f"c{k}_0000.nii.gz")
            if k < 4:
                volume(tmp_path / f"labels{part}" / f"c{k}.nii.gz")
        describe(tmp_path)
        dataset = open_dataset(tmp_path)
        assert [case.role for case in dataset.cases] == ["train"] * 3 + ["test"]
        assert any("1 of 2 images in imagesTs/ have no label" in note for note in dataset.notes)

    def test_shifted_channels_are_a_problem(self, tmp_path):
        for k in range(3):
            for channel in (1, 2) if k == 1 else (0, 1):
                volume(tmp_path / "imagesTr" / f"c{k}_{channel:04d}.nii.gz")
            volume(tmp_path / "labelsTr" / f"c{k}.nii.gz")
        describe(tmp_path, channel_names={"0": "T1", "1": "T2"})
        assert any("_0001, _0002 where most" in one for one in open_dataset(tmp_path).problems)

    def test_the_key_dataset_names_the_files(self, tmp_path):
        volume(tmp_path / "deep" / "one.nii.gz")
        volume(tmp_path / "drawn.nii.gz")
        listed = {"case_1": {"images": ["deep/one.nii.gz"], "label": "drawn.nii.gz"}}
        describe(tmp_path, dataset=listed)
        dataset = open_dataset(tmp_path)
        assert (dataset.layout, dataset.cases[0].id) == ("nnunet", "case_1")
        assert dataset.cases[0].mask == tmp_path / "drawn.nii.gz"

    def test_a_tiffs_spacing_stands_beside_it(self, tmp_path):
        path = tmp_path / "c0_0000.tif"
        tifffile.imwrite(path, np.zeros((3, 4, 5), np.uint8), photometric="minisblack")
        (tmp_path / "c0.json").write_text('{"spacing": [5.0, 0.8, 0.7]}')
        assert read_image((path,)).geometry.spacing == (5.0, 0.8, 0.7)
        (tmp_path / "c0.json").write_text('{"spacing": [5.0, 0]}')
        with pytest.raises(ReadError, match=r"c0\.json gives the spacing"):
            read_image((path,))


class TestLists:
    def test_channels_folds_and_own_folders(self, tmp_path):
        training = []
        for k in range(3):
            for name in ("flair", "t1ce", "seg"):
                volume(tmp_path / f"B{k}" / f"{name}.nii.gz")
            images = [f"B{k}/flair.nii.gz", f"B{k}/t1ce.nii.gz"]
            training.append({"fold": k, "image": images, "label": f"B{k}/seg.nii.gz"})
        (tmp_path / "dataset_0.json").write_text(json.dumps({"training": training}))
        dataset = open_dataset(tmp_path)
        assert (dataset.layout, dataset.problems) == ("decathlon", ())
        assert (dataset.cases[0].id, len(dataset.cases[0].images)) == ("B0", 2)
        assert any("3 folds" in note for note in dataset.notes)
        assert open_dataset(tmp_path / "dataset_0.json").cases == dataset.cases

    def test_lists_are_the_split_and_images_without_label_are_left_out(self, tmp_path):
        for k in range(4):
            volume(tmp_path / f"{k}.nii.gz")
            volume(tmp_path / f"{k}_l.nii.gz")
        entries = [{"image": f"{k}.nii.gz", "label": f"{k}_l.nii.gz"} for k in range(4)]
        content = {"training": entries[:2], "validation": entries[2:3], "test": ["3.nii.gz"]}
        (tmp_path / "dataset.json").write_text(json.dumps(content))
        dataset = open_dataset(tmp_path)
        assert [case.role for case in dataset.cases] == ["train", "train", "validation"]
        assert any("'test' have no label" in note for note in dataset.notes)


class TestSlicer:
    def masks(self, root, change):
        for k in range(4):
            drawn = np.zeros((2, 3, 4), np.uint8)
            names = change(k, drawn)
            volume(root / "images" / f"c{k}.nrrd", np.full((2, 3, 4), k, np.int16))
            volume(root / "masks" / f"c{k}.nrrd", drawn, names)
        return open_dataset(root)

    def test_one_name_is_one_class_whatever_its_value(self, tmp_path):
        def change(k, drawn):
            names = [("tumour", 1), ("cyst", 2)] if k % 2 else [("cyst", 1), ("tumour", 2)]
            drawn[0, 0] = dict(names)["tumour"]
            drawn[1, 1] = dict(names)["cyst"]
            return names

        dataset = self.masks(tmp_path, change)
        assert set(dataset.labels) == {"cyst", "tumour"}
        for case in dataset.cases:
            mask = read_case_mask(case, read_image(case.images)).array
            assert set(np.unique(mask[0, 0])) == {dataset.labels["tumour"]}
            assert set(np.unique(mask[1, 1])) == {dataset.labels["cyst"]}

    def test_equal_values_leave_the_files_as_they_are(self, tmp_path):
        def change(k, drawn):
            drawn[0] = 3
            return [("tumour", 3)] if k else []

        dataset = self.masks(tmp_path, change)
        assert dict(dataset.labels) == {"tumour": 3}
        assert dataset.cases[1].mask == tmp_path / "masks" / "c1.nrrd"

    def test_a_file_without_names_stays(self, tmp_path):
        assert self.masks(tmp_path, lambda k, drawn: []).labels is None
