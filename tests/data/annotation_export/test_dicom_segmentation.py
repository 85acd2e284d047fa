"""Label maps written as DICOM segmentations, read again as the masks of their series."""

from __future__ import annotations

import numpy as np
import pytest

from rareseg.data.annotation_export.dicom_segmentation import (
    is_dicom_image,
    write_dicom_segmentation,
)
from rareseg.errors import ReadError
from rareseg_runner.formats import read_image, read_mask, segments, write_mask

SHAPE = (6, 20, 24)
ORIENTATIONS = {
    "axial": {},
    "from the head down": {"upwards": (0, 0, -1)},
    "coronal": {"along": ((1, 0, 0), (0, 0, -1))},
    "sagittal": {"along": ((0, 1, 0), (0, 0, -1))},
    "oblique": {"along": ((0.8, 0.6, 0), (-0.6, 0.8, 0))},
}


@pytest.fixture
def slices():
    return np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.int16)


def drawn(shape):
    labels = np.zeros(shape, np.uint8)
    labels.flat[3 : labels.size // 5] = 3
    labels.flat[labels.size // 2 : labels.size // 2 + 9] = 7
    return labels


def written(image, labels, source, path, names):
    """Write labels as `predict` does: from the NIfTI that lies in the folder of results."""
    kept = path.with_suffix(".nii.gz")
    write_mask(kept, labels, image.geometry)
    again = read_mask(kept)
    write_dicom_segmentation(path, again.array, again.geometry, names, source)
    return path


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_label_map_is_read_again_on_its_series(
    dicom, write_series, slices, tmp_path, orientation
):
    folder = write_series(tmp_path / "series", slices, **ORIENTATIONS[orientation])
    image = read_image([folder])
    labels = drawn(image.array.shape[1:])
    names = {"liver": 3, "spleen": 7, "absent": 9}
    path = written(image, labels, folder, tmp_path / "out" / "a.dcm", names)
    assert [(s.name, s.value) for s in segments(path)] == [
        ("liver", 1),
        ("spleen", 2),
        ("absent", 3),
    ]
    expected = np.select([labels == 3, labels == 7], [1, 2])
    np.testing.assert_array_equal(read_mask(path, image=image).array, expected)


def test_it_refers_to_the_patient_and_to_the_slices(dicom, write_series, slices, tmp_path):
    folder = write_series(tmp_path / "series", slices)
    image = read_image([folder])
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:4, 3:9, 4:8] = 1
    path = written(image, labels, folder, tmp_path / "a.dcm", {"spot": 1})
    seg = dicom.dcmread(path)
    sources = [dicom.dcmread(file) for file in sorted(folder.iterdir())]
    assert (seg.Modality, seg.PatientID) == ("SEG", "P1")
    assert seg.StudyInstanceUID == sources[0].StudyInstanceUID
    assert seg.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    referred = {
        frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for frame in seg.PerFrameFunctionalGroupsSequence
    }
    assert referred == {sources[k].SOPInstanceUID for k in (2, 3)}
    again = written(image, labels, folder, tmp_path / "b.dcm", {"spot": 1})
    assert dicom.dcmread(again).SOPInstanceUID == seg.SOPInstanceUID
    other = written(image, np.roll(labels, 1, 0), folder, tmp_path / "c.dcm", {"spot": 1})
    assert dicom.dcmread(other).SOPInstanceUID != seg.SOPInstanceUID


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_single_slice_is_an_image_of_its_own(dicom, write_series, slices, tmp_path, orientation):
    folder = write_series(tmp_path / "series", slices[:1], **ORIENTATIONS[orientation])
    source = folder / "000.dcm"
    image = read_image([source])
    labels = drawn(image.array.shape[1:])
    path = written(image, labels, source, tmp_path / "a.dcm", {"liver": 3, "spleen": 7})
    expected = np.select([labels == 3, labels == 7], [1, 2])
    np.testing.assert_array_equal(read_mask(path, image=image).array, expected)


def test_where_nothing_was_found_the_segments_are_empty(dicom, write_series, slices, tmp_path):
    folder = write_series(tmp_path / "series", slices)
    image = read_image([folder])
    path = written(image, np.zeros(SHAPE, np.uint8), folder, tmp_path / "a.dcm", {"spot": 1})
    assert [s.name for s in segments(path)] == ["spot"]
    assert not read_mask(path, image=image).array.any()


def test_a_series_without_a_place_is_refused(dicom, write_series, slices, tmp_path):
    missing = ("0020|000d", "0020|0052", "0010|0020")
    folder = write_series(tmp_path / "series", slices, without=missing)
    image = read_image([folder])
    with pytest.raises(ReadError, match=r"series cannot be referred to .* use --format seg\.nrrd"):
        written(image, drawn(SHAPE), folder, tmp_path / "a.dcm", {"liver": 3, "spleen": 7})
    assert not (tmp_path / "a.dcm").exists()


def test_what_is_dicom_is_told_by_its_file(write_series, slices, tmp_path):
    folder = write_series(tmp_path / "series", slices)
    assert is_dicom_image(folder)
    assert is_dicom_image(folder / "000.dcm")
    assert not is_dicom_image(tmp_path / "a.nii.gz")
    assert not is_dicom_image(tmp_path / "a.png")
