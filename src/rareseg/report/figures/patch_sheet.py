"""Draw a sheet of patches with the outlines of their masks.

Colours are Okabe and Ito's, which colour-blind readers tell apart; what is ignored is hatched.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from numpy.typing import NDArray
from scipy import ndimage

from rareseg_runner.image_records import IGNORE

Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

COLOURS = (
    (240, 228, 66),
    (86, 180, 233),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (0, 114, 178),
)
"""One per class; they begin anew after seven."""

CASING = (8, 10, 12)
HATCH = (150, 150, 150)
PAPER, INK, PALE = (255, 255, 255), (20, 20, 20), (95, 95, 95)

SIDE = 208
"""Pixels of the longer side of a patch on the sheet."""
GAP = 14
LINE = 14
CAPTION_LINES = 4


@dataclass(frozen=True, eq=False)
class Panel:
    """One patch: ``image`` uint8 (y, x) or (y, x, 3), ``labels`` uint8 (y, x) class indices."""

    image: Bytes
    labels: Bytes
    caption: str


@dataclass(frozen=True, eq=False)
class SheetRow:
    """The panels that belong together, all of one shape, and what they are of."""

    title: str
    panels: Sequence[Panel]


def draw_sheet(
    rows: Sequence[SheetRow],
    *,
    heading: Sequence[str],
    columns: Sequence[str],
    classes: Sequence[str],
) -> PIL.Image.Image:
    """Return the sheet: heading, a legend of the ``classes`` but the first, and the rows.

    ``columns`` stand above the panels; every row has one panel for each.
    """
    y, x = rows[0].panels[0].labels.shape
    height, width = shown_size(y, x)
    top = GAP + LINE * (len(heading) + 1) + GAP + 2 * LINE
    each = LINE + 4 + height + CAPTION_LINES * LINE + GAP
    size = (GAP + len(columns) * (width + GAP), top + len(rows) * each)
    sheet = PIL.Image.new("RGB", (max(size[0], 420), size[1]), PAPER)
    draw = PIL.ImageDraw.Draw(sheet)
    font = PIL.ImageFont.load_default(12)
    for number, line in enumerate(heading):
        draw.text((GAP, GAP + number * LINE), line, INK, font)
    _draw_legend(draw, font, GAP + len(heading) * LINE + 6, classes, sheet.width)
    for number, name in enumerate(columns):
        draw.text((GAP + number * (width + GAP), top - LINE - 4), name, INK, font)
    small = PIL.ImageFont.load_default(11)
    for index, row in enumerate(rows):
        begin = top + index * each
        draw.text((GAP, begin), row.title, PALE, small)
        for number, panel in enumerate(row.panels):
            left, upper = GAP + number * (width + GAP), begin + LINE + 4
            sheet.paste(PIL.Image.fromarray(paint(panel)), (left, upper))
            lines = textwrap.wrap(
                panel.caption, max(16, width // 6), max_lines=CAPTION_LINES, placeholder=" ..."
            )
            for below, line in enumerate(lines):
                draw.text((left, upper + height + 1 + below * LINE), line, PALE, small)
    return sheet


def shown_size(height: int, width: int) -> tuple[int, int]:
    """Return the size of a patch on the sheet: whole multiples of small ones, large ones reduced.

    Their longer side is at most SIDE pixels; no side is less than one.
    """
    longest = max(height, width)
    if longest <= SIDE:
        return height * (SIDE // longest), width * (SIDE // longest)
    return max(1, round(height * SIDE / longest)), max(1, round(width * SIDE / longest))


def paint(panel: Panel) -> Bytes:
    """Return a panel as it is shown, (y, x, 3): ignored parts hatched, classes outlined."""
    height, width = shown_size(*panel.labels.shape)
    shrunk = height < panel.labels.shape[0] or width < panel.labels.shape[1]
    how = PIL.Image.Resampling.BOX if shrunk else PIL.Image.Resampling.NEAREST
    image = PIL.Image.fromarray(panel.image).convert("RGB").resize((width, height), how)
    shown = np.array(image)
    ignored = _shown(panel.labels == IGNORE, height, width)
    y, x = np.ogrid[:height, :width]
    shown[ignored] = shown[ignored] // 2
    shown[ignored & ((y + x) % 8 == 0)] = HATCH
    for index in np.unique(panel.labels):
        if index in (0, IGNORE):
            continue
        part = _shown(panel.labels == index, height, width)
        rim = part & ~ndimage.binary_erosion(part, iterations=2)
        shown[ndimage.binary_dilation(part) & ~part] = CASING
        shown[rim] = COLOURS[(int(index) - 1) % len(COLOURS)]
    return shown


def _shown(mask: Bools, height: int, width: int) -> Bools:
    """Return a mask at the size shown; reduced, a pixel is on where any voxel under it is."""
    if height >= mask.shape[0] and width >= mask.shape[1]:
        enlarged = mask.repeat(height // mask.shape[0], 0).repeat(width // mask.shape[1], 1)
        return np.asarray(enlarged)
    small = np.zeros((height, width), np.bool_)
    y, x = np.nonzero(mask)
    small[y * height // mask.shape[0], x * width // mask.shape[1]] = True
    return small


def _draw_legend(
    draw: PIL.ImageDraw.ImageDraw,
    font: PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont,
    top: int,
    classes: Sequence[str],
    room: int,
) -> None:
    """Write the classes' names beside their colours, as many as there is room for."""
    left = GAP
    entries = [(COLOURS[i % len(COLOURS)], name) for i, name in enumerate(classes[1:])]
    for colour, name in [(HATCH, "ignored"), *entries]:
        needed = 14 + int(draw.textlength(name, font)) + GAP
        if left + needed > room:
            draw.text((left, top), "...", INK, font)
            return
        draw.rectangle((left, top + 2, left + 9, top + 11), fill=colour, outline=CASING)
        draw.text((left + 14, top), name, INK, font)
        left += needed
