"""Find suspect labels of a run's cases.

Each case is scored by the networks that had not seen it; what is seen of it is kept line by line in
``scores/component_evidence.jsonl``, so that a killed search goes on where it stopped, and a
repeated one reads it alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rareseg.data.folder_lock import sole_writer
from rareseg.data.identity import content_hash
from rareseg.data.records import Case, Dataset, Role
from rareseg.data.store.store import open_store
from rareseg.decision.operating_point import OperatingPoint
from rareseg.errors import DataError, ReadError, RunError
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.prediction.model import Model
from rareseg.prediction.scorer import ModelScorer
from rareseg.progress import Track, silent
from rareseg.quality.suspects import (
    ComponentEvidence,
    SetAside,
    Suspect,
    collect_evidence,
    judge,
    save_suspects,
)
from rareseg.run.scores.case_scoring import ScoredCase, score_each
from rareseg.run.setup.network_folds import folds_of_run
from rareseg.run.setup.own_data import known_dataset
from rareseg.run.setup.prepare import Say, say_nothing
from rareseg.run.setup.run_folder import RunFolder, open_run
from rareseg.run.setup.split_files import read_split
from rareseg.training.mining_round import RECORD, read_record
from rareseg_runner.atomic_files import atomic_write, naming
from rareseg_runner.formats import read_mask
from rareseg_runner.image_records import Classes
from rareseg_runner.preprocessing.preprocess import class_indices

VERSION = 1
"""Raised whenever evidence of the old kind could be misread."""

ENSEMBLE = "all networks"
"""The scorer of cases that no network learned from."""

UNLEARNT: tuple[Role, ...] = ("validation", "certify", "test")


@dataclass(frozen=True)
class SuspectsFound:
    """What was found, the file that it stands in, and which cases it is about, in a sentence."""

    suspects: tuple[Suspect, ...]
    file: Path
    scope: str


def find_suspects(
    run: Path | str,
    *,
    device: str | torch.device = "cpu",
    track: Track = silent,
    say: Say = say_nothing,
) -> SuspectsFound:
    """Find suspects in the labels of a run's cases and write them to ``RUN/suspects.json``.

    Of a run in folds every case is scored by the networks that had not seen it, test cases by all
    together; of any other run only the cases that nothing was learnt from are scored, and
    ``say`` is told so. Raises :class:`RunError` for a folder that is no finished run or has no case
    that was not learnt from, :class:`DataError` where the run's own data are not what they were,
    and this or :class:`ReadError` for a case that cannot be scored.
    """
    folder = open_run(Path(run))
    with sole_writer(folder.root):
        return _find_suspects(folder, device, track, say)


def _find_suspects(
    folder: RunFolder, device: str | torch.device, track: Track, say: Say
) -> SuspectsFound:
    model, points = load_model(folder.bundle), load_decisions(folder.bundle).points
    dataset = known_dataset(folder)
    plan = plan_scorers(folder, dataset, model)
    scope = _scope(plan, n_cases=len(dataset.cases), held_out=model.recipe.split.held_out)
    say(scope)
    kept = _EvidenceFile(
        folder.root / "scores" / "component_evidence.jsonl", _key(model, points, dataset)
    )
    for scorer, (own_model, cases) in plan.items():
        left = [case for case in cases if case.id not in kept.cases]
        if not left:
            continue
        aside = _set_aside(folder, {case.id for case in left})
        images = ModelScorer(own_model, device=device)
        for scored in score_each(images, left, track=track, doing=f"looking with {scorer}"):
            kept.add(
                scored.case.id, _collect_evidence(scored, model.classes, points, scorer, aside)
            )
    in_folds = len(plan) > (ENSEMBLE in plan)
    suspects = judge(kept.all_evidence, model.classes, ensemble=ENSEMBLE if in_folds else None)
    file = folder.root / "suspects.json"
    save_suspects(file, suspects)
    return SuspectsFound(suspects, file, scope)


Scorers = Mapping[str, tuple[Model, Sequence[Case]]]
"""By scorer: its model, and the cases that it is to look at."""


def plan_scorers(folder: RunFolder, dataset: Dataset, model: Model) -> Scorers:
    """Say who looks at which case: never a network that learned from it.

    Raises :class:`RunError` where nobody may look at any.
    """
    roles = read_split(folder.split)
    folds = folds_of_run(folder, model)
    if folds and folds.count != model.members:
        raise RunError(
            f"{folder.folds} names {folds.count} folds, but {folder.bundle} holds "
            f"{model.members} networks; copy the run again, or train into another --out."
        )
    plan: dict[str, tuple[Model, Sequence[Case]]] = {}
    for number in range(folds.count):
        own = [case for case in dataset.cases if folds.fold_of.get(case.id) == number]
        plan[f"fold {number + 1}"] = (model.mean_of(folds.blind_to(number)), own)
    unlearnt = [case for case in dataset.cases if roles.get(case.id) in UNLEARNT]
    if unlearnt:
        plan[ENSEMBLE] = (model, unlearnt)
    if not plan:
        raise RunError(
            f"{folder.root} has no case that nothing was learnt from; train with --folds to have "
            "every case scored by a network that has not seen it."
        )
    return plan


def _scope(plan: Scorers, *, n_cases: int, held_out: int) -> str:
    """Return one sentence about which cases are looked at, and by whom."""
    by_all = len(plan[ENSEMBLE][1]) if ENSEMBLE in plan else 0
    n_folds = len(plan) - (ENSEMBLE in plan)
    if n_folds == 0:
        return (
            f"Of {n_cases} cases only the {by_all} that the network did not learn from are looked "
            "at; train with --folds 5 to have every case looked at."
        )
    learnt = sum(len(cases) for scorer, (_, cases) in plan.items() if scorer != ENSEMBLE)
    by_all_too = f", and {by_all} held-out cases by all {n_folds} together" if by_all else ""
    who = "one" if held_out == 1 else f"{held_out}"
    return (
        f"{learnt} cases are looked at, each by the {who} of {n_folds} networks that had not seen "
        f"it{by_all_too}."
    )


def _collect_evidence(
    scored: ScoredCase,
    classes: Classes,
    points: Mapping[str, OperatingPoint],
    scorer: str,
    aside: Mapping[str, Sequence[tuple[SetAside, tuple[int, ...]]]],
) -> tuple[ComponentEvidence, ...]:
    case, shape = scored.case, scored.labels.shape
    return collect_evidence(
        scored.probabilities,
        scored.labels,
        classes,
        points,
        case_id=case.id,
        scorer=scorer,
        group=case.group,
        spacing=scored.image.geometry.spacing,
        annotations=_annotations(case, classes, shape),
        aside=[_on_grid(note, grid, shape) for note, grid in aside.get(case.id, ())],
    )


def _annotations(case: Case, classes: Classes, shape: tuple[int, ...]) -> list[NDArray[np.uint8]]:
    """Return what each annotator drew, as class indices; nothing where one drew nothing."""
    drawn = []
    for name, path in case.annotations:
        if path is None:
            drawn.append(np.zeros(shape, np.uint8))
            continue
        try:
            labels = class_indices(read_mask(path).array, classes.values, classes.ignore_value)
        except ReadError:
            raise
        except DataError as error:
            raise DataError(f"case '{case.id}', annotator '{name}': {error}") from error
        drawn.append(labels)
    return drawn


def _set_aside(
    folder: RunFolder, cases: set[str]
) -> dict[str, list[tuple[SetAside, tuple[int, ...]]]]:
    """Return what mining had set aside in these cases by the end, with the shape of its grid.

    In a run in folds by any of the networks that learned from the case.
    """
    records = sorted(folder.training.glob(f"**/{RECORD}"))
    suspects = [s for path in records for s in read_record(path).suspects if s.case in cases]
    if not suspects or not (folder.store / "store.json").is_file():
        return {}
    table = open_store(folder.store, verify=False).cases
    shapes = dict(zip(table.ids, table.shape.tolist(), strict=True))
    found: dict[str, list[tuple[SetAside, tuple[int, ...]]]] = {}
    for suspect in suspects:
        note = SetAside(suspect.box, suspect.true, suspect.predicted)
        found.setdefault(suspect.case, []).append((note, tuple(shapes[suspect.case])))
    return found


def _on_grid(note: SetAside, grid: Sequence[int], shape: Sequence[int]) -> SetAside:
    """Return a box of the store's grid on the image's own, which may be finer or coarser."""
    z, y, x = (
        (low * own // stored, -(-high * own // stored))
        for (low, high), stored, own in zip(note.box, grid, shape, strict=True)
    )
    return replace(note, box=(z, y, x))


def _key(model: Model, points: Mapping[str, OperatingPoint], dataset: Dataset) -> str:
    """Return the hash of all that evidence depends on."""
    cuts = {
        region: (point.threshold, point.smallest_component.plain)
        for region, point in points.items()
    }
    parts = [VERSION, model.digest, sorted(cuts.items()), content_hash(dataset)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class _EvidenceFile:
    """The evidence found so far, in a file that only grows: a key, then one line for each case.

    A file of another key is begun anew; a line cut short by a kill is found anew.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self.all_evidence: list[ComponentEvidence] = []
        self.cases: set[str] = set()
        lines = list(self._read(key))
        with atomic_write(path) as temporary:
            text = "".join(json.dumps(line) + "\n" for line in ({"key": key}, *lines))
            temporary.write_text(text, encoding="utf-8")
        for line in lines:
            self._take(line)

    def add(self, case_id: str, all_evidence: Sequence[ComponentEvidence]) -> None:
        """Keep the evidence of a case."""
        line = {"case": case_id, "evidence": [asdict(evidence) for evidence in all_evidence]}
        with naming(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._take(line)

    def _take(self, line: Mapping[str, Any]) -> None:
        self.cases.add(line["case"])
        self.all_evidence += [ComponentEvidence.from_dict(values) for values in line["evidence"]]

    def _read(self, key: str) -> Iterator[dict[str, Any]]:
        if not self._path.is_file():
            return
        lines = self._path.read_text(encoding="utf-8").split("\n")
        if lines[0] != json.dumps({"key": key}):
            return
        for line in lines[1:-1]:  # the last one is empty, or was cut short
            try:
                yield json.loads(line)
            except ValueError:
                return  # damaged: this case and those after it are looked at again
