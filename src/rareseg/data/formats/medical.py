"""Read and write medical formats through SimpleITK: NRRD, MHA, NIfTI; read DICOM series."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 (the field's own name for it)
from numpy.typing import NDArray

from rareseg.data.atomic_files import atomic_write
from rareseg.data.formats.format_registry import Format
from rareseg.data.geometry import Frame, file_spacing, from_canonical, place
from rareseg.data.records import Geometry, Image
from rareseg.errors import ReadError, WorkError

LARGEST_GAP = 1.5
"""A step between DICOM slices beyond this multiple of the median step is a missing slice."""
_POSITION, _ORIENTATION = "0020|0032", "0020|0037"


def read_medical(path: Path) -> Image:
    """Read an NRRD or MHA file as a canonical image (channel, z, y, x).

    Components of a vector image, or the fourth axis, become channels.

    Raises:
        ReadError: SimpleITK cannot read the file, or it has more than four axes.
    """
    try:
        return _canonical(sitk.ReadImage(str(path)), path)
    except RuntimeError as error:
        raise ReadError(
            f"{path} cannot be read ({_reason(error)}): it is truncated, damaged or another "
            "format; copy or export it again."
        ) from error


def read_dicom(folder: Path) -> Image:
    """Read a folder that holds exactly one DICOM series.

    Raises:
        ReadError: no series or several, a missing slice, or a file that cannot be read.
    """
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if len(series) != 1:
        raise ReadError(
            f"{folder} holds {len(series)} DICOM series where exactly one is allowed; "
            "give each series a folder of its own."
        )
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0])
    try:
        _check_gaps(names, folder)
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(names)
        return _canonical(reader.Execute(), folder)
    except RuntimeError as error:
        raise ReadError(
            f"{folder} cannot be read as a DICOM series ({_reason(error)}); "
            "copy or export the series again."
        ) from error


def is_dicom_folder(path: Path) -> bool:
    """Whether ``path`` is a folder whose first file is DICOM, by its suffix or its magic word."""
    if not path.is_dir():
        return False
    first = next((f for f in sorted(path.iterdir()) if f.is_file() and f.name[0] != "."), None)
    if first is None or first.suffix.lower() in {".dcm", ".ima"}:
        return first is not None
    with first.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def write_medical(path: Path, array: NDArray[np.generic], geometry: Geometry) -> None:
    """Write a canonical array (z, y, x) in the frame of the file that ``geometry`` came from.

    A geometry without origin (of a photograph) lies at 0, upright. Raises WorkError where the
    file cannot be written.
    """
    image = as_medical(array, geometry)
    with atomic_write(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=not str(path).endswith(".nii"))
        except RuntimeError as error:
            raise WorkError(
                f"{path} could not be written ({_reason(error)}); is the disk full?"
            ) from error


def as_medical(array: NDArray[np.generic], geometry: Geometry) -> sitk.Image:
    """Return a canonical array (z, y, x) as an image of SimpleITK in the frame of its file."""
    array = np.ascontiguousarray(from_canonical(array, geometry.orientation or "LPS"))
    flat = geometry.dimension == 2 and array.shape[0] == 1
    rank = 2 if flat else 3
    image = sitk.GetImageFromArray(array[0] if flat else array)
    direction = np.reshape(geometry.direction or np.eye(3), (3, 3))
    image.SetSpacing(file_spacing(geometry)[:rank])
    image.SetOrigin((geometry.origin or (0.0, 0.0, 0.0))[:rank])
    image.SetDirection([float(value) for value in np.ravel(direction[:rank, :rank])])
    return image


def read_plain(path: Path) -> NDArray[np.generic]:
    """Read a photograph's samples (y, x) or (y, x, channel) at their full depth, without geometry.

    For the few PNG and TIFF files that Pillow would cut to 8 bits. Raises ReadError.
    """
    try:
        array: NDArray[np.generic] = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError as error:
        raise ReadError(
            f"{path} cannot be read ({_reason(error)}): it is truncated or damaged; "
            "copy or export it again."
        ) from error
    return array


def _canonical(image: sitk.Image, path: Path) -> Image:
    rank, components = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    if rank > 4 or (rank == 4 and components > 1):
        raise ReadError(
            f"{path} has {rank} axes and {components} components a voxel; at most three axes and "
            "the channels are allowed: split it into one file per time point."
        )
    array = sitk.GetArrayFromImage(image)
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


def _check_gaps(names: tuple[str, ...], folder: Path) -> None:
    """Raise ReadError where the sorted slices of a series leave a gap."""
    reader = sitk.ImageFileReader()
    positions = []
    normal = np.array([0.0, 0.0, 1.0])
    for name in names:
        reader.SetFileName(name)
        reader.ReadImageInformation()
        if not reader.HasMetaDataKey(_POSITION):
            return
        positions.append([float(word) for word in reader.GetMetaData(_POSITION).split("\\")])
        if reader.HasMetaDataKey(_ORIENTATION):
            row, column = np.reshape(
                [float(word) for word in reader.GetMetaData(_ORIENTATION).split("\\")], (2, 3)
            )
            normal = np.cross(row, column)
    steps = np.abs(np.diff(np.array(positions) @ normal))
    if steps.size and steps.max() > LARGEST_GAP * np.median(steps):
        after = Path(names[int(steps.argmax())]).name
        raise ReadError(
            f"{folder} misses slices: {steps.max():.4g} mm lie after {after}, where the others "
            f"are {np.median(steps):.4g} mm apart; export the whole series again."
        )


def _reason(error: RuntimeError) -> str:
    """Return the last line of ITK's message without its source position."""
    return str(error).strip().splitlines()[-1].split("ERROR: ")[-1].strip(" .")


_VOLUME = partial(Format, kind="volume", reads=read_medical, keeps="frame", scores=True)
FORMATS = (
    _VOLUME("NRRD", suffixes=(".nrrd",), writes=write_medical),
    _VOLUME("NRRD header", suffixes=(".nhdr",), masks_as=".nrrd"),
    _VOLUME("MetaImage", suffixes=(".mha",), writes=write_medical),
    _VOLUME("MetaImage header", suffixes=(".mhd",), masks_as=".mha"),
)
