"""What is wrong in annotation files is said in one sentence with the file's name."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from rareseg.data.case_files import read_case_mask
from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.errors import DataError

SQUARE = [[2, 2, 8, 2, 8, 8, 2, 8]]


def save(path, width=20, height=10):
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, path.name))
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    Picture.fromarray(pixels).save(path)


def entry(number, name, **more):
    return {"id": number, "file_name": name, "width": 20, "height": 10, **more}


def drawn(number, image, **more):
    about = {"id": number, "image_id": image, "category_id": 1, "segmentation": SQUARE}
    return {**about, **more}


def coco(root, images=(), annotations=(), categories=None, name="instances.json"):
    content = {
        "images": list(images),
        "annotations": list(annotations),
        "categories": [{"id": 1, "name": "crack"}] if categories is None else categories,
    }
    (root / name).write_text(json.dumps(content))


@pytest.fixture
def root(tmp_path):
    for name in ("a.png", "b.png"):
        save(tmp_path / "images" / name)
    return tmp_path


BOTH = [entry(1, "a.png"), entry(2, "b.png")]


class TestCoco:
    def test_an_image_without_annotations_is_a_negative_and_it_is_said(self, root):
        coco(root, BOTH, [drawn(1, 1)])
        dataset = open_dataset(root)
        assert [case.mask is None for case in dataset.cases] == [False, True]
        assert dataset.problems == ()
        assert "could also be read as folders" in dataset.notes[0]
        assert "1 of 2 images have no annotations and count as negatives" in dataset.notes[1]

    def test_a_file_can_be_named(self, root):
        (root / "annotations").mkdir()
        coco(root / "annotations", BOTH, [drawn(1, 1)], name="train.json")
        dataset = open_dataset(root / "annotations" / "train.json")
        assert dataset.layout == "coco"
        assert [case.role for case in dataset.cases] == ["train", "train"]
        assert read_case_mask(dataset.cases[0]).array.sum() == 36

    def test_a_file_in_the_current_folder_can_be_named(self, root, monkeypatch):
        (root / "annotations").mkdir()
        coco(root / "annotations", BOTH, [drawn(1, 1)], name="x.json")
        monkeypatch.chdir(root / "annotations")
        assert len(open_dataset("x.json").cases) == 2
        monkeypatch.chdir(root)
        assert len(open_dataset("annotations/x.json").cases) == 2

    @pytest.mark.parametrize(
        ("images", "annotations", "said"),
        [
            ([*BOTH, entry(3, "c.png")], [drawn(1, 3)], r"not in .*: 1 \(c\.png\); add"),
            (BOTH, [drawn(1, 1), drawn(9, 7)], r"does not list: 1 \(annotation 9 of image 7\)"),
            (BOTH, [drawn(4, 1, category_id=5)], r"categories .*annotation 4 of category 5"),
            (BOTH, [drawn(4, 1, segmentation=[])], r"holds 1 \(annotation 4\) .* boxes without"),
            (BOTH, [drawn(4, 1, segmentation=[[1, 2, 3, 4, 5, 6, 7]])], "odd number of coord"),
            (BOTH, [drawn(4, 1, segmentation=[[1, "x", 3, 4, 5, 6]])], "finite numbers"),
            (BOTH, [drawn(4, 1, segmentation={"counts": [3], "size": 4})], "need their size"),
            (BOTH, [drawn(4, 1, segmentation=[[1, 2, 3, 4]])], "fewer than three corners"),
            ([*BOTH, entry(2, "b.png")], [drawn(1, 1)], "one id to several images: 1"),
            ([*BOTH, entry(3, "b.png")], [drawn(1, 1)], r"two descriptions of 1 \(images/b"),
            ([*BOTH, {"id": 3}], [drawn(1, 1)], "without 'id' or 'file_name'"),
            ([*BOTH, 7], [drawn(1, 1)], "no objects"),
        ],
    )
    def test_what_is_wrong_is_one_sentence_each(self, root, images, annotations, said):
        coco(root, images, annotations)
        problems = open_dataset(root).problems
        assert len(problems) == 1
        assert str(root) in problems[0]
        with pytest.raises(AssertionError, match=said):
            raise AssertionError(problems[0])

    def test_many_of_a_kind_are_one_sentence_with_two_examples(self, root):
        coco(root, BOTH, [drawn(k, 1, segmentation=None) for k in range(500)])
        (problem,) = open_dataset(root).problems
        assert "500 (annotation 0, annotation 1, …)" in problem

    def test_boxes_alone_never_make_a_negative_ready_for_training(self, root):
        coco(root, BOTH, [drawn(4, 1, segmentation=[])])
        assert open_dataset(root, missing_mask="negative").problems

    def test_a_stray_click_beside_an_object_is_left_out_and_said(self, root):
        coco(root, BOTH, [drawn(1, 1), drawn(2, 1, segmentation=[[5, 5]])])
        dataset = open_dataset(root)
        assert dataset.problems == ()
        assert any("1 (annotation 2 of a.png) objects have fewer" in n for n in dataset.notes)

    def test_a_picture_without_an_entry_has_no_mask(self, root):
        save(root / "images" / "c.png")
        coco(root, BOTH, [drawn(1, 1)])
        (problem,) = open_dataset(root).problems
        assert "c.png has no mask" in problem
        assert len(open_dataset(root, missing_mask="negative").cases) == 3

    def test_pictures_that_nothing_describes_are_named(self, root):
        save(root / "test" / "t.png")
        coco(root, BOTH, [drawn(1, 1)])
        assert any("1 (test/t.png) other pictures" in note for note in open_dataset(root).notes)

    @pytest.mark.parametrize("cut", [200, -1])
    def test_a_file_that_is_cut_off_is_named(self, root, cut):
        coco(root, BOTH, [drawn(1, 1)])
        path = root / "instances.json"
        path.write_text(path.read_text()[:cut])
        with pytest.raises(DataError, match=r"instances\.json is no valid JSON .*export it again"):
            open_dataset(root)

    def test_deep_nesting_is_refused(self, root):
        coco(root, BOTH, [drawn(1, 1)])
        path = root / "instances.json"
        path.write_text(path.read_text()[:-1] + ', "x": ' + '{"a":' * 200_000 + "}")
        with pytest.raises(DataError, match=r"nested too deeply|no valid JSON"):
            open_dataset(root)

    def test_a_size_that_differs_is_refused_with_both(self, root):
        coco(root, [entry(1, "a.png", width=40, height=20), BOTH[1]], [drawn(1, 1)])
        problems = inspect_dataset(open_dataset(root), jobs=1).problems
        texts = [str(problem) for problem in problems]
        assert any("has 20 x 10 pixels, and the annotations are for 40 x 20" in t for t in texts)

    def test_an_object_beside_the_image_is_refused(self, root):
        coco(root, BOTH, [drawn(1, 1, segmentation=[[50, 2, 60, 2, 60, 8]])])
        texts = [str(p) for p in inspect_dataset(open_dataset(root), jobs=1).problems]
        assert any("(a.png): an object lies at (50, 2), beside the image" in t for t in texts)

    def test_categories_without_objects_are_left_out_and_values_stay_their_ids(self, root):
        categories = [{"id": k, "name": name} for k, name in ((3, "hole"), (1, "crack"), (2, "x"))]
        coco(root, BOTH, [drawn(1, 1, category_id=3)], categories)
        dataset = open_dataset(root)
        assert dict(dataset.labels) == {"hole": 3}
        assert any("no object is of the classes crack, x" in note for note in dataset.notes)

    def test_ids_from_0_on_are_ranks(self, root):
        categories = [{"id": 0, "name": "all"}, {"id": 1, "name": "crack"}]
        coco(root, BOTH, [drawn(1, 1)], categories)
        assert dict(open_dataset(root).labels) == {"crack": 2}

    def test_names_that_mean_no_class_are_none(self, root):
        categories = [{"id": k, "name": n} for k, n in enumerate(("background", "x", "ignore"), 1)]
        square = {"segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]}
        objects = [drawn(k, 1, category_id=k, **(square if k > 1 else {})) for k in (2, 3, 1)]
        objects[0]["segmentation"] = [[0, 0, 9, 0, 9, 9, 0, 9]]
        coco(root, BOTH, objects, categories)
        dataset = open_dataset(root)
        assert dict(dataset.labels) == {"x": 2}
        assert dataset.ignore_value == 255
        values, counts = np.unique(read_case_mask(dataset.cases[0]).array, return_counts=True)
        assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {
            0: 200 - 81 + 36,
            2: 81 - 36 - 12,
            255: 12,
        }

    def test_names_become_folders_and_are_made_fit_for_that(self, root):
        names = ("../../up", "a/b", "foreground", "a_b", "")
        categories = [{"id": k, "name": name} for k, name in enumerate(names, 1)]
        coco(root, BOTH, [drawn(k, 1, category_id=k) for k in range(1, 6)], categories)
        dataset = open_dataset(root)
        assert dict(dataset.labels) == {
            "_.._up": 1,
            "a_b": 2,
            "foreground_class": 3,
            "a_b_4": 4,
            "class": 5,
        }
        assert any("the class '../../up' is called '_.._up' here" in n for n in dataset.notes)

    def test_crowds_are_drawn_and_said(self, root):
        runs = {"size": [10, 20], "counts": [5, 5, 190]}
        coco(root, BOTH, [drawn(1, 1, segmentation=runs, iscrowd=1)])
        dataset = open_dataset(root)
        assert read_case_mask(dataset.cases[0]).array.sum() == 5
        assert any("1 regions of a crowd" in note for note in dataset.notes)

    @pytest.mark.parametrize(
        "name", ["images/a.png", r"C:\data\images\a.png", "/data/upload/a.png", "./images/A.PNG"]
    )
    def test_names_with_other_folders_are_found(self, root, name):
        coco(root, [entry(1, name), BOTH[1]], [drawn(1, 1)])
        dataset = open_dataset(root)
        assert dataset.problems == ()
        assert dataset.cases[0].images == (root / "images" / "a.png",)

    def test_equal_names_in_several_folders_are_told_apart_by_them(self, tmp_path):
        for folder in ("one", "two"):
            save(tmp_path / folder / "a.png")
        coco(tmp_path, [entry(1, "one/a.png"), entry(2, "two/a.png")], [drawn(1, 2)])
        dataset = open_dataset(tmp_path)
        assert dataset.problems == ()
        assert [(c.id, c.mask is None) for c in dataset.cases] == [
            ("one_a", True),
            ("two_a", False),
        ]

    def test_a_name_that_fits_several_pictures_is_a_problem(self, tmp_path):
        for folder in ("one", "two"):
            save(tmp_path / folder / "a.png")
        coco(tmp_path, [entry(1, "a.png")], [drawn(1, 1)])
        problems = open_dataset(tmp_path).problems
        assert "several pictures for one name in annotation files: 1 (a.png)" in problems[0]

    @pytest.mark.parametrize("masks", ["gt", "annotations/panoptic_train", "stuff_pixelmaps"])
    def test_pictures_are_taken_before_masks_of_the_same_name(self, tmp_path, masks):
        for folder in (masks, "images"):
            save(tmp_path / folder / "a.png")
        coco(tmp_path, [entry(1, "a.png")], [drawn(1, 1)])
        dataset = open_dataset(tmp_path)
        assert dataset.problems == ()
        assert dataset.cases[0].images == (tmp_path / "images" / "a.png",)

    def test_no_picture_at_all_is_an_error(self, root):
        coco(root, [entry(1, "x.png")], [drawn(1, 1)])
        with pytest.raises(DataError, match="describes 1 images, none of which lies in"):
            open_dataset(root)


def yolo(root, lines, names="names: [crack, hole]\n"):
    (root / "labels").mkdir(exist_ok=True)
    for name, text in lines.items():
        (root / "labels" / f"{name}.txt").write_text(text)
    if names:
        (root / "data.yaml").write_text(names)
    return root


TRIANGLE = "0 0.1 0.1 0.9 0.1 0.9 0.9"


class TestYolo:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("0 0.5 0.5 0.2 0.2", r"boxes without outlines.* in 1 \(b\.txt\) text files"),
            ("0 0.5 0.5 0.2 0.2 0.99", "boxes without outlines"),
            ("0 0.1 0.1 0.9 0.1 0.9 0.9 0.5", "line 1 holds 7 coordinates"),
            ("0 10 10 50 10 50 50", "coordinate 50, where shares"),
            ("x 0.1 0.1 0.9 0.1 0.9 0.9", "no class and numbers"),
            ("5 0.1 0.1 0.9 0.1 0.9 0.9", r"names the classes 0 to 1.*1 \(5 in labels/b\.txt\)"),
        ],
    )
    def test_what_is_wrong_is_one_sentence(self, root, text, said):
        (problem,) = open_dataset(yolo(root, {"a": TRIANGLE, "b": text})).problems
        with pytest.raises(AssertionError, match=said):
            raise AssertionError(problem)

    def test_boxes_alone_are_refused_as_well(self, root):
        dataset = open_dataset(yolo(root, {"a": "0 0.5 0.5 0.2 0.2"}))
        assert dataset.layout == "yolo"
        assert "boxes without outlines" in dataset.problems[0]

    def test_negatives_are_counted_by_what_says_so(self, root):
        save(root / "images" / "c.png")
        dataset = open_dataset(yolo(root, {"a": TRIANGLE, "b": "\n"}))
        assert [case.mask is None for case in dataset.cases] == [False, True, True]
        assert any("1 pictures have no text file and 1 an empty one" in n for n in dataset.notes)
        assert dict(dataset.labels) == {"crack": 1}

    def test_a_split_without_a_folder_of_text_files_has_no_masks(self, tmp_path):
        for split in ("train", "test"):
            save(tmp_path / split / "images" / f"{split}.png")
        (tmp_path / "train" / "labels").mkdir()
        (tmp_path / "train" / "labels" / "train.txt").write_text(TRIANGLE)
        (problem,) = open_dataset(tmp_path).problems
        assert "test.png has no mask" in problem

    def test_a_text_file_without_a_picture_is_named(self, root):
        (problem,) = open_dataset(yolo(root, {"a": TRIANGLE, "z": TRIANGLE})).problems
        assert "without a picture: 1 (labels/z.txt)" in problem

    def test_names_can_be_missing(self, root):
        dataset = open_dataset(yolo(root, {"a": TRIANGLE, "b": ""}, names=""))
        assert dict(dataset.labels) == {"class_0": 1}

    @pytest.mark.parametrize(
        "names", ["names: 3\n", "names: {a: b}\n", "names: [x\n", "names: [a, a]\n"]
    )
    def test_broken_names_are_refused(self, root, names):
        with pytest.raises(DataError, match=r"data\.yaml"):
            open_dataset(yolo(root, {"a": TRIANGLE}, names=names))

    def test_the_file_can_be_named(self, root):
        yolo(root, {"a": TRIANGLE})
        assert open_dataset(root / "data.yaml").layout == "yolo"

    def test_one_folder_for_several_splits_says_no_split(self, root):
        names = "train: images\nval: images\nnames: [crack]\n"
        dataset = open_dataset(yolo(root, {"a": TRIANGLE}, names=names))
        assert [case.role for case in dataset.cases] == [None, None]


class TestLabelme:
    @pytest.fixture
    def put(self, tmp_path):
        def call(*shapes, name="a", picture=True, **more):
            if picture:
                save(tmp_path / f"{name}.png")
            content = {
                "version": "5.4.1",
                "flags": {},
                "shapes": [{"label": "crack", **shape} for shape in shapes],
                "imagePath": f"{name}.png",
                "imageData": None,
                "imageHeight": 10,
                "imageWidth": 20,
            }
            (tmp_path / f"{name}.json").write_text(json.dumps({**content, **more}))
            return tmp_path

        return call

    def sum_of(self, root):
        dataset = open_dataset(root)
        assert dataset.problems == ()
        return int(read_case_mask(dataset.cases[0]).array.sum())

    def test_rectangles_and_circles_are_areas(self, put):
        assert self.sum_of(put({"shape_type": "rectangle", "points": [[1, 1], [5, 4]]})) == 12
        corners = [[1, 1], [5, 1], [5, 4], [1, 4]]
        assert self.sum_of(put({"shape_type": "rectangle", "points": corners})) == 12
        assert self.sum_of(put({"shape_type": "circle", "points": [[5, 5], [5, 7]]})) == 12

    def test_ignored_areas_count_nowhere(self, put):
        square = {"points": [[1, 1], [5, 1], [5, 4], [1, 4]]}
        dataset = open_dataset(put(square, {**square, "label": "__ignore__"}))
        assert dataset.ignore_value == 255
        assert set(np.unique(read_case_mask(dataset.cases[0]).array)) == {0, 255}

    @pytest.mark.parametrize(
        ("shape", "said"),
        [
            ({"shape_type": "line", "points": [[1, 1], [5, 4]]}, r"no area: 1 \(line 'crack' in a"),
            ({"shape_type": "point", "points": [[1, 1]]}, "points or lines"),
            ({"points": [[1, 1], [5, 4]]}, "fewer than three corners"),
            ({"shape_type": "circle", "points": [[1, 1]]}, "a circle needs two points"),
            ({"label": None, "points": [[1, 1]]}, "a shape has no label"),
            ({"shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": "é"}, "no base64 text"),
        ],
    )
    def test_what_has_no_area_is_refused(self, put, shape, said):
        (problem,) = open_dataset(put(shape), missing_mask="negative").problems
        with pytest.raises(AssertionError, match=said):
            raise AssertionError(problem)

    @pytest.mark.parametrize("data", ["iVBORw0KGgo=", "é", "", 7])
    def test_a_picture_inside_the_file_may_be_damaged(self, put, data):
        put({"points": [[1, 1], [5, 1], [5, 4]]})
        root = put(name="b", picture=False, imageData=data)
        problems = inspect_dataset(open_dataset(root), jobs=1).problems
        assert any("b.json" in str(problem) for problem in problems)

    def test_files_of_masks_beside_drawings_are_not_taken_for_negatives(self, root):
        for name in ("a.png", "c.png"):
            save(root / "masks" / name)
        save(root / "images" / "c.png")
        shapes = [{"label": "crack", "points": [[1, 1], [9, 1], [9, 9]]}]
        (root / "images" / "b.json").write_text(json.dumps({"shapes": shapes}))
        dataset = open_dataset(root, missing_mask="negative")
        assert dataset.layout == "labelme"
        assert any("not read: 2 (masks/a.png, masks/c.png)" in p for p in dataset.problems)
        assert open_dataset(root, layout="folders").layout == "folders"


class TestGeojson:
    @pytest.fixture
    def put(self, tmp_path):
        def call(*geometries, name="a", place=None, **more):
            pixels = np.random.default_rng(1).integers(0, 255, (10, 20), np.uint8)
            tags = [] if place is None else place
            tifffile.imwrite(tmp_path / f"{name}.tif", pixels, metadata=None, extratags=tags)
            features = [
                {"type": "Feature", "properties": {"class": "crack"}, "geometry": one}
                for one in geometries
            ]
            content = {"type": "FeatureCollection", "features": features, **more}
            (tmp_path / "a.geojson").write_text(json.dumps(content))
            return open_dataset(tmp_path)

        return call

    def square(self, left, top, right, below):
        ring = [[left, top], [right, top], [right, below], [left, below], [left, top]]
        return {"type": "Polygon", "coordinates": [ring]}

    def test_coordinates_of_a_map_are_brought_to_the_picture(self, put):
        place = [
            (33550, "d", 3, (10.0, 10.0, 0.0), True),
            (33922, "d", 6, (0.0, 0.0, 0.0, 5000.0, 9000.0, 0.0), True),
            (34735, "H", 8, (1, 1, 0, 1, 3072, 0, 1, 32633), True),
        ]
        drawn = self.square(5020, 8990, 5060, 8960)
        named = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
        for more in ({}, {"crs": named}):
            dataset = put(drawn, place=place, **more)
            assert (dataset.layout, dataset.problems) == ("geojson", ())
            mask = read_case_mask(dataset.cases[0]).array[0]
            assert mask[1:4, 2:6].all()
            assert mask.sum() == 12
        other = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
        with pytest.raises(DataError, match=r"of EPSG:4326 and the picture of EPSG:32633"):
            read_case_mask(put(drawn, place=place, crs=other).cases[0])

    def test_coordinates_beside_a_plain_picture_are_refused(self, put):
        dataset = put(self.square(500, 800, 600, 900))
        with pytest.raises(DataError, match=r"a\.geojson.*beside the picture"):
            read_case_mask(dataset.cases[0])

    @pytest.mark.parametrize(
        ("geometry", "said"),
        [
            ({"type": "Point", "coordinates": [1, 1]}, "points or lines"),
            ({"type": "Polygon", "coordinates": []}, "a polygon has no rings"),
            ({"type": "Polygon", "coordinates": [[[1, 1], [2, 2], [1, 1]]]}, "3 positions"),
            ({"type": "Polygon", "coordinates": [[1, 2, 3, 4]]}, "no list of positions"),
            ({"type": "Polygon", "coordinates": [[["a", 1]] * 4]}, "finite numbers"),
            ("Polygon", "no object"),
        ],
    )
    def test_what_has_no_area_is_told(self, put, geometry, said):
        assert any(said in problem for problem in put(geometry).problems)

    def test_features_without_a_place_or_a_name(self, put):
        dataset = put(None)
        assert (dataset.cases[0].mask, dataset.problems) == (None, ())

    def test_a_file_that_is_called_like_no_picture(self, put, tmp_path):
        put(self.square(1, 1, 5, 5))
        (tmp_path / "z.geojson").write_text("{}")
        assert any(
            "called like no picture: 1 (z.geojson)" in p for p in open_dataset(tmp_path).problems
        )


class TestTables:
    def test_positives_alone_make_the_others_negatives(self, root):
        (root / "train.csv").write_text("ImageId,EncodedPixels\na.png,1 5\n")
        dataset = open_dataset(root)
        assert [case.mask is None for case in dataset.cases] == [False, True]
        assert any("the 1 pictures beside them" in note for note in dataset.notes)
        assert read_case_mask(dataset.cases[0]).array[0, :5, 0].tolist() == [1] * 5

    def test_where_rows_are_empty_a_picture_without_one_has_no_mask(self, root):
        save(root / "images" / "c.png")
        (root / "train.csv").write_text("ImageId,EncodedPixels\na.png,1 5\nb.png,\n")
        (problem,) = open_dataset(root).problems
        assert "c.png has no mask" in problem

    @pytest.mark.parametrize("head", ["ImageId_ClassId", "Image_Label"])
    def test_a_class_behind_the_name(self, root, head):
        (root / "train.csv").write_text(
            f"{head},EncodedPixels\na.png_1,1 5\na.png_2,6 2\nb.png_1,\nb.png_2,\n"
        )
        dataset = open_dataset(root)
        mask = read_case_mask(dataset.cases[0]).array[0]
        assert mask[:8, 0].tolist() == [1, 1, 1, 1, 1, 2, 2, 0]
        assert dataset.cases[1].mask is None

    def test_the_table_can_be_named_and_is_no_manifest(self, root):
        (root / "x.csv").write_text("id,rle\na,1 5\n")
        dataset = open_dataset(root / "x.csv")
        assert dataset.layout == "run_lengths"
        assert dataset.cases[0].images == (root / "images" / "a.png",)

    def test_a_manifest_beside_is_taken(self, root):
        (root / "train.csv").write_text("ImageId,EncodedPixels\na.png,1 5\n")
        (root / "manifest.csv").write_text("id,image,mask\na,images/a.png,empty\n")
        assert open_dataset(root).layout == "manifest"

    def test_runs_that_count_from_the_run_before_are_refused(self, root):
        (root / "train.csv").write_text("ImageId,EncodedPixels\na.png,50 5 5 5\n")
        texts = [str(p) for p in inspect_dataset(open_dataset(root), jobs=1).problems]
        assert any("train.csv (a.png): run lengths are not in ascending order" in t for t in texts)

    def test_pictures_that_are_not_there_are_named(self, root):
        (root / "train.csv").write_text("ImageId,EncodedPixels\na.png,1 5\nz.png,1 5\n")
        (problem,) = open_dataset(root).problems
        assert "1 (z.png in line 3)" in problem


class TestOthers:
    def test_a_colour_without_a_class_is_refused(self, root):
        for name in ("a.png", "b.png"):
            save(root / "masks" / name)
        (root / "labelmap.txt").write_text("crack:250,50,83::\n")
        dataset = open_dataset(root)
        assert dataset.layout == "labelmap"
        texts = [str(p) for p in inspect_dataset(dataset, jobs=1).problems]
        assert any("for which labelmap.txt has no class" in t for t in texts)

    @pytest.mark.parametrize(
        "line",
        ["crack", "crack:1,2", "crack:1,2,999::", "a:1,2,3::\nb:1,2,3::", "a:1,2,3::\nb:::"],
    )
    def test_a_broken_labelmap_is_refused(self, root, line):
        save(root / "masks" / "a.png")
        (root / "labelmap.txt").write_text(line)
        with pytest.raises(DataError, match=r"labelmap\.txt"):
            open_dataset(root)

    def test_a_labelmap_without_colours_stands_for_those_of_voc(self, root):
        voc = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)], np.uint8)
        values = np.zeros((10, 20), np.uint8)
        values[2:5, 3:9], values[6:8, 3:9] = 1, 3
        for name in ("a", "b"):
            (root / "masks").mkdir(exist_ok=True)
            Picture.fromarray(voc[values]).save(root / "masks" / f"{name}.png")
        (root / "labelmap.txt").write_text("# a remark\nbackground:::\na:::\nb:::\nc:::\n")
        dataset = open_dataset(root)
        assert (dataset.layout, dataset.problems) == ("labelmap", ())
        assert dataset.labels == {"a": 1, "b": 2, "c": 3}
        assert read_case_mask(dataset.cases[0]).array[0].tolist() == values.tolist()

    def test_the_rim_of_voc_counts_nowhere(self, tmp_path):
        for name in ("a", "b"):
            save(tmp_path / "JPEGImages" / f"{name}.jpg")
        values = np.zeros((10, 20), np.uint8)
        values[2:6, 2:6] = 255
        values[3:5, 3:5] = 1
        (tmp_path / "SegmentationClass").mkdir()
        picture = Picture.fromarray(values, mode="P")
        picture.putpalette([0, 0, 0, 128, 0, 0] + [90] * 762)
        picture.save(tmp_path / "SegmentationClass" / "a.png")
        dataset = open_dataset(tmp_path, missing_mask="negative")
        found = inspect_dataset(dataset, jobs=1)
        assert found.classes.names == ("background", "foreground")
        assert (found.cases[0].voxels, found.cases[0].ignored) == ((184, 4), 12)

    def test_videos_and_lines_of_cvat_are_refused(self, root):
        head = "<annotations><version>1.1</version>"
        (root / "annotations.xml").write_text(
            f'{head}<track id="0" label="x"></track></annotations>'
        )
        with pytest.raises(DataError, match=r"annotations\.xml holds tracks of a video"):
            open_dataset(root)
        image = '<image id="0" name="a.png" width="20" height="10">{}</image>'
        line = image.format('<polyline label="x" points="1,1;5,5"/>')
        (root / "annotations.xml").write_text(f"{head}{line}</annotations>")
        assert "no area: 1 (polyline 'x' on a.png)" in open_dataset(root).problems[0]
        (root / "annotations.xml").write_text(f"{head}{image.format('')}")
        with pytest.raises(DataError, match=r"annotations\.xml is no valid XML"):
            open_dataset(root)

    def test_entities_of_cvat_are_refused(self, root):
        (root / "annotations.xml").write_text(
            '<!DOCTYPE x [<!ENTITY a "aaaa">]><annotations><version>1.1</version></annotations>'
        )
        with pytest.raises(DataError, match="declares entities"):
            open_dataset(root)

    def test_objects_of_cvat_lie_in_their_order(self, root):
        box = '<box label="{}" xtl="1" ytl="1" xbr="5" ybr="5" z_order="{}"/>'
        (root / "annotations.xml").write_text(
            '<annotations><version>1.1</version><image id="0" name="a.png" width="20" height="10">'
            f"{box.format('over', 1)}{box.format('under', 0)}</image></annotations>"
        )
        dataset = open_dataset(root, missing_mask="negative")
        mask = read_case_mask(dataset.cases[0])
        assert set(np.unique(mask.array)) == {0, dataset.labels["over"]}
        assert mask.overlap == 16
        assert any("2 rectangles are drawn as areas" in note for note in dataset.notes)

    def test_tasks_of_label_studio_that_are_not_done_have_no_mask(self, root):
        tasks = [
            {"id": 1, "annotations": [], "data": {"image": "/upload/a.png"}},
            {"id": 2, "annotations": [{"result": []}], "data": {"image": "/upload/b.png"}},
        ]
        (root / "project.json").write_text(json.dumps(tasks))
        dataset = open_dataset(root)
        assert [case.id for case in dataset.cases] == ["a", "b"]
        assert "a.png has no mask" in dataset.problems[0]
        assert any("1 (task 1) tasks are not annotated" in note for note in dataset.notes)
