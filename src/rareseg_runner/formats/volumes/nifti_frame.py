"""Keep how a NIfTI header states its frame, and write masks of that image with it.

A header says twice where its voxels lie (sform and qform), each with a code of the space that is
meant, and with rounding of its own. Written anew from one matrix, both would be changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.formats.volumes.medical import write_medical
from rareseg_runner.geometry import from_canonical
from rareseg_runner.image_records import Geometry

_NAMES = {
    "units": "xyzt_units",
    "qform_code": "qform_code",
    "sform_code": "sform_code",
    "quaternion": ("quatern_b", "quatern_c", "quatern_d"),
    "offset": ("qoffset_x", "qoffset_y", "qoffset_z"),
    "sform": ("srow_x", "srow_y", "srow_z"),
}
"""The fields that state the frame, beside the first four of ``pixdim``: our names and nibabel's."""


def kept_frame(header: np.void) -> tuple[float, ...]:
    """Return the version (1 or 2), the first four of pixdim, and the fields of ``_NAMES`` in order.

    32-bit floats are exact as Python's.
    """
    version = 1 if header.dtype.itemsize == 348 else 2
    fields = [header["pixdim"][:4], *(header[name] for name in _NAMES)]
    numbers = np.concatenate([np.ravel(field).astype(np.float64) for field in fields])
    return (float(version), *(float(number) for number in numbers))


def write_nifti(path: Path, array: NDArray[np.generic], geometry: Geometry) -> None:
    """Write a canonical array (z, y, x) as NIfTI in the frame that ``geometry`` came from.

    For an image that was NIfTI itself, sform, qform, their codes and the units are those of its
    header. Else as :func:`~rareseg_runner.formats.volumes.medical.write_medical`.
    """
    if geometry.nifti is None or len(geometry.nifti) != _LENGTH:
        write_medical(path, array, geometry)
        return
    own = from_canonical(array, geometry.orientation or "LPS")
    own = own[0] if geometry.dimension == 2 and own.shape[0] == 1 else own
    version, *numbers = geometry.nifti
    kind: Any = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    header = kind.header_class()
    header.set_data_dtype(own.dtype)
    header.set_data_shape(own.shape[::-1])
    _fill(header, numbers)
    with atomic_write(path) as temporary:
        kind(np.ascontiguousarray(own).T, None, header).to_filename(temporary)


def _fill(header: Any, numbers: list[float]) -> None:
    header["pixdim"][:4], rest = numbers[:4], numbers[4:]
    for names in _NAMES.values():
        if isinstance(names, str):
            header[names] = int(rest.pop(0))
            continue
        for name in names:
            count = header[name].size
            header[name], rest = rest[:count] if count > 1 else rest[0], rest[count:]


_LENGTH = 1 + 4 + 3 + 3 + 3 + 12
