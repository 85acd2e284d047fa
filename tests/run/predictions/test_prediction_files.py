"""Overlays and segmentations of volumes, made from masks as they lie on the disk."""

from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk

from rareseg.data.records import Case
from rareseg.errors import DataError, UsageError
from rareseg.report.figures.overlay_picture import COLOURS
from rareseg.run.predictions.predicted_case import measure
from rareseg.run.predictions.prediction_files import PredictionFiles, require_fitting
from rareseg_runner.decision.detection import Detection
from rareseg_runner.formats import read_image, read_mask, write_mask
from rareseg_runner.image_records import Geometry, Image

FRAME = Geometry((2.0, 1.0, 0.5), 3, (1.0, 2.0, 3.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0), "RAS")


def predicted(folder, name, labels, geometry):
    """Write an image, its label map and one mask a region, as predict does."""
    path = folder / "in" / name
    path.parent.mkdir()
    write_mask(path, (labels * 20).astype(np.uint8), geometry)
    case = Case(name.partition(".")[0], (path,), None)
    image = read_image(case.images)
    masks = {"liver": labels == 3, "lump/s": labels == 7}
    write_mask(folder / "out" / name, labels, image.geometry)
    for region, place in (("liver", "liver"), ("lump/s", "lump_s")):
        write_mask(folder / "out" / place / name, masks[region].astype(np.uint8), image.geometry)
    scores = {region: mask * np.float32(0.8) for region, mask in masks.items()}
    tops = {region: float(score.max()) for region, score in scores.items()}
    found = Detection(Image(image.array, image.geometry), scores, masks, labels, tops, None)
    return case, measure(found, case_id=case.id, image=name, digest="d", mask=name)


def files_of(folder, *formats, overlay=False):
    return PredictionFiles(
        folder / "out",
        ["liver", "lump/s"],
        {"liver": 3, "lump/s": 7},
        overlay=overlay,
        formats=formats,
    )


@pytest.fixture
def volume(tmp_path):
    labels = np.zeros((6, 30, 40), np.uint8)
    labels[2, 5:10, 5:10], labels[4, 10:25, 10:30] = 3, 7
    return (*predicted(tmp_path, "p.nii.gz", labels, FRAME), labels)


def test_a_volume_is_written_with_the_names_of_its_segments(tmp_path, volume):
    case, row, labels = volume
    files = files_of(tmp_path, "seg.nrrd", overlay=True)
    files.add(case, row)
    assert files.close() == (tmp_path / "out" / "segmentations", tmp_path / "out" / "overlays")
    path = tmp_path / "out" / "segmentations" / "p.seg.nrrd"
    np.testing.assert_array_equal(read_mask(path).array, labels)
    written, mask = sitk.ReadImage(str(path)), sitk.ReadImage(str(tmp_path / "out" / "p.nii.gz"))
    assert written.GetMetaData("Segment1_Name") == "lump/s"
    np.testing.assert_allclose(written.GetOrigin(), mask.GetOrigin())
    np.testing.assert_allclose(written.GetDirection(), mask.GetDirection())


def test_the_overlay_of_a_volume_shows_its_largest_slice_in_its_shape(tmp_path, volume):
    case, row, _ = volume
    files_of(tmp_path, overlay=True).add(case, row)
    drawn = np.asarray(PIL.Image.open(tmp_path / "out" / "overlays" / "p.png")).astype(int)
    # 30 rows of 1 mm and 40 columns of 0.5 mm.
    assert drawn.shape[0] / drawn.shape[1] == pytest.approx(1.5, abs=0.01)
    shown = [(np.abs(drawn - colour).max(-1) < 30).any() for colour in COLOURS[:2]]
    assert shown == [False, True], "slice 4 holds the second region alone"


def test_a_volume_without_anything_has_an_overlay_too(tmp_path):
    case, row = predicted(tmp_path, "p.nii.gz", np.zeros((3, 20, 20), np.uint8), FRAME)
    files_of(tmp_path, overlay=True).add(case, row)
    assert (tmp_path / "out" / "overlays" / "p.png").is_file()


def test_what_a_format_cannot_hold_is_said_of_the_image(tmp_path):
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[0, 3:5, 3:5] = 3
    case, row = predicted(tmp_path, "p.tif", labels, Geometry())
    with pytest.raises(DataError, match=r"p\.tif is a photograph"):
        files_of(tmp_path, "seg.nrrd").add(case, row)
    files_of(tmp_path, "yolo").add(case, row)
    assert (tmp_path / "out" / "yolo" / "labels" / "p.txt").read_text().startswith("0 ")


def test_a_stack_is_no_photograph(tmp_path):
    case, row = predicted(tmp_path, "p.tif", np.zeros((3, 20, 20), np.uint8), Geometry(dimension=3))
    with pytest.raises(DataError, match="has 3 slices, and coco holds one"):
        files_of(tmp_path, "coco").add(case, row)


def test_files_that_show_it_by_their_names_are_refused_beforehand(tmp_path):
    with pytest.raises(UsageError, match=r"a\.nii is a volume; use --format seg\.nrrd"):
        require_fitting(["coco"], [Case("a", (tmp_path / "a.nii",), None)])
    with pytest.raises(UsageError, match=r"a\.png is a photograph; allowed are coco"):
        require_fitting(["seg.nrrd"], [Case("a", (tmp_path / "a.png",), None)])
    require_fitting([], [Case("a", (tmp_path / "a.nii",), None)])


def test_segmentations_in_dicom_are_for_what_was_read_from_dicom(tmp_path, monkeypatch):
    files = "rareseg.run.predictions.prediction_files"
    monkeypatch.setattr(f"{files}.can_write_dicom", lambda: False)
    with pytest.raises(UsageError, match=r"--format dicom-seg .* pip install 'rareseg\[dicom\]'"):
        require_fitting(["dicom-seg"], [Case("a", (tmp_path / "a.dcm",), None)])
    monkeypatch.setattr(f"{files}.can_write_dicom", lambda: True)
    with pytest.raises(UsageError, match=r"a\.nii is no DICOM; use --format seg\.nrrd"):
        require_fitting(["dicom-seg"], [Case("a", (tmp_path / "a.nii",), None)])
    with pytest.raises(UsageError, match=r"a\.png is no DICOM; use --format coco, "):
        require_fitting(["dicom-seg"], [Case("a", (tmp_path / "a.png",), None)])
    require_fitting(["dicom-seg"], [Case("a", (tmp_path / "a.dcm",), None)])


def test_objects_on_a_geotiff_are_written_on_its_map(tmp_path):
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[0, 3:5, 2:6] = 3
    place = ((33550, 12, 3, (10.0, 10.0, 0.0)), (33922, 12, 6, (0.0, 0.0, 0.0, 5e5, 9e5, 0.0)))
    case, row = predicted(tmp_path, "p.tif", labels, Geometry(geotiff=place))
    files = files_of(tmp_path, "geojson")
    files.add(case, row)
    (path,) = files.close()
    (feature,) = json.loads((path / "p.geojson").read_text(encoding="utf-8"))["features"]
    corners = np.array(feature["geometry"]["coordinates"][0])
    assert corners.min(0).tolist() == [500020.0, 899950.0]
    assert corners.max(0).tolist() == [500060.0, 899970.0]
