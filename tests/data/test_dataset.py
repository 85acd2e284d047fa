"""Opening the layouts that people already have, and what is said of those that are broken."""

import json
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk

from rareseg.data.dataset import open_annotations, open_dataset
from rareseg.data.input_images import open_images
from rareseg.data.records import Case
from rareseg.errors import DataError, UsageError

DATA = os.environ.get("RARESEG_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="RARESEG_DATA does not name the real data")


def picture(path: Path):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.zeros((4, 5), np.uint8)).save(path)


def volume(path: Path):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4), np.uint8)), path)


def write_json(path: Path, **content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def ids(cases):
    return [case.id for case in cases]


@pytest.fixture
def folders(tmp_path):
    for name in ("a_1", "a_2", "b_1"):
        picture(tmp_path / "images" / f"{name}.jpg")
        picture(tmp_path / "masks" / f"{name}.png")
    return tmp_path


class TestFolders:
    def test_stems_pair_images_and_masks(self, folders):
        dataset = open_dataset(folders)
        assert (dataset.layout, dataset.problems) == ("folders", ())
        assert dataset.cases[0] == Case(
            "a_1", (folders / "images/a_1.jpg",), folders / "masks/a_1.png"
        )
        assert open_dataset(str(folders)) == dataset

    def test_negatives_may_stand_alone(self, tmp_path):
        picture(tmp_path / "negatives" / "clean.png")
        dataset = open_dataset(tmp_path)
        assert dataset.cases == (Case("clean", (tmp_path / "negatives/clean.png",), None),)
        assert (dataset.layout, dataset.problems) == ("folders", ())

    def test_negatives_have_no_mask_and_no_problem(self, folders):
        picture(folders / "negatives" / "clean.png")
        dataset = open_dataset(folders)
        assert dataset.cases[-1] == Case("clean", (folders / "negatives/clean.png",), None)
        assert dataset.problems == ()

    def test_an_image_without_a_mask_is_a_problem_or_by_choice_a_negative(self, folders):
        (folders / "masks" / "a_2.png").unlink()
        (problem,) = open_dataset(folders).problems
        assert str(folders / "images/a_2.jpg") in problem
        assert "--missing-mask negative" in problem
        negative = open_dataset(folders, missing_mask="negative")
        assert negative.problems == ()
        assert [case.mask for case in negative.cases if case.id == "a_2"] == [None]

    def test_a_mask_without_an_image_is_a_problem(self, folders):
        (folders / "images" / "a_2.jpg").unlink()
        (problem,) = open_dataset(folders).problems
        assert str(folders / "masks/a_2.png") in problem
        assert "without an image" in problem

    def test_one_stem_twice_is_a_problem(self, folders):
        picture(folders / "images" / "a_2.png")
        picture(folders / "negatives" / "b_1.png")
        picture(folders / "masks" / "a_1.tif")
        problems = " ".join(open_dataset(folders).problems)
        assert "'a_2' to 2 cases" in problems
        assert "'b_1' to 2 cases" in problems
        assert "several masks of a_1: a_1.png, a_1.tif" in problems

    def test_hidden_and_other_files_are_passed_over(self, folders):
        (folders / "images" / "Thumbs.db").write_bytes(b"x")
        (folders / "images" / ".DS_Store").write_bytes(b"x")
        assert len(open_dataset(folders).cases) == 3

    def test_a_dataset_json_beside_declares_classes(self, folders):
        write_json(folders / "dataset.json", labels={"background": 0, "crack": 255})
        assert open_dataset(folders).labels == {"crack": 255}


class TestManifest:
    def write(self, folder, text, name="manifest.csv"):
        for stem in ("a", "b"):
            picture(folder / f"{stem}.png")
            picture(folder / f"{stem}_mask.png")
        (folder / name).write_text(text, encoding="utf-8")
        return folder

    def test_columns(self, tmp_path):
        self.write(
            tmp_path,
            "id,image,mask,group,split,note\n"
            "one,a.png,a_mask.png,g1,train,x\n"
            "two,b.png,empty,,validation,\n",
        )
        dataset = open_dataset(tmp_path)
        assert dataset.problems == ()
        assert dataset.cases == (
            Case("one", (tmp_path / "a.png",), tmp_path / "a_mask.png", "g1", "train"),
            Case("two", (tmp_path / "b.png",), None, None, "validation"),
        )
        assert open_dataset(tmp_path / "manifest.csv") == dataset

    def test_channels_semicolons_and_a_byte_order_mark(self, tmp_path):
        self.write(
            tmp_path, "\ufeffid;image_1;image_0;mask\none;b.png;a.png;a_mask.png\n", "list.csv"
        )
        (case,) = open_dataset(tmp_path / "list.csv").cases
        assert case.images == (tmp_path / "a.png", tmp_path / "b.png")

    @pytest.mark.parametrize("column", ["image", "mask"])
    def test_a_missing_column_is_an_error(self, tmp_path, column):
        columns = [f"{c}x" if c == column else c for c in ("id", "image", "mask")]
        self.write(tmp_path, ",".join(columns) + "\n1,a.png,empty\n")
        with pytest.raises(DataError, match=rf"no column '{column}'.*did you mean '{column}x'"):
            open_dataset(tmp_path)

    def test_empty_cells_and_unknown_splits_are_problems(self, tmp_path):
        self.write(
            tmp_path, "id,image,mask,split\none,,empty,\ntwo,b.png,,\nthree,a.png,empty,tets\n"
        )
        image, split, mask = open_dataset(tmp_path).problems
        assert "line 2, names no image for one" in image
        assert "'tets'" in split
        assert "did you mean 'test'" in split
        assert "b.png has no mask" in mask

    def test_masks_of_annotators(self, tmp_path):
        self.write(
            tmp_path,
            "id,image,mask,mask_ann,mask_bo\n"
            "one,a.png,a_mask.png,a_mask.png,b_mask.png\n"
            "two,b.png,empty,empty,\n",
        )
        one, two = open_dataset(tmp_path).cases
        assert one.annotations == (
            ("ann", tmp_path / "a_mask.png"),
            ("bo", tmp_path / "b_mask.png"),
        )
        assert two.annotations == (("ann", None),)  # ann drew nothing, bo did not look

    @pytest.mark.parametrize("missing", ["error", "negative"])
    def test_what_annotators_drew_is_no_mask_and_not_nothing_either(self, tmp_path, missing):
        self.write(tmp_path, "id,image,mask_a\none,a.png,a_mask.png\n")
        dataset = open_dataset(tmp_path, missing_mask=missing)
        assert "rareseg consensus" in dataset.problems[0]
        assert dataset.cases[0].annotations == (("a", tmp_path / "a_mask.png"),)

    def test_annotations_are_opened_without_a_mask_of_their_own(self, tmp_path):
        self.write(tmp_path, "id,image,mask_a\none,a.png,a_mask.png\ntwo,b.png,\n")
        dataset = open_annotations(tmp_path)
        assert dataset.problems == ()
        assert [len(case.annotations) for case in dataset.cases] == [1, 0]
        assert open_annotations(tmp_path, group_from="(o).").cases[0].group == "o"

    def test_other_problems_of_annotations_stay(self, tmp_path):
        self.write(tmp_path, "id,image,mask_a\none,a.png,a_mask.png\none,b.png,empty\n")
        (problem,) = open_annotations(tmp_path).problems
        assert "the id 'one' to 2 cases" in problem

    def test_a_data_set_that_nobody_annotated_has_no_annotations_to_open(self, tmp_path):
        self.write(tmp_path, "id,image,mask\none,a.png,a_mask.png\n")
        with pytest.raises(DataError, match=f"{tmp_path} names no masks of annotators.*mask_NAME"):
            open_annotations(tmp_path)

    def test_a_manifest_of_a_header_alone_is_a_problem(self, tmp_path):
        self.write(tmp_path, "id,image,mask\n")
        assert "manifest.csv lists no case" in open_dataset(tmp_path).problems[0]

    def test_an_empty_id_is_a_problem(self, tmp_path):
        self.write(tmp_path, "id,image,mask\n,a.png,empty\n")
        assert "cannot name a result file" in open_dataset(tmp_path).problems[0]

    @pytest.mark.parametrize(
        ("name", "clean"), [("../x", "x"), (".hidden", "_hidden"), ("nul", "_nul")]
    )
    def test_an_id_leads_nowhere(self, tmp_path, name, clean):
        self.write(tmp_path, f"id,image,mask\n{name},a.png,empty\n")
        dataset = open_dataset(tmp_path)
        assert [case.id for case in dataset.cases] == [clean]
        assert any(f"'{name}' is '{clean}'" in note for note in dataset.notes)

    @pytest.mark.parametrize("name", ["a/b", "a:b"])
    def test_ids_are_cleaned_where_that_names_no_other_case(self, tmp_path, name):
        self.write(tmp_path, f"id,image,mask\n{name},a.png,empty\n")
        dataset = open_dataset(tmp_path)
        assert [case.id for case in dataset.cases] == ["a_b"]
        assert any(f"'{name}' is 'a_b'" in note for note in dataset.notes)
        self.write(tmp_path, f"id,image,mask\n{name},a.png,empty\na_b,b.png,empty\n")
        assert "cannot name a result file" in open_dataset(tmp_path).problems[0]


class TestNnunet:
    @pytest.fixture
    def raw(self, tmp_path):
        for name in ("p_1", "p_2"):
            for channel in range(2):
                volume(tmp_path / "imagesTr" / f"{name}_{channel:04d}.nii.gz")
            volume(tmp_path / "labelsTr" / f"{name}.nii.gz")
        write_json(
            tmp_path / "dataset.json",
            channel_names={"0": "T1", "1": "T2"},
            labels={"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
            file_ending=".nii.gz",
            numTraining=2,
        )
        return tmp_path

    def test_channels_labels_regions_and_ignore(self, raw):
        dataset = open_dataset(raw)
        assert (dataset.layout, dataset.problems) == ("nnunet", ())
        assert ids(dataset.cases) == ["p_1", "p_2"]
        assert [path.name for path in dataset.cases[0].images] == [
            "p_1_0000.nii.gz",
            "p_1_0001.nii.gz",
        ]
        assert dataset.labels == {"core": 2, "class_1": 1}
        assert list(dataset.regions.items()) == [("whole", (1, 2)), ("core", (2,))]
        assert dataset.ignore_value == 3
        assert dataset.channel_names == ("T1", "T2")

    def test_a_missing_channel_and_a_lonely_mask_are_problems(self, raw):
        (raw / "imagesTr" / "p_2_0001.nii.gz").unlink()
        volume(raw / "labelsTr" / "p_3.nii.gz")
        channel, mask = open_dataset(raw).problems
        assert "1 of 2 channel files" in channel
        assert "for p_2" in channel
        assert "p_3.nii.gz is a mask without an image" in mask

    def test_version_1_lists_do_not_make_it_a_decathlon(self, raw):
        content = json.loads((raw / "dataset.json").read_text())
        content["labels"] = {"0": "background", "1": "edema"}
        content["training"] = [{"image": "./imagesTr/p_1.nii.gz", "label": "./labelsTr/p_1.nii.gz"}]
        write_json(raw / "dataset.json", **content)
        dataset = open_dataset(raw)
        assert (dataset.layout, dataset.labels) == ("nnunet", {"edema": 1})
        assert len(dataset.cases[0].images) == 2


class TestDecathlon:
    @pytest.fixture
    def task(self, tmp_path):
        entries = []
        for name in ("h_1", "h_2"):
            volume(tmp_path / "imagesTr" / f"{name}.nii.gz")
            volume(tmp_path / "labelsTr" / f"{name}.nii.gz")
            entries.append(
                {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
            )
        write_json(
            tmp_path / "dataset.json",
            modality={"0": "MRI"},
            labels={"0": "background", "1": "Anterior", "2": "Posterior"},
            training=entries,
        )
        return tmp_path

    def test_the_training_list_is_read(self, task):
        dataset = open_dataset(task)
        assert (dataset.layout, dataset.problems) == ("decathlon", ())
        assert ids(dataset.cases) == ["h_1", "h_2"]
        assert dataset.labels == {"Anterior": 1, "Posterior": 2}

    def test_a_listed_label_that_is_absent_is_a_problem(self, task):
        (task / "labelsTr" / "h_2.nii.gz").unlink()
        (problem,) = open_dataset(task).problems
        assert "h_2.nii.gz has no mask" in problem


class TestDatasetJson:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{", "no valid JSON"),
            ("[1]", "an object is needed"),
            ('{"labels": {"a": "x"}}', "whole numbers"),
            ('{"labels": {"a": 1, "b": 1}}', "same value"),
            ('{"labels": {"a": 1}, "regions": {"r": [1, 7]}}', "'r' unite the values .7."),
            ('{"labels": 3}', "'labels'"),
        ],
    )
    def test_broken_ones_are_errors(self, folders, text, words):
        (folders / "dataset.json").write_text(text)
        with pytest.raises(DataError, match=rf"dataset\.json .*{words}"):
            open_dataset(folders)

    def test_an_nnunet_folder_without_one_is_an_error(self, tmp_path):
        volume(tmp_path / "imagesTr" / "a_0000.nii.gz")
        with pytest.raises(DataError, match=r"dataset\.json cannot be read"):
            open_dataset(tmp_path)

    def test_regions_alone_name_their_values(self, folders):
        write_json(folders / "dataset.json", regions={"whole": [1, 2]})
        assert open_dataset(folders).labels == {"class_1": 1, "class_2": 2}


class TestGroupsAndPaths:
    def test_the_first_group_or_the_one_named_group(self, folders):
        for pattern in (r"^(\w)_", r"^(?:x|(?P<group>\w))_(\d)"):
            dataset = open_dataset(folders, group_from=pattern)
            assert [case.group for case in dataset.cases] == ["a", "a", "b"]

    @pytest.mark.parametrize(
        ("pattern", "words"),
        [
            ("(", "no regular expression"),
            (r"\w", "has no group"),
            ("(z+)", "matches none of the 3"),
        ],
    )
    def test_an_expression_that_cannot_work_is_an_error(self, folders, pattern, words):
        with pytest.raises(UsageError, match=words):
            open_dataset(folders, group_from=pattern)

    def test_an_expression_that_misses_some_is_a_problem(self, folders):
        (problem,) = open_dataset(folders, group_from="^(a)_").problems
        assert "does not match 1 of 3 ids (the first is 'b_1')" in problem

    def test_paths_that_lead_nowhere_are_errors(self, tmp_path):
        with pytest.raises(DataError, match="does not exist"):
            open_dataset(tmp_path / "absent")
        with pytest.raises(DataError, match="holds nothing; give a folder with images/"):
            open_dataset(tmp_path)
        (tmp_path / "notes.txt").write_text("")
        with pytest.raises(DataError, match="neither a folder nor a file that describes"):
            open_dataset(tmp_path / "notes.txt")

    def test_an_empty_images_folder_is_a_problem(self, tmp_path):
        (tmp_path / "images").mkdir()
        assert "holds no images" in open_dataset(tmp_path).problems[0]

    def test_python_objects(self, folders):
        cases = open_dataset(folders).cases
        dataset = open_dataset(cases)
        assert (dataset.layout, dataset.cases, dataset.problems) == ("cases", cases, ())
        assert "'a_1' to 2 cases" in open_dataset([cases[0], cases[0]]).problems[0]


class TestOpenImages:
    def test_one_file_a_folder_and_a_dataset(self, folders):
        file = folders / "images" / "a_1.jpg"
        assert open_images(file) == (Case("a_1", (file,), None),)
        assert ids(open_images(folders / "images")) == ["a_1", "a_2", "b_1"]
        assert all(case.mask is None for case in open_images(folders))

    def test_channel_files_are_gathered(self, tmp_path):
        for name in ("p", "q"):
            for channel in range(2):
                volume(tmp_path / f"{name}_{channel:04d}.nii.gz")
        assert [(c.id, len(c.images)) for c in open_images(tmp_path)] == [("p", 2), ("q", 2)]
        assert len(open_images(tmp_path, channels=1)) == 4
        (tmp_path / "q_0001.nii.gz").unlink()
        with pytest.raises(DataError, match="1 of 2 channel files"):
            open_images(tmp_path, channels=2)

    def test_numbered_photographs_are_no_channels(self, tmp_path):
        for number in range(3):
            picture(tmp_path / f"IMG_{number:04d}.jpg")
        assert len(open_images(tmp_path)) == 3
        assert [len(c.images) for c in open_images(tmp_path, channels=3)] == [3]

    def test_one_channel_of_nnunet_loses_its_ending(self, tmp_path):
        for name in ("p", "q"):
            volume(tmp_path / f"{name}_0000.nii.gz")
        assert ids(open_images(tmp_path, channels=1)) == ["p", "q"]

    def test_two_files_of_one_name_are_an_error(self, tmp_path):
        picture(tmp_path / "a.png")
        picture(tmp_path / "a.jpg")
        with pytest.raises(DataError, match="several images named a"):
            open_images(tmp_path)

    def test_nothing_to_predict_is_an_error(self, tmp_path):
        (tmp_path / "notes.txt").write_text("")
        with pytest.raises(DataError, match="does not exist"):
            open_images(tmp_path / "absent")
        with pytest.raises(DataError, match="is no image"):
            open_images(tmp_path / "notes.txt")
        with pytest.raises(DataError, match=r"holds notes\.txt"):
            open_images(tmp_path)

    @needs_data
    def test_dicom_series(self):
        root = Path(DATA) / "dicom"
        assert ids(open_images(root)) == ["hippocampus_crop", "t2"]
        assert open_images(root / "t2") == (Case("t2", (root / "t2",), None),)


@needs_data
@pytest.mark.parametrize(
    ("name", "layout", "count", "groups"),
    [
        ("magnetic-tile", "manifest", 818, 146),
        ("crackforest", "folders", 80, 0),
        ("brats2013", "nnunet", 4, 0),
        ("hippocampus", "decathlon", 180, 0),
    ],
)
def test_real_data_sets_open_without_problems(name, layout, count, groups):
    dataset = open_dataset(Path(DATA) / name)
    assert (dataset.layout, len(dataset.cases), dataset.problems) == (layout, count, ())
    assert len({case.group for case in dataset.cases} - {None}) == groups
