"""Read and write `image_scores.csv`: another tool's scores of whole images.

One line for each case and region, with the columns ``id``, ``region`` and ``presence``: the
probability in [0, 1] that the case holds the region. Gates then cut √(presence · largest score).
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np

from rareseg.errors import DataError, nearest
from rareseg_runner.atomic_files import atomic_write, naming
from rareseg_runner.text_files import read_columns_and_rows

NAME = "image_scores.csv"
COLUMNS = ("id", "region", "presence")

Presences = Mapping[str, Mapping[str, float]]
"""The presence by case and region."""


def read_presences(
    path: Path, *, known: Collection[str], needed: Collection[str], regions: Collection[str]
) -> dict[str, dict[str, float]]:
    """Return the presence of every case and region in a file, rounded to float32.

    ``known`` are the ids of all cases that there are, ``needed`` those that must have a line for
    every region that the file names, ``regions`` the names that those may have.

    Raises :class:`DataError`, one sentence that names the file, where it has other columns, an
    unknown id or region, two lines of one case and region, a value that is no probability, or no
    line where one is needed.
    """
    found: dict[str, dict[str, float]] = {}
    for case, region, text in _lines(path):
        if case not in known:
            raise DataError(
                f"{path} names the case '{case}', which the references do not hold"
                f"{nearest(case, known)}; name cases by their ids, and leave others out."
            )
        if region not in regions:
            raise DataError(
                f"{path} names the region '{region}'{nearest(region, regions)}; allowed are "
                f"{', '.join(regions)}."
            )
        if region in found.setdefault(case, {}):
            raise DataError(
                f"{path} has two lines for region '{region}' of case '{case}'; keep one of them."
            )
        found[case][region] = _probability(path, case, text)
    named = list(dict.fromkeys(region for own in found.values() for region in own))
    missing = [
        (case, region)
        for case in sorted(needed)
        for region in named or regions
        if region not in found.get(case, {})
    ]
    if missing:
        case, region = missing[0]
        raise DataError(
            f"{path} has no line for region '{region}' of case '{case}' (of {len(missing)} that "
            "are missing); give every case a line for each region, or take the file away."
        )
    return found


def write_presences(path: Path, presences: Presences) -> None:
    """Write the presence of cases, atomically. Raises WorkError where that fails."""
    with (
        atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for case, own in presences.items():
            writer.writerows(_rows(case, own))


class PresenceFile:
    """The file as it grows case by case, so that an interrupted call can go on.

    What it holds already of the cases ``kept`` stays, the rest is begun anew.
    """

    def __init__(self, path: Path, *, kept: Collection[str]) -> None:
        self._path = path
        known: dict[str, dict[str, float]] = {}
        for case, region, text in _lines(path) if path.is_file() else ():
            if case in kept:
                known.setdefault(case, {})[region] = _probability(path, case, text)
        write_presences(path, known)

    def add(self, case: str, presence: Mapping[str, float]) -> None:
        """Append the lines of a case. Raises WorkError where that fails."""
        with (
            naming(self._path),
            self._path.open("a", newline="", encoding="utf-8") as file,
        ):
            csv.writer(file).writerows(_rows(case, presence))


def _rows(case: str, presence: Mapping[str, float]) -> Iterable[tuple[str, str, str]]:
    return ((case, region, repr(float(q))) for region, q in presence.items())


def _lines(path: Path) -> list[tuple[str, str, str]]:
    """Return (id, region, presence as text) of every whole line."""
    try:
        columns, rows = read_columns_and_rows(path)
        if not set(COLUMNS) <= set(columns):
            raise DataError(
                f"{path} has the columns {', '.join(columns) or 'none'}; needed are "
                f"{', '.join(COLUMNS)}."
            )
        # A line that was cut short has no value, or that of another one.
        return [(row["id"], row["region"], row["presence"] or "") for row in rows]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); write it again.") from error


def _probability(path: Path, case: str, text: str) -> float:
    try:
        value = float(np.float32(text))
    except ValueError:
        value = float("nan")
    if not 0.0 <= value <= 1.0:
        raise DataError(
            f"{path} holds the presence '{text}' for case '{case}'; it must be a number in [0, 1]."
        )
    return value
