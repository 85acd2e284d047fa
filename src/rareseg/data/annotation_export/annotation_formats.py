"""Registry of the files that annotation tools take back, by the name in ``--format``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rareseg.data.annotation_export.annotated import AnnotatedPicture
from rareseg.data.annotation_export.coco_file import CocoFile
from rareseg.data.annotation_export.geojson_files import GeojsonFiles
from rareseg.data.annotation_export.labelme_files import LabelmeFiles
from rareseg.data.annotation_export.yolo_files import YoloFiles
from rareseg.errors import UsageError, nearest


class AnnotationFiles(Protocol):
    """Files of one kind, written picture by picture."""

    def add(self, picture: AnnotatedPicture) -> None:
        """Take a picture with its objects."""
        ...

    def close(self) -> Path:
        """Write what is about all pictures; return the file or the folder to look at."""
        ...


@dataclass(frozen=True)
class AnnotationFormat:
    """What is known of a format of pictures: its ``title``, and how files of it are begun.

    ``begin`` is given the folder to write below and the names that objects can have, in order.
    """

    name: str
    title: str
    begin: Callable[[Path, Sequence[str]], AnnotationFiles]


PICTURE_FORMATS: Mapping[str, AnnotationFormat] = {
    one.name: one
    for one in (
        AnnotationFormat("coco", "COCO instances", CocoFile),
        AnnotationFormat("yolo", "YOLO segmentation", YoloFiles),
        AnnotationFormat("geojson", "GeoJSON", GeojsonFiles),
        AnnotationFormat("labelme", "LabelMe", LabelmeFiles),
    )
}
"""Formats of photographs, which hold outlines in one plane."""

SEGMENTS = "seg.nrrd"
"""The format of volumes."""

DICOM_SEGMENTS = "dicom-seg"
"""The format of what was read from DICOM."""


def chosen_formats(words: Sequence[str]) -> tuple[str, ...]:
    """Return the names in ``words``, which may hold several with commas between, each once.

    Raises :class:`UsageError` for a name that no format has.
    """
    allowed = (*PICTURE_FORMATS, SEGMENTS, DICOM_SEGMENTS)
    names = [name.strip() for word in words for name in word.split(",") if name.strip()]
    for name in names:
        if name not in allowed:
            raise UsageError(
                f"--format {name!r} is not known{nearest(name, allowed)}; allowed are "
                f"{', '.join(allowed)}."
            )
    return tuple(dict.fromkeys(names))
