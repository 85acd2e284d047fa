"""Read and write score tables as npz files, without pickle."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.evaluation.tables.highest_scores import UNKNOWN, HighestScores
from rareseg.evaluation.tables.region_rows import (
    Columns,
    about_columns,
    read_about,
    read_archive,
    write_archive,
)
from rareseg.evaluation.tables.score_table import COLUMNS, CaseScores, ScoreTable
from rareseg.evaluation.tables.threshold_bins import N_BINS


def save_table(table: ScoreTable, path: Path) -> None:
    """Write the table to ``path`` (.npz), atomically.

    Row i's histogram stands at ``starts[i]:starts[i + 1]`` of ``bins`` and of every one of
    ``COLUMNS``, its highest scores at those of ``highest_starts``. A row without a group has False
    in ``has_group``, one without a role an empty text there.
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
    write_archive(path, arrays | _highest_columns([row.highest for row in rows]))


def load_table(path: Path) -> ScoreTable:
    """Return the table that :func:`save_table` wrote; raises ScoreError as `read_archive` does."""
    return read_archive(path, _from_columns, kind=ScoreTable.kind)


def _highest_columns(highest: Sequence[HighestScores]) -> dict[str, NDArray[Any]]:
    """Return the highest scores of all rows as columns."""
    lengths = [len(own.scores) for own in highest]
    return {
        "highest_starts": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "highest_floor": np.array([own.floor for own in highest], np.float32),
        "highest_scores": np.concatenate([UNKNOWN.scores, *(own.scores for own in highest)]),
        "highest_inside": np.concatenate([UNKNOWN.inside, *(own.inside for own in highest)]),
        "highest_outside": np.concatenate([UNKNOWN.outside, *(own.outside for own in highest)]),
    }


def _read_highest(arrays: Columns, n_rows: int) -> list[HighestScores]:
    """Return what :func:`_highest_columns` wrote; ValueError for what it cannot have written.

    Files of earlier releases know no highest scores.
    """
    if "highest_starts" not in arrays:
        return [UNKNOWN] * n_rows
    starts = arrays["highest_starts"].astype(np.int64)
    scores = arrays["highest_scores"].astype(np.float32)
    counts = [arrays[f"highest_{side}"].astype(np.int64) for side in ("inside", "outside")]
    floors = arrays["highest_floor"].tolist()
    fits = (
        len(starts) == n_rows + 1 == len(floors) + 1
        and starts[0] == 0
        and starts[-1] == len(scores)
        and all(len(own) == len(scores) and bool(np.all(own >= 0)) for own in counts)
    )
    if not fits:
        raise ValueError("highest scores do not fit together")
    found = []
    for (start, stop), floor in zip(pairwise(starts.tolist()), floors, strict=True):
        own, (inside, outside) = scores[start:stop], (column[start:stop] for column in counts)
        if not (np.all(np.diff(own) > 0) and np.all((own >= floor) & (own <= 1.0))):
            raise ValueError("highest scores are not in order")
        found.append(HighestScores(own, inside, outside, float(floor)))
    return found


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
    highest = _read_highest(arrays, len(abouts))
    for i, (about, top, high) in enumerate(zip(abouts, tops, highest, strict=True)):
        part = slice(starts[i], starts[i + 1])
        own = {name: column[part] for name, column in columns.items()}
        rows.append(CaseScores(**about, bins=bins[part], top=float(top), highest=high, **own))
    return ScoreTable(tuple(rows))
