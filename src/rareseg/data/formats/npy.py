"""Read and write NPY arrays: any shape and number type, no geometry."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from threading import Lock
from tokenize import TokenError
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rareseg.data.atomic_files import atomic_write
from rareseg.data.formats.format_registry import Format
from rareseg.data.records import Geometry, Image
from rareseg.errors import ReadError

MOST_CHANNELS = 4
"""An NPY axis of at most this many entries is the channels."""
_PARSING = Lock()


def read_npy(path: Path, *, as_mask: bool = False) -> Image:
    """Read an NPY array as (channel, z, y, x); nothing is unpickled.

    Two axes are (y, x). Three axes of an image are (y, x, channel) where the last has at most
    ``MOST_CHANNELS`` entries, (channel, y, x) where the first has, and (z, y, x) otherwise; of a
    mask always (z, y, x). Four axes are (channel, z, y, x).

    Raises:
        ReadError: truncated, holding objects or complex numbers, or of another rank.
    """
    try:
        with path.open("rb") as stream:
            array = parse_npy(stream)
    except (OSError, ValueError, EOFError) as error:
        raise ReadError(
            f"{path} cannot be read as NPY ({error}); save it again with numpy.save and a plain "
            "number type."
        ) from error
    if array.dtype.kind not in "buif":
        raise ReadError(f"{path} holds no plain numbers; save integers or floats.")
    if not 2 <= array.ndim <= (3 if as_mask else 4) or array.size == 0:
        allowed = "(y, x) or (z, y, x)" if as_mask else "(y, x) up to (channel, z, y, x)"
        raise ReadError(f"{path} has the shape {array.shape}, where {allowed} is allowed.")
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


def parse_npy(stream: BinaryIO) -> NDArray[np.generic]:
    """Return the array that ``stream`` holds in NPY format; nothing is unpickled.

    For threads: numpy parses the header with ast, which fails now and then where two threads do so
    at once (https://github.com/python/cpython/issues/106905), so here they take turns.

    Raises ValueError for what is no NPY array, is truncated, or holds objects.
    """
    with _PARSING:
        try:
            array: NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
        except TokenError as error:  # of a header with flipped bytes
            raise ValueError(f"its header is damaged: {error.args[0]}") from error
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
