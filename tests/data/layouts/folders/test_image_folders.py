"""Folders of images and masks, as people name and nest them."""

import numpy as np
import PIL.Image
import pytest

from rareseg.data.case_files import read_case_mask
from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.data.layouts import FileTree, layouts
from rareseg.data.layouts.folders.folder_words import kind_of, role_of
from rareseg.data.masks.class_files import ClassFiles
from rareseg.errors import DataError
from rareseg_runner.formats import read_image


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.asarray(array, np.uint8)).save(path)


@pytest.mark.parametrize(
    ("name", "kind", "role"),
    [
        ("Images", "image", None),
        ("img_dir", "image", None),
        ("ISIC2018_Task1-2_Training_Input", "image", "train"),
        ("ISIC2018_Task1_Training_GroundTruth", "mask", "train"),
        ("Ground Truth", "mask", None),
        ("trainannot", "mask", "train"),
        ("val_masks", "mask", "validation"),
        ("mask_images", "mask", None),
        ("SegmentationClass", "mask", None),
        ("SegmentationObject", None, None),
        ("Kvasir-SEG", None, None),
        ("stage1_train", None, "train"),
        ("patient_01", None, None),
        ("masks_", None, None),
        ("_images", None, None),
    ],
)
def test_what_a_folder_is_called_says_what_it_holds(name, kind, role):
    assert (kind_of(name), role_of(name)) == (kind, role)


@pytest.mark.parametrize("image", ["image", "IMGS", "img_dir", "Original"])
@pytest.mark.parametrize("mask", ["mask", "Labels", "annotations", "gt", "ground_truth", "ann_dir"])
@pytest.mark.parametrize("place", ["{0}/{1}", "{0}/{1}/train", "train/{0}/{1}", "data/x/{0}/{1}"])
def test_folders_pair_wherever_the_words_stand(tmp_path, image, mask, place):
    for word, ending in ((image, "jpg"), (mask, "png")):
        folder = place.format("", word).strip("/")
        touch(tmp_path, *(f"{folder}/c{k}.{ending}" for k in range(3)))
    dataset = open_dataset(tmp_path)
    assert dataset.problems == ()
    assert [case.id for case in dataset.cases] == ["c0", "c1", "c2"]
    assert [case.mask.name for case in dataset.cases] == ["c0.png", "c1.png", "c2.png"]


def test_images_may_lie_beside_the_folder_of_masks(tmp_path):
    touch(
        tmp_path, "train/a.jpg", "train/b.jpg", "train_masks/a_mask.gif", "train_masks/b_mask.gif"
    )
    touch(tmp_path, "test/z.jpg")
    dataset = open_dataset(tmp_path)
    assert [case.id for case in dataset.cases] == ["a", "b"]
    assert any("test is left out" in note for note in dataset.notes)


def test_a_part_to_learn_from_without_masks_is_a_fault(tmp_path):
    touch(tmp_path, "train/images/a.png", "train/masks/a.png", "val/images/b.png")
    (problem,) = open_dataset(tmp_path).problems
    assert "b.png has no mask" in problem
    told = open_dataset(tmp_path, missing_mask="negative")
    assert (len(told.cases), told.problems) == (2, ())


def test_the_split_is_taken_over_and_can_be_declined(tmp_path):
    for part in ("train", "val", "test"):
        touch(tmp_path, f"images/{part}/0.png", f"masks/{part}/0.png")
    dataset = open_dataset(tmp_path)
    found = {case.id: case.role for case in dataset.cases}
    assert found == {"train_0": "train", "validation_0": "validation", "test_0": "test"}
    assert any("from test/, train/, val/ (--no-folder-split" in note for note in dataset.notes)
    assert {c.role for c in open_dataset(tmp_path, folder_split=False).cases} == {None}


