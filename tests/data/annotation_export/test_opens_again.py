"""What `predict --format` writes beside its pictures opens as a data set, with the same masks."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import tifffile
from scipy import ndimage

from rareseg.data.annotation_export.annotated import AnnotatedObject, AnnotatedPicture
from rareseg.data.annotation_export.annotation_formats import PICTURE_FORMATS
from rareseg.data.annotation_export.dicom_segmentation import write_dicom_segmentation
from rareseg.data.annotation_export.segment_file import write_segments
from rareseg.data.case_files import read_case_mask
from rareseg.data.dataset import open_dataset
from rareseg_runner.components import label_components
from rareseg_runner.formats import read_image, write_mask
from rareseg_runner.image_records import Geometry

NAMES = ("crack", "hole")
SHAPE = (37, 50)
EARTH = [
    (33550, "d", 3, (0.3, 0.7, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 412345.6, 5654321.9, 0.0), True),
    (34735, "H", 12, (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 25833), True),
]


def scenes():
    """Label maps with holes, single pixels and objects at the border; the last one is empty."""
    rng = np.random.default_rng(4)
    for k in range(5):
        labels = np.zeros(SHAPE, np.uint8)
        if k < 4:
            labels[3:20, 2:30] = rng.random((17, 28)) < 0.6
            labels[22:37, 20:50][ndimage.binary_opening(rng.random((15, 30)) < 0.8)] = 2
            labels[0, 0] = labels[-1, 0] = 1
        yield f"c{k}", labels


def objects(labels):
    for value, name in enumerate(NAMES, start=1):
        parts, _ = label_components(labels == value)
        for k, box in enumerate(ndimage.find_objects(parts.astype(int)), start=1):
            yield AnnotatedObject(name, k, (box[0].start, box[1].start), parts[box] == k, 0.5)


def save_picture(path, *, on_earth):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 255, SHAPE, np.uint8)
    if on_earth:
        tifffile.imwrite(path, pixels, metadata=None, extratags=EARTH)
    else:
        PIL.Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("on_earth", [False, True])
@pytest.mark.parametrize("name", PICTURE_FORMATS)
def test_pictures_open_again(name, on_earth, tmp_path):
    root = tmp_path / "yolo" if name == "yolo" else tmp_path
    drawn = dict(scenes())
    files = PICTURE_FORMATS[name].begin(tmp_path, NAMES)
    for case, labels in drawn.items():
        path = root / "images" / f"{case}{'.tif' if on_earth else '.png'}"
        save_picture(path, on_earth=on_earth)
        geometry = read_image([path]).geometry
        files.add(AnnotatedPicture(case, path, path.name, *SHAPE, list(objects(labels)), geometry))
    files.close()
    dataset = open_dataset(root)
    assert (dataset.layout, dataset.problems) == (name, ())
    assert dict(dataset.labels) == {"crack": 1, "hole": 2}
    assert sorted(case.id for case in dataset.cases) == sorted(drawn)
    for case in dataset.cases:
        mask = read_case_mask(case)
        assert (mask is None) == (not drawn[case.id].any())
        if mask is not None:
            assert mask.overlap == 0
            np.testing.assert_array_equal(mask.array[0], drawn[case.id])


def volumes():
    rng = np.random.default_rng(6)
    for k in range(3):
        labels = np.zeros((5, 12, 14), np.uint8)
        labels[1:4, 2:8, 3:9] = rng.integers(0, 3, (3, 6, 6))
        yield f"p{k}", labels


def test_segmentations_of_slicer_open_again(tmp_path):
    frame = Geometry(
        (2.0, 1.0, 0.5), 3, (1.0, 2.0, 3.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0), "RAS"
    )
    (tmp_path / "images").mkdir()
    drawn = dict(volumes())
    for case, labels in drawn.items():
        write_mask(tmp_path / "images" / f"{case}.nii.gz", labels * 30, frame)
        path = tmp_path / "segmentations" / f"{case}.seg.nrrd"
        write_segments(path, labels, frame, {"crack": 1, "hole": 2})
    dataset = open_dataset(tmp_path)
    assert dataset.problems == ()
    assert dict(dataset.labels) == {"crack": 1, "hole": 2}
    for case in dataset.cases:
        np.testing.assert_array_equal(read_case_mask(case).array, drawn[case.id])


def test_segmentations_in_dicom_open_again(dicom, write_series, tmp_path):
    drawn = dict(volumes())
    for case, labels in drawn.items():
        folder = write_series(tmp_path / "images" / case, (labels * 30).astype(np.int16))
        path = tmp_path / "segmentations" / f"{case}.dcm"
        geometry = read_image([folder]).geometry
        write_dicom_segmentation(path, labels, geometry, {"crack": 1, "hole": 2}, folder)
    dataset = open_dataset(tmp_path)
    assert dataset.problems == ()
    assert len(dataset.cases) == len(drawn)
    for case in dataset.cases:
        np.testing.assert_array_equal(read_case_mask(case).array, drawn[case.id])
