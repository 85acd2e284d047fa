"""Read through nibabel: MGH and MGZ of FreeSurfer, and pairs of Analyze 7.5."""

from __future__ import annotations

import io
import math
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from rareseg_runner.errors import ReadError
from rareseg_runner.formats.format_registry import Format
from rareseg_runner.formats.reader_guard import check_size
from rareseg_runner.formats.volumes.gzip_files import read_packed
from rareseg_runner.formats.volumes.nifti import frame_of, read_nifti
from rareseg_runner.geometry import place
from rareseg_runner.image_records import Image

_MGH_HEADER = 284
_MGH_ITEM_BYTES = {0: 1, 1: 4, 3: 4, 4: 2, 10: 2}
"""Bytes a voxel of each number type: uint8, int32, float32, int16, uint16."""


def read_mgh(path: Path) -> Image:
    """Read ``.mgh`` or ``.mgz`` as a canonical image (channel, z, y, x); frames are channels.

    Raises:
        ReadError: truncated, damaged, an unknown number type or a sheared volume.
    """

    def needed(head: bytes) -> int:
        words = np.frombuffer(head[:24], ">i4")
        if len(words) < 6 or words[0] != 1 or (words[1:5] < 1).any():
            raise ReadError(f"{path} has no header of MGH; export it again.")
        sides, kind = [int(side) for side in words[1:5]], int(words[5])
        if kind not in _MGH_ITEM_BYTES:
            raise ReadError(f"{path} holds numbers of MGH type {kind}; export it as floats.")
        check_size(path, sides, _MGH_ITEM_BYTES[kind])
        return _MGH_HEADER + math.prod(sides) * _MGH_ITEM_BYTES[kind]

    content = read_packed(path, needed)
    if len(content) < needed(content[:1024]):
        raise ReadError(f"{path} is truncated: voxels are missing; copy or export it again.")
    return _placed(nibabel.MGHImage.from_stream(io.BytesIO(content)), path)


def read_pair(path: Path, *, as_mask: bool = False) -> Image:
    """Read a header ``.hdr`` with its ``.img``: NIfTI by our reader, Analyze 7.5 by nibabel.

    Analyze states a spacing and no directions; as in SPM, its first axis grows to the left.

    Raises:
        ReadError: as :func:`~rareseg_runner.formats.volumes.nifti.read_nifti`.
    """
    with path.open("rb") as stream:
        head = stream.read(352)
    if b"ni" in (head[344:346], head[4:6]):
        return read_nifti(path, as_mask=as_mask)
    if b"\x5c\x01\x00\x00" != head[:4] != b"\x00\x00\x01\x5c":
        raise ReadError(f"{path} is no header of NIfTI or Analyze; export it as .nii.gz.")
    pair: Any = nibabel.AnalyzeImage.from_filename(path)
    data = Path(pair.file_map["image"].filename)
    if not data.is_file():
        raise ReadError(f"{path} is a header without its data; put {data.name} beside it.")
    check_size(path, pair.shape, pair.get_data_dtype().itemsize, available=data.stat().st_size)
    return _placed(pair, path)


def _placed(image: Any, path: Path) -> Image:
    array = np.asanyarray(image.dataobj)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    sides = [*array.shape, 1, 1][:3]
    stacked = np.moveaxis(array.reshape(*sides, -1, order="F"), -1, 0)
    frame = frame_of(np.asarray(image.affine, np.float64), path)
    return place(np.transpose(stacked, (0, 3, 2, 1)), frame)


FORMATS = (
    Format(
        "NIfTI pair",
        kind="volume",
        suffixes=(".hdr",),
        parts=(".img", ".img.gz"),
        reads=read_pair,
        reads_mask=partial(read_pair, as_mask=True),
        masks_as=".nii",
    ),
    Format("MGH", kind="volume", suffixes=(".mgz", ".mgh"), reads=read_mgh, masks_as=".nii.gz"),
)
