"""Check the ids and the channel files of the cases that a layout lists."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rareseg.data.records import Case
from rareseg_runner.file_names import alike_names, clean_name, clean_path, name_fault
from rareseg_runner.formats import stem_of


def with_clean_ids(cases: Sequence[Case]) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Return the cases under ids that can name files, and a note where any were changed.

    An id that would be another case's, or empty, stays, and is a problem.
    """
    taken = {case.id for case in cases}
    kept, changed = [], []
    for case in cases:
        clean = clean_path(case.id).replace("/", "_")
        if case.id and clean != case.id and clean not in taken:
            taken.add(clean)
            changed.append(f"'{case.id}' is '{clean}'")
            case = replace(case, id=clean)
        kept.append(case)
    note = (
        f"{len(changed)} names cannot name result files and are changed: {changed[0]}"
        if changed
        else ""
    )
    return tuple(kept), (note,) if note else ()


def identity_problems(cases: Sequence[Case], root: Path) -> list[str]:
    """Find ids that occur twice or cannot name a file."""
    files: dict[str, list[str]] = {}
    for case in cases:
        files.setdefault(case.id, []).append(str(case.images[0]) if case.images else "no image")
    problems = [
        f"{root} gives the id '{name}' to {len(places)} cases ({', '.join(places[:3])}); "
        "rename all but one."
        for name, places in files.items()
        if len(places) > 1
    ]
    problems += [
        f"{root} gives the id '{names[0]}' to {len(names)} cases whose names differ only in "
        f"{_difference(names)} ({', '.join(files[name][0] for name in names[:3])}); "
        "rename all but one."
        for names in alike_names(files)
    ]
    problems += [
        f"{places[0]} has the id '{name}', which cannot name a result file; use letters, digits, "
        "'.', '-' and '_'."
        for name, places in files.items()
        if name_fault(name) or name.startswith(".") or clean_name(name) != name
    ]
    return problems


def _difference(names: Sequence[str]) -> str:
    forms = {unicodedata.normalize("NFC", name) for name in names}
    return "how an accent is written" if len(forms) == 1 else "capitals or how they are written"


def channel_problems(cases: Sequence[Case]) -> list[str]:
    """Find cases whose files end in other channel numbers than those of most cases."""
    endings = {case.id: tuple(_channel_of(path) for path in case.images) for case in cases}
    counts = Counter(found for found in endings.values() if len(found) > 1 and None not in found)
    if len(counts) < 2:
        return []
    usual = counts.most_common(1)[0][0]
    return [
        f"{case.images[0]} and the others of case '{case.id}' are the channels "
        f"{_numbers(endings[case.id])} where most cases have {_numbers(usual)}; rename or add the "
        "files, so that a number means the same channel everywhere."
        for case in cases
        if endings[case.id] in counts
        and endings[case.id] != usual
        and len(endings[case.id]) == len(usual)
    ]


def _channel_of(path: Path) -> str | None:
    found = re.search(r"_(\d{4})$", stem_of(path))
    return found[1] if found else None


def _numbers(channels: tuple[str | None, ...]) -> str:
    return ", ".join(f"_{number}" for number in channels)
