"""The smallest whole file of every format that is read, made by libraries other than rareseg.

Each holds :data:`GREY`, or the mask :data:`MASK`; a volume holds it in every slice.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import PIL.Image
import SimpleITK as sitk
import tifffile

GREY = np.random.default_rng(7).integers(60, 200, (12, 16), dtype=np.uint8)
MASK = np.zeros((12, 16), np.uint8)
MASK[3:7, 4:9] = 1
SLICES = 4

Files = dict[str, bytes]
"""Contents by name; the first is the image, further ones are the parts that it names."""


def by_pillow(suffix: str, array: np.ndarray, **options: object) -> bytes:
    """Return (y, x) as Pillow writes it."""
    stream = io.BytesIO()
    form = {".jpg": "JPEG", ".jpeg": "JPEG", ".pgm": "PPM", ".ppm": "PPM", ".pnm": "PPM"}
    form |= {".jp2": "JPEG2000", ".j2k": "JPEG2000"}
    picture = PIL.Image.fromarray(array)
    picture.save(stream, form.get(suffix, suffix.lstrip(".").upper()), **options)
    return stream.getvalue()


def as_tiff(array: np.ndarray, **options: object) -> bytes:
    """Return an array as tifffile writes it."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def as_npy(array: np.ndarray) -> bytes:
    """Return an array in NPY format."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def as_npz(**arrays: np.ndarray) -> bytes:
    """Return arrays as a compressed archive."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def as_gif(array: np.ndarray) -> bytes:
    """Return (y, x) with a palette in which every index is its grey."""
    greys = np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes()
    return by_pillow(".gif", array, optimize=False, palette=greys)


def in_folder(write: Callable[[Path], object], name: str) -> Files:
    """Return what a function writes to a path of this name, and the files beside it."""
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(place)
        write(folder / name)
        names = sorted(folder.iterdir(), key=lambda path: path.name != name)
        return {path.name: path.read_bytes() for path in names}


def stack(array: np.ndarray) -> np.ndarray:
    """Return (z, y, x) with the array in every slice."""
    return np.repeat(array[None], SLICES, axis=0)


def by_itk(name: str, array: np.ndarray, *, packed: bool = False) -> Files:
    """Return an array as ITK writes it."""
    image = sitk.GetImageFromArray(array)
    return in_folder(lambda path: sitk.WriteImage(image, str(path), useCompression=packed), name)


def by_nibabel(name: str, array: np.ndarray) -> Files:
    """Return a volume as nibabel writes it, by the ending of the name."""
    frame = np.diag([-1.0, -1.0, 1.0, 1.0])
    if name.endswith((".mgh", ".mgz")):
        image = nibabel.MGHImage(array.T, frame)
    elif name.endswith(".hdr"):
        image = nibabel.Nifti1Pair(array.T, frame)
    else:
        image = nibabel.Nifti1Image(array.T, frame)
    return in_folder(image.to_filename, name)


def as_dicom(name: str, array: np.ndarray) -> Files:
    """Return a picture as GDCM writes it."""
    made = by_itk("made.dcm", array)
    return {name: made["made.dcm"]}


def as_ndpi(array: np.ndarray) -> bytes:
    """Return Hamamatsu's TIFF: as usual, but offsets of pages have 8 bytes, values 4 more apart."""
    height, width = array.shape
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1)]
    entries += [(273, 4, 0), (277, 3, 1), (278, 4, height), (279, 4, array.size), (65420, 4, 1)]
    start = 12 + 2 + 12 * len(entries) + 8 + 4 * len(entries)
    entries[5] = (273, 4, start)
    content = struct.pack("<2sHQ", b"II", 42, 12) + struct.pack("<H", len(entries))
    content += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return content + struct.pack("<Q", 0) + bytes(4 * len(entries)) + array.tobytes()


def as_hdf5(name: str, array: np.ndarray) -> Files:
    """Return a file of one data set with checksums; raises ImportError without the extra."""
    h5py = importlib.import_module("h5py")

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("image", data=array, chunks=True, fletcher32=True)

    return in_folder(write, name)


def as_heic() -> bytes:
    """Return a ramp that was encoded once: free encoders of HEIC are under the GPL."""
    return (Path(__file__).parents[1] / "runner" / "formats" / "ramp.heic").read_bytes()


