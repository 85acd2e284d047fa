"""A score table on disk: one npz file of plain columns, nothing pickled."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from rareseg.data.files import atomic_write
from rareseg.data.records import SCORED_AS, Role
from rareseg.errors import ScoreError
from rareseg.evaluation.bins import N_BINS
from rareseg.evaluation.scores import COLUMNS, CaseScores, ScoreTable, Spacing

_VERSION = 1


def save_table(table: ScoreTable, path: Path) -> None:
    """Write the table to ``path`` (.npz), atomically.

    Row i's histogram stands at ``starts[i]:starts[i + 1]`` of ``bins`` and of every one of
    ``COLUMNS``. A row without a group has False in ``has_group``, one without a role an empty
    text there.
    Raises WorkError where the file cannot be written.
    """
    rows = table.rows
    lengths = [len(row.bins) for row in rows]
    arrays: dict[str, NDArray[np.generic]] = {
        "version": np.array(_VERSION),
        "case_id": np.array([row.case_id for row in rows], np.str_),
        "region": np.array([row.region for row in rows], np.str_),
        "has_group": np.array([row.group is not None for row in rows], np.bool_),
        "group": np.array([row.group or "" for row in rows], np.str_),
        "role": np.array([row.role or "" for row in rows], np.str_),
        "spacing": np.array([row.spacing for row in rows], np.float64).reshape(-1, 3),
        "top": np.array([row.top for row in rows], np.float32),
        "starts": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "bins": np.concatenate([np.empty(0, np.uint16), *(row.bins for row in rows)]),
    }
    for name in COLUMNS:
        arrays[name] = np.concatenate(
            [np.empty(0, np.int64), *(getattr(row, name) for row in rows)]
        )
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def load_table(path: Path) -> ScoreTable:
    """Return the table that :func:`save_table` wrote.

    Raises ScoreError that names the file where it is missing, damaged, of another version, or
    holds what no table can hold. Nothing is unpickled.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if int(arrays["version"]) != _VERSION:
            raise ScoreError(
                f"{path} is a score table of version {int(arrays['version'])}, this release reads "
                f"version {_VERSION}; score the cases again."
            )
        return _from_columns(arrays)
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
        raise ScoreError(f"{path} is not a whole score table; score the cases again.") from error


def _from_columns(arrays: dict[str, NDArray[np.generic]]) -> ScoreTable:
    """Return the rows that the columns hold; ValueError where they do not fit together."""
    starts = arrays["starts"].astype(np.int64)
    bins = arrays["bins"].astype(np.uint16)
    columns = {name: arrays[name].astype(np.int64) for name in COLUMNS}
    n = len(arrays["case_id"])
    fits = (
        len(starts) == n + 1
        and starts[0] == 0
        and starts[-1] == len(bins)
        and all(len(column) == len(bins) for column in columns.values())
        and bool(np.all(np.diff(starts) >= 0))
        and (len(bins) == 0 or int(bins.max()) < N_BINS)
        and all(bool(np.all(column >= 0)) for column in columns.values())
        and set(arrays["role"].tolist()) <= {"", *SCORED_AS}
    )
    if not fits:
        raise ValueError("columns do not fit together")
    rows = []
    for i, (case_id, region, group, role, spacing, top) in enumerate(
        zip(
            arrays["case_id"].tolist(),
            arrays["region"].tolist(),
            arrays["group"].tolist(),
            arrays["role"].tolist(),
            arrays["spacing"].tolist(),
            arrays["top"].tolist(),
            strict=True,
        )
    ):
        part = slice(starts[i], starts[i + 1])
        rows.append(
            CaseScores(
                case_id=str(case_id),
                region=str(region),
                group=str(group) if arrays["has_group"][i] else None,
                role=cast(Role, role) if role else None,
                spacing=cast(Spacing, tuple(cast(list[float], spacing))),
                bins=bins[part],
                top=float(cast(float, top)),
                **{name: column[part] for name, column in columns.items()},
            )
        )
    return ScoreTable(tuple(rows))
