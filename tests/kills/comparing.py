"""Compare what two calls left behind, and tell a whole file from a half one.

What is not compared: times, processes and attempts (:data:`CLOCK`), what pages and cards say
(:data:`PAGES`, which must be whole), events of tensorboard, locks, and digests that are remembered
by a file's time.
"""

from __future__ import annotations

import contextlib
import csv
import json
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import safetensors.torch
import torch
import yaml

from rareseg.data.folder_lock import is_lock

CLOCK = frozenset(
    (
        *("seconds", "waiting_share", "begun", "waited", "worked", "finished", "minutes", "time"),
        *("datetime", "datetime_start", "datetime_complete", "duration", "training_seconds"),
        *(
            "said_at",
            "at",
            "heartbeat",
            "worker",
            "attempts",
            "version_info_id",
            "machine",
            "hostname",
        ),
    )
)
PAGES = (".html", ".md")
LEFT_OUT = ("file_digests.csv", "confirmed.txt")
"""Remembers files by their times, which differ; and what the decisions are held against."""


def is_left_out(path: Path) -> bool:
    """Whether a file says nothing of the outcome: locks, events, journals of a database."""
    return (
        is_lock(path)
        or path.name in LEFT_OUT
        or "tensorboard" in path.parts
        or path.name.endswith(("-wal", "-shm", "-journal", ".lock"))
    )


def files_of(place: Path) -> dict[str, Path]:
    """Return every file that is compared, by its path below a folder."""
    return {
        path.relative_to(place).as_posix(): path
        for path in sorted(place.rglob("*"))
        if path.is_file() and not is_left_out(path)
    }


def differences(found: Path, expected: Path) -> list[str]:
    """Return in which files two folders differ; [] where the outcome is the same."""
    here, there = files_of(found), files_of(expected)
    different = [f"{name} is missing" for name in there.keys() - here.keys()]
    different += [f"{name} is too much" for name in here.keys() - there.keys()]
    for name in sorted(here.keys() & there.keys()):
        if here[name].suffix in PAGES or here[name].read_bytes() == there[name].read_bytes():
            continue
        left, right = content_of(here[name]), content_of(there[name])
        where = _unlike(left, right, name)
        if where is not None:
            different.append(where)
    return sorted(different)


def content_of(path: Path) -> Any:
    """Return what a file holds without its times; raises for a half file."""
    suffix = path.suffix
    if suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    if suffix in (".yaml", ".yml"):
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    if suffix == ".pt":
        return torch.load(path, weights_only=True)
    if suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    if suffix == ".npz":
        with np.load(path) as arrays:
            return {name: arrays[name] for name in arrays.files}
    if suffix in (".db", ".sqlite"):
        return dict(_tables(path))
    if suffix == ".png":
        with PIL.Image.open(path) as picture:
            return np.asarray(picture)
    return path.read_bytes()


def _tables(path: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    with contextlib.closing(sqlite3.connect(path)) as base:
        base.row_factory = sqlite3.Row
        names = [
            row[0]
            for row in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not row[0].startswith("sqlite_")
        ]
        for name in sorted(names):
            yield name, [dict(row) for row in base.execute(f'SELECT * FROM "{name}"')]


def _unlike(left: Any, right: Any, where: str) -> str | None:
    """Return where two contents differ; times are passed over."""
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return None if torch.equal(left, right) else f"{where}: tensors"
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return None if np.array_equal(left, right, equal_nan=left.dtype.kind == "f") else where
    if isinstance(left, dict) and isinstance(right, dict):
        if left.keys() != right.keys():
            return f"{where}: {sorted(map(str, left.keys() ^ right.keys()))}"
        parts = ((left[key], right[key], f"{where}.{key}") for key in left if key not in CLOCK)
        return next((found for part in parts if (found := _unlike(*part))), None)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        if len(left) != len(right):
            return f"{where}: {len(left)} and {len(right)} entries"
        pairs = enumerate(zip(left, right, strict=True))
        return next((f for k, pair in pairs if (f := _unlike(*pair, f"{where}[{k}]"))), None)
    if isinstance(left, str) and isinstance(right, str) and left[:1] == right[:1] == "{":
        with contextlib.suppress(ValueError):  # a record within a table
            return _unlike(json.loads(left), json.loads(right), where)
    same = left == right or (left != left and right != right)
    return None if same else f"{where}: {left!r} and {right!r}"[:300]


GROWS = ("steps.csv", "predictions.json", "component_evidence.jsonl", "image_scores.csv")
"""Files that are written a line at a time; the last may be cut until the next call."""


def half_files(place: Path) -> list[str]:
    """Return the files under a final name that are not whole."""
    broken = []
    for name, path in files_of(place).items():
        if any(part.startswith(".") for part in Path(name).parts) or path.name in GROWS:
            continue
        if path.suffix in (".db", ".sqlite"):
            continue  # its journal belongs to it, and SQLite mends it when it is opened
        try:
            content = content_of(path)
            if path.suffix == ".html" and b"</html>" not in content[-200:]:
                raise ValueError("no end")
            if path.suffix == ".csv" and not path.read_bytes().endswith(b"\n"):
                raise ValueError("no end of the last line")
        except (
            ValueError,
            OSError,
            RuntimeError,
            EOFError,
            SyntaxError,
            KeyError,
            zipfile.BadZipFile,
        ):
            broken.append(name)
    return broken
