"""A score table on disk: one npz file of plain columns, nothing pickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rareseg.evaluation.bins import N_BINS
from rareseg.evaluation.scores import COLUMNS, CaseScores, ScoreTable
from rareseg.evaluation.tables import (
    Columns,
    about_columns,
    read_about,
    read_archive,
    write_archive,
)


def save_table(table: ScoreTable, path: Path) -> None:
    """Write the table to ``path`` (.npz), atomically.

    Row i's histogram stands at ``starts[i]:starts[i + 1]`` of ``bins`` and of every one of
    ``COLUMNS``. A row without a group has False in ``has_group``, one without a role an empty
    text there.
    Raises WorkError where the file cannot be written.
    """
    rows = table.rows
    arrays = about_columns(rows)
    arrays["top"] = np.array([row.top for row in rows], np.float32)
    lengths = [len(row.bins) for row in rows]
    arrays["starts"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    arrays["bins"] = np.concatenate([np.empty(0, np.uint16), *(row.bins for row in rows)])
    for name in COLUMNS:
        parts = [np.empty(0, np.int64), *(getattr(row, name) for row in rows)]
        arrays[name] = np.concatenate(parts)
    write_archive(path, arrays)


def load_table(path: Path) -> ScoreTable:
    """Return the table that :func:`save_table` wrote; raises ScoreError as `read_archive` does."""
    return read_archive(path, _from_columns, kind=ScoreTable.kind)


def _from_columns(arrays: Columns) -> ScoreTable:
    """Return the rows that the columns hold; ValueError where they do not fit together."""
    starts = arrays["starts"].astype(np.int64)
    bins = arrays["bins"].astype(np.uint16)
    columns = {name: arrays[name].astype(np.int64) for name in COLUMNS}
    abouts, tops = read_about(arrays), arrays["top"].tolist()
    fits = (
        len(starts) == len(abouts) + 1
        and starts[0] == 0
        and starts[-1] == len(bins)
        and all(len(column) == len(bins) for column in columns.values())
        and bool(np.all(np.diff(starts) >= 0))
        and (len(bins) == 0 or int(bins.max()) < N_BINS)
        and all(bool(np.all(column >= 0)) for column in columns.values())
    )
    if not fits:
        raise ValueError("columns do not fit together")
    rows = []
    for i, (about, top) in enumerate(zip(abouts, tops, strict=True)):
        part = slice(starts[i], starts[i + 1])
        own = {name: column[part] for name, column in columns.items()}
        rows.append(CaseScores(**about, bins=bins[part], top=float(top), **own))
    return ScoreTable(tuple(rows))
