"""Read DICOM images: a folder that holds one series, or a single file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rareseg_runner.errors import ReadError
from rareseg_runner.formats.format_registry import Format
from rareseg_runner.formats.reader_guard import check_size, reason
from rareseg_runner.formats.volumes.dicom_elements import check_elements, is_dicom
from rareseg_runner.formats.volumes.dicom_objects import is_dicom_object
from rareseg_runner.formats.volumes.itk_library import itk_library
from rareseg_runner.formats.volumes.medical import canonical_image
from rareseg_runner.geometry import from_canonical
from rareseg_runner.image_records import Geometry, Image

if TYPE_CHECKING:
    import SimpleITK

LARGEST_GAP = 1.5
"""A step between DICOM slices beyond this multiple of the median step is a missing slice."""
_POSITION, _ORIENTATION, _SYNTAX = "0020|0032", "0020|0037", "0002|0010"
_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")


def read_dicom(folder: Path) -> Image:
    """Read a folder that holds exactly one DICOM series.

    Raises:
        ReadError: no series or several, a missing slice, or a file that cannot be read.
    """
    itk = itk_library()
    for file in sorted(folder.iterdir()):
        if file.is_file():
            check_elements(file)
    names = series_files(folder)
    try:
        _check_gaps(names, folder)
        reader = itk.ImageSeriesReader()
        reader.SetFileNames(names)
        return canonical_image(reader.Execute(), folder)
    except RuntimeError as error:
        raise ReadError(
            f"{folder} cannot be read as a DICOM series ({reason(error)}); "
            "copy or export the series again."
        ) from error


def series_files(path: Path) -> tuple[str, ...]:
    """Return the files of the one series in a folder, slice after slice; of a file itself.

    Raises ReadError where a folder holds no series, or several.
    """
    itk = itk_library()
    if path.is_file():
        return (str(path),)
    series = itk.ImageSeriesReader.GetGDCMSeriesIDs(str(path))
    if len(series) != 1:
        raise ReadError(
            f"{path} holds {len(series)} DICOM series where exactly one is allowed; "
            "give each series a folder of its own."
        )
    return tuple(itk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path), series[0]))


def read_dicom_file(path: Path) -> Image:
    """Read one DICOM file: a slice as (channel, 1, y, x) as it is shown, several frames as slices.

    A slice is a picture with a spacing: it keeps the rows and columns of the file, whichever way
    they lie in the body. Raises ReadError for a damaged file, and for one that holds labels.
    """
    itk = itk_library()
    if is_dicom_object(path):
        raise ReadError(
            f"{path} is a DICOM segmentation or structure set, which holds labels and no image; "
            "name the image that it was drawn on."
        )
    if not is_dicom(path):
        raise ReadError(f"{path} does not begin as a DICOM file does; copy or export it again.")
    check_elements(path)
    reader = itk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    plain = reader.HasMetaDataKey(_SYNTAX) and _syntax(reader) in _UNCOMPRESSED
    size = (reader.GetNumberOfComponents(), *reversed(reader.GetSize()))
    check_size(path, size, _stored_bytes(reader), available=path.stat().st_size if plain else None)
    image = canonical_image(reader.Execute(), path)
    geometry = image.geometry
    if 1 not in image.array.shape[1:] or reader.GetSize()[2:] not in ((1,), ()):
        return image
    array = from_canonical(image.array, geometry.orientation or "LPS")
    x, y = reader.GetSpacing()[:2]
    return Image(np.ascontiguousarray(array), Geometry(spacing=(1.0, y, x), dimension=2))


def _syntax(reader: SimpleITK.ImageFileReader) -> str:
    return str(reader.GetMetaData(_SYNTAX)).strip(" \0")


def _stored_bytes(reader: SimpleITK.ImageFileReader) -> int:
    """Return the bytes of a stored sample; ITK speaks of the type after rescaling."""
    key = "0028|0100"
    return max(int(reader.GetMetaData(key)) // 8, 1) if reader.HasMetaDataKey(key) else 1


def is_dicom_folder(path: Path) -> bool:
    """Whether ``path`` is a folder whose first file is DICOM, by its suffix or its magic word."""
    if not path.is_dir():
        return False
    first = next((f for f in sorted(path.iterdir()) if f.is_file() and f.name[0] != "."), None)
    if first is None or first.suffix.lower() in {".dcm", ".ima"}:
        return first is not None
    with first.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _check_gaps(names: tuple[str, ...], folder: Path) -> None:
    """Raise ReadError where the sorted slices of a series leave a gap."""
    itk = itk_library()
    reader = itk.ImageFileReader()
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


FORMATS = (
    Format(
        "DICOM",
        kind="volume",
        suffixes=(".dcm", ".dicom", ".ima"),
        reads=read_dicom_file,
        masks_as=".nii.gz",
    ),
)
