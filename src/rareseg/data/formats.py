"""Reading and writing images and masks: which file is read by what.

Volumes arrive in the canonical orientation (see :mod:`rareseg.data.geometry`) and are written back
in the file's own. NaN and infinities pass through the readers; inspection reports them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rareseg.data.formats_medical import is_dicom_folder, read_dicom, read_medical, write_medical
from rareseg.data.formats_photo import read_npy, read_photo, write_npy, write_png
from rareseg.data.formats_tiff import read_tiff, write_tiff
from rareseg.data.geometry import disagreement
from rareseg.data.nifti import read_nifti
from rareseg.data.records import Geometry, Image, Mask
from rareseg.errors import OutputError, ReadError

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
TIFF_SUFFIXES = (".tif", ".tiff")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
MEDICAL_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
IMAGE_SUFFIXES = (*PHOTO_SUFFIXES, *TIFF_SUFFIXES, ".npy", *NIFTI_SUFFIXES, *MEDICAL_SUFFIXES)
"""What can be read, lower case; a folder of DICOM files is read as well."""
WRITABLE_SUFFIXES = (".png", *TIFF_SUFFIXES, ".npy", *NIFTI_SUFFIXES, ".nrrd", ".mha")


def suffix_of(path: Path) -> str:
    """Return the suffix in lower case; ``.nii.gz`` is one suffix, a folder has none."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def stem_of(path: Path) -> str:
    """Return the name without its suffix; a folder of DICOM files keeps its whole name.

    Only suffixes that can be read are cut, so that ``scan.v2`` stays what it is.
    """
    suffix = suffix_of(path)
    return path.name[: -len(suffix)] if suffix in IMAGE_SUFFIXES else path.name


def mask_suffix(image: Path) -> str:
    """Return the suffix under which masks of an image are written: its own where that can be.

    Photographs in formats that blur or cannot be written give ``.png``, headers with a separate
    data file their single-file sibling, DICOM folders ``.nii.gz``.
    """
    suffix = suffix_of(image)
    if suffix in WRITABLE_SUFFIXES:
        return suffix
    others = {".nhdr": ".nrrd", ".mhd": ".mha"}
    return ".png" if suffix in PHOTO_SUFFIXES else others.get(suffix, ".nii.gz")


def is_image(path: Path) -> bool:
    """Whether ``path`` is a visible file with a readable suffix, or a folder of DICOM files."""
    if path.name.startswith("."):
        return False
    return (suffix_of(path) in IMAGE_SUFFIXES and path.is_file()) or is_dicom_folder(path)


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
        ReadError: unreadable, lossy (JPEG), coloured, or holding fractions or NaN.
    """
    image = _read(path, as_mask=True)
    array = image.array[0]
    if any(not np.array_equal(array, other) for other in image.array[1:]):
        raise ReadError(
            f"{path} is a mask in colours ({len(image.array)} channels that differ), which say no "
            "class; export one number per class, as a grey or palette PNG or a label volume."
        )
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or not np.array_equal(array, np.round(array)):
            raise ReadError(
                f"{path} is a mask with values that are no whole numbers (such as probabilities); "
                "round them to one number per class."
            )
        array = array.astype(np.int32)
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    return Mask(array, image.geometry)


def write_mask(
    path: Path, mask: NDArray[np.integer] | NDArray[np.bool_], geometry: Geometry
) -> None:
    """Write a mask (z, y, x), atomically, in the frame of the file that ``geometry`` came from.

    The format follows ``path``; the number type is the smallest of uint8, uint16 and int32 that
    holds the values.

    Raises:
        OutputError: a suffix that cannot hold the mask (JPEG is lossy; PNG holds one slice).
        WorkError: the file cannot be written, as on a full disk.
    """
    low, high = (int(mask.min()), int(mask.max())) if mask.size else (0, 0)
    fitting = (d for d in (np.uint8, np.uint16) if low >= 0 and high <= np.iinfo(d).max)
    _write(path, mask.astype(next(fitting, np.int32)), geometry)


def write_probabilities(path: Path, array: NDArray[np.float32], geometry: Geometry) -> None:
    """Write probabilities (z, y, x) in [0, 1], atomically, in the file's own frame.

    PNG holds round(p·65535) in 16 bits, every other format float32. Raises as :func:`write_mask`.
    """
    if suffix_of(path) == ".png":
        scaled = np.rint(np.clip(array, 0.0, 1.0).astype(np.float64) * 65535.0)
        _write(path, scaled.astype(np.uint16), geometry)
    else:
        _write(path, array.astype(np.float32), geometry)


def _read(path: Path, *, as_mask: bool) -> Image:
    suffix = suffix_of(path)
    if path.is_dir():
        return read_dicom(path)
    if not path.is_file():
        raise ReadError(f"{path} does not exist; correct the path or add the file.")
    if suffix in PHOTO_SUFFIXES:
        return read_photo(path, as_mask=as_mask)
    if suffix in TIFF_SUFFIXES:
        return read_tiff(path, as_mask=as_mask)
    if suffix == ".npy":
        return read_npy(path, as_mask=as_mask)
    if suffix in NIFTI_SUFFIXES:
        return read_nifti(path)
    if suffix in MEDICAL_SUFFIXES:
        return read_medical(path)
    raise ReadError(
        f"{path} has the suffix '{suffix}', which is not read; allowed are "
        f"{', '.join(IMAGE_SUFFIXES)} and a folder of DICOM files."
    )


def _write(path: Path, array: NDArray[np.generic], geometry: Geometry) -> None:
    suffix = suffix_of(path)
    if suffix in NIFTI_SUFFIXES or suffix in (".nrrd", ".mha"):
        write_medical(path, array, geometry)
    elif suffix == ".npy":
        write_npy(path, array, geometry)
    elif suffix in TIFF_SUFFIXES and array.dtype in (np.uint8, np.uint16, np.float32):
        write_tiff(path, array, geometry)
    elif suffix == ".png" and len(array) == 1 and array.dtype in (np.uint8, np.uint16):
        write_png(path, array[0])
    else:
        raise OutputError(
            f"{path} cannot hold {array.dtype} of shape (z, y, x) = {array.shape}: use .png or "
            ".tif for photographs (JPEG would blur the values) and .nii.gz, .nrrd or .mha for "
            "volumes."
        )


def _difference(first: Image, second: Image) -> str | None:
    shape_1, shape_2 = first.array.shape[1:], second.array.shape[1:]
    if shape_1 != shape_2:
        return f"the shape (z, y, x) is {shape_1} and {shape_2}"
    return disagreement(first.geometry, second.geometry, shape_1)
