"""What a rival is asked to learn and to score, and what it leaves, as JSON in files.

A program of a rival reads a :class:`RivalTask`, learns within its seconds or steps, writes
``scores/validation/ID.npz`` (where it has validation cases) and ``scores/tested/ID.npz`` into its
folder, and last of all ``report.json``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.image_records import Classes


@dataclass(frozen=True)
class RivalTask:
    """One training: its cases, its length, and the windows of a step.

    ``learns``, ``validates`` (None: everything is learnt from) and ``tested`` are manifests of
    different groups. ``patch_size`` and ``batch_size`` are those that rareseg plans for the data,
    so that a step of every row sees as many pixels. Either ``seconds``, counted from the start of
    the program, or ``steps`` says how long to learn.
    """

    learns: Path
    validates: Path | None
    tested: Path
    classes: Classes
    patch_size: tuple[int, ...]
    batch_size: int
    seconds: float | None
    steps: int | None
    seed: int
    threads: int
    folder: Path

    @property
    def dimension(self) -> int:
        """2 for photographs and slices, 3 for volumes."""
        return len(self.patch_size)

    @property
    def report(self) -> Path:
        """Where the report lies, once everything is done."""
        return self.folder / "report.json"

    def scores(self, part: str) -> Path:
        """Return the folder of the scores of a part: "validation" or "tested"."""
        return self.folder / "scores" / part

    def write(self, path: Path) -> None:
        """Write the task, atomically."""
        record = asdict(self) | {"classes": self.classes.to_dict()}
        _write(path, record)

    @classmethod
    def read(cls, path: Path) -> RivalTask:
        """Return what :meth:`write` wrote."""
        record = json.loads(path.read_text(encoding="utf-8"))
        places = {name: Path(record[name]) for name in ("learns", "tested", "folder")}
        validates = record["validates"]
        return cls(
            **record
            | places
            | {
                "validates": None if validates is None else Path(validates),
                "classes": Classes.from_dict(record["classes"]),
                "patch_size": tuple(record["patch_size"]),
            }
        )


@dataclass(frozen=True)
class Report:
    """What a rival tells of its training.

    ``seconds`` are those from the start of the program until the network, and whatever is chosen by
    its validation scores, stands; the prediction of tested cases is not in them. ``settings`` are a
    line each for whoever reads the results, ``versions`` those of the packages that it rests on.
    """

    steps: int
    seconds: float
    settings: tuple[str, ...]
    versions: Mapping[str, str]

    def write(self, path: Path) -> None:
        """Write the report, atomically."""
        _write(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Report:
        """Return what :meth:`write` wrote."""
        record = json.loads(path.read_text(encoding="utf-8"))
        return cls(**record | {"settings": tuple(record["settings"])})


def asked() -> tuple[RivalTask, float]:
    """Return the task of this program and when it was called, as its arguments say."""
    path, begun = sys.argv[1:]
    return RivalTask.read(Path(path)), float(begun)


def _write(path: Path, record: Mapping[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(record, default=str, indent=1) + "\n", encoding="utf-8")
