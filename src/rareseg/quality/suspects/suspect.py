"""Record of a suspect label, and the file of suspects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from rareseg.data.records import object_named
from rareseg.errors import RunError
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.text_files import read_json

Kind = Literal[
    "missed object", "spurious label", "wrong boundary", "wrong class", "worst case", "random pick"
]
"""What is suspected; a "worst case" is no suspicion but a case that the model does worst on, and a
"random pick" an image that was drawn at random to be labelled."""

KINDS: tuple[Kind, ...] = get_args(Kind)

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Half-open ranges of z, y and x on the image's own grid."""


@dataclass(frozen=True)
class Suspect:
    """One suspected place: where it lies, what may be wrong with it, and how much speaks for it.

    ``id`` is the same whenever the same place is found again. ``score`` in [0, 1] ranks suspects
    of one kind, the most suspicious highest, whatever their size. ``plane`` is the slice where to
    look. ``reason`` is one sentence with the numbers behind the score. ``aside`` says that mining
    had set voxels of it aside while the model learned.
    """

    id: str
    case_id: str
    group: str | None
    region: str
    kind: Kind
    score: float
    box: Box
    voxels: int
    plane: int
    reason: str
    aside: bool = False


def save_suspects(path: Path, suspects: Sequence[Suspect]) -> None:
    """Write suspects in their order as JSON, atomically."""
    content = {"suspects": [asdict(suspect) for suspect in suspects]}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load_suspects(path: Path) -> tuple[Suspect, ...]:
    """Read what :func:`save_suspects` wrote; raises RunError for anything else."""
    try:
        entries = read_json(path)["suspects"]
        return tuple(_suspect(entry) for entry in entries)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} holds no list of suspects ({error}); find them again with `rareseg suspects`."
        ) from error


def _suspect(entry: dict[str, Any]) -> Suspect:
    entry = {**entry, "kind": object_named(entry["kind"])}
    if entry["kind"] not in KINDS:
        raise ValueError(f"kind {entry['kind']!r}")
    (z0, z1), (y0, y1), (x0, x1) = entry["box"]
    return Suspect(**{**entry, "box": ((z0, z1), (y0, y1), (x0, x1))})
