"""Read images and masks of any registered format, and say how many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.errors import ReadError
from rareseg_runner.formats.embedded_picture import read_embedded
from rareseg_runner.formats.format_registry import (
    EMBEDDING,
    IMAGE_SUFFIXES,
    Format,
    format_of,
    header_of,
    suffix_of,
)
from rareseg_runner.formats.mask_values import labels_of
from rareseg_runner.formats.reader_guard import guarded, load_extra
from rareseg_runner.formats.volumes.dicom_files import is_dicom_folder, read_dicom
from rareseg_runner.formats.volumes.dicom_objects import (
    dicom_segments,
    is_dicom_object,
    read_dicom_object,
)
from rareseg_runner.formats.volumes.slicer_segmentation import (
    Segment,
    is_segmentation,
    nrrd_segments,
)
from rareseg_runner.formats.volumes.spacing_beside import (
    spacing_beside,
    with_spacing_beside,
)
from rareseg_runner.formats.volumes.volume_slices import read_slices
from rareseg_runner.geometry import disagreement, on_grid
from rareseg_runner.image_records import Image, Mask


def is_image(path: Path) -> bool:
    """Whether ``path`` is a visible file with a readable suffix, or a folder of DICOM files.

    A format of masks alone counts too; its record says so (``masks_only``).
    """
    if path.name.startswith("."):
        return False
    return (format_of(path) is not None and path.is_file()) or is_dicom_folder(path)


def carries_both(path: Path) -> bool:
    """Whether one file holds an image and its mask, as ``.npz`` and ``.h5`` may.

    :func:`read_image` and :func:`read_mask` of the path then read each its part.
    """
    found = format_of(path)
    return found is not None and found.both is not None and path.is_file() and found.both(path)


def read_image(paths: Sequence[Path]) -> Image:
    """Read one case: (channel, z, y, x), several files stacked as channels in the given order.

    The number type is the files' own, or one that holds them all. Of an annotation file (JSON) it
    is the picture that stands in it as text. An alpha channel is dropped from
    photographs. The geometry is that of the first file; where a file says that a voxel holds
    nothing (``nodata``), it does so for all.

    Raises:
        ReadError: no file, one that cannot be read, or files whose shape or geometry disagree.
    """
    if not paths:
        raise ReadError("A case without image files cannot be read; name at least one file.")
    images = [_read(path, as_mask=False) for path in paths]
    first = images[0]
    for path, image in zip(paths[1:], images[1:], strict=True):
        difference = _difference(first, image)
        if difference:
            raise ReadError(
                f"{path} does not fit on its case's first channel {paths[0]}: {difference}; "
                "resample all channels to one grid."
            )
    if len(images) == 1:
        return first
    holes = [image.nodata for image in images if image.nodata is not None]
    nodata: NDArray[np.bool_] | None = np.any(holes, axis=0) if holes else None
    return Image(np.concatenate([image.array for image in images]), first.geometry, nodata)


def said_beside(path: Path) -> str:
    """Return what a file beside an image or mask says of it (the spacing of a TIFF); "" without.

    It changes where what is said does, and not with where the files lie or how they are called.
    """
    found = format_of(path)
    if found is None or found.kind != "TIFF" or not path.is_file():
        return ""
    try:
        spacing = spacing_beside(path)
    except ReadError:
        return "damaged"
    return "" if spacing is None else repr(spacing)


def read_mask(path: Path, *, image: Image | None = None) -> Mask:
    """Read a mask: (z, y, x) of integers, the values as they stand in the file.

    Palette pictures are kept as indices. Colours whose channels are all equal collapse to one; one
    colour on black is 1. Channels of 0 and one other value are classes (one-hot). Floats are
    accepted where every value is whole. With ``image``, a mask of a format whose extent may be a
    part of the image's (a segmentation of 3D Slicer) is padded with 0 to the image's grid, and a
    DICOM segmentation or structure set is drawn on it.

    Raises:
        ReadError: unreadable, lossy (as JPEG is), of several colours, of overlapping classes, or
            holding fractions or NaN.
    """
    path = header_of(path) or path
    if is_dicom_object(path):
        with guarded(path, "a DICOM segmentation"):
            return read_dicom_object(path, image)
    found = _read(path, as_mask=True)
    form = None if path.is_dir() else format_of(path)
    with guarded(path, "a mask"):
        mask = labels_of(found, path, colours=form is not None and form.kind in _PICTURES)
    if image is not None and not path.is_dir() and is_segmentation(path):
        mask = Mask(_placed(mask, image, path), image.geometry, palette=mask.palette)
    return mask


def segments(path: Path) -> tuple[Segment, ...]:
    """Return the names of a mask's values where its file says them, () where it does not.

    Segmentations of 3D Slicer (whatever ``.nrrd`` they are called), DICOM segmentations and
    structure sets do. One name may have another value in the next file.

    Raises ReadError for a damaged file, and where the extra that reads it is not installed.
    """
    if is_dicom_object(path):
        with guarded(path, "a DICOM segmentation"):
            return dicom_segments(path)
    return nrrd_segments(path) if path.is_file() and is_segmentation(path) else ()


_PICTURES = ("photograph", "TIFF")
"""The kinds of formats in which three channels of 8 bits are red, green and blue."""


def _of(path: Path) -> Format:
    found = format_of(path)
    if found is None:
        raise ReadError(
            f"{path} has the suffix '{suffix_of(path)}', which is not read; allowed are "
            f"{', '.join(IMAGE_SUFFIXES)} and a folder of DICOM files."
        )
    return found


def _read(path: Path, *, as_mask: bool) -> Image:
    with guarded(path, "an image"):  # what the system does not allow as a path
        path = header_of(path) or path
        is_folder, is_file = path.is_dir(), path.is_file()
    if is_folder:
        if not is_dicom_folder(path):
            return read_slices(path, lambda one: _read(one, as_mask=as_mask))
        with guarded(path, "a DICOM series"):
            return read_dicom(path)
    if not is_file:
        raise ReadError(f"{path} {_what_it_is(path)}; correct the path or add the file.")
    if path.suffix.lower() == EMBEDDING and not as_mask:
        return read_embedded(path)
    found = _of(path)
    if found.masks_only and not as_mask:
        raise ReadError(f"{path} is {found.name}, which holds labels and no image; name the image.")
    if found.needs is not None:
        load_extra(*found.needs, path, found.name)
    reads = found.reads_mask if as_mask and found.reads_mask else found.reads
    with guarded(path, found.name):
        image = reads(path)
        _require_numbers(image, path)
        return with_spacing_beside(image, path) if found.kind == "TIFF" else image


def _what_it_is(path: Path) -> str:
    """Say why a path is no file: whoever opens a pipe or a device may wait for ever."""
    if path.exists():
        return "is a pipe, a socket or a device, and no file"
    return "is a link that leads nowhere" if path.is_symlink() else "does not exist"


def _require_numbers(image: Image, path: Path) -> None:
    """Raise ReadError for what has values that are no plain numbers, or none at all."""
    kind, shape = image.array.dtype, image.array.shape
    if kind.kind not in "buif":
        raise ReadError(f"{path} holds values of the type {kind}; save integers or floats.")
    if image.array.size == 0:
        raise ReadError(f"{path} has the shape {shape}, which holds nothing; export it again.")


def _placed(mask: Mask, image: Image, path: Path) -> NDArray[np.integer]:
    try:
        return on_grid(mask.array, mask.geometry, image.geometry, image.array.shape[1:])
    except ValueError as error:
        raise ReadError(
            f"{path} does not lie on its image's grid: {error}; resample it to the image's grid."
        ) from error


def _difference(first: Image, second: Image) -> str | None:
    shape_1, shape_2 = first.array.shape[1:], second.array.shape[1:]
    if shape_1 != shape_2:
        return f"the shape (z, y, x) is {shape_1} and {shape_2}"
    return disagreement(first.geometry, second.geometry, shape_1)
