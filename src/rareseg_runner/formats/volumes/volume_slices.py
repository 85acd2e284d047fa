"""Read a folder of numbered pictures as the slices of one volume."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from rareseg_runner.errors import ReadError
from rareseg_runner.formats.format_registry import format_of, stem_of
from rareseg_runner.formats.reader_guard import check_size
from rareseg_runner.image_records import Image


def read_slices(folder: Path, read: Callable[[Path], Image]) -> Image:
    """Read the pictures of a folder as (channel, z, y, x), in the order of their last numbers.

    ``read`` reads one picture. The spacing is the pictures' own, 1.0 between slices.

    Raises:
        ReadError: no picture, one that cannot be read, or pictures of different shapes.
    """
    paths = sorted(
        (p for p in folder.iterdir() if format_of(p) is not None and not p.name.startswith(".")),
        key=_by_number,
    )
    if not paths:
        raise ReadError(f"{folder} holds no pictures that can be read as slices; add them.")
    slices = [read(paths[0])]
    first = slices[0].array
    check_size(folder, (len(paths), *first.shape), first.itemsize)
    slices += [read(path) for path in paths[1:]]
    for path, image in zip(paths, slices, strict=True):
        if image.array.shape != first.shape or image.array.shape[1] != 1:
            raise ReadError(
                f"{path} has the shape (channel, z, y, x) = {image.array.shape} where the first "
                f"slice {paths[0].name} has {first.shape}; all slices of a volume are of one size."
            )
    geometry = replace(slices[0].geometry, dimension=3)
    return Image(np.concatenate([image.array for image in slices], axis=1), geometry)


def _by_number(path: Path) -> tuple[int, str]:
    numbers = re.findall(r"\d+", stem_of(path))
    return (int(numbers[-1]) if numbers else -1), path.name
