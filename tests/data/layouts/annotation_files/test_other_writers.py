"""Files that pycocotools and supervision write, read here where these are installed."""

import json

import numpy as np
import pytest
from scipy import ndimage

from rareseg.data.case_files import read_case_mask
from rareseg.data.dataset import open_dataset


@pytest.fixture
def lumps(tmp_path):
    """Four pictures (BGR, as cv2 reads them) with two lumps each, and the masks of these."""
    from PIL import Image as Picture

    rng = np.random.default_rng(3)
    made = {}
    for k in range(4):
        masks = np.zeros((2, 40, 50), bool)
        for mask in masks:
            y, x = rng.integers(8, 30, 2)
            mask[y - 6 : y + 6, x - 7 : x + 7] = True
            mask[y - 6 : y - 3, x - 7 : x - 3] = False
        path = tmp_path / "images" / f"lump{k}.png"
        path.parent.mkdir(exist_ok=True)
        Picture.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(path)
        made[str(path)] = masks
    return made


@pytest.fixture
def supervision(lumps):
    sv = pytest.importorskip("supervision", reason="supervision is not installed")
    annotations = {}
    for path, masks in lumps.items():
        boxes = np.array([ndimage.find_objects(mask)[0] for mask in masks.astype(int)])
        corners = [[x.start, y.start, x.stop - 1, y.stop - 1] for y, x in boxes]
        annotations[path] = sv.Detections(
            xyxy=np.array(corners, float), mask=masks, class_id=np.array([0, 1])
        )
    return sv.DetectionDataset(["crack", "hole"], list(lumps), annotations)


def assert_alike(dataset, lumps):
    """supervision's outlines run through the centres of outermost pixels and cut inner corners."""
    assert dataset.problems == ()
    assert set(dataset.labels) == {"crack", "hole"}
    assert len(dataset.cases) == len(lumps)
    for case in dataset.cases:
        (masks,) = (m for path, m in lumps.items() if case.images[0].name in path)
        drawn = read_case_mask(case).array[0]
        union = masks.any(0)
        assert (drawn[~ndimage.binary_dilation(union, np.ones((3, 3)))] == 0).all()
        assert (drawn[ndimage.binary_erosion(union, np.ones((3, 3)))] != 0).all()
        hole = masks[1]
        inner = ndimage.binary_erosion(hole, np.ones((3, 3)))
        assert (drawn[inner] == dataset.labels["hole"]).all()


def test_coco_of_supervision(supervision, lumps, tmp_path):
    supervision.as_coco(annotations_path=str(tmp_path / "annotations" / "all.json"))
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "coco"
    assert_alike(dataset, lumps)


def test_yolo_of_supervision(supervision, lumps, tmp_path):
    supervision.as_yolo(
        annotations_directory_path=str(tmp_path / "labels"),
        data_yaml_path=str(tmp_path / "data.yaml"),
    )
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "yolo"
    assert_alike(dataset, lumps)


def test_coco_as_pycocotools_reads_it(lumps, tmp_path):
    """What pycocotools decodes of a file is what is read here."""
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    from pycocotools import mask as tools

    images, annotations = [], []
    for number, (path, masks) in enumerate(lumps.items()):
        images.append({"id": number, "file_name": path, "width": 50, "height": 40})
        for value, mask in enumerate(masks, start=1):
            made = tools.encode(np.asfortranarray(mask.astype(np.uint8)))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": value,
                    "iscrowd": 0,
                    "area": float(tools.area(made)),
                    "bbox": tools.toBbox(made).tolist(),
                    "segmentation": {"size": made["size"], "counts": made["counts"].decode()},
                }
            )
    categories = [{"id": 1, "name": "crack"}, {"id": 2, "name": "hole"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path = tmp_path / "all.json"
    path.write_text(json.dumps(content))
    theirs = coco.COCO(str(path))
    dataset = open_dataset(path)
    for case in dataset.cases:
        (image,) = (i for i in theirs.imgs.values() if case.id in i["file_name"])
        expected = np.zeros((40, 50), int)
        for one in theirs.loadAnns(theirs.getAnnIds(image["id"])):
            expected[theirs.annToMask(one) == 1] = one["category_id"]
        np.testing.assert_array_equal(read_case_mask(case).array[0], expected)
