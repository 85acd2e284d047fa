"""DICOM segmentations by highdicom's writer and structure sets by pydicom's, on their image."""

from __future__ import annotations

import numpy as np
import pytest

from corpus.smallest import GREY, as_segmentation, as_structure_set, by_nibabel, stack
from rareseg.data.case_files import read_case_mask
from rareseg.data.records import Case
from rareseg.errors import ReadError
from rareseg_runner.formats import read_image, read_mask, segments
from rareseg_runner.formats.volumes.dicom_objects import object_kind

SHAPE = (6, 40, 48)
STEP = (2.0, 0.5, 0.75)
"""Spacing (z, y, x) in mm."""
FIRST = (-10.0, 20.0, 30.0)


@pytest.fixture
def folder(tmp_path, write_series):
    """Return a folder with one series of CT; the first slice lies lowest."""
    values = np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.int16)
    return write_series(tmp_path / "series", values, step=STEP, first=FIRST)


def two_blocks() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:3, 10:20, 5:15] = 1
    labels[2:5, 25:30, 20:40] = 2
    return labels


def write_seg(dicom, folder, path, masks, kind="BINARY"):
    """Write masks (z, y, x, segment) of 0 and 1 by highdicom."""
    import highdicom

    sources = [dicom.dcmread(file) for file in sorted(folder.glob("*.dcm"))]
    code = highdicom.sr.CodedConcept("49755003", "SCT", "Morphologically abnormal structure")
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=code,
            segmented_property_type=code,
            algorithm_type="MANUAL",
        )
        for number, name in enumerate(("tumour", "cyst")[: masks.shape[-1]], start=1)
    ]
    seg = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=masks,
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=highdicom.UID(),
        series_number=7,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="nobody",
        manufacturer_model_name="none",
        software_versions="1",
        device_serial_number="1",
    )
    seg.save_as(path)


