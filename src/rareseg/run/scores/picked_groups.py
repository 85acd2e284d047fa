"""Groups that were drawn at random to be labelled: the list, what came back, and what did not.

A folder holds ``manifest.csv``, whose column ``mask`` is filled by whoever labels, ``answered.csv``
of what a review said is empty, and ``picks.json``, which says what was drawn. A group with an image
that has no label counts as an error wherever the folder certifies: those that are hard to label
would otherwise be left out.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rareseg.data.identity import identify
from rareseg.data.layouts.manifests.manifest_paths import is_blank
from rareseg.data.records import Case, Dataset
from rareseg.errors import DataError
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.text_files import read_json, read_table

PICKS, MANIFEST, ANSWERED = "picks.json", "manifest.csv", "answered.csv"

EMPTY = "empty"
"""What a manifest and a review say of an image that holds nothing."""


@dataclass(frozen=True)
class Pick:
    """An image of a group that was drawn, with the files of its channels.

    ``group`` is what the watch calls the group.
    """

    id: str
    images: tuple[Path, ...]
    digest: str
    group: str


@dataclass(frozen=True)
class PickedGroups:
    """The cases of groups whose images all have a label, and the groups of which one has none."""

    dataset: Dataset
    unlabelled: tuple[str, ...]


def is_picked(path: Path | str) -> bool:
    """Whether a path is a folder of groups that were drawn, or its manifest."""
    place = Path(path)
    return (place if place.is_dir() else place.parent).joinpath(PICKS).is_file() and (
        place.is_dir() or place.name == MANIFEST
    )


def write_picks(folder: Path, picks: Sequence[Pick]) -> None:
    """Write what was drawn and the manifest to fill; a manifest that stands there stays."""
    with atomic_write(folder / PICKS) as temporary:
        content = [{**asdict(pick), "images": [*map(str, pick.images)]} for pick in picks]
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if (folder / MANIFEST).is_file():
        return
    with (
        atomic_write(folder / MANIFEST) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        channels = len(picks[0].images) if picks else 1
        names = ["image"] if channels == 1 else [f"image_{k}" for k in range(channels)]
        writer.writerow(("id", *names, "mask", "group"))
        writer.writerows((pick.id, *pick.images, "", pick.group) for pick in picks)


def read_picks(folder: Path) -> tuple[Pick, ...]:
    """Return what was drawn; DataError where the file is damaged."""
    path = folder / PICKS
    try:
        return tuple(
            Pick(**{**line, "images": tuple(map(Path, line["images"]))}) for line in read_json(path)
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path} is damaged ({error}); call `rareseg monitor` with the same --label again."
        ) from error


def write_answers(folder: Path, answers: Mapping[str, str]) -> None:
    """Write what a review said of the images that were drawn, by id."""
    with (
        atomic_write(folder / ANSWERED) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("id", "answer"))
        writer.writerows(sorted(answers.items()))


def read_answers(folder: Path) -> dict[str, str]:
    """Return what :func:`write_answers` wrote, nothing where it did not."""
    if not (folder / ANSWERED).is_file():
        return {}
    try:
        return {row["id"]: row["answer"] for row in read_table(folder / ANSWERED)}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{folder / ANSWERED} cannot be read ({error}); open the review again, which writes it."
        ) from error


def picked_groups(path: Path, opened: Dataset) -> PickedGroups:
    """Return the groups that were drawn, with the labels that came back.

    ``opened`` is the manifest as a data set; its problems with missing masks are what is counted
    here. Raises :class:`DataError` where an image is another than the one that was drawn.
    """
    folder = path if path.is_dir() else path.parent
    picks, answers = read_picks(folder), read_answers(folder)
    there = {case.id: case for case in opened.cases}
    found = {name: own.image for name, own in identify(opened.cases).items()}
    labelled = _labelled(folder, there)
    cases: dict[str, list[Case]] = {}
    unlabelled: dict[str, None] = {}
    for pick in picks:
        case = there.get(pick.id)
        if case is not None and found[pick.id] not in ("", pick.digest):
            raise DataError(
                f"{case.images[0]} is another image than the one that was drawn as '{pick.id}'; "
                "put the file back."
            )
        if case is None or not (pick.id in labelled or answers.get(pick.id) == EMPTY):
            unlabelled[pick.group] = None
        else:
            cases.setdefault(pick.group, []).append(replace(case, group=pick.group))
    kept = tuple(case for group, own in cases.items() if group not in unlabelled for case in own)
    others = tuple(problem for problem in opened.problems if "has no mask" not in str(problem))
    return PickedGroups(replace(opened, cases=kept, problems=others), tuple(unlabelled))


def _labelled(folder: Path, cases: Mapping[str, Case]) -> set[str]:
    """Return the ids that have a mask, or the word empty, in the manifest."""
    rows = {row["id"]: row.get("mask") or "" for row in read_table(folder / MANIFEST)}
    return {
        name
        for name, case in cases.items()
        if case.mask is not None or not is_blank(rows.get(name, ""))
    }
