"""Read and write NRRD and MetaImage through SimpleITK, and write NIfTI by it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.errors import ReadError, WorkError
from rareseg_runner.formats.format_registry import Format
from rareseg_runner.formats.reader_guard import reason
from rareseg_runner.formats.volumes.itk_headers import check_header
from rareseg_runner.formats.volumes.itk_library import itk_library
from rareseg_runner.geometry import Frame, file_spacing, from_canonical, place
from rareseg_runner.image_records import Geometry, Image

if TYPE_CHECKING:
    import SimpleITK


def read_medical(path: Path) -> Image:
    """Read an NRRD or MHA file as a canonical image (channel, z, y, x).

    Components of a vector image, or the fourth axis, become channels.

    Raises:
        ReadError: SimpleITK cannot read the file, its header states what no image or this file
            has, or it has more than four axes.
    """
    itk = itk_library()
    check_header(path)
    try:
        return canonical_image(itk.ReadImage(str(path)), path)
    except RuntimeError as error:
        raise ReadError(
            f"{path} cannot be read ({reason(error)}): it is truncated, damaged or another "
            "format; copy or export it again."
        ) from error


def write_medical(path: Path, array: NDArray[np.generic], geometry: Geometry) -> None:
    """Write a canonical array (z, y, x) in the frame of the file that ``geometry`` came from.

    A geometry without origin (of a photograph) lies at 0, upright. Raises WorkError where the
    file cannot be written.
    """
    itk = itk_library()
    image = as_medical(array, geometry)
    with atomic_write(path) as temporary:
        try:
            itk.WriteImage(image, str(temporary), useCompression=not str(path).endswith(".nii"))
        except RuntimeError as error:
            raise WorkError(
                f"{path} could not be written ({reason(error)}); is the disk full?"
            ) from error


def as_medical(array: NDArray[np.generic], geometry: Geometry) -> SimpleITK.Image:
    """Return a canonical array (z, y, x) as an image of SimpleITK in the frame of its file."""
    itk = itk_library()
    array = np.ascontiguousarray(from_canonical(array, geometry.orientation or "LPS"))
    flat = geometry.dimension == 2 and array.shape[0] == 1
    rank = 2 if flat else 3
    image = itk.GetImageFromArray(array[0] if flat else array)
    direction = np.reshape(geometry.direction or np.eye(3), (3, 3))
    image.SetSpacing(file_spacing(geometry)[:rank])
    image.SetOrigin((geometry.origin or (0.0, 0.0, 0.0))[:rank])
    image.SetDirection([float(value) for value in np.ravel(direction[:rank, :rank])])
    return image


def read_plain(path: Path) -> NDArray[np.generic]:
    """Read a photograph's samples (y, x) or (y, x, channel) at their full depth, without geometry.

    For the few PNG and TIFF files that Pillow would cut to 8 bits. Raises ReadError.
    """
    itk = itk_library()
    try:
        array: NDArray[np.generic] = itk.GetArrayFromImage(itk.ReadImage(str(path)))
    except RuntimeError as error:
        raise ReadError(
            f"{path} cannot be read ({reason(error)}): it is truncated or damaged; "
            "copy or export it again."
        ) from error
    return array


def canonical_image(image: SimpleITK.Image, path: Path) -> Image:
    """Return what ITK has read as (channel, z, y, x); ReadError for more than four axes."""
    itk = itk_library()
    rank, components = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    if rank > 4 or (rank == 4 and components > 1):
        raise ReadError(
            f"{path} has {rank} axes and {components} components a voxel; at most three axes and "
            "the channels are allowed: split it into one file per time point."
        )
    array = itk.GetArrayFromImage(image)
    array = np.moveaxis(array, -1, 0) if components > 1 else array
    used = min(rank, 3)
    shape = array.shape[-used:]
    array = array.reshape(-1, *(1,) * (3 - used), *shape)
    direction = np.eye(3)
    direction[:used, :used] = np.reshape(image.GetDirection(), (rank, rank))[:used, :used]
    frame = Frame(
        spacing=[*image.GetSpacing(), 1.0][:3],
        origin=[*image.GetOrigin(), 0.0][:3],
        direction=direction,
        dimension=used,
    )
    return place(array, frame)


_VOLUME = partial(Format, kind="volume", reads=read_medical, keeps="frame", scores=True)
FORMATS = (
    _VOLUME("NRRD header", suffixes=(".nhdr",), masks_as=".nrrd", parts=(".raw", ".raw.gz")),
    _VOLUME("MetaImage", suffixes=(".mha",), writes=write_medical),
    _VOLUME("MetaImage header", suffixes=(".mhd",), masks_as=".mha", parts=(".raw", ".zraw")),
)
