"""Define the data sets of `few_labels.py`, divide them into outer folds, write their manifests.

No file of a data set is copied: a fold is a manifest that names the files where they lie, with the
held-out cases declared as "test" and all others as "train", of which `train` takes its validation
cases. Groups that are known to show the same object are united first.
"""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from rareseg.data.checks.fingerprint import Fingerprint, inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.data.layouts.manifests.manifest_writing import write_manifest
from rareseg.data.records import Case, Dataset, Role
from rareseg.data.splits import make_folds
from rareseg_runner.atomic_files import atomic_write

FOLD_SEED = 2026
"""Of the outer folds; the inner ones take the number of their outer fold."""

NOTHING = "nothing"
"""The kind of a case without any foreground, where the data name none."""


@dataclass(frozen=True)
class DataSet:
    """One data set: where it lies, how long a row may learn, and what its positives are called.

    ``kinds`` is the column of its manifest that names the kind of each case, or one name for all
    positives. ``same`` lists groups that show one object under several names. ``settings`` are
    given to every row on this data set.
    """

    name: str
    budget: str
    kinds: str
    outer_folds: int = 5
    same: tuple[tuple[str, ...], ...] = ()
    settings: tuple[str, ...] = ()


SETS = {
    item.name: item
    for item in (
        DataSet(
            "magnetic-tile",
            budget="20min",
            kinds="column:defect",
            # Found by `rareseg.data.look_alikes`; docs/look-alikes.md shows them.
            same=(
                ("blowhole-011", "blowhole-012"),
                ("break-005", "free-057"),
                ("break-006", "free-069"),
                ("free-002", "free-003"),
                ("free-009", "free-022"),
                ("free-011", "free-013", "free-015"),
                ("free-029", "free-030", "free-031", "free-033"),
                ("free-148", "free-149"),
            ),
        ),
        DataSet("crackforest", budget="10min", kinds="crack"),
        DataSet("hippocampus", budget="10min", kinds="hippocampus"),
    )
}


@dataclass(frozen=True)
class CaseNote:
    """What the tables need to know of a case beside its counts.

    ``group`` is the one that the data name (the case's own id where they name none), ``object``
    the united one, which is what independent means here; ``fold`` is the outer fold that tests it.
    """

    id: str
    group: str
    object: str
    kind: str
    positive: bool
    fold: int


