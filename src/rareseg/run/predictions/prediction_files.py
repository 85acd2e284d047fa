"""Write what `predict` is asked for beside masks: overlays and files of annotation tools.

They are made from masks as they lie on the disk and from the rows of an image, so that they can be
asked for when the images were predicted long ago.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rareseg.data.annotation_export.annotated import AnnotatedObject, AnnotatedPicture
from rareseg.data.annotation_export.annotation_formats import (
    DICOM_SEGMENTS,
    PICTURE_FORMATS,
    SEGMENTS,
)
from rareseg.data.annotation_export.dicom_segmentation import (
    can_write_dicom,
    is_dicom_image,
    write_dicom_segmentation,
)
from rareseg.data.annotation_export.segment_file import write_segments
from rareseg.data.case_files import read_case_image
from rareseg.data.records import Case
from rareseg.errors import DataError, UsageError
from rareseg.report.figures.overlay_picture import (
    OutlinedObject,
    draw_overlay,
    slice_of_largest_mask,
)
from rareseg.run.predictions.predicted_case import PredictedCase
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.components import label_components
from rareseg_runner.file_names import clean_name
from rareseg_runner.formats import EMBEDDING, format_of, read_mask
from rareseg_runner.image_records import Mask

OVERLAYS, SEGMENT_FOLDER = "overlays", "segmentations"
"""Two of the folders of results."""

Masks = Mapping[str, NDArray[np.bool_]]


def require_fitting(formats: Sequence[str], cases: Sequence[Case]) -> None:
    """Raise :class:`UsageError` where files show beforehand that a format cannot hold the images.

    So it is where the extra is not installed. What only the pixels show (a TIFF of several slices)
    is told image by image.
    """
    if DICOM_SEGMENTS in formats and not can_write_dicom():
        raise UsageError(
            f"--format {DICOM_SEGMENTS} is written by an extra: pip install 'rareseg[dicom]'."
        )
    for case in cases:
        found = format_of(case.images[0])
        embedded = case.images[0].suffix.lower() == EMBEDDING
        kind = "photograph" if embedded else "volume" if found is None else found.kind
        for name in formats:
            if name in PICTURE_FORMATS and kind == "volume":
                raise UsageError(
                    f"--format {name} holds outlines on photographs, and {case.images[0]} is a "
                    f"volume; use --format {SEGMENTS}."
                )
            if name == DICOM_SEGMENTS and not is_dicom_image(case.images[0]):
                other = SEGMENTS if kind == "volume" else ", ".join(PICTURE_FORMATS)
                raise UsageError(
                    f"--format {name} refers to the DICOM slices that were segmented, and "
                    f"{case.images[0]} is no DICOM; use --format {other}, or predict the series."
                )
            if name == SEGMENTS and kind == "photograph":
                raise UsageError(
                    f"--format {SEGMENTS} holds volumes, and {case.images[0]} is a photograph; "
                    f"allowed are {', '.join(PICTURE_FORMATS)}."
                )


class PredictionFiles:
    """Overlays and files of annotation tools of all images of a call.

    ``values`` leads from the names of the classes to their values in label maps.
    """

    def __init__(
        self,
        out: Path,
        regions: Sequence[str],
        values: Mapping[str, int],
        *,
        overlay: bool,
        formats: Sequence[str],
    ) -> None:
        self._out = out
        self._regions = list(regions)
        self._values = values
        self._overlay = overlay
        self._files = {
            name: PICTURE_FORMATS[name].begin(out, regions)
            for name in formats
            if name in PICTURE_FORMATS
        }
        self._segments = SEGMENTS in formats
        self._dicom = DICOM_SEGMENTS in formats

    @property
    def any(self) -> bool:
        """Whether anything is asked for."""
        return self._overlay or self._segments or self._dicom or bool(self._files)

    def add(self, case: Case, found: PredictedCase) -> None:
        """Write what is asked for of an image, from the masks that lie in the folder.

        Raises :class:`DataError` where a format cannot hold the image.
        """
        labels = read_mask(self._out / found.mask)
        if self._files or self._overlay:
            masks = {
                region: read_mask(self._out / clean_name(region) / found.mask).array != 0
                for region in found.regions
            }
            if self._overlay:
                self._draw(case, found, masks)
            if self._files:
                self._annotate(case, found, masks, labels)
        if self._segments:
            if found.dimension == 2:
                raise DataError(f"{case.images[0]} is a photograph, which {SEGMENTS} does not hold")
            path = self._out / SEGMENT_FOLDER / f"{case.id}.seg.nrrd"
            write_segments(path, labels.array, labels.geometry, self._values)
        if self._dicom:
            path = self._out / SEGMENT_FOLDER / f"{case.id}.dcm"
            write_dicom_segmentation(
                path, labels.array, labels.geometry, self._values, case.images[0]
            )

    def close(self) -> tuple[Path, ...]:
        """Finish the files, and return what there is to look at."""
        places = [files.close() for files in self._files.values()]
        if self._segments or self._dicom:
            places.append(self._out / SEGMENT_FOLDER)
        if self._overlay:
            places.append(self._out / OVERLAYS)
        return tuple(places)

    def _annotate(self, case: Case, found: PredictedCase, masks: Masks, labels: Mask) -> None:
        depth, height, width = labels.array.shape
        if depth != 1:
            raise DataError(
                f"{case.images[0]} has {depth} slices, and {', '.join(self._files)} holds one"
            )
        objects = [
            AnnotatedObject(
                region,
                number,
                (box[1].start, box[2].start),
                part[0],
                found.regions[region].objects[number - 1].top_score,
            )
            for region, mask in masks.items()
            for number, box, part in _components(mask)
        ]
        picture = AnnotatedPicture(
            found.id, case.images[0], found.image, height, width, objects, labels.geometry
        )
        for files in self._files.values():
            files.add(picture)

    def _draw(self, case: Case, found: PredictedCase, masks: Masks) -> None:
        image = read_case_image(case)
        plane = slice_of_largest_mask(masks)
        depth = len(image.array[0])
        outlined = [
            OutlinedObject(
                part[plane - box[0].start],
                (box[1].start, box[2].start),
                f"{region} {found.regions[region].objects[number - 1].top_score:.2f}",
                self._regions.index(region),
            )
            for region, mask in masks.items()
            for number, box, part in _components(mask)
            if box[0].start <= plane < box[0].stop
        ]
        drawn = draw_overlay(
            image.array[:, plane],
            outlined,
            pixel=image.geometry.spacing[1:],
            title=f"slice {plane + 1} of {depth}" if depth > 1 else "",
        )
        with atomic_write(self._out / OVERLAYS / f"{case.id}.png") as temporary:
            drawn.save(temporary, "PNG")


def _components(
    mask: NDArray[np.bool_],
) -> list[tuple[int, tuple[slice, ...], NDArray[np.bool_]]]:
    """Return (number, box, mask within the box) of the objects, numbered as in the tables."""
    labels, _ = label_components(mask)
    return [
        (number, box, np.asarray(labels[box] == number))
        for number, box in enumerate(ndimage.find_objects(labels.astype(np.int64)), start=1)
    ]