@pytest.mark.parametrize("place", ["{1}/p{0}", "p{0}/{1}"])
def test_a_folder_for_each_patient_is_a_group(tmp_path, place):
    for patient in range(3):
        for kind in ("images", "masks"):
            touch(tmp_path, *(f"{place.format(patient, kind)}/{k}.png" for k in range(2)))
    dataset = open_dataset(tmp_path)
    assert {case.group for case in dataset.cases} == {"p0", "p1", "p2"}
    assert dataset.cases[0].id == "p0_0"
    assert any("3 groups" in note for note in dataset.notes)


def test_two_folders_of_masks_are_asked_about(tmp_path):
    touch(tmp_path, *(f"{d}/{k}.png" for d in ("images", "masks", "labels") for k in "abcde"))
    (problem,) = open_dataset(tmp_path).problems
    assert "4 more cases" in problem
    assert "--mask-name 'labels/{id}' or 'masks/{id}'" in problem
    dataset = open_dataset(tmp_path, mask_name="labels/{id}")
    assert dataset.problems == ()
    assert {case.mask.parent.name for case in dataset.cases} == {"labels"}


def test_many_masks_without_an_image_are_one_sentence(tmp_path):
    touch(tmp_path, "images/a.png", *(f"masks/x{k}.png" for k in range(20)))
    faults = [fault for fault in open_dataset(tmp_path).problems if "without an image" in fault]
    assert len(faults) == 1
    assert "20 masks" in faults[0]
    assert "x0.png and x1.png" in faults[0]


def test_names_of_label_studio_are_known(tmp_path):
    touch(tmp_path, "images/a.png", "masks/task-3-annotation-3-by-1-tag-tree-0.png")
    with pytest.raises(DataError, match="masks of Label Studio"):
        open_dataset(tmp_path)


def test_channels_are_gathered_where_masks_lack_their_ending(tmp_path):
    touch(tmp_path, *(f"images/{n}_{c:04d}.nii.gz" for n in ("p", "q") for c in range(2)))
    touch(tmp_path, "masks/p.nii.gz", "masks/q.nii.gz")
    assert [len(case.images) for case in open_dataset(tmp_path).cases] == [2, 2]
    other = tmp_path / "other"
    touch(other, *(f"{d}/frame_{k:04d}.png" for d in ("images", "masks") for k in range(3)))
    assert [len(case.images) for case in open_dataset(other).cases] == [1, 1, 1]


class TestSeveralFiles:
    def test_objects_are_united(self, tmp_path):
        for case in range(2):
            where = tmp_path / "stage1_train" / f"{case:032x}"
            save(where / "images" / f"{case:032x}.png", np.zeros((4, 6)))
            save(where / "masks" / f"{case + 5:064x}.png", np.eye(4, 6) * 255)
            save(where / "masks" / f"{case + 9:064x}.png", np.eye(4, 6)[:, ::-1] * 255)
        dataset = open_dataset(tmp_path)
        assert dataset.labels is None
        case = dataset.cases[0]
        mask = read_case_mask(case, read_image(case.images))
        assert np.array_equal(mask.array[0] != 0, (np.eye(4, 6) + np.eye(4, 6)[:, ::-1]) > 0)
        assert mask.overlap == 0

    def test_files_called_as_classes_are_classes_and_overlaps_are_counted(self, tmp_path):
        for case in range(3):
            save(tmp_path / f"s{case}" / "ct.png", np.zeros((4, 6)))
            for name in ("liver", "spleen", "nothing"):
                drawn = np.eye(4, 6) if name != "nothing" else np.zeros((4, 6))
                save(tmp_path / f"s{case}" / "segmentations" / f"{name}.png", drawn)
        dataset = open_dataset(tmp_path)
        assert dict(dataset.labels) == {"liver": 1, "nothing": 2, "spleen": 3}
        assert [case.id for case in dataset.cases] == ["s0", "s1", "s2"]
        case = dataset.cases[0]
        assert read_case_mask(case, read_image(case.images)).overlap == 4

    def test_a_class_that_no_file_draws_is_left_out_and_said(self, tmp_path):
        for case in range(3):
            save(tmp_path / "images" / f"{case}.png", np.full((4, 6), case))
            save(tmp_path / "masks" / "hole" / f"{case}.png", np.eye(4, 6))
            save(tmp_path / "masks" / "rust" / f"{case}.png", np.zeros((4, 6)))
        fingerprint = inspect_dataset(open_dataset(tmp_path), jobs=1)
        assert fingerprint.problems == ()
        assert fingerprint.classes.names == ("background", "hole")
        assert "rust, in which nothing is drawn" in " ".join(map(str, fingerprint.warnings))

    def test_a_folder_of_each_images_masks(self, tmp_path):
        parts = ("liver", "spleen")
        touch(tmp_path, "images/x1.nii.gz", "images/x2.nii.gz")
        touch(tmp_path, *(f"masks/x{k}/{part}.nii.gz" for k in (1, 2) for part in parts))
        dataset = open_dataset(tmp_path)
        assert all(isinstance(case.mask, ClassFiles) for case in dataset.cases)
        assert dict(dataset.labels) == {"liver": 1, "spleen": 2}

    def test_one_folder_deeper_alone_is_no_class(self, tmp_path):
        touch(tmp_path, "images/a.jpg", "annotations/trimaps/a.png")
        dataset = open_dataset(tmp_path)
        assert dataset.labels is None
        assert dataset.cases[0].mask == tmp_path / "annotations/trimaps/a.png"


