"""A component table on disk: one npz file of plain columns, nothing pickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rareseg.data.files import atomic_write
from rareseg.data.records import SCORED_AS, Role
from rareseg.errors import ScoreError
from rareseg.evaluation.component_table import CaseComponents, ComponentTable
from rareseg.evaluation.scores import Spacing

_VERSION = 1

_Columns = Mapping[str, DTypeLike]

_COMPONENTS: _Columns = {
    "levels": np.uint8,
    "sizes": np.int32,
    "inside": np.int32,
    "ignored": np.int32,
    "tops": np.float32,
}
_PAIRS: _Columns = {"touching": np.int32, "touched": np.int32}
_LESIONS: _Columns = {"lesion_sizes": np.int64}

_LENGTHS: Mapping[str, _Columns] = {
    "component_starts": _COMPONENTS,
    "pair_starts": _PAIRS,
    "lesion_starts": _LESIONS,
}
"""Row i's part of each column stands at ``starts[i]:starts[i + 1]``."""


def save_components(table: ComponentTable, path: Path) -> None:
    """Write the table to ``path`` (.npz), atomically. Raises WorkError where that fails."""
    rows = table.rows
    arrays: dict[str, NDArray[Any]] = {
        "version": np.array(_VERSION),
        "grid": np.array(table.grid, np.int64),
        "case_id": np.array([row.case_id for row in rows], np.str_),
        "region": np.array([row.region for row in rows], np.str_),
        "has_group": np.array([row.group is not None for row in rows], np.bool_),
        "group": np.array([row.group or "" for row in rows], np.str_),
        "role": np.array([row.role or "" for row in rows], np.str_),
        "spacing": np.array([row.spacing for row in rows], np.float64).reshape(-1, 3),
        "n_voxels": np.array([row.n_voxels for row in rows], np.int64),
        "top": np.array([row.top for row in rows], np.float32),
    }
    for starts, columns in _LENGTHS.items():
        first = next(iter(columns))
        lengths = [len(getattr(row, first)) for row in rows]
        arrays[starts] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        for name, dtype in columns.items():
            parts = [np.empty(0, dtype), *(getattr(row, name) for row in rows)]
            arrays[name] = np.concatenate(parts)
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def load_components(path: Path) -> ComponentTable:
    """Return the table that :func:`save_components` wrote.

    Raises ScoreError that names the file where it is missing, damaged, of another version, or
    holds what no table can hold. Nothing is unpickled.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if int(arrays["version"]) != _VERSION:
            raise ScoreError(
                f"{path} is a component table of version {int(arrays['version'])}, this release "
                f"reads version {_VERSION}; score the cases again."
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
        raise ScoreError(
            f"{path} is not a whole component table; score the cases again."
        ) from error


def _from_columns(arrays: dict[str, NDArray[Any]]) -> ComponentTable:
    """Return the rows that the columns hold; ValueError where they do not fit together."""
    n = len(arrays["case_id"])
    columns: dict[str, NDArray[Any]] = {}
    for starts, names in _LENGTHS.items():
        ends = arrays[starts].astype(np.int64)
        for name, dtype in names.items():
            columns[name] = arrays[name].astype(dtype)
            if len(columns[name]) != ends[-1]:
                raise ValueError(f"{name} and {starts} do not fit together")
        if len(ends) != n + 1 or ends[0] != 0 or np.any(np.diff(ends) < 0):
            raise ValueError(f"{starts} does not ascend over {n} rows")
    if not set(arrays["role"].tolist()) <= {"", *SCORED_AS}:
        raise ValueError("unknown role")
    grid = tuple(int(k) for k in arrays["grid"])
    rows = []
    for i in range(n):
        own = {
            name: columns[name][slice(*arrays[starts][i : i + 2].astype(np.int64))]
            for starts, names in _LENGTHS.items()
            for name in names
        }
        role = str(arrays["role"][i])
        row = CaseComponents(
            case_id=str(arrays["case_id"][i]),
            region=str(arrays["region"][i]),
            group=str(arrays["group"][i]) if arrays["has_group"][i] else None,
            role=cast(Role, role) if role else None,
            spacing=cast(Spacing, tuple(arrays["spacing"][i].astype(float).tolist())),
            n_voxels=int(arrays["n_voxels"][i]),
            top=float(arrays["top"][i]),
            **own,
        )
        _require_possible(row, len(grid))
        rows.append(row)
    try:
        return ComponentTable(tuple(rows), grid)
    except ScoreError as error:
        raise ValueError("no grid, or a case twice") from error


def _require_possible(row: CaseComponents, n_levels: int) -> None:
    """Raise ValueError where a row points at what it does not have."""
    possible = (
        (row.levels < n_levels).all()
        and (np.diff(row.levels.astype(np.int64)) >= 0).all()
        and (row.sizes > 0).all()
        and (row.inside >= 0).all()
        and (row.ignored >= 0).all()
        and (row.outside >= 0).all()
        and (row.lesion_sizes > 0).all()
        and ((row.touching >= 0) & (row.touching < len(row.levels))).all()
        and ((row.touched >= 0) & (row.touched < row.n_lesions)).all()
    )
    if not possible:
        raise ValueError(f"case {row.case_id} holds what no case can")
