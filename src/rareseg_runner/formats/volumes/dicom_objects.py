"""Read what is drawn in DICOM: segmentations (SEG) and structure sets of radiotherapy (RTSTRUCT).

Both are files of their own that refer to an image. They come as the extra ``rareseg[dicom]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.errors import ReadError
from rareseg_runner.formats.reader_guard import load_extra
from rareseg_runner.formats.volumes.dicom_elements import check_elements
from rareseg_runner.formats.volumes.slicer_segmentation import Segment
from rareseg_runner.geometry import Frame, canonical_frame, on_grid, place
from rareseg_runner.image_records import Geometry, Image, Mask

_SEG = b"1.2.840.10008.5.1.4.1.1.66.4"
_RTSTRUCT = b"1.2.840.10008.5.1.4.1.1.481.3"
_CLASS = b"\x02\x00\x02\x00UI"
"""The tag (0002,0002), which says what kind of object a file holds."""
_TOLERANCE = 0.5
"""The largest distance of a contour from the slice that it is drawn in, in slices."""


def object_kind(path: Path) -> str | None:
    """Return "SEG" or "RTSTRUCT" where a file holds one, else None (as for images)."""
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        head = stream.read(1024)
    at = head.find(_CLASS) if head[128:132] == b"DICM" else -1
    if at < 0:
        return None
    length = int.from_bytes(head[at + 6 : at + 8], "little")
    word = head[at + 8 : at + 8 + length].rstrip(b"\0 ")
    return {_SEG: "SEG", _RTSTRUCT: "RTSTRUCT"}.get(word)


def is_dicom_object(path: Path) -> bool:
    """Whether a file holds a DICOM segmentation or structure set."""
    return object_kind(path) is not None


def dicom_segments(path: Path) -> tuple[Segment, ...]:
    """Return what a segmentation or structure set has drawn, in the order of its numbers.

    Raises ReadError where it is damaged or the extra is not installed.
    """
    kind = object_kind(path)
    content = _read(path)
    if kind == "SEG":
        return tuple(
            Segment(str(item.SegmentLabel), int(item.SegmentNumber))
            for item in content.SegmentSequence
        )
    colours = {
        int(item.ReferencedROINumber): tuple(int(c) for c in item.ROIDisplayColor)
        for item in content.get("ROIContourSequence", ())
        if "ROIDisplayColor" in item
    }
    return tuple(
        Segment(str(item.ROIName), value, _colour(colours.get(int(item.ROINumber))))
        for value, item in enumerate(content.StructureSetROISequence, start=1)
    )


def read_dicom_object(path: Path, image: Image | None) -> Mask:
    """Read a segmentation or structure set as a mask (z, y, x) on the grid of its image.

    A segmentation's values are its segments' numbers; without an image it has the extent of its
    own frames. A structure set's values count from 1 in its order. A voxel belongs to a contour
    where its centre lies inside; contours in one slice that lie in one another make holes.

    Raises:
        ReadError: damaged, the extra is not installed, segments that overlap, a structure set
            without its image, or frames that do not lie on the image's grid.
    """
    if object_kind(path) == "SEG":
        return _read_seg(path, image)
    if image is None or image.geometry.origin is None:
        raise ReadError(
            f"{path} is a DICOM structure set, whose contours are drawn on an image; name the "
            "series of that image as the case's image."
        )
    return _read_rtstruct(path, image)


def _read(path: Path) -> Any:
    pydicom = load_extra("pydicom", "dicom", path, "a DICOM segmentation or structure set")
    check_elements(path)  # the library reads a file that ends within an element
    return pydicom.dcmread(path)


def _read_seg(path: Path, image: Image | None) -> Mask:
    load_extra("highdicom", "dicom", path, "a DICOM segmentation")
    check_elements(path)
    seg = load_extra("highdicom.seg", "dicom", path, "a DICOM segmentation").segread(path)
    if str(seg.SegmentationType) == "FRACTIONAL":
        raise ReadError(
            f"{path} is a DICOM segmentation of fractions (probabilities), which are no labels; "
            "export it as BINARY."
        )
    volume = seg.get_volume(combine_segments=False, rescale_fractional=False)
    array, affine = np.asarray(volume.array), np.asarray(volume.affine, np.float64)
    numbers = [int(number) for number in seg.segment_numbers]
    layers = array.reshape(*array.shape[:3], -1) != 0
    count = layers.sum(axis=-1)
    if (count > 1).any():
        raise ReadError(
            f"{path} has segments that overlap in {int((count > 1).sum())} voxels, and a voxel has "
            "one label; export each as a file of its own, or decide which one counts."
        )
    labels = np.zeros(array.shape[:3], np.int32)
    for layer, number in enumerate(numbers):
        labels[layers[..., layer]] = number
    flat = image is not None and image.geometry.dimension == 2
    if image is not None and flat and labels.shape == image.array.shape[1:]:
        # A single slice keeps the rows and columns of its file, whichever way they lie in the body.
        return Mask(labels, image.geometry)
    # The volume's axes are (k, j, i); the matrix leads from them to mm.
    matrix = affine[:3, :3][:, ::-1]
    lengths = np.linalg.norm(matrix, axis=0)
    frame = Frame(lengths, affine[:3, 3], matrix / lengths, dimension=3)
    placed = place(labels[None], frame)
    own = Mask(placed.array[0].astype(np.int32), placed.geometry)
    if image is None:
        return own
    try:
        shape = image.array.shape[1:]
        return Mask(on_grid(own.array, own.geometry, image.geometry, shape), image.geometry)
    except ValueError as error:
        raise ReadError(
            f"{path} does not lie on its image's grid: {error}; name the image that it was made of."
        ) from error


def _read_rtstruct(path: Path, image: Image) -> Mask:
    content = _read(path)
    shape = image.array.shape[1:]
    labels = np.zeros(shape, np.int32)
    rois = [int(item.ROINumber) for item in content.StructureSetROISequence]
    if rois and "ROIContourSequence" not in content:
        raise ReadError(
            f"{path} names {len(rois)} structures and holds no contours: it is truncated; export "
            "it again."
        )
    for item in content.get("ROIContourSequence", ()):
        value = rois.index(int(item.ReferencedROINumber)) + 1
        inside = _filled(item.get("ContourSequence", ()), image.geometry, shape, path)
        taken = inside & (labels > 0)
        if taken.any():
            raise ReadError(
                f"{path} has structures that overlap: numbers {value} and {int(labels[taken][0])} "
                f"share {int(taken.sum())} voxels, and a voxel has one label; export each as a "
                "file of its own, or decide which one counts."
            )
        labels[inside] = value
    return Mask(labels, image.geometry)


def _filled(
    contours: Any, geometry: Geometry, shape: tuple[int, ...], path: Path
) -> NDArray[np.bool_]:
    """Return the voxels (z, y, x) inside the closed planar contours of one structure."""
    inside = np.zeros(shape, np.bool_)
    origin, axes = canonical_frame(geometry, shape)
    spacing = np.array(geometry.spacing)[::-1]
    for contour in contours:
        if str(contour.get("ContourGeometricType", "CLOSED_PLANAR")) != "CLOSED_PLANAR":
            continue
        points = np.reshape(np.asarray(contour.ContourData, np.float64), (-1, 3))
        voxels = (points - origin) @ axes / spacing
        z = int(np.round(voxels[:, 2].mean()))
        if np.abs(voxels[:, 2] - z).max() > _TOLERANCE or not 0 <= z < shape[0]:
            raise ReadError(
                f"{path} has a contour that lies in no slice of its image (at slices "
                f"{voxels[:, 2].min():.1f} to {voxels[:, 2].max():.1f} of {shape[0]}); name the "
                "series that it was drawn on."
            )
        inside[z] ^= _polygon(voxels[:, :2], shape[1:])
    return inside


def _polygon(points: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the pixels (y, x) whose centre is inside a polygon of (x, y), by the even-odd rule."""
    inside = np.zeros(shape, np.bool_)
    x, y = points[:, 0], points[:, 1]
    ends_x, ends_y = np.roll(x, -1), np.roll(y, -1)
    columns = np.arange(shape[1])
    first, last = max(int(np.floor(y.min())), 0), min(int(np.ceil(y.max())), shape[0] - 1)
    for row in range(first, last + 1):
        crosses = (y <= row) != (ends_y <= row)
        if crosses.any():
            share = (row - y[crosses]) / (ends_y[crosses] - y[crosses])
            at = np.sort(x[crosses] + share * (ends_x[crosses] - x[crosses]))
            inside[row] = np.searchsorted(at, columns, side="left") % 2 == 1
    return inside


def _colour(found: tuple[int, ...] | None) -> tuple[int, int, int] | None:
    return (found[0], found[1], found[2]) if found and len(found) == 3 else None
