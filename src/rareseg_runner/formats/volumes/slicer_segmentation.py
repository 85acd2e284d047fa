"""Read segmentations of 3D Slicer (``.seg.nrrd``): named segments in one layer or in several.

Slicer writes as many layers as overlapping segments need, and no more of the image than the
segments fill. Format: https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.errors import ReadError
from rareseg_runner.formats.format_registry import Format
from rareseg_runner.formats.reader_guard import guarded
from rareseg_runner.formats.volumes.itk_headers import check_header
from rareseg_runner.formats.volumes.medical import read_medical, write_medical
from rareseg_runner.image_records import Image


@dataclass(frozen=True)
class Segment:
    """One named segment: ``value`` is what ``read_mask`` gives its voxels.

    ``colour`` is red, green and blue from 0 to 255, None where the file gives none. In a file of
    3D Slicer its voxels hold ``stored`` in the layer ``layer``.
    """

    name: str
    value: int
    colour: tuple[int, int, int] | None = None
    stored: int = 0
    layer: int = 0


def is_segmentation(path: Path) -> bool:
    """Whether an NRRD file names segments as Slicer does; False where it has no such header."""
    with path.open("rb") as stream:
        return stream.read(5) == b"NRRD0" and b"\nSegment0_" in stream.read(1 << 16)


def nrrd_segments(path: Path) -> tuple[Segment, ...]:
    """Return the segments of an NRRD file in their order, () where it names none.

    Values are those of the file; where layers give one value to several segments, they are numbered
    1, 2, … in their order. Raises ReadError for a damaged header.
    """
    with guarded(path, "NRRD"):
        fields = check_header(path)
        found: list[Segment] = []
        while f"segment{len(found)}_id" in fields or f"segment{len(found)}_name" in fields:
            found.append(_segment(fields, len(found)))
        stored = [segment.stored for segment in found]
        if len(set(stored)) < len(stored):
            found = [replace(segment, value=k) for k, segment in enumerate(found, start=1)]
        return tuple(found)


def _segment(fields: dict[str, str], number: int) -> Segment:
    def said(key: str, otherwise: str) -> str:
        return fields.get(f"segment{number}_{key}", otherwise).strip()

    layers = "segment0_layer" in fields
    # Versions before 4.11 wrote one component of 0 and 1 for each segment.
    stored = int(said("labelvalue", "1"))
    shares = re.findall(r"[\d.]+", said("color", ""))
    colour = tuple(round(255 * min(float(share), 1.0)) for share in shares[:3])
    old = not layers and "segment0_labelvalue" not in fields
    return Segment(
        name=said("name", said("id", f"segment {number + 1}")),
        value=stored,
        stored=stored,
        layer=number if old else int(said("layer", "0")),
        colour=(colour[0], colour[1], colour[2]) if len(colour) == 3 else None,
    )


def read_segmentation(path: Path) -> Image:
    """Read the labels of a segmentation as (1, z, y, x), or (layer, z, y, x) without segments.

    Its extent is that of the file, which may be a part of the image's: see
    :func:`rareseg_runner.geometry.on_grid`.

    Raises:
        ReadError: damaged, or segments that overlap: a voxel has one label.
    """
    image = read_medical(path)
    known = nrrd_segments(path)
    if len(image.array) == 1 and all(segment.value == segment.stored for segment in known):
        return image
    return replace(image, array=_painted(image.array, known, path)) if known else image


def _painted(layers: NDArray[Any], known: tuple[Segment, ...], path: Path) -> NDArray[np.generic]:
    labels = np.zeros(layers.shape[1:], np.int32)
    for segment in known:
        if segment.layer >= len(layers):
            raise ReadError(
                f"{path} places '{segment.name}' in layer {segment.layer} of {len(layers)}; "
                "export the segmentation again."
            )
        inside = layers[segment.layer] == segment.stored
        taken = labels[inside]
        if taken.any():
            other = next(s.name for s in known if s.value == taken[taken > 0][0])
            raise ReadError(
                f"{path} has segments that overlap: '{segment.name}' and '{other}' share "
                f"{int((taken > 0).sum())} voxels, and a voxel has one label; export each as a "
                "label map of its own, or decide which one counts."
            )
        labels[inside] = segment.value
    return labels[None]


def read_nrrd_mask(path: Path) -> Image:
    """Read a mask in NRRD, whether or not it names segments."""
    return read_segmentation(path) if is_segmentation(path) else read_medical(path)


FORMATS = (
    Format(
        "NRRD",
        kind="volume",
        suffixes=(".nrrd",),
        reads=read_medical,
        reads_mask=read_nrrd_mask,
        writes=write_medical,
        keeps="frame",
        scores=True,
    ),
    Format(
        "segmentation of 3D Slicer",
        kind="volume",
        suffixes=(".seg.nrrd",),
        reads=read_segmentation,
        writes=write_medical,
        keeps="frame",
        masks_only=True,
    ),
)
