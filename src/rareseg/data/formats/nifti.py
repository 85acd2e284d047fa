"""Read NIfTI-1 and NIfTI-2 single files, strictly.

SimpleITK reads a truncated NIfTI file without a word and fills what is missing with zeros, turns
NaN into zero, and refuses matrices that are off by a rounding error. All three would reach the
training unseen or stop it without need, so these files have a reader of their own. SimpleITK
writes them, and is the oracle in the tests.

Format: https://nifti.nimh.nih.gov/nifti-1 (nifti1.h) and nifti-2 (nifti2.h).
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.data.formats.format_registry import Format
from rareseg.data.formats.medical import write_medical
from rareseg.data.geometry import Frame, place
from rareseg.data.records import Image
from rareseg.errors import ReadError

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


def read_nifti(path: Path) -> Image:
    """Read ``.nii`` or ``.nii.gz`` as a canonical image (channel, z, y, x).

    A fourth or fifth axis (time, or the components of a vector) becomes channels. Scaled integers
    become float32. The frame is the sform where it is orthonormal, otherwise the qform, otherwise
    the sform repaired to the nearest orthonormal matrix (polar decomposition). A file without
    either lies upright at 0.

    Raises:
        ReadError: truncated, not NIfTI, an unknown number type, or a sheared volume.
    """
    content = _content(path)
    header = _header(content, path)
    return place(_voxels(content, header, path), _frame(header, path))


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise ReadError(
            f"{path} cannot be decompressed ({error}): it is truncated or damaged; "
            "copy or export it again."
        ) from error


def _header(content: bytes, path: Path) -> np.void:
    for (size, order), layout in _LAYOUTS.items():
        stated = int.from_bytes(content[:4], "little" if order == "<" else "big")
        if stated == size <= len(content):
            magic = content[344:347] if size == 348 else content[4:7]
            if magic[:2] == b"n+":
                header: np.void = np.frombuffer(content[:size], layout)[0]
                return header
    raise ReadError(f"{path} is not a single-file NIfTI image; export it as .nii or .nii.gz again.")


def _voxels(content: bytes, header: np.void, path: Path) -> NDArray[np.generic]:
    """Return (channel, k, j, i) in native byte order."""
    rank = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1 : rank + 1]]
    if not 2 <= rank <= 7 or min(sizes) < 1:
        raise ReadError(f"{path} states the size {sizes}, which no image has; export it again.")
    code = int(header["datatype"])
    if code not in _DATATYPES:
        raise ReadError(
            f"{path} holds numbers of NIfTI type {code} (complex or extended), which are no "
            "intensities; convert it to integers or 32-bit floats."
        )
    kind, components = _DATATYPES[code]
    order = header.dtype["dim"].base.byteorder
    dtype = np.dtype(kind).newbyteorder(order)
    start, count = int(header["vox_offset"]), math.prod(sizes)
    each = math.prod(components)
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
    return _scaled(array.astype(kind, copy=False), header)


def _scaled(array: NDArray[Any], header: np.void) -> NDArray[np.generic]:
    slope, intercept = float(header["slope"]), float(header["intercept"])
    if (slope in (0.0, 1.0) and intercept == 0.0) or not np.isfinite([slope, intercept]).all():
        return array
    slope = slope or 1.0
    short = array.dtype.itemsize <= 2 or array.dtype == np.float32
    kind = np.float32 if short else np.float64
    return np.asarray(np.add(np.multiply(array, slope, dtype=kind), intercept, dtype=kind))


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
        if skew > REPAIRABLE:
            raise ReadError(
                f"{path} has sheared axes (off by {skew:.2g} from right angles, at most "
                f"{REPAIRABLE} is repaired); resample it to a rectangular grid."
            )
        spacing, origin = lengths, sform[:, 3]
        left, _, right = np.linalg.svd(sform[:, :3] / lengths)
        direction = left @ right
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
        writes=write_medical,
        keeps="frame",
        scores=True,
    ),
)
