"""Read PGM and PPM, whose values are kept as they stand in the file.

Pillow stretches them to the full range and cuts 16-bit colours to 8 bits. Format:
https://netpbm.sourceforge.net/doc/pgm.html and ppm.html.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.errors import ReadError
from rareseg_runner.formats.format_registry import Format
from rareseg_runner.formats.reader_guard import check_size
from rareseg_runner.image_records import Geometry, Image

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_HEADER = re.compile(rb"P([2356])" + 3 * (_GAP + rb"(\d{1,9})") + rb"(?:#[^\r\n]*[\r\n]|\s)")
"""The kind, the width, the height and the largest value, then one blank."""
_CHANNELS = {b"2": 1, b"3": 3, b"5": 1, b"6": 3}
_PLAIN = (b"2", b"3")


def read_netpbm(path: Path) -> Image:
    """Read PGM or PPM, plain or raw, as (channel, 1, y, x) of uint8, or uint16 above 255.

    Raises:
        ReadError: truncated, a value above the stated largest one, several images, or PBM, in
            which 1 is black.
    """
    check_size(path, (path.stat().st_size,), 1, is_measured=True)
    content = path.read_bytes()
    header = _HEADER.match(content)
    if header is None:
        raise ReadError(
            f"{path} has no header of PGM or PPM (P2, P3, P5 or P6); export it as PGM or PNG."
        )
    kind, (width, height, largest) = header[1], (int(number) for number in header.groups()[1:])
    shape = (height, width, _CHANNELS[kind])
    if width * height == 0 or not 0 < largest < 65536:
        raise ReadError(
            f"{path} states {width} × {height} pixels up to {largest}; at least one pixel and 1 "
            "to 65535 are allowed: export it again."
        )
    try:
        if kind in _PLAIN:
            samples = _plain_samples(content[header.end() :])
        else:
            dtype = np.dtype(">u2" if largest > 255 else "u1")
            samples = np.frombuffer(content, dtype, math.prod(shape), header.end())
            if content[header.end() + samples.nbytes :].strip():
                raise ValueError("more bytes follow than its header states")
        array = samples.reshape(shape)
        if array.max() > largest:
            raise ValueError(f"it holds {array.max()} where its largest value is {largest}")
    except (ValueError, OverflowError) as error:
        raise ReadError(
            f"{path} cannot be read ({error}): it is truncated, damaged or holds several images; "
            "export it again."
        ) from error
    own = array.astype(np.uint16 if largest > 255 else np.uint8)
    return Image(np.ascontiguousarray(np.moveaxis(own, -1, 0)[:, None]), Geometry(dimension=2))


def _plain_samples(text: bytes) -> NDArray[np.uint32]:
    """Return the numbers of a plain file, without its comments; ValueError for other words."""
    return np.array(re.sub(rb"#[^\r\n]*", b"", text).split(), np.uint32)


FORMATS = (
    Format(
        "PGM",
        kind="photograph",
        suffixes=(".pgm", ".ppm", ".pnm"),
        reads=read_netpbm,
        masks_as=".png",
    ),
)
