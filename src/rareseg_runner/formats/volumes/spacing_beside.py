"""The spacing of a TIFF in a JSON file beside it, as nnU-Net wants it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from rareseg_runner.errors import ReadError
from rareseg_runner.formats.format_registry import stem_of
from rareseg_runner.image_records import Image
from rareseg_runner.text_files import read_json


def with_spacing_beside(image: Image, path: Path) -> Image:
    """Return an image of several slices with the spacing that stands beside its file.

    ``ID_0000.tif`` and ``ID.tif`` have it in ``ID.json``: ``{"spacing": [z, y, x]}`` in mm. Any
    other JSON is none of ours.

    Raises:
        ReadError: the file has a key ``spacing`` that is no three lengths.
    """
    if image.geometry.dimension != 3:
        return image
    spacing = spacing_beside(path)
    if spacing is None:
        return image
    return replace(image, geometry=replace(image.geometry, spacing=spacing))


def spacing_beside(path: Path) -> tuple[float, float, float] | None:
    """Return the spacing (z, y, x) in mm that stands beside a file, None where none does.

    Raises ReadError as :func:`with_spacing_beside` does.
    """
    for stem in dict.fromkeys((stem_of(path), re.sub(r"_\d{4}$", "", stem_of(path)))):
        beside = path.with_name(f"{stem}.json")
        if not beside.is_file():
            continue
        try:
            content = read_json(beside)
        except (OSError, ValueError) as error:
            raise ReadError(
                f"{beside} is no valid JSON ({error}), and may say the spacing of {path.name}; "
                "correct or remove it."
            ) from error
        if not isinstance(content, dict) or "spacing" not in content:
            continue
        spacing = content["spacing"]
        numbers = isinstance(spacing, list) and all(isinstance(s, (int, float)) for s in spacing)
        if not numbers or len(spacing) != 3 or not all(0 < s < float("inf") for s in spacing):
            raise ReadError(
                f"{beside} gives the spacing {spacing!r}, where three lengths in mm are needed, "
                "for z, y and x."
            )
        z, y, x = map(float, spacing)
        return z, y, x
    return None
