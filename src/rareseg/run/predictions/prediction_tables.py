"""Write predictions.csv (a row an image and region) and objects.csv (a row an object)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rareseg.run.predictions.predicted_case import ObjectRow, PredictedCase, RegionRow
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.file_names import clean_name

PREDICTIONS, OBJECTS = "predictions.csv", "objects.csv"

SIZES = ("area_pixels", "area_mm2", "volume_voxels", "volume_mm3")
"""Of photographs the first two are filled, of volumes the last two; mm where it is known."""

_SIDES = ("x_from", "x_to", "y_from", "y_to", "z_from", "z_to")

PREDICTION_COLUMNS = (
    "id",
    "image",
    "region",
    "classes",
    "flagged",
    "top_score",
    "image_score",
    "objects",
    *SIZES,
    *(f"largest_{side}" for side in _SIDES),
    "mask",
)
OBJECT_COLUMNS = (
    "id",
    "region",
    "object",
    *SIZES,
    *_SIDES,
    "centre_x",
    "centre_y",
    "centre_z",
    "top_score",
    "mean_score",
)

Cell = str | int
Classes = Mapping[str, Sequence[str]]
"""The names of the classes that each region unites."""


def write_tables(out: Path, cases: Sequence[PredictedCase], classes: Classes) -> None:
    """Write both tables, atomically; without cases they hold the names of their columns alone."""
    _write(out / PREDICTIONS, PREDICTION_COLUMNS, _prediction_rows(cases, classes))
    _write(out / OBJECTS, OBJECT_COLUMNS, _object_rows(cases))


def _prediction_rows(cases: Iterable[PredictedCase], classes: Classes) -> Iterator[list[Cell]]:
    for case in cases:
        for region, row in case.regions.items():
            yield [
                case.id,
                case.image,
                region,
                " + ".join(classes[region]),
                "yes" if row.flagged else "no",
                f"{row.top_score:.6g}",
                f"{row.image_score:.6g}",
                len(row.objects),
                *_sizes(row.size, case),
                *_box(row, case),
                f"{clean_name(region)}/{case.mask}",
            ]


def _object_rows(cases: Iterable[PredictedCase]) -> Iterator[list[Cell]]:
    for case in cases:
        for region, row in case.regions.items():
            for one in row.objects:
                x, y, z = (f"{middle:.2f}" for middle in one.centre)
                yield [
                    case.id,
                    region,
                    one.number,
                    *_sizes(one.size, case),
                    *_sides(one, case),
                    x,
                    y,
                    z if case.dimension == 3 else "",
                    f"{one.top_score:.6g}",
                    f"{one.mean_score:.6g}",
                ]


def _sizes(size: int, case: PredictedCase) -> list[Cell]:
    """Return the four cells of a size."""
    each = case.pixel_size
    cells: list[Cell] = [size, "" if each is None else f"{size * each:.6g}"]
    return [*cells, "", ""] if case.dimension == 2 else ["", "", *cells]


def _box(row: RegionRow, case: PredictedCase) -> list[Cell]:
    largest = row.largest
    return [""] * len(_SIDES) if largest is None else _sides(largest, case)


def _sides(one: ObjectRow, case: PredictedCase) -> list[Cell]:
    (x0, x1), (y0, y1), (z0, z1) = one.box
    return [x0, x1, y0, y1, *((z0, z1) if case.dimension == 3 else ("", ""))]


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