@dataclass(frozen=True)
class Folds:
    """A data set divided: its cases under united groups, what they hold, and who is tested when."""

    data: DataSet
    dataset: Dataset
    fingerprint: Fingerprint
    notes: Mapping[str, CaseNote]
    digest: str
    folder: Path

    def outside(self, fold: int) -> list[Case]:
        """Return the cases that a fold does not test."""
        return [case for case in self.dataset.cases if self.notes[case.id].fold != fold]

    def tested(self, fold: int) -> list[Case]:
        """Return the cases that a fold tests."""
        return [case for case in self.dataset.cases if self.notes[case.id].fold == fold]

    def outer(self, fold: int) -> tuple[Path, Path]:
        """Return the manifest that a fold learns from, and that of its tested cases alone."""
        cases = [(case, "train") for case in self.outside(fold)]
        cases += [(case, "test") for case in self.tested(fold)]
        folder = self.folder / f"fold_{fold}"
        learns = self._written(folder / "manifest.csv", cases)
        return learns, self._written(folder / "tested.csv", cases[-len(self.tested(fold)) :])

    def inner(self, fold: int, *, part: int, parts: int, judge: Role) -> Path:
        """Return the manifest of one of ``parts`` inner divisions of what a fold does not test.

        Its held-out part plays the role ``judge``: "validation", or "test".
        """
        ids = {case.id for case in self.outside(fold)}
        inner = make_folds(self.fingerprint, count=parts, seed=fold, ids=ids)
        name = f"{part + 1}_of_{parts}_{judge}"
        return self._written(
            self.folder / f"fold_{fold}" / "inner" / name / "manifest.csv",
            [(case, judge if inner[case.id] == part else "train") for case in self.outside(fold)],
        )

    def _written(self, path: Path, cases: Sequence[tuple[Case, Role]]) -> Path:
        """Write a manifest unless it stands there; several runs may begin at a time."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.is_file():
                played = tuple(replace(case, role=role) for case, role in cases)
                write_manifest(path, replace(self.dataset, cases=played), {})
        return path


def divide(data: DataSet, source: Path, out: Path, *, limit: int = 0) -> Folds:
    """Return a data set divided into its outer folds, from ``out`` where it was done before.

    ``limit`` keeps so many groups of each kind with two cases each, to try the script out; 0 keeps
    everything. The folds stand in ``out/NAME/folds.csv``: groups whole, every class of the masks
    and the empty cases spread as evenly as whole groups allow.
    """
    folder = out / (data.name if not limit else f"{data.name}-{limit}-groups")
    opened = open_dataset(source / data.name)
    kinds = _kinds(data, source / data.name)
    whole = tuple(replace(case, group=_object(data, case)) for case in opened.cases)
    if limit:
        whole = _few(whole, kinds, limit)
    dataset = replace(opened, cases=whole)
    inspected = folder / "fingerprint.json"
    if not inspected.is_file():
        inspect_dataset(dataset, jobs=1).to_json(inspected)
    fingerprint = Fingerprint.from_json(inspected)
    table = folder / "folds.csv"
    if not table.is_file():
        positive = {case.id: case.is_positive for case in fingerprint.cases}
        folds = make_folds(fingerprint, count=data.outer_folds, seed=FOLD_SEED, ids=set(positive))
        groups = {case.id: case.group or case.id for case in opened.cases}
        _write_notes(
            table,
            [
                CaseNote(
                    case.id,
                    groups[case.id],
                    case.group or case.id,
                    kinds.get(case.id, data.kinds if positive[case.id] else NOTHING),
                    positive[case.id],
                    folds[case.id],
                )
                for case in dataset.cases
            ],
        )
    digest = hashlib.sha256(table.read_bytes()).hexdigest()[:12]
    notes = {note.id: note for note in _read_notes(table)}
    return Folds(data, dataset, fingerprint, notes, digest, folder)


def _object(data: DataSet, case: Case) -> str | None:
    """Return the united name of a case's group."""
    united = next((names for names in data.same if case.group in names), None)
    return case.group if united is None else "+".join(united)


def _kinds(data: DataSet, root: Path) -> dict[str, str]:
    """Return the kind of each case where a column of the manifest names it."""
    source, _, column = data.kinds.partition(":")
    if source != "column":
        return {}
    with (root / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return {row["id"]: row[column] for row in csv.DictReader(file)}


def _few(cases: Sequence[Case], kinds: Mapping[str, str], limit: int) -> tuple[Case, ...]:
    """Return two cases each of the first ``limit`` groups of every kind."""
    kept: defaultdict[str, defaultdict[str, list[Case]]]
    kept = defaultdict(lambda: defaultdict(list))
    for case in cases:
        groups = kept[kinds.get(case.id, "")]
        if (case.group or case.id) in groups or len(groups) < limit:
            groups[case.group or case.id].append(case)
    chosen = [case for groups in kept.values() for own in groups.values() for case in own[:2]]
    return tuple(case for case in cases if case in chosen)


def _write_notes(path: Path, notes: Sequence[CaseNote]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(CaseNote.__dataclass_fields__)
        for note in notes:
            line = [note.id, note.group, note.object, note.kind, int(note.positive), note.fold]
            writer.writerow(line)


def _read_notes(path: Path) -> list[CaseNote]:
    with path.open(newline="", encoding="utf-8") as file:
        return [
            CaseNote(
                row["id"],
                row["group"],
                row["object"],
                row["kind"],
                bool(int(row["positive"])),
                int(row["fold"]),
            )
            for row in csv.DictReader(file)
        ]