def as_segmentation() -> bytes:
    """Return a DICOM segmentation of :data:`MASK` in :data:`SLICES` slices, as highdicom writes it.

    Raises ImportError without the extra.
    """
    highdicom, sources = importlib.import_module("highdicom"), _dicom_slices()
    code = highdicom.sr.CodedConcept("49755003", "SCT", "Morphologically abnormal structure")
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="speck",
        segmented_property_category=code,
        segmented_property_type=code,
        algorithm_type="MANUAL",
    )
    seg = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=stack(MASK),
        segmentation_type="BINARY",
        segment_descriptions=[segment],
        series_instance_uid=f"{_UID}.7",
        series_number=7,
        sop_instance_uid=f"{_UID}.8",
        instance_number=1,
        manufacturer="nobody",
        manufacturer_model_name="none",
        software_versions="1",
        device_serial_number="1",
    )
    stream = io.BytesIO()
    seg.save_as(stream)
    return stream.getvalue()


_UID = "1.2.826.0.1.3680043.8.498.9"


def _dicom_slices() -> list[Any]:
    """Return what a segmentation refers to: slices of an image, without their values."""
    pydicom = importlib.import_module("pydicom")
    slices = []
    for number in range(SLICES):
        one = pydicom.Dataset()
        one.SOPClassUID, one.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"{_UID}.1.{number + 1}"
        one.StudyInstanceUID, one.SeriesInstanceUID = f"{_UID}.2", f"{_UID}.3"
        one.FrameOfReferenceUID, one.Modality = f"{_UID}.4", "CT"
        one.PatientID, one.PatientName, one.PatientBirthDate = "P1", "Nobody^N", "19700101"
        one.PatientSex, one.StudyID, one.AccessionNumber = "O", "1", "1"
        one.StudyDate, one.StudyTime, one.ReferringPhysicianName = "20260101", "120000", ""
        one.Rows, one.Columns = MASK.shape
        one.PixelSpacing, one.SliceThickness = [1.0, 1.0], 1.0
        one.ImagePositionPatient = [0.0, 0.0, float(number)]
        one.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        one.InstanceNumber, one.SeriesNumber = number + 1, 1
        one.file_meta = pydicom.dataset.FileMetaDataset()
        one.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        slices.append(one)
    return slices


def as_structure_set() -> bytes:
    """Return a DICOM structure set of one box in the first slice; ImportError without the extra."""
    pydicom = importlib.import_module("pydicom")
    content, roi, drawn, contour = (pydicom.Dataset() for _ in range(4))
    content.SOPClassUID, content.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.3", f"{_UID}.5"
    content.Modality = "RTSTRUCT"
    roi.ROINumber, roi.ROIName = 11, "speck"
    contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 4
    corners = ((4.0, 3.0), (9.0, 3.0), (9.0, 7.0), (4.0, 7.0))
    contour.ContourData = [v for x, y in corners for v in (x - 0.5, y - 0.5, 0.0)]
    drawn.ReferencedROINumber, drawn.ROIDisplayColor = 11, [255, 0, 10]
    drawn.ContourSequence = [contour]
    content.StructureSetROISequence, content.ROIContourSequence = [roi], [drawn]
    content.file_meta = pydicom.dataset.FileMetaDataset()
    content.file_meta.MediaStorageSOPClassUID = content.SOPClassUID
    content.file_meta.MediaStorageSOPInstanceUID = content.SOPInstanceUID
    content.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    stream = io.BytesIO()
    content.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


