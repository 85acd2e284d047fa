"""Draw what the rows of `few_labels.py` found, missed and falsely alarmed, as contact sheets.

Each case is shown twice: as it is, and with the outline of its reference (yellow) and of the
prediction at the chosen point (sky blue; vermillion where nothing of the reference is touched).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from few_labels_data import SETS, divide
from few_labels_results import CHOSEN, FOREGROUND, read_masks, reference_labels
from few_labels_table import load_runs
from numpy.typing import NDArray
from scipy import ndimage

from rareseg.data.records import Case
from rareseg.report.figures.case_pictures import PictureChoice, take_picture
from rareseg_runner.formats import read_image
from rareseg_runner.image_records import IGNORE, Classes

SIDE = 190
"""Pixels of the longer side of one picture."""
COLUMNS, ROWS = 5, 8
"""Pairs of pictures on one sheet."""
GAP, LINE = 6, 13
REFERENCE, RIGHT, WRONG = (240, 228, 66), (86, 180, 233), (213, 94, 0)
PAPER, INK = (255, 255, 255), (20, 20, 20)

Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Cell:
    """One case on a sheet: ``plain`` and ``outlined`` (y, x, 3), and a line or two about it."""

    plain: Bytes
    outlined: Bytes
    caption: tuple[str, ...]


def draw_pictures(given: argparse.Namespace) -> Iterator[Path]:
    """Draw the sheets of every row and data set asked for; yields the files.

    Per row: ``KIND_found`` and ``KIND_missed`` of the cases with foreground, ``alarms`` of those
    without in which something is predicted; numbered where there are more than one sheet holds.
    """
    for name in given.sets.split(","):
        folds = divide(SETS[name], given.data, given.out / "folds", limit=given.limit)
        cases = {case.id: case for case in folds.dataset.cases}
        folder = given.out / "results" / folds.folder.name
        for row in given.only.split(","):
            sheets: defaultdict[str, list[Cell]] = defaultdict(list)
            for run in load_runs(folder, [row], given.length):
                asked = run["asked"]
                if given.folds and str(asked["fold"]) not in given.folds.split(","):
                    continue
                stem = f"fold{asked['fold']}_seed{asked['seed']}_{asked['length']}.npz"
                masks = read_masks(folder / row / stem)
                for record in run["cases"]:
                    region = record["regions"][FOREGROUND]
                    counts = region[CHOSEN]
                    if "dice" in counts:
                        where = f"{record['kind']}_{'found' if counts['found'] else 'missed'}"
                        said = f"dice {counts['dice']:.2f}"
                    elif counts["alarmed"]:
                        where, said = "alarms", f"{counts['fp']} px"
                    else:
                        continue
                    score = region["image_score"]
                    caption = (
                        record["id"],
                        said if score is None else f"{said}, image score {score:.3f}",
                        f"fold {asked['fold']}, {record['group']}",
                    )
                    case = cases[record["id"]]
                    classes = folds.fingerprint.classes
                    sheets[where].append(_cell(case, masks[case.id], classes, caption))
            yield from _write(sheets, given.out / "pictures" / folds.folder.name / row)


def _cell(case: Case, mask: Bools, classes: Classes, caption: tuple[str, ...]) -> Cell:
    labels = reference_labels(case, classes, mask.shape)
    reference = (labels != 0) & (labels != IGNORE)
    shot = PictureChoice(case.id, FOREGROUND, "positive" if reference.any() else "negative", "")
    taken = take_picture(shot, read_image(case.images).array, reference, mask)
    touched = bool((mask & reference).any())
    image = np.asarray(taken.image)
    image = image if image.ndim == 3 else np.repeat(image[..., np.newaxis], 3, axis=2)
    plain = _resized(image)
    outlined = plain.copy()
    for drawn, colour in (
        (taken.reference, REFERENCE),
        (taken.prediction, RIGHT if touched else WRONG),
    ):
        outlined[_rim(drawn, plain.shape[:2])] = colour
    return Cell(plain, outlined, caption)


def _resized(image: Bytes) -> Bytes:
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BILINEAR)
    return np.array(picture)


def _rim(mask: Bools, shape: tuple[int, ...]) -> Bools:
    """Return a line of one pixel around a mask, at the size shown; the smallest object has one."""
    large = np.zeros(shape, np.bool_)
    y, x = np.nonzero(mask)
    rows, columns = (
        np.arange(size) * full // size for size, full in zip(shape, mask.shape, strict=True)
    )
    large |= mask[np.ix_(rows, columns)]
    large[y * shape[0] // mask.shape[0], x * shape[1] // mask.shape[1]] = True
    return np.asarray(ndimage.binary_dilation(large) & ~large)


def _write(sheets: dict[str, list[Cell]], folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    most = COLUMNS * ROWS
    for name, cells in sorted(sheets.items()):
        for number, start in enumerate(range(0, len(cells), most), start=1):
            path = folder / (f"{name}.png" if len(cells) <= most else f"{name}_{number}.png")
            _sheet(f"{name} ({len(cells)})", cells[start : start + most]).save(path)
            yield path


def _sheet(title: str, cells: Sequence[Cell]) -> PIL.Image.Image:
    """Return a sheet: its title, a legend, and the cells row by row."""
    width, height = 2 * SIDE + 3 * GAP, SIDE + 3 * LINE + 2 * GAP
    rows = -(-len(cells) // COLUMNS)
    top = 2 * LINE + 3 * GAP
    size = min(COLUMNS, len(cells)) * width + GAP, top + rows * height
    sheet = PIL.Image.new("RGB", size, PAPER)
    draw = PIL.ImageDraw.Draw(sheet)
    font = PIL.ImageFont.load_default(11)
    draw.text((GAP, GAP), title, INK, font)
    left = GAP
    for colour, word in ((REFERENCE, "reference"), (RIGHT, "prediction"), (WRONG, "touches none")):
        draw.rectangle((left, GAP + LINE + 3, left + 9, GAP + LINE + 11), colour, INK)
        draw.text((left + 13, GAP + LINE), word, INK, font)
        left += 110
    for k, cell in enumerate(cells):
        x, y = GAP + k % COLUMNS * width, top + k // COLUMNS * height
        sheet.paste(PIL.Image.fromarray(cell.plain), (x, y))
        sheet.paste(PIL.Image.fromarray(cell.outlined), (x + SIDE + GAP, y))
        for line, text in enumerate(cell.caption):
            draw.text((x, y + SIDE + line * LINE), text, INK, font)
    return sheet
