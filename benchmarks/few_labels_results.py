"""Count whole images and keep what a run of `few_labels.py` found: one JSON a run.

Every figure at the chosen point is counted by numpy on the masks that were written. Those at 0.5
come from the score table, whose counts equal those of masks because 0.5 is an edge of its bins; a
row without scores has none, and no image score.
"""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from few_labels_data import CaseNote
from few_labels_rows import Outcome
from numpy.typing import NDArray

import rareseg
from rareseg.data.records import Case
from rareseg.evaluation.metrics.overlap import Counts, counts_at
from rareseg.evaluation.tables.score_table import CaseScores
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.decision.component_size import as_size
from rareseg_runner.formats import read_mask
from rareseg_runner.image_records import IGNORE, Classes
from rareseg_runner.preprocessing.preprocess import class_indices

FOREGROUND = "foreground"
"""The union of all classes as a region of its own, with a point of its own."""

UNION = "any region"
"""The union of the final masks of all regions: where the label map is not background."""

CHOSEN, HALF, UNGATED = "chosen", "half", "ungated"
"""The row's own point; 0.5 without a gate; and the row's own cut without its gate, which with the
image scores tells what any other gate would give."""


@dataclass(frozen=True)
class Counted:
    """The counts of one region in one case at one cut, and what follows from them."""

    tp: int
    fp: int
    fn: int

    @property
    def positive(self) -> bool:
        """Whether the region is present."""
        return self.tp + self.fn > 0

    def to_dict(self) -> dict[str, Any]:
        """Return the counts with dice and found (positive cases) or alarmed (negative ones)."""
        record: dict[str, Any] = asdict(self)
        if self.positive:
            overlap = 2 * self.tp / (2 * self.tp + self.fp + self.fn)
            return {**record, "dice": overlap, "found": self.tp > 0}
        return {**record, "alarmed": self.fp > 0}


def count_cases(
    outcome: Outcome, cases: Sequence[Case], notes: Mapping[str, CaseNote], classes: Classes
) -> list[dict[str, Any]]:
    """Return the record of every tested case: who it is, and its counts by region and cut.

    A region without a point predicts nothing at its chosen point.
    """
    table = outcome.table
    rows = {} if table is None else {row.key: row for row in table.rows}
    records = []
    for case in cases:
        masks = final_masks(outcome.masks, case, classes)
        labels = reference_labels(case, classes, next(iter(masks.values())).shape)
        regions: dict[str, Any] = {}
        for region, members in (*classes.regions.items(), (UNION, range(1, classes.count))):
            inside = np.isin(labels, list(members))
            chosen = _count(masks[region], inside, labels != IGNORE)
            scored_as = FOREGROUND if region == UNION else region
            row = None if table is None else rows[scored_as, case.id]
            cuts = {CHOSEN: chosen}
            if row is not None:
                cuts[HALF] = _counted(counts_at(row, 0.5))
                point = outcome.points.get(region)
                ungated = chosen if outcome.ungated else _ungated(row, point)
                cuts |= {} if ungated is None else {UNGATED: ungated}
            regions[region] = {
                "image_score": None if row is None else row.image_score,
                **{cut: counted.to_dict() for cut, counted in cuts.items()},
            }
        note = notes[case.id]
        records.append(
            {
                "id": case.id,
                "group": note.group,
                "object": note.object,
                "kind": note.kind,
                "positive": note.positive,
                "regions": regions,
            }
        )
    return records


def final_masks(folder: Path, case: Case, classes: Classes) -> dict[str, NDArray[np.bool_]]:
    """Return the written masks (z, y, x) of every region of a case, and of the union of them."""
    files = {region: sorted((folder / region).glob(f"{case.id}.*")) for region in classes.regions}
    written = {region: read_mask(paths[0]).array != 0 for region, paths in files.items() if paths}
    shape = next(iter(written.values())).shape
    masks = {region: written.get(region, np.zeros(shape, np.bool_)) for region in classes.regions}
    return {**masks, UNION: np.any(list(masks.values()), axis=0)}


def reference_labels(case: Case, classes: Classes, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Return the class indices (z, y, x) of a case; without a mask it holds nothing."""
    if case.mask is None:
        return np.zeros(shape, np.uint8)
    return class_indices(read_mask(case.mask).array, classes.values, classes.ignore_value)


def _count(
    mask: NDArray[np.bool_], inside: NDArray[np.bool_], counts: NDArray[np.bool_]
) -> Counted:
    """Count one mask; pixels of the reference that are ignored count nowhere."""
    mask = mask & counts
    return Counted(
        int((mask & inside).sum()), int((mask & ~inside).sum()), int((inside & ~mask).sum())
    )


def _counted(counts: Counts) -> Counted:
    return Counted(counts.tp, counts.fp, counts.fn)


def _ungated(row: CaseScores, point: Mapping[str, Any] | None) -> Counted | None:
    """Return the counts at the point's threshold alone; None where the table cannot tell."""
    if point is None or as_size(point["smallest_component"]).removes:
        return None
    return _counted(counts_at(row, point["threshold"]))


def differences_to_own(path: Path, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Hold the counts at the chosen point against the row's own ``cases.csv``.

    Returns how many (case, region) were compared, how many differ, and the largest difference in
    pixels.
    """
    with path.open(newline="", encoding="utf-8") as file:
        own = {(line["case"], line["region"]): line for line in csv.DictReader(file)}
    apart = []
    for record in records:
        for region, found in record["regions"].items():
            line = own.get((record["id"], region))
            if line is not None:
                apart.append(max(abs(int(line[k]) - found[CHOSEN][k]) for k in ("tp", "fp", "fn")))
    return {
        "compared": len(apart),
        "differ": sum(difference > 0 for difference in apart),
        "largest": max(apart, default=0),
    }


def pack_masks(outcome: Outcome, cases: Sequence[Case], classes: Classes, path: Path) -> None:
    """Keep the final foreground masks of the tested cases in one file, for the pictures."""
    arrays: dict[str, Any] = {}
    for case in cases:
        mask = final_masks(outcome.masks, case, classes)[FOREGROUND]
        arrays[f"{case.id}/shape"] = np.array(mask.shape)
        arrays[f"{case.id}/bits"] = np.packbits(mask)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_masks(path: Path) -> dict[str, NDArray[np.bool_]]:
    """Return the masks (z, y, x) that :func:`pack_masks` kept, by case."""
    with np.load(path) as kept:
        names = [name.removesuffix("/shape") for name in kept.files if name.endswith("/shape")]
        found = {}
        for name in names:
            shape = tuple(kept[f"{name}/shape"].tolist())
            bits = np.unpackbits(kept[f"{name}/bits"], count=int(np.prod(shape)))
            found[name] = bits.reshape(shape).astype(np.bool_)
    return found


def source_version() -> dict[str, Any]:
    """Return the commit of the rareseg that is imported, and whether its files were changed since.

    Empty where it does not lie in a git repository.
    """
    root = Path(rareseg.__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, encoding="utf-8", check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "HEAD")
    changed = bool(git("status", "--porcelain", "--untracked-files=no", "--", str(root)))
    return {"version": rareseg.__version__, "commit": commit, "changed": changed}


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write one run's record, atomically."""
    with atomic_write(path) as temporary:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read what :func:`write_json` wrote."""
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record
