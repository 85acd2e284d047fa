"""Read NIfTI-1 and NIfTI-2, single files and pairs of ``.hdr`` and ``.img``, strictly.

SimpleITK reads a truncated NIfTI file without a word and fills what is missing with zeros, turns
NaN into zero, and refuses matrices that are off by a rounding error. All three would reach the
training unseen or stop it without need, so these files have a reader of their own. SimpleITK
and nibabel are the oracles in the tests; nibabel writes the masks of NIfTI images, in the frame as
their headers state it.

Format: https://nifti.nimh.nih.gov/nifti-1 (nifti1.h) and nifti-2 (nifti2.h).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.errors import ReadError
from rareseg_runner.formats.format_registry import Format
from rareseg_runner.formats.mask_values import unscaled
from rareseg_runner.formats.reader_guard import check_size
from rareseg_runner.formats.volumes.gzip_files import read_packed
from rareseg_runner.formats.volumes.nifti_frame import kept_frame, write_nifti
from rareseg_runner.geometry import Frame, place
from rareseg_runner.image_records import Image

_Field = tuple[str, int, tuple[int, ...]]
"""A number type, the byte it starts at, and a shape."""
_FIELDS_1: dict[str, _Field] = {
    "dim": ("i2", 40, (8,)),
    "datatype": ("i2", 70, ()),
    "pixdim": ("f4", 76, (8,)),
    "vox_offset": ("f4", 108, ()),
    "slope": ("f4", 112, ()),
    "intercept": ("f4", 116, ()),
    "units": ("u1", 123, ()),
    "qform_code": ("i2", 252, ()),
    "sform_code": ("i2", 254, ()),
    "quaternion": ("f4", 256, (3,)),
    "offset": ("f4", 268, (3,)),
    "sform": ("f4", 280, (3, 4)),
}
_FIELDS_2: dict[str, _Field] = {
    "dim": ("i8", 16, (8,)),
    "datatype": ("i2", 12, ()),
    "pixdim": ("f8", 104, (8,)),
    "vox_offset": ("i8", 168, ()),
    "slope": ("f8", 176, ()),
    "intercept": ("f8", 184, ()),
    "units": ("i4", 500, ()),
    "qform_code": ("i4", 344, ()),
    "sform_code": ("i4", 348, ()),
    "quaternion": ("f8", 352, (3,)),
    "offset": ("f8", 376, (3,)),
    "sform": ("f8", 400, (3, 4)),
}


def _layout(fields: Mapping[str, _Field], size: int, order: str) -> np.dtype[np.void]:
    return np.dtype(
        {
            "names": list(fields),
            "formats": [(order + kind, shape) for kind, _, shape in fields.values()],
            "offsets": [offset for _, offset, _ in fields.values()],
            "itemsize": size,
        }
    )


# Made once and without type strings such as "8i2": numpy parses those with ast, in which two
# threads trip over each other (https://github.com/python/cpython/issues/106905).
_LAYOUTS = {
    (size, order): _layout(fields, size, order)
    for size, fields in ((348, _FIELDS_1), (540, _FIELDS_2))
    for order in "<>"
}
_DATATYPES: dict[int, tuple[str, tuple[int, ...]]] = {
    2: ("u1", ()),
    4: ("i2", ()),
    8: ("i4", ()),
    16: ("f4", ()),
    64: ("f8", ()),
    128: ("u1", (3,)),
    256: ("i1", ()),
    512: ("u2", ()),
    768: ("u4", ()),
    1024: ("i8", ()),
    1280: ("u8", ()),
    2304: ("u1", (4,)),
}
_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])

ORTHONORMAL = 1e-4
"""Largest deviation of a direction matrix that counts as exact."""
REPAIRABLE = 0.05
"""Largest deviation of a direction matrix that is repaired; beyond it the volume is sheared."""


def read_nifti(path: Path, *, as_mask: bool = False) -> Image:
    """Read ``.nii``, ``.nii.gz`` or ``.hdr`` with its ``.img`` as a canonical image (c, z, y, x).

    A fourth or fifth axis (time, or the components of a vector) becomes channels. Scaled integers
    become float32, or labels for a mask. The frame is the sform where it is orthonormal, otherwise
    the qform, otherwise the sform repaired to the nearest orthonormal matrix (polar decomposition).
    A file without either lies upright at 0.

    Raises:
        ReadError: truncated, not NIfTI, an unknown number type, a sheared volume, or a mask whose
            scaled values are no whole numbers.
    """
    content = read_packed(path, lambda head: _needed(head, path))
    header = _header(content, path)
    if _is_pair(content):
        data = _data_file(path)
        content = read_packed(data, lambda _: _start(header) + _size(header, path))
    array = _voxels(content, header, path)
    slope, intercept = _scale(header)
    if (slope, intercept) == (1.0, 0.0):
        values: NDArray[np.generic] = array
    elif as_mask and array.dtype.kind in "iu":
        values = unscaled(array, slope, intercept, path)
    else:
        values = _scaled(array, slope, intercept)
    image = place(values, _frame(header, path))
    if _is_repaired(header):
        return image  # masks of it are written with the repaired matrix, which all tools take
    return replace(image, geometry=replace(image.geometry, nifti=kept_frame(header)))


def _needed(head: bytes, path: Path) -> int:
    """Return how many bytes a file has up to its last voxel; of a pair, those of the header."""
    header = _header(head, path)
    return len(head) if _is_pair(head) else _start(header) + _size(header, path)


def _header(content: bytes, path: Path) -> np.void:
    for (size, order), layout in _LAYOUTS.items():
        stated = int.from_bytes(content[:4], "little" if order == "<" else "big")
        if stated == size <= len(content):
            magic = content[344:347] if size == 348 else content[4:7]
            if magic in (b"n+1", b"n+2", b"ni1", b"ni2"):
                header: np.void = np.frombuffer(content[:size], layout)[0]
                return header
    raise ReadError(f"{path} is not a NIfTI image; export it as .nii or .nii.gz again.")


def _is_pair(content: bytes) -> bool:
    return b"ni" in (content[344:346], content[4:6])


def _data_file(path: Path) -> Path:
    """Return the ``.img`` beside a header."""
    stem = path.name[: -len(path.suffix)]
    for end in (".img", ".img.gz", ".IMG"):
        if (path.parent / (stem + end)).is_file():
            return path.parent / (stem + end)
    raise ReadError(f"{path} is a header without its data; put {stem}.img beside it.")


def _start(header: np.void) -> int:
    start = float(header["vox_offset"])
    return int(start) if math.isfinite(start) and start >= 0 else -1


def _size(header: np.void, path: Path) -> int:
    """Return the bytes of all voxels; ReadError for sizes and number types that no image has."""
    sizes, (kind, components) = _sizes(header, path), _datatype(header, path)
    if _start(header) < 0:
        raise ReadError(f"{path} states no byte at which its voxels begin; export it again.")
    check_size(path, (*sizes, *components), np.dtype(kind).itemsize, is_measured=True)
    return math.prod((*sizes, *components)) * np.dtype(kind).itemsize


def _sizes(header: np.void, path: Path) -> list[int]:
    rank = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1 : rank + 1]]
    if not 2 <= rank <= 7 or min(sizes) < 1:
        raise ReadError(f"{path} states the size {sizes}, which no image has; export it again.")
    return sizes


def _datatype(header: np.void, path: Path) -> tuple[str, tuple[int, ...]]:
    code = int(header["datatype"])
    if code not in _DATATYPES:
        raise ReadError(
            f"{path} holds numbers of NIfTI type {code} (complex or extended), which are no "
            "intensities; convert it to integers or 32-bit floats."
        )
    return _DATATYPES[code]


def _voxels(content: bytes, header: np.void, path: Path) -> NDArray[Any]:
    """Return (channel, k, j, i) in native byte order."""
    sizes, (kind, components) = _sizes(header, path), _datatype(header, path)
    dtype = np.dtype(kind).newbyteorder(header.dtype["dim"].base.byteorder)
    start, count, each = _start(header), math.prod(sizes), math.prod(components)
    found = (len(content) - start) // (dtype.itemsize * each)
    if found < count:
        raise ReadError(
            f"{path} is truncated: its header states {count} voxels and {max(found, 0)} are there; "
            "copy or export it again."
        )
    flat = np.frombuffer(content, dtype, count * each, start)
    i, j, k = [*sizes, 1][:3]
    array = flat.reshape(-1, k, j, i, *components)
    if components:  # colours: the components stand last
        array = np.moveaxis(array, -1, 1).reshape(-1, k, j, i)
    return array.astype(kind, copy=False)


def _scale(header: np.void) -> tuple[float, float]:
    """Return the slope and intercept of stored values; 1 and 0 where they are to be kept."""
    slope, intercept = float(header["slope"]), float(header["intercept"])
    if not np.isfinite([slope, intercept]).all():
        return 1.0, 0.0
    return slope or 1.0, intercept


def _scaled(array: NDArray[Any], slope: float, intercept: float) -> NDArray[np.generic]:
    short = array.dtype.itemsize <= 2 or array.dtype == np.float32
    kind = np.float32 if short else np.float64
    return np.asarray(np.add(np.multiply(array, slope, dtype=kind), intercept, dtype=kind))


def _is_repaired(header: np.void) -> bool:
    """Whether the frame is a sform that was off from right angles, and no qform stands in."""
    if int(header["sform_code"]) <= 0 or int(header["qform_code"]) > 0:
        return False
    sform = np.asarray(header["sform"], np.float64)[:, :3]
    lengths = np.linalg.norm(sform, axis=0)
    return bool(lengths.all()) and _skew(sform / lengths) > ORTHONORMAL


def _frame(header: np.void, path: Path) -> Frame:
    rank = int(header["dim"][0])
    scale = _MILLIMETRES.get(int(header["units"]) & 7, 1.0)
    pixdim = np.abs(np.asarray(header["pixdim"], np.float64)[1:4])
    pixdim = np.where((pixdim > 0) & np.isfinite(pixdim), pixdim, 1.0)
    sform = np.asarray(header["sform"], np.float64)
    lengths = np.linalg.norm(sform[:, :3], axis=0)
    spacing, origin = pixdim, np.asarray(header["offset"], np.float64)
    usable = int(header["sform_code"]) > 0 and bool(np.isfinite(sform).all() and lengths.all())
    skew = _skew(sform[:, :3] / lengths) if usable else np.inf
    if usable and (skew <= ORTHONORMAL or int(header["qform_code"]) <= 0):
        _refuse_shear(skew, path)
        spacing, origin = lengths, sform[:, 3]
        direction = _nearest(sform[:, :3] / lengths)
    elif int(header["qform_code"]) > 0:
        direction = _rotation(np.asarray(header["quaternion"], np.float64))
        direction[:, 2] *= -1.0 if float(header["pixdim"][0]) < 0 else 1.0
    else:
        # No frame at all: like ITK, take the file's axes for LPS, so that other tools agree.
        direction, origin = _RAS_TO_LPS, np.zeros(3)
    direction = _RAS_TO_LPS @ direction
    if rank == 2:
        direction = _planar(direction)
    return Frame(
        spacing=spacing * scale,
        origin=_RAS_TO_LPS @ origin * scale,
        direction=direction,
        dimension=2 if rank == 2 else 3,
    )


def frame_of(affine: NDArray[np.float64], path: Path) -> Frame:
    """Return the frame of a matrix (4, 4) from voxels (i, j, k) to mm in RAS; ReadError if sheared.

    A matrix without lengths (zeros, NaN) lies upright at 0.
    """
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not lengths.all():
        return Frame(spacing=np.ones(3), origin=np.zeros(3), direction=np.eye(3), dimension=3)
    direction = affine[:3, :3] / lengths
    _refuse_shear(_skew(direction), path)
    return Frame(
        spacing=lengths,
        origin=_RAS_TO_LPS @ affine[:3, 3],
        direction=_RAS_TO_LPS @ _nearest(direction),
        dimension=3,
    )


def _nearest(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nearest orthonormal matrix (polar decomposition)."""
    left, _, right = np.linalg.svd(direction)
    return np.asarray(left @ right)


