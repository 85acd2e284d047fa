"""Tables with one row per case and region, and their columns in files.

What they hold is the concern of :mod:`rareseg.evaluation.tables.score_table` and
:mod:`rareseg.evaluation.tables.component_table`.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeAlias, TypedDict, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from rareseg.data.records import SCORED_AS, Role, role_named
from rareseg.errors import ScoreError, UsageError, nearest
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.decision.image_score import require_one_kind

Spacing: TypeAlias = tuple[float, float, float]
Columns: TypeAlias = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class TableRow:
    """What every row says of its case; ``spacing`` is (z, y, x) in mm.

    ``presence`` is the network's own probability that the case holds the region, None where it
    tells none.
    """

    case_id: str
    region: str
    group: str | None
    role: Role | None
    spacing: Spacing
    presence: float | None = field(default=None, kw_only=True)

    @property
    def key(self) -> tuple[str, str]:
        """What makes the row unique in a table: (region, case id)."""
        return self.region, self.case_id


R = TypeVar("R", bound=TableRow)


@dataclass(frozen=True)
class RegionTable(Generic[R]):
    """Rows, unique and sorted by (region, case id).

    Raises ScoreError where a case has two rows for one region, or where only some rows of a region
    have a presence.
    """

    rows: tuple[R, ...] = ()

    kind: ClassVar[str] = "table"
    if_twice: ClassVar[str] = "give each case once"

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.rows, key=lambda row: row.key))
        for row, following in pairwise(ordered):
            if row.key == following.key:
                raise ScoreError(
                    f"Case '{row.case_id}' has two rows for region '{row.region}' in one "
                    f"{self.kind}; {self.if_twice}."
                )
        for region, own in groupby(ordered, lambda row: row.region):
            require_one_kind((row.presence for row in own), f"Region '{region}' of a {self.kind}")
        object.__setattr__(self, "rows", ordered)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[R]:
        return iter(self.rows)

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that occur, in alphabetical order."""
        return tuple(dict.fromkeys(row.region for row in self.rows))

    def has_presence(self, region: str) -> bool:
        """Tell whether the image scores of a region hold its presence; not where it has no row."""
        return any(row.presence is not None for row in self.rows if row.region == region)

    @property
    def case_ids(self) -> tuple[str, ...]:
        """The cases that occur, in alphabetical order."""
        return tuple(sorted({row.case_id for row in self.rows}))

    def select(
        self: T,
        *,
        region: str | None = None,
        roles: Collection[Role] | None = None,
        case_ids: Collection[str] | None = None,
    ) -> T:
        """Return the rows of a region, of some roles or of some cases; None keeps all.

        Raises UsageError where the table has rows, but none of that region. No row of the roles
        or cases asked for is an empty table.
        """
        if region is not None and self.rows and region not in self.regions:
            raise UsageError(
                f"The {self.kind} has no region '{region}'{nearest(region, self.regions)}; "
                f"it has {', '.join(self.regions)}."
            )
        kept = (
            row
            for row in self.rows
            if (region is None or row.region == region)
            and (roles is None or row.role in roles)
            and (case_ids is None or row.case_id in case_ids)
        )
        return replace(self, rows=tuple(kept))


T = TypeVar("T", bound=RegionTable[Any])


class RowFields(TypedDict):
    """What a row says of its case, as it is read from a file."""

    case_id: str
    region: str
    group: str | None
    role: Role | None
    spacing: Spacing
    presence: float | None


def about_columns(rows: Sequence[TableRow]) -> dict[str, NDArray[Any]]:
    """Return the columns that every table has, one entry per row."""
    return {
        "case_id": np.array([row.case_id for row in rows], np.str_),
        "region": np.array([row.region for row in rows], np.str_),
        "has_group": np.array([row.group is not None for row in rows], np.bool_),
        "group": np.array([row.group or "" for row in rows], np.str_),
        "role": np.array([row.role or "" for row in rows], np.str_),
        "spacing": np.array([row.spacing for row in rows], np.float64).reshape(-1, 3),
        "has_presence": np.array([row.presence is not None for row in rows], np.bool_),
        "presence": np.array([row.presence or 0.0 for row in rows], np.float32),
    }


def read_about(arrays: Columns) -> list[RowFields]:
    """Return what :func:`about_columns` wrote; ValueError for what it cannot have written.

    Files of version 1 know no presence.
    """
    roles = [role_named(word) for word in arrays["role"].tolist()]
    if not set(roles) <= {"", *SCORED_AS}:
        raise ValueError("unknown role")
    n = len(arrays["case_id"])
    known = arrays["has_presence"] if "has_presence" in arrays else np.zeros(n, np.bool_)
    presence = arrays["presence"] if "has_presence" in arrays else np.zeros(n, np.float32)
    if not bool(np.all((presence >= 0.0) & (presence <= 1.0))):
        raise ValueError("a presence is no probability")
    columns = [arrays[name] for name in ("case_id", "region", "group", "has_group")]
    return [
        RowFields(
            case_id=str(case_id),
            region=str(region),
            group=str(group) if has_group else None,
            role=cast(Role, role) if role else None,
            spacing=cast(Spacing, tuple(spacing)),
            presence=float(own) if has_presence else None,
        )
        for case_id, region, group, has_group, role, spacing, has_presence, own in zip(
            *(column.tolist() for column in columns),
            roles,
            *(column.tolist() for column in (arrays["spacing"], known, presence)),
            strict=True,
        )
    ]


VERSION = 2
"""Of a table's file; version 1 had no presence."""


def write_archive(path: Path, arrays: Columns) -> None:
    """Write columns to ``path`` (.npz), atomically. Raises WorkError where that fails."""
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, version=np.array(VERSION), **arrays)


def read_archive(path: Path, make: Callable[[Columns], T], *, kind: str) -> T:
    """Return what ``make`` makes of the columns that :func:`write_archive` wrote.

    Raises ScoreError that names the file where it is missing, damaged, of another version, or holds
    what no table can hold. Nothing is unpickled.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if int(arrays["version"]) not in range(1, VERSION + 1):
            raise ScoreError(
                f"{path} is a {kind} of version {int(arrays['version'])}, this release reads "
                f"versions 1 to {VERSION}; score the cases again."
            )
        return make(arrays)
    except FileNotFoundError as error:
        raise ScoreError(f"{path} does not exist; score the cases first.") from error
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ScoreError(f"{path} is not a whole {kind}; score the cases again.") from error
