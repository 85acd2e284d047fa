"""Read and write component tables as npz files, without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rareseg.data.records import object_named
from rareseg.errors import ScoreError
from rareseg.evaluation.tables.component_table import NOT_COUNTED, CaseComponents, ComponentTable
from rareseg.evaluation.tables.region_rows import (
    Columns,
    about_columns,
    read_about,
    read_archive,
    write_archive,
)
from rareseg_runner.decision.component_size import Unit

_Kinds = Mapping[str, DTypeLike]

_COMPONENTS: _Kinds = {
    "levels": np.uint8,
    "sizes": np.int32,
    "inside": np.int32,
    "ignored": np.int32,
    "tops": np.float32,
}
_PAIRS: _Kinds = {"touching": np.int32, "touched": np.int32, "shared": np.int32}
_OBJECTS: _Kinds = {"object_sizes": np.int64}

_LENGTHS: Mapping[str, _Kinds] = {
    "component_starts": _COMPONENTS,
    "pair_starts": _PAIRS,
    "object_starts": _OBJECTS,
}
"""Row i's part of each column stands at ``starts[i]:starts[i + 1]``."""


def save_components(table: ComponentTable, path: Path) -> None:
    """Write the table to ``path`` (.npz), atomically. Raises WorkError where that fails."""
    rows = table.rows
    arrays = about_columns(rows)
    arrays["grid"] = np.array(table.grid, np.int64)
    arrays["unit"] = np.array([row.unit for row in rows], np.str_)
    arrays["n_voxels"] = np.array([row.n_voxels for row in rows], np.int64)
    arrays["top"] = np.array([row.top for row in rows], np.float32)
    for starts, columns in _LENGTHS.items():
        first = next(iter(columns))
        lengths = [len(getattr(row, first)) for row in rows]
        arrays[starts] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        for name, dtype in columns.items():
            parts = [np.empty(0, dtype), *(getattr(row, name) for row in rows)]
            arrays[name] = np.concatenate(parts)
    write_archive(path, arrays)


def load_components(path: Path) -> ComponentTable:
    """Return what :func:`save_components` wrote; raises ScoreError as `read_archive` does."""
    return read_archive(path, _from_columns, kind=ComponentTable.kind)


def _from_columns(arrays: Columns) -> ComponentTable:
    """Return the rows that the columns hold; ValueError where they do not fit together."""
    abouts = read_about(arrays)
    arrays = {object_named(name): values for name, values in arrays.items()}
    arrays = {
        "shared": np.full(len(arrays["touched"]), NOT_COUNTED),
        "unit": np.full(len(abouts), "voxels"),
        **arrays,
    }
    columns: dict[str, NDArray[Any]] = {}
    for starts, names in _LENGTHS.items():
        ends = arrays[starts].astype(np.int64)
        for name, dtype in names.items():
            columns[name] = arrays[name].astype(dtype)
            if len(columns[name]) != ends[-1]:
                raise ValueError(f"{name} and {starts} do not fit together")
        if len(ends) != len(abouts) + 1 or ends[0] != 0 or np.any(np.diff(ends) < 0):
            raise ValueError(f"{starts} does not ascend over {len(abouts)} rows")
    grid = tuple(int(k) for k in arrays["grid"])
    rows = []
    for i, about in enumerate(abouts):
        own = {
            name: columns[name][slice(*arrays[starts][i : i + 2].astype(np.int64))]
            for starts, names in _LENGTHS.items()
            for name in names
        }
        n_voxels, top = int(arrays["n_voxels"][i]), float(arrays["top"][i])
        unit = cast(Unit, str(arrays["unit"][i]))
        row = CaseComponents(**about, n_voxels=n_voxels, top=top, **own, unit=unit)
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
        and (row.object_sizes > 0).all()
        and ((row.touching >= 0) & (row.touching < len(row.levels))).all()
        and ((row.touched >= 0) & (row.touched < row.n_objects)).all()
        and row.unit in get_args(Unit)
        and ((row.shared > 0) | (row.shared == NOT_COUNTED)).all()
    )
    if not possible:
        raise ValueError(f"case {row.case_id} holds what no case can")