def _refuse_shear(skew: float, path: Path) -> None:
    if skew > REPAIRABLE:
        raise ReadError(
            f"{path} has sheared axes (off by {skew:.2g} from right angles, at most "
            f"{REPAIRABLE} is repaired); resample it to a rectangular grid."
        )


def _skew(direction: NDArray[np.float64]) -> float:
    """Return the largest deviation of the columns' inner products from the identity's."""
    return float(np.abs(direction.T @ direction - np.eye(3)).max())


def _rotation(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation (3, 3) of the quaternion (a, b, c, d) with a >= 0; nifti1.h, method 2."""
    b, c, d = quaternion
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    a, b, c, d = np.array([a, b, c, d]) / np.linalg.norm([a, b, c, d])
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )


def _planar(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep what a direction matrix says within the plane of a two-dimensional file."""
    flat = np.eye(3)
    if abs(abs(float(np.linalg.det(direction[:2, :2]))) - 1.0) < REPAIRABLE:
        flat[:2, :2] = direction[:2, :2]
    return flat


FORMATS = (
    Format(
        "NIfTI",
        kind="volume",
        suffixes=(".nii", ".nii.gz"),
        reads=read_nifti,
        reads_mask=partial(read_nifti, as_mask=True),
        writes=write_nifti,
        keeps="frame",
        scores=True,
    ),
)
