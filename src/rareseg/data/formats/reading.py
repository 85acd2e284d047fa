"""Read images and masks of any registered format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rareseg.data.formats.format_registry import IMAGE_SUFFIXES, format_of, suffix_of
from rareseg.data.formats.medical import is_dicom_folder, read_dicom
from rareseg.data.geometry import disagreement
from rareseg.data.records import Case, Image, Mask
from rareseg.errors import ReadError


def is_image(path: Path) -> bool:
    """Whether ``path`` is a visible file with a readable suffix, or a folder of DICOM files."""
    if path.name.startswith("."):
        return False
    return (format_of(path) is not None and path.is_file()) or is_dicom_folder(path)


def read_image(paths: Sequence[Path]) -> Image:
    """Read one case: (channel, z, y, x), several files stacked as channels in the given order.

    The number type is the files' own, or one that holds them all. An alpha channel is dropped from
    photographs. The geometry is that of the first file.

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
    return Image(np.concatenate([image.array for image in images]), first.geometry)


def read_mask(path: Path) -> Mask:
    """Read a mask: (z, y, x) of integers, the values as they stand in the file.

    Palette pictures are kept as indices. Colours whose channels are all equal collapse to one.
    Floats are accepted where every value is whole.

    Raises:
        ReadError: unreadable, lossy (as JPEG is), coloured, or holding fractions or NaN.
    """
    image = _read(path, as_mask=True)
    array = image.array[0]
    if any(not np.array_equal(array, other) for other in image.array[1:]):
        raise ReadError(
            f"{path} is a mask in colours ({len(image.array)} channels that differ), which say no "
            "class; export one number per class, as a grey or palette PNG or a label volume, "
            "or name each class's colour (--colours ff0000,00ff00)."
        )
    if array.dtype.kind == "f":
        within = np.abs(array) < 2**31  # neither are NaN and infinities
        if not within.all() or not np.array_equal(array, np.round(array)):
            raise ReadError(
                f"{path} is a mask with values that are no whole numbers (such as probabilities) "
                "or need more than 32 bits; round them to one number per class, or cut "
                "probabilities (--binarize 0.5)."
            )
        array = array.astype(np.int32)
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    return Mask(array, image.geometry, palette=image.palette)


def read_case_mask(case: Case, image: Image | None = None) -> Mask | None:
    """Read a case's mask; ``None`` where the case holds nothing.

    A mask that is drawn in another way than as a file of mask values needs the image that it lies
    on: ``image``, or it is read here.

    Raises:
        ReadError: as :func:`read_mask`, and where the source of the mask cannot be read.
    """
    if case.mask is None:
        return None
    if isinstance(case.mask, Path):
        return read_mask(case.mask)
    return case.mask.read(read_image(case.images) if image is None else image)


def _read(path: Path, *, as_mask: bool) -> Image:
    if path.is_dir():
        return read_dicom(path)
    if not path.is_file():
        raise ReadError(f"{path} does not exist; correct the path or add the file.")
    found = format_of(path)
    if found is None:
        raise ReadError(
            f"{path} has the suffix '{suffix_of(path)}', which is not read; allowed are "
            f"{', '.join(IMAGE_SUFFIXES)} and a folder of DICOM files."
        )
    reads = found.reads_mask if as_mask and found.reads_mask else found.reads
    return reads(path)


def _difference(first: Image, second: Image) -> str | None:
    shape_1, shape_2 = first.array.shape[1:], second.array.shape[1:]
    if shape_1 != shape_2:
        return f"the shape (z, y, x) is {shape_1} and {shape_2}"
    return disagreement(first.geometry, second.geometry, shape_1)