class TestIndustrial:
    def test_several_parts_and_kinds_that_name_none(self, tmp_path):
        for part, kind in (("bottle", "crack"), ("bottle", "hole"), ("cable", "bent")):
            touch(tmp_path, f"{part}/train/good/000.png", f"{part}/test/good/000.png")
            touch(tmp_path, f"{part}/test/{kind}/000.png")
            touch(tmp_path, f"{part}/ground_truth/{kind}/000_mask.png")
        dataset = open_dataset(tmp_path)
        assert (dataset.layout, dataset.problems) == ("industrial", ())
        assert set(dataset.labels) == {"bent", "crack", "hole"}
        assert sum(case.mask is None for case in dataset.cases) == 4
        assert {case.role for case in dataset.cases} == {None}

    def test_visa(self, tmp_path):
        touch(tmp_path, "Data/Images/Normal/0.JPG", "Data/Images/Anomaly/000.JPG")
        touch(tmp_path, "Data/Masks/Anomaly/000.png")
        dataset = open_dataset(tmp_path)
        assert (dataset.layout, dataset.labels, dataset.problems) == ("industrial", None, ())
        assert [case.mask is None for case in dataset.cases] == [True, False]


class TestOneFolder:
    @pytest.mark.parametrize(
        ("image", "mask"),
        [
            ("{0}.jpg", "{0}_label.bmp"),
            ("{0}.png", "{0}_GT.png"),
            ("volume-{0}.nii", "segmentation-{0}.nii"),
            ("image{0}.png", "mask{0}.png"),
            ("{0}.jpg", "{0}.png"),
        ],
    )
    def test_masks_are_told_from_images(self, tmp_path, image, mask):
        touch(tmp_path, *(name.format(k) for k in range(3) for name in (image, mask)))
        dataset = open_dataset(tmp_path)
        assert (dataset.layout, dataset.problems) == ("side_by_side", ())
        assert [case.mask.name for case in dataset.cases] == [mask.format(k) for k in range(3)]

    def test_a_pattern_says_it(self, tmp_path):
        touch(tmp_path, *(f"{k}{end}.png" for k in range(3) for end in ("", "_x")))
        with pytest.raises(DataError, match="give a folder"):
            open_dataset(tmp_path)
        dataset = open_dataset(tmp_path, mask_name="{id}_x")
        assert [case.mask.name for case in dataset.cases] == ["0_x.png", "1_x.png", "2_x.png"]