_PICTURES: dict[str, Callable[[str, np.ndarray], bytes]] = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp", ".jp2", ".j2k", ".avif"), by_pillow),
    **dict.fromkeys((".pgm", ".ppm", ".pnm"), by_pillow),
    ".webp": lambda suffix, array: by_pillow(suffix, array, lossless=True),
    ".gif": lambda _, array: as_gif(array),
    **dict.fromkeys((".tif", ".tiff"), lambda _, array: as_tiff(array)),
    ".svs": lambda _, array: as_tiff(array, compression="zlib"),
    ".ndpi": lambda _, array: as_ndpi(array),
    ".npy": lambda _, array: as_npy(array),
    ".npz": lambda _, array: as_npz(image=array),
    **dict.fromkeys((".heic", ".heif"), lambda _, __: as_heic()),
}
_VOLUMES: dict[str, Callable[[str, np.ndarray], Files]] = {
    **dict.fromkeys((".nii", ".nii.gz", ".hdr", ".mgh", ".mgz"), by_nibabel),
    **dict.fromkeys((".nrrd", ".nhdr", ".mha", ".mhd"), by_itk),
    ".seg.nrrd": by_itk,
}
_SINGLE: dict[str, Callable[[str, np.ndarray], Files]] = {
    **dict.fromkeys((".dcm", ".dicom", ".ima"), as_dicom),
    **dict.fromkeys((".h5", ".hdf5"), as_hdf5),
}


@cache
def smallest(suffix: str, *, mask: bool = False, stem: str = "whole") -> Files:
    """Return a whole file of this suffix; KeyError where nobody has said how it is made.

    Raises ImportError where the library that writes it is not installed.
    """
    array, name = MASK if mask else GREY, stem + suffix
    if suffix in _PICTURES:
        return {name: _PICTURES[suffix](suffix, array)}
    if suffix in _SINGLE:
        return _SINGLE[suffix](name, array)
    return _VOLUMES[suffix](name, stack(array))


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a part of a PNG file with its length and checksum."""
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def png(
    width: int,
    height: int,
    bits: int,
    rows: bytes,
    *,
    colour: int = 0,
    between: bytes = b"",
    end: bool = True,
) -> bytes:
    """Return a PNG file of packed rows, each with its filter byte."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + between
    return content + chunk(b"IDAT", zlib.compress(rows)) + (chunk(b"IEND", b"") if end else b"")


def packed_rows(array: np.ndarray, bits: int) -> bytes:
    """Return the rows of (y, x) with so many bits a sample, each after a filter byte of 0."""
    each = 8 // bits
    lines = []
    for row in array:
        parts = row.reshape(-1, each).astype(np.uint8)
        line = np.zeros(len(parts), np.uint8)
        for column in range(each):
            line |= parts[:, column] << np.uint8(8 - bits * (column + 1))
        lines.append(b"\0" + line.tobytes())
    return b"".join(lines)


def nifti(*, changes: dict[int, bytes] | None = None, data: bytes | None = None) -> bytes:
    """Return a NIfTI-1 file of unsigned bytes with some bytes of its header replaced."""
    content = bytearray(by_nibabel("whole.nii", stack(GREY))["whole.nii"])
    for start, replacement in (changes or {}).items():
        content[start : start + len(replacement)] = replacement
    return bytes(content[:352]) + data if data is not None else bytes(content)


def nrrd(fields: dict[str, str | None], data: bytes | None = None) -> bytes:
    """Return an NRRD file with some fields replaced, or left out where they are None."""
    known: dict[str, str | None] = {
        "type": "uint8",
        "dimension": "3",
        "sizes": f"16 12 {SLICES}",
        "encoding": "raw",
    }
    lines = [f"{name}: {value}" for name, value in (known | fields).items() if value is not None]
    values = stack(GREY).tobytes() if data is None else data
    return ("\n".join(["NRRD0004", *lines]) + "\n\n").encode() + values


def mha(fields: dict[str, str | None], data: bytes | None = None) -> bytes:
    """Return a MetaImage with some fields replaced, or left out where they are None."""
    known: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "DimSize": f"16 12 {SLICES}",
        "ElementType": "MET_UCHAR",
    }
    known = known | fields
    last = known.pop("ElementDataFile", "LOCAL")
    lines = [f"{name} = {value}" for name, value in known.items() if value is not None]
    values = stack(GREY).tobytes() if data is None else data
    return ("\n".join([*lines, f"ElementDataFile = {last}"]) + "\n").encode() + values


def npy_stating(descr: str, shape: str, data: bytes = bytes(100), version: int = 1) -> bytes:
    """Return an NPY file with this header."""
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (63 - (len(head) + 10) % 64) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(head)) + head + data


def gz(content: bytes) -> bytes:
    """Return content packed by gzip, without a time."""
    return gzip.compress(content, mtime=0)


def bz(content: bytes) -> bytes:
    """Return content packed by bzip2."""
    return bz2.compress(content)