def write_rtstruct(dicom, path, outlines):
    """Write outlines {name: [(slice, points (n, 2) of (y, x))]} as a structure set."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    content = Dataset()
    content.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    content.SOPInstanceUID = generate_uid()
    content.Modality = "RTSTRUCT"
    content.StructureSetROISequence, content.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(outlines.items(), start=11):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        drawn.ReferencedROINumber, drawn.ROIDisplayColor = number, [255, 0, 10]
        drawn.ContourSequence = []
        for z, points in contours:
            contour = Dataset()
            contour.ContourGeometricType = "CLOSED_PLANAR"
            x = FIRST[0] + STEP[2] * points[:, 1]
            y = FIRST[1] + STEP[1] * points[:, 0]
            place = np.stack([x, y, np.full(len(x), FIRST[2] + STEP[0] * z)], 1)
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = [float(round(v, 6)) for v in place.ravel()]
            drawn.ContourSequence.append(contour)
        content.StructureSetROISequence.append(roi)
        content.ROIContourSequence.append(drawn)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = content.SOPClassUID
    meta.MediaStorageSOPInstanceUID = content.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content.file_meta = meta
    content.save_as(path, enforce_file_format=True)


def box(top, left, bottom, right):
    """Return a contour around the pixels of [top:bottom, left:right]."""
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    return np.array(corners, float) - 0.5


class TestSegmentation:
    def test_its_numbers_and_names_are_read_on_the_image(self, dicom, folder, tmp_path):
        labels = two_blocks()
        masks = np.stack([labels == 1, labels == 2], -1).astype(np.uint8)
        path = tmp_path / "drawn.dcm"
        write_seg(dicom, folder, path, masks)
        assert object_kind(path) == "SEG"
        assert [(s.name, s.value) for s in segments(path)] == [("tumour", 1), ("cyst", 2)]
        image = read_image([folder])
        np.testing.assert_array_equal(read_mask(path, image=image).array, labels)
        case = Case("a", (folder,), path)
        np.testing.assert_array_equal(read_case_mask(case).array, labels)

    def test_alone_it_has_the_extent_of_its_frames(self, dicom, folder, tmp_path):
        labels = (two_blocks() == 1).astype(np.uint8)
        write_seg(dicom, folder, tmp_path / "s.dcm", labels[..., None])
        mask = read_mask(tmp_path / "s.dcm")
        assert mask.array.sum() == labels.sum()
        assert mask.geometry.spacing == pytest.approx(STEP)

    def test_overlaps_and_fractions_are_refused(self, dicom, folder, tmp_path):
        one = two_blocks() == 1
        write_seg(dicom, folder, tmp_path / "o.dcm", np.stack([one, one], -1).astype(np.uint8))
        with pytest.raises(ReadError, match=r"o\.dcm has segments that overlap in 200 voxels"):
            read_mask(tmp_path / "o.dcm")
        half = one[..., None].astype(np.float32) / 2
        write_seg(dicom, folder, tmp_path / "f.dcm", half, "FRACTIONAL")
        with pytest.raises(ReadError, match=r"f\.dcm is .* fractions"):
            read_mask(tmp_path / "f.dcm")

    def test_it_is_no_image(self, dicom, folder, tmp_path):
        write_seg(dicom, folder, tmp_path / "s.dcm", (two_blocks() == 1)[..., None])
        with pytest.raises(ReadError, match=r"s\.dcm is a DICOM segmentation .* no image"):
            read_image([tmp_path / "s.dcm"])


class TestStructureSet:
    def test_voxels_whose_centre_lies_inside_are_read(self, dicom, folder, tmp_path):
        hole = [(3, box(4, 4, 20, 24)), (3, box(8, 8, 12, 12))]
        write_rtstruct(dicom, tmp_path / "r.dcm", {"rim": hole, "spot": [(0, box(30, 30, 33, 34))]})
        assert object_kind(tmp_path / "r.dcm") == "RTSTRUCT"
        found = segments(tmp_path / "r.dcm")
        assert [(s.name, s.value, s.colour) for s in found] == [
            ("rim", 1, (255, 0, 10)),
            ("spot", 2, (255, 0, 10)),
        ]
        expected = np.zeros(SHAPE, int)
        expected[3, 4:20, 4:24] = 1
        expected[3, 8:12, 8:12] = 0
        expected[0, 30:33, 30:34] = 2
        image = read_image([folder])
        np.testing.assert_array_equal(read_mask(tmp_path / "r.dcm", image=image).array, expected)

    def test_a_triangle_has_the_area_of_the_even_odd_rule(self, dicom, folder, tmp_path):
        corners = np.array([(2.0, 2.0), (2.0, 30.0), (30.0, 2.0)])
        write_rtstruct(dicom, tmp_path / "r.dcm", {"t": [(1, corners + 0.25)]})
        mask = read_mask(tmp_path / "r.dcm", image=read_image([folder])).array[1]
        y, x = np.indices(mask.shape)
        inside = (y > 2.25) & (x > 2.25) & (x + y < 32.5)
        np.testing.assert_array_equal(mask, inside)

    def test_what_cannot_be_drawn_is_said(self, dicom, folder, tmp_path):
        image = read_image([folder])
        twice = {"a": [(1, box(4, 4, 9, 9))], "b": [(1, box(8, 8, 12, 12))]}
        write_rtstruct(dicom, tmp_path / "o.dcm", twice)
        with pytest.raises(ReadError, match=r"o\.dcm .* overlap: numbers 2 and 1 share 1 voxels"):
            read_mask(tmp_path / "o.dcm", image=image)
        write_rtstruct(dicom, tmp_path / "z.dcm", {"a": [(17, box(4, 4, 9, 9))]})
        with pytest.raises(ReadError, match=r"z\.dcm has a contour that lies in no slice"):
            read_mask(tmp_path / "z.dcm", image=image)
        with pytest.raises(ReadError, match=r"z\.dcm is a DICOM structure set.*name the series"):
            read_mask(tmp_path / "z.dcm")


def test_without_the_extra_the_line_to_type_is_said(folder, monkeypatch, tmp_path):
    head = b"\0" * 128 + b"DICM" + b"\2\0\2\0UI" + (28).to_bytes(2, "little")
    (tmp_path / "s.dcm").write_bytes(head + b"1.2.840.10008.5.1.4.1.1.66.4" + b"\0" * 99)
    monkeypatch.setattr("rareseg_runner.formats.reader_guard.has_module", lambda _: False)
    with pytest.raises(ReadError, match=r"s\.dcm is .*pip install 'rareseg\[dicom\]'"):
        read_mask(tmp_path / "s.dcm", image=read_image([folder]))


def test_no_cut_of_a_drawing_reads_as_another_mask(dicom, tmp_path):
    grid = tmp_path / "image.nii"
    grid.write_bytes(by_nibabel("image.nii", stack(GREY))["image.nii"])
    image = read_image([grid])
    for make, step in ((as_structure_set, 1), (as_segmentation, 97)):
        path, content = tmp_path / "drawn.dcm", make()
        path.write_bytes(content)
        assert read_mask(path, image=image).array.any()
        for length in range(0, len(content), step):
            path.write_bytes(content[:length])
            with pytest.raises(ReadError, match=r"drawn\.dcm"):
                read_mask(path, image=image)
