"""Order the items of a review: suspects first, then the worst cases."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.errors import RunError, nearest
from rareseg.quality.suspects import Suspect, load_suspects
from rareseg.run.setup.run_folder import RunFolder
from rareseg_runner.image_records import Classes
from rareseg_runner.text_files import read_table

WORST = 20
"""Worst positive cases, and worst false alarms, of each region."""

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Items:
    """What is reviewed, in order; ``notice`` says in one sentence what is missing, if anything."""

    items: tuple[Suspect, ...]
    notice: str = ""


def suspects_file(folder: RunFolder) -> Path:
    """Return where `rareseg suspects` writes what it found."""
    return folder.root / "suspects.json"


def list_items(folder: RunFolder, classes: Classes) -> Items:
    """Return the run's suspects in their order, then its worst test cases.

    Nothing is held of an item but its record. Raises :class:`RunError` where there is neither, or
    where the suspects are of other classes or share an id.
    """
    cases_csv, path = folder.root / "cases.csv", suspects_file(folder)
    shapes = {case.id: case.shape for case in Fingerprint.from_json(folder.fingerprint).cases}
    worst = worst_cases(cases_csv, shapes) if cases_csv.is_file() else ()
    if path.is_file():
        found = load_suspects(path)
        _check(path, found, classes, shapes)
        return Items((*found, *worst))
    how = (
        f"{path} is missing, so only the worst cases are shown; `rareseg train --folds` and then "
        f"`rareseg suspects {folder.root}` find suspects."
    )
    if not worst:
        raise RunError(
            f"{folder.root} has nothing to review: no suspects.json and no test case that went "
            f"wrong; find suspects with `rareseg suspects {folder.root}`."
        )
    return Items(worst, how)


def worst_cases(cases_csv: Path, shapes: Mapping[str, Shape]) -> tuple[Suspect, ...]:
    """Return the cases of an evaluation that went worst, as suspects that cover the whole case.

    Of each region the positive cases of lowest dice (below 1), then the negative ones with the
    largest false alarm, :data:`WORST` of each at most. ``shapes`` are (z, y, x) by case; cases that
    it does not hold are left out. Raises :class:`RunError` for a file that is no ``cases.csv``.
    """
    try:
        rows = [row for row in read_table(cases_csv) if row["case"] in shapes]
        regions = dict.fromkeys(row["region"] for row in rows)
        return tuple(
            _worst_case(row, shapes[row["case"]])
            for region in regions
            for row in _worst_rows([row for row in rows if row["region"] == region])
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{cases_csv} cannot be read as the cases of an evaluation ({error}); evaluate the run "
            "again."
        ) from error


def _worst_rows(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    wrong = [row for row in rows if row["stratum"] == "positive" and float(row["dice"]) < 1.0]
    alarms = [row for row in rows if row["stratum"] == "negative" and int(row["false_alarm"])]
    wrong.sort(key=lambda row: (float(row["dice"]), -int(row["fn"]), row["case"]))
    alarms.sort(key=lambda row: (-int(row["fp"]), row["case"]))
    return [*wrong[:WORST], *alarms[:WORST]]


def _worst_case(row: Mapping[str, str], shape: Shape) -> Suspect:
    tp, fp, fn = (int(row[name]) for name in ("tp", "fp", "fn"))
    if row["stratum"] == "positive":
        score = 1.0 - float(row["dice"])
        reason = f"Dice {1.0 - score:.2f}: {tp} voxels right, {fp} wrong, {fn} missed."
    else:
        top = min(1.0, float(row["top_score"]))
        # Evaluations of before the image score was told have the top score alone.
        score = min(1.0, float(row.get("image_score") or top))
        reason = f"Nothing is drawn, {fp} voxels are predicted, with scores up to {top:.2f}."
    z, y, x = shape
    name = hashlib.sha256(f"{row['region']}\n{row['case']}".encode()).hexdigest()[:12]
    return Suspect(
        id=f"worst-{name}",
        case_id=row["case"],
        group=row["group"] or None,
        region=row["region"],
        kind="worst case",
        score=score,
        box=((0, z), (0, y), (0, x)),
        voxels=fp + fn,
        plane=z // 2,
        reason=reason,
    )


def _check(
    path: Path, suspects: Sequence[Suspect], classes: Classes, shapes: Mapping[str, Shape]
) -> None:
    """Raise :class:`RunError` where suspects are not of this run."""
    again = "; find them again with `rareseg suspects`."
    twice = [name for name, n in Counter(suspect.id for suspect in suspects).items() if n > 1]
    if twice:
        raise RunError(f"{path} holds two suspects with the id '{twice[0]}'{again}")
    for suspect in suspects:
        if suspect.region not in classes.regions:
            raise RunError(
                f"{path} names the region '{suspect.region}'"
                f"{nearest(suspect.region, classes.regions)}, where the run knows "
                f"{', '.join(classes.regions)}{again}"
            )
        if suspect.case_id not in shapes:
            raise RunError(
                f"{path} names the case '{suspect.case_id}', which the run does not hold{again}"
            )
        shape = shapes[suspect.case_id]
        fits = all(
            0 <= low < high <= side for (low, high), side in zip(suspect.box, shape, strict=True)
        )
        if not fits or not 0 <= suspect.plane < shape[0]:
            raise RunError(
                f"{path} places '{suspect.id}' outside of its case '{suspect.case_id}', whose "
                f"shape (z, y, x) is {shape}{again}"
            )
