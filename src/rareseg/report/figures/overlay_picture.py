"""Draw what was found onto a picture: the outline of every object, its name and its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from numpy.typing import NDArray

from rareseg.data.masks.polygons import trace
from rareseg.report.figures.case_pictures import picture_bytes

COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
)
"""One a region, in turn: Okabe and Ito's, which colour-blind readers tell apart."""

SHORTEST, LONGEST = 600, 4096
"""Pixels of a drawing's longer side: smaller pictures are enlarged, larger ones reduced."""

MOST_TEXTS = 40
"""Objects whose name and score are written, the largest first; all are outlined."""

_DARK = (10, 10, 10)


@dataclass(frozen=True, eq=False)
class OutlinedObject:
    """An object to be drawn: its region, the mask (y, x) of its box at ``corner``, what to write.

    ``colour`` counts the regions.
    """

    mask: NDArray[np.bool_]
    corner: tuple[int, int]
    text: str
    colour: int


def slice_of_largest_mask(masks: Mapping[str, NDArray[np.bool_]]) -> int:
    """Return the slice in which any of the masks (z, y, x) is largest; the middle one if none is.

    Where several are equal, the first.
    """
    areas = np.max([mask.sum(axis=(1, 2)) for mask in masks.values()], axis=0)
    return int(areas.argmax()) if areas.any() else len(areas) // 2


def draw_overlay(
    plane: NDArray[np.generic],
    objects: Sequence[OutlinedObject],
    *,
    pixel: tuple[float, float] = (1.0, 1.0),
    title: str = "",
) -> PIL.Image.Image:
    """Return a picture (C, y, x) in RGB with the outlines of ``objects`` on it.

    Texts stand beside the :data:`MOST_TEXTS` largest. Three-channel pictures of 8 bits keep their
    colours; otherwise the first channel is shown.
    ``pixel`` is its height and width in mm, which give the drawing its shape. ``title`` stands in
    the upper left corner.
    """
    shown = PIL.Image.fromarray(picture_bytes(plane)).convert("RGB")
    scale = _scale(shown.size, pixel)
    size = [max(1, round(side * part)) for side, part in zip(shown.size, scale, strict=True)]
    enlarged = min(scale) >= 1
    sampling = PIL.Image.Resampling.NEAREST if enlarged else PIL.Image.Resampling.BOX
    shown = shown.resize((size[0], size[1]), sampling)
    draw = PIL.ImageDraw.Draw(shown)
    width = max(2, round(max(size) / 400))
    font = PIL.ImageFont.load_default(max(12, round(max(size) / 55)))
    for one in objects:
        y, x = one.corner
        for ring in trace(one.mask):
            line = [((cx + x) * scale[0], (cy + y) * scale[1]) for cx, cy in ring.tolist()]
            line = [*line, *line[:2]]
            draw.line(line, fill=_DARK, width=width + 2, joint="curve")
            draw.line(line, fill=COLOURS[one.colour % len(COLOURS)], width=width, joint="curve")
    taken: list[tuple[float, float, float, float]] = []
    for one in sorted(objects, key=lambda one: -int(one.mask.sum()))[:MOST_TEXTS]:
        y, x = one.corner
        height = one.mask.shape[0]
        left, top, below = x * scale[0], y * scale[1], (y + height) * scale[1]
        colour = COLOURS[one.colour % len(COLOURS)]
        _write(draw, font, one.text, (left, top, below), size, colour, taken)
    if title:
        _write(draw, font, title, (0.0, 0.0, 0.0), size, (255, 255, 255), taken)
    return shown


def _scale(size: tuple[int, int], pixel: tuple[float, float]) -> tuple[float, float]:
    """Return the factors along x and y: one, or whole, where pixels are square and it fits."""
    height_mm, width_mm = pixel
    small = min(height_mm, width_mm)
    x, y = width_mm / small, height_mm / small
    longest = max(size[0] * x, size[1] * y)
    if longest < SHORTEST:
        factor: float = -(-SHORTEST // longest)
    else:
        factor = min(1.0, LONGEST / longest)
    return x * factor, y * factor


def _write(
    draw: PIL.ImageDraw.ImageDraw,
    font: PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont,
    text: str,
    place: tuple[float, float, float],
    size: Sequence[int],
    colour: tuple[int, int, int],
    taken: list[tuple[float, float, float, float]],
) -> None:
    """Write a text over or under its object, inside the picture, and beside other texts if it can.

    ``place`` is where the object begins from the left, and where it begins and ends from the top.
    """
    left, top, below = place
    x0, y0, x1, y1 = draw.textbbox((0, 0), text, font=font)
    wide, high = x1 - x0 + 6, y1 - y0 + 6
    x = min(max(0.0, left), max(0.0, size[0] - wide))
    above, under = top - high - 2, below + 2
    rows = [above, under, *(above - k * high for k in (1, 2)), *(under + k * high for k in (1, 2))]
    fitting = [y for y in rows if 0 <= y <= size[1] - high] or [
        min(max(0.0, above), max(0.0, size[1] - high))
    ]
    free = (
        y
        for y in fitting
        if not any(x < b[2] and b[0] < x + wide and y < b[3] and b[1] < y + high for b in taken)
    )
    y = next(free, fitting[0])
    taken.append((x, y, x + wide, y + high))
    draw.rectangle((x, y, x + wide, y + high), fill=_DARK)
    draw.text((x + 3 - x0, y + 3 - y0), text, font=font, fill=colour)
