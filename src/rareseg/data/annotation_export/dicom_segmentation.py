"""Write DICOM segmentations (DICOM-SEG), which refer to the slices that they were made of.

By highdicom, the extra ``rareseg[dicom]``. Segments are binary, named after the classes and
numbered 1, 2, … in their order: the standard allows no other numbers (PS3.3, C.8.20.4). Patient,
study and frame of reference are those of the source.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.errors import ReadError
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.formats import suffix_of
from rareseg_runner.formats.reader_guard import has_module, load_extra, reason
from rareseg_runner.formats.volumes.dicom_files import FORMATS as DICOM
from rareseg_runner.formats.volumes.dicom_files import is_dicom_folder, series_files
from rareseg_runner.geometry import from_canonical
from rareseg_runner.image_records import Geometry

_PROGRAM = "rareseg"
_LONGEST = 64
"""Characters of a name in DICOM (the value representation LO)."""


def is_dicom_image(path: Path) -> bool:
    """Whether an image was read from DICOM: a folder with a series, or a single file."""
    return is_dicom_folder(path) or any(suffix_of(path) in form.suffixes for form in DICOM)


def can_write_dicom() -> bool:
    """Whether the extra is installed."""
    return has_module("highdicom")


def write_dicom_segmentation(
    path: Path,
    labels: NDArray[np.integer],
    geometry: Geometry,
    names: Mapping[str, int],
    source: Path,
) -> None:
    """Write a label map (z, y, x) as a segmentation of the DICOM image ``source``, atomically.

    ``source`` is the folder of the series or the file, ``geometry`` that of the label map,
    ``names`` leads from the classes to their values in it. A class without voxels is a segment too.
    The same labels of the same source give the same instance (UID), so that writing them again is
    no other object.

    Raises:
        ReadError: the extra is not installed, or the source lacks what a segmentation has to say of
            its patient, study or place.
    """
    highdicom = load_extra("highdicom", "dicom", source, "to be written as a DICOM segmentation")
    pydicom = load_extra("pydicom", "dicom", source, "to be written as a DICOM segmentation")
    frames = np.ascontiguousarray(from_canonical(labels, geometry.orientation or "LPS"))
    kind = np.uint8 if len(names) < 256 else np.uint16
    numbered: NDArray[np.integer] = np.zeros(frames.shape, kind)
    for number, value in enumerate(names.values(), start=1):
        numbered[frames == value] = number
    try:
        sources = [pydicom.dcmread(file) for file in series_files(source)]
        segmentation = _segmentation(highdicom, sources, numbered, list(names))
    except Exception as error:  # whatever the library raises on what a file lacks
        raise ReadError(
            f"{source} cannot be referred to by a DICOM segmentation ({reason(error)}); export the "
            "series with its patient, study and place, or use --format seg.nrrd."
        ) from error
    with atomic_write(path) as temporary:
        segmentation.save_as(temporary)


def _segmentation(
    highdicom: Any, sources: list[Any], frames: NDArray[np.integer], names: list[str]
) -> Any:
    """Return the segmentation of label frames (slice, row, column), numbered 1, 2, …."""
    ours = version(_PROGRAM)
    series = _uid("series", sources[0].SeriesInstanceUID, *names)
    made_by = highdicom.AlgorithmIdentificationSequence(
        name=_PROGRAM,
        family=highdicom.sr.CodedConcept("123109", "DCM", "Artificial Intelligence"),
        version=ours,
    )
    # What a class is called says not what it is in the terms of medicine: the category is the
    # neutral one, and the type is the name itself under a scheme of our own (PS3.3, 8.2).
    category = highdicom.sr.CodedConcept("309825002", "SCT", "Spatial and Relational Concept")
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name[:_LONGEST],
            segmented_property_category=category,
            segmented_property_type=highdicom.sr.CodedConcept(
                f"CLASS{number}", "99RARESEG", name[:_LONGEST]
            ),
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=made_by,
        )
        for number, name in enumerate(names, start=1)
    ]
    digest = hashlib.sha256(np.ascontiguousarray(frames).tobytes()).hexdigest()
    return highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=frames,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=described,
        series_instance_uid=series,
        series_number=1,
        series_description=f"Segmentation by {_PROGRAM}",
        sop_instance_uid=_uid("instance", series, sources[0].SOPInstanceUID, digest),
        instance_number=1,
        manufacturer=_PROGRAM,
        manufacturer_model_name=_PROGRAM,
        software_versions=ours,
        device_serial_number="1",
    )


def _uid(*parts: object) -> str:
    """Return a UID that follows from ``parts``: 2.25 and the number of a UUID (PS3.5, B.2)."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"
