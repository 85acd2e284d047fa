"""Write masks and probabilities in any registered format that holds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.errors import OutputError
from rareseg_runner.formats.format_registry import format_of, formats
from rareseg_runner.image_records import Geometry


def write_mask(
    path: Path, mask: NDArray[np.integer] | NDArray[np.bool_], geometry: Geometry
) -> None:
    """Write a mask (z, y, x), atomically, in the frame of the file that ``geometry`` came from.

    The format follows ``path``; the number type is the smallest of uint8, uint16 and int32 that
    holds the values.

    Raises:
        OutputError: a suffix that cannot hold the mask (JPEG is lossy; PNG holds one slice).
        WorkError: the file cannot be written, as on a full disk.
    """
    low, high = (int(mask.min()), int(mask.max())) if mask.size else (0, 0)
    fitting = (d for d in (np.uint8, np.uint16) if low >= 0 and high <= np.iinfo(d).max)
    _write(path, mask.astype(next(fitting, np.int32)), geometry)


def write_probabilities(path: Path, array: NDArray[np.float32], geometry: Geometry) -> None:
    """Write probabilities (z, y, x) in [0, 1], atomically, in the file's own frame.

    PNG holds round(p·65535) in 16 bits, every other format float32. Raises as :func:`write_mask`.
    """
    found = format_of(path)
    if found is not None and found.levels is not None:
        scaled = np.rint(np.clip(array, 0.0, 1.0).astype(np.float64) * 65535.0)
        _write(path, scaled.astype(np.uint16), geometry)
    else:
        _write(path, array.astype(np.float32), geometry)


def _write(path: Path, array: NDArray[np.generic], geometry: Geometry) -> None:
    found = format_of(path)
    if found is None or found.writes is None or not found.can_write(array):
        others = [
            suffix for other in formats() for suffix in other.suffixes if other.can_write(array)
        ]
        blurs = f" ({found.name} would blur the values)" if found and found.lossy else ""
        raise OutputError(
            f"{path} cannot hold {array.dtype} of shape (z, y, x) = {array.shape}{blurs}; allowed "
            f"are {', '.join(others)}."
        )
    found.writes(path, array, geometry)
