"""Write and read which case plays which role, and which is in which fold."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from rareseg.data.records import ROLES, Role, role_named
from rareseg.errors import RunError
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.text_files import read_columns_and_rows, read_table

_SPLIT_NEEDS = "it needs the columns id and role, as UTF-8 text."


def write_split(
    path: Path,
    roles: Mapping[str, Role],
    groups: Mapping[str, str | None],
    images: Mapping[str, str],
) -> None:
    """Write ``id, group, role, image`` for every case; ``images`` are the images' digests."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "group", "role", "image"))
        writer.writerows((i, groups[i] or "", role, images[i]) for i, role in roles.items())


def write_folds(path: Path, folds: Mapping[str, int]) -> None:
    """Write ``id, fold`` for every case that has one, folds numbered from 0."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "fold"))
        writer.writerows(folds.items())


def read_folds(path: Path) -> dict[str, int]:
    """Read what :func:`write_folds` wrote; raises :class:`RunError` where it is damaged."""
    try:
        return {row["id"]: int(row["fold"]) for row in read_table(path)}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read as folds ({error}); train into another --out."
        ) from error


def read_split(path: Path) -> dict[str, Role]:
    """Read what :func:`write_split` wrote, or another table with the columns id and role.

    Raises :class:`RunError` where it is damaged, names a case twice, or puts a group (column
    ``group``, which may be missing) into two roles.
    """
    rows = _split_rows(path)
    roles = {row["id"]: role_named(row["role"] or "") for row in rows}
    if len(roles) < len(rows):
        counts = Counter(row["id"] for row in rows)
        twice = next(name for name, number in counts.items() if number > 1)
        raise RunError(f"{path} names the case '{twice}' twice; keep one line of each case.")
    if not roles:
        raise RunError(f"{path} names no case; copy the run again, or train into another --out.")
    strange = sorted(set(roles.values()) - set(ROLES))
    if strange:
        raise RunError(f"{path} holds the role {strange[0]!r}; allowed are {', '.join(ROLES)}.")
    of_group: dict[str, str] = {}
    for row in rows:
        own, group = roles[row["id"]], row.get("group")
        if group and of_group.setdefault(group, own) != own:
            raise RunError(
                f"{path} puts the group '{group}' into {of_group[group]} and {own}, which leaks "
                "from one into the other; give all of its cases one role."
            )
    return cast(dict[str, Role], roles)


def read_split_images(path: Path) -> dict[str, str]:
    """Return the digests of the images that a split was made of; {} where it notes none."""
    return {row["id"]: row["image"] for row in _split_rows(path) if row.get("image")}


def _split_rows(path: Path) -> list[dict[str, str]]:
    try:
        columns, rows = read_columns_and_rows(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read as a split ({error}); {_SPLIT_NEEDS}") from error
    for name in ("id", "role"):
        if name not in columns:
            raise RunError(f"{path} cannot be read as a split (no column '{name}'); {_SPLIT_NEEDS}")
    return rows
