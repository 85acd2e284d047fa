"""Turn what users hold (arrays, pictures of Pillow's, paths) into images."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from rareseg_runner.errors import DataError
from rareseg_runner.formats import read_image
from rareseg_runner.formats.photo import as_photograph
from rareseg_runner.image_records import Geometry, Image

Picture: TypeAlias = (
    Image | NDArray[np.generic] | PIL.Image.Image | Path | str | tuple[Path | str, ...]
)
"""What a detector takes: an array, a picture of Pillow's, a file, a tuple of files (one image whose
channels they are), or an image that was read."""


def as_image(
    picture: Picture, *, volumes: bool, spacing: tuple[float, float, float] | None = None
) -> Image:
    """Return a picture as an image; an array is a volume where ``volumes``, or a spacing, says so.

    Raises :class:`ReadError` for a file that cannot be read, :class:`DataError` for what is none.
    """
    if isinstance(picture, Image):
        return picture
    if isinstance(picture, PIL.Image.Image):
        return as_photograph(picture)
    if isinstance(picture, str | Path):
        return read_image([Path(picture)])
    if isinstance(picture, tuple):
        return read_image([Path(path) for path in picture])
    if not isinstance(picture, np.ndarray):
        raise DataError(
            f"A detector takes a numpy array, a picture of Pillow's, the path of a file or a list "
            f"of these, not {type(picture).__name__}; bring it to an array first."
        )
    return _array_image(picture, volumes=volumes or spacing is not None, spacing=spacing)


def _array_image(
    array: NDArray[np.generic],
    *,
    volumes: bool,
    spacing: tuple[float, float, float] | None,
) -> Image:
    """Return an array of the axes that users give as an image; DataError for what is none."""
    axes = "(z, y, x) or (z, y, x, channel)" if volumes else "(y, x) or (y, x, channel)"
    plain = 3 if volumes else 2
    if array.ndim not in (plain, plain + 1):
        raise DataError(
            f"The array has {array.ndim} axes; this model takes {axes}, or the path of a file."
        )
    if array.dtype.kind not in "buif" or array.dtype.itemsize > 8:
        raise DataError(
            f"The array holds {array.dtype}; an image is of whole or floating-point numbers of at "
            "most 64 bits, such as uint8."
        )
    if array.size == 0:
        raise DataError(f"The array of shape {array.shape} is empty; give at least one pixel.")
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    with_channel = array if array.ndim > plain else array[..., np.newaxis]
    channels = np.moveaxis(with_channel, -1, 0)
    stacked = channels if volumes else channels[:, np.newaxis]
    native = stacked.astype(stacked.dtype.newbyteorder("="), copy=False)
    geometry = Geometry(spacing or (1.0, 1.0, 1.0), dimension=3 if volumes else 2)
    return Image(np.ascontiguousarray(native), geometry)
