"""Read and write NPY arrays: any shape and number type, no geometry."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from threading import Lock
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.errors import ReadError
from rareseg_runner.formats.format_registry import Format
from rareseg_runner.formats.reader_guard import guarded, tell_size
from rareseg_runner.image_records import Geometry, Image
from rareseg_runner.memory_limit import refusal

MOST_CHANNELS = 4
"""An NPY axis of at most this many entries is the channels."""
_PARSING = Lock()
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class TooLargeError(ValueError):
    """An array would take more memory than is allowed."""


def read_npy(path: Path, *, as_mask: bool = False) -> Image:
    """Read an NPY array as (channel, z, y, x), see :func:`arranged`; nothing is unpickled.

    Raises:
        ReadError: truncated, holding objects or complex numbers, or of another rank.
    """
    with guarded(path, "NPY (save it again with numpy.save)"), path.open("rb") as stream:
        try:
            return arranged(parse_npy(stream), path, as_mask=as_mask)
        except TooLargeError as error:
            raise ReadError(f"{path}: {error}") from error


def arranged(array: NDArray[Any], path: Path, *, as_mask: bool) -> Image:
    """Return an array without names of its axes as (channel, z, y, x).

    Two axes are (y, x), and so are (y, x, 1). Three axes of an image are (y, x, channel) where the
    last has at most ``MOST_CHANNELS`` entries, (channel, y, x) where the first has, and (z, y, x)
    otherwise; of a mask always (z, y, x). Four axes are (channel, z, y, x), or (z, y, x, 1).

    Raises ReadError for objects, complex numbers, other ranks and empty arrays.
    """
    if array.dtype.kind not in "buif":
        raise ReadError(f"{path} holds no plain numbers; save integers or floats.")
    if not 2 <= array.ndim <= 4 or array.size == 0:
        raise ReadError(
            f"{path} has the shape {array.shape}, where (y, x) up to (channel, z, y, x) is allowed."
        )
    if array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        array = array[None, None]
    elif array.ndim == 3 and not as_mask and array.shape[-1] <= MOST_CHANNELS:
        array = np.moveaxis(array, -1, 0)[:, None]
    elif array.ndim == 3 and not as_mask and array.shape[0] <= MOST_CHANNELS:
        array = array[:, None]
    elif array.ndim == 3:
        array = array[None]
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return Image(np.ascontiguousarray(array), Geometry(dimension=2 if array.shape[1] == 1 else 3))


def parse_npy(stream: BinaryIO, *, available: int | None = None) -> NDArray[np.generic]:
    """Return the array that ``stream`` holds in NPY format; nothing is unpickled.

    ``available`` is how many bytes the stream has, where it is no file. For threads: numpy parses
    the header with ast, which fails now and then where two threads do so at once
    (https://github.com/python/cpython/issues/106905), so here they take turns.

    Raises ValueError for what is no NPY array, is truncated, holds objects, or states more than is
    there or more than may be taken of the memory, before anything is allocated.
    """
    with _PARSING:
        try:
            version = np.lib.format.read_magic(stream)
            shape, _, dtype = _HEADERS[version](stream)
        except (TokenError, KeyError) as error:  # of a header with flipped bytes
            raise ValueError(f"its header is damaged: {error.args[0]}") from error
    needed = math.prod(shape) * dtype.itemsize
    tell_size(needed)
    start = stream.tell()
    left = (stream.seek(0, 2) if available is None else available) - start
    if needed > left and not dtype.hasobject:
        raise ValueError(f"its header states {needed} bytes and {left} are there")
    refused = None if dtype.hasobject else refusal(needed)  # objects are refused below
    if refused:
        raise TooLargeError(refused)
    stream.seek(0)
    with _PARSING:
        array: NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
        return array


def write_npy(path: Path, array: NDArray[np.generic], geometry: Geometry) -> None:
    """Write (z, y, x), or (y, x) for a photograph, as NPY."""
    flat = geometry.dimension == 2 and array.shape[0] == 1
    with atomic_write(path) as temporary:
        np.save(temporary, array[0] if flat else array, allow_pickle=False)


FORMATS = (
    Format(
        "NPY",
        kind="array",
        suffixes=(".npy",),
        reads=read_npy,
        reads_mask=partial(read_npy, as_mask=True),
        writes=write_npy,
        scores=True,
    ),
)
