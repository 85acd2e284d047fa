"""Read the image and the mask of a case."""

from __future__ import annotations

from pathlib import Path

from rareseg.data.records import Case
from rareseg_runner.formats import read_image, read_mask
from rareseg_runner.formats.geotiff import without_value
from rareseg_runner.formats.volumes.dicom_objects import is_dicom_object
from rareseg_runner.formats.volumes.slicer_segmentation import is_segmentation
from rareseg_runner.image_records import Image, Mask


def read_case_image(case: Case) -> Image:
    """Read a case's image, without the value that is named for it to mean nothing.

    Of a case that is a mask alone, the file of the mask stands for it.
    """
    if case.images:
        image = read_image(case.images)
        return image if case.nodata_value is None else without_value(image, case.nodata_value)
    if not isinstance(case.mask, Path):
        return read_image(case.mask_files[:1])
    mask = read_mask(case.mask)
    return Image(mask.array[None], mask.geometry)


def read_case_mask(case: Case, image: Image | None = None) -> Mask | None:
    """Read a case's mask; ``None`` where the case holds nothing.

    A mask that is drawn in another way than as a file of mask values on its image's grid needs the
    image that it lies on: ``image``, or it is read here.

    Raises:
        ReadError: as :func:`read_mask`, and where the source of the mask cannot be read.
    """
    if case.mask is None:
        return None
    if isinstance(case.mask, Path) and not _is_on_image(case.mask):
        return read_mask(case.mask)
    image = read_image(case.images) if image is None else image
    if isinstance(case.mask, Path):
        return read_mask(case.mask, image=image)
    return case.mask.read(image)


def _is_on_image(path: Path) -> bool:
    """Whether a mask needs its image: drawn in DICOM, or a segmentation of a part of it."""
    return path.is_file() and (is_dicom_object(path) or is_segmentation(path))