class TestCaseFolders:
    def test_channels_and_a_missing_one(self, tmp_path):
        for k in range(4):
            names = [n for n in ("flair", "t1", "seg") if (k, n) != (2, "t1")]
            folder = f"BraTS_Training_{k:03d}"
            touch(tmp_path, *(f"{folder}/{folder}_{n}.nii.gz" for n in names))
        dataset = open_dataset(tmp_path)
        assert dataset.channel_names == ("flair", "t1")
        assert [case.id for case in dataset.cases] == [f"BraTS_Training_{k:03d}" for k in range(4)]
        assert {case.role for case in dataset.cases} == {None}
        (problem,) = dataset.problems
        assert "BraTS_Training_002 lacks t1" in problem

    def test_visits_of_one_patient_are_a_group(self, tmp_path):
        for patient in range(2):
            for visit in range(2):
                touch(tmp_path, *(f"p{patient}/v{visit}/{n}.nii.gz" for n in ("image", "label")))
        cases = open_dataset(tmp_path).cases
        assert [(case.id, case.group) for case in cases][:2] == [("p0_v0", "p0"), ("p0_v1", "p0")]


class TestSlices:
    def write(self, root, slices=6, colour=False):
        for case in range(2):
            for z in range(slices):
                grey = np.full((4, 6), 10 * z + case)
                picture = np.stack([grey] * 3, -1) if colour else grey
                save(root / "images" / f"p{case}" / f"{z}.png", picture)
                save(root / "masks" / f"p{case}" / f"{z}.png", np.eye(4, 6) * (z == 2))

    def test_numbered_grey_pictures_are_a_volume_in_the_order_of_numbers(self, tmp_path):
        self.write(tmp_path, slices=12)
        dataset = open_dataset(tmp_path)
        assert dataset.layout == "slices"
        image = read_image(dataset.cases[1].images)
        assert image.array.shape == (1, 12, 4, 6)
        assert image.array[0, :, 0, 0].tolist() == [10 * z + 1 for z in range(12)]
        assert image.geometry.dimension == 3
        assert np.flatnonzero(read_case_mask(dataset.cases[0]).array.any((1, 2))).tolist() == [2]

    @pytest.mark.parametrize("otherwise", [{"slices": 3}, {"colour": True}])
    def test_few_or_coloured_pictures_are_pictures(self, tmp_path, otherwise):
        self.write(tmp_path, **otherwise)
        dataset = open_dataset(tmp_path)
        assert dataset.layout == "folders"
        assert {case.group for case in dataset.cases} == {"p0", "p1"}

    def test_slices_of_different_sizes_are_refused(self, tmp_path):
        self.write(tmp_path)
        save(tmp_path / "images" / "p0" / "3.png", np.zeros((5, 6)))
        problems = inspect_dataset(open_dataset(tmp_path), jobs=1).problems
        assert any("3.png has the shape" in str(problem) for problem in problems)


def test_voc_lists_and_what_counts_nowhere(tmp_path):
    touch(tmp_path, *(f"VOC2012/JPEGImages/{k}.jpg" for k in "abcd"))
    touch(tmp_path, *(f"VOC2012/SegmentationClass/{k}.png" for k in "abc"))
    lists = tmp_path / "VOC2012/ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("c\n")
    (lists / "trainval.txt").write_text("a\nb\nc\n")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.problems, dataset.ignore_value) == ("voc", (), 255)
    assert {c.id: c.role for c in dataset.cases} == {"a": "train", "b": "train", "c": "validation"}


def test_what_a_layout_passes_over_is_named(tmp_path):
    name = "leftImg8bit/train/ulm/ulm_000000_leftImg8bit.png"
    touch(tmp_path, name)
    for ending in ("color", "labelIds"):
        touch(tmp_path, f"gtFine/train/ulm/ulm_000000_gtFine_{ending}.png")
    (taken,) = [layout for layout in layouts() if layout.name == "cityscapes"]
    listing = taken.read(FileTree(tmp_path))
    assert [path.name for path in listing.passed_over] == ["ulm_000000_gtFine_color.png"]
