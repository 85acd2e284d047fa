"""Apply review answers: a new manifest, corrected masks, and a log.

The sources are only read. What did not change is named by its path, what did lies in the new
folder.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from rareseg.data.case_files import read_case_image, read_case_mask
from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.data.folder_lock import one_writer
from rareseg.data.identity import is_content
from rareseg.data.layouts.manifests.manifest_writing import EMPTY
from rareseg.data.masks.mask_file import as_mask_file
from rareseg.data.records import Case, Dataset, Role
from rareseg.data.store.case_labels import read_labels
from rareseg.errors import OutputError, RunError
from rareseg.evaluation.statistics.undefined import value_to_json
from rareseg.progress import Track, silent
from rareseg.review.answers import Answer, Answers
from rareseg.review.case_predictions import CasePredictions
from rareseg.review.corrections import choose_ignore_value, correct_labels, to_mask_values
from rareseg.review.final_answer import RULE, FinalAnswer, final_answers
from rareseg.review.reviewer_agreement import measure_agreement
from rareseg.run.setup.own_data import known_dataset
from rareseg.run.setup.run_folder import RunFolder, open_run
from rareseg_runner.atomic_files import atomic_folder
from rareseg_runner.formats import mask_suffix, write_mask
from rareseg_runner.image_records import IGNORE, Classes

DECISIONS = "decisions.sqlite"
ACTS = ("accept prediction", "ignore region")
"""Verdicts that can change a mask."""


@dataclass(frozen=True)
class AppliedReview:
    """What a review changed, and where it lies.

    ``changed`` are cases with another mask, with the number of voxels; ``excluded`` cases that are
    left out; ``open`` the items that nothing was done about, for the reasons that they hold.
    ``tests`` are changed or excluded cases of role test.
    """

    manifest: Path
    changed: Mapping[str, int]
    excluded: tuple[str, ...]
    open: tuple[FinalAnswer, ...]
    tests: tuple[str, ...]
    record: Mapping[str, Any] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return what was done, in words."""
        voxels = sum(self.changed.values())
        lines = [
            f"{len(self.changed)} masks corrected ({voxels:,} voxels), {len(self.excluded)} cases "
            f"left out; {self.manifest.parent / 'review.json'} says who decided what."
        ]
        if self.open:
            reasons = sorted({one.reason for one in self.open})
            lines.append(
                f"{len(self.open)} items were decided on and changed nothing "
                f"({'; '.join(reasons)}); review.json lists them."
            )
        if self.tests:
            lines.append(
                f"{len(self.tests)} test cases are among them: compare runs on one truth, "
                "test.csv (as reviewed) or test_as_drawn.csv."
            )
        return lines


def review_folder(run: RunFolder) -> Path:
    """Return the place in a run for decisions and for what was predicted for the page."""
    return run.root / "review"


def open_reviewed(run: RunFolder) -> Dataset:
    """Return the run's data.

    Raises :class:`~rareseg.errors.DataError` where an image or a mask is gone or changed since, and
    :class:`RunError` where what else is declared or drawn has.
    """
    dataset = known_dataset(run)
    if not is_content(dataset, Fingerprint.from_json(run.fingerprint).content_hash):
        raise RunError(
            f"the files of {dataset.root} have changed since {run.root} was begun, so its "
            "predictions are of other data; train on the new data and review that run."
        )
    return dataset


@one_writer("out", beside=True)
def apply_review(
    run: Path | str,
    out: Path | str,
    *,
    device: str | torch.device = "cpu",
    track: Track = silent,
) -> AppliedReview:
    """Write the run's data as reviewed to the new folder ``out``.

    Raises :class:`OutputError` where ``out`` exists, :class:`RunError` where nothing was decided,
    nothing would be left, and what :func:`open_reviewed` does.
    """
    folder, out = open_run(Path(run)), Path(out)
    if out.exists():
        raise OutputError(f"{out} exists already; name a new folder with --out.")
    path = review_folder(folder) / DECISIONS
    if not path.is_file():
        raise RunError(f"{folder.root} was never reviewed; call `rareseg review {folder.root}`.")
    dataset = open_reviewed(folder)
    predictions = CasePredictions(folder, review_folder(folder) / "predictions", device=device)
    with Answers(path) as answers:
        latest = answers.latest()
    final = final_answers(latest, predictions.digest)
    if not final:
        raise RunError(f"{path} holds no decision; call `rareseg review {folder.root}`.")
    _require_known(final, dataset, predictions.classes, path)
    excluded = {one.item.case_id for one in final if one.verdict == "exclude case"}
    kept = [case for case in dataset.cases if case.id not in excluded]
    if not kept:
        raise RunError(f"every case of {dataset.root} was excluded, so that nothing is left.")
    agreement = measure_agreement(latest)
    with atomic_folder(out) as temporary:
        masks = _correct_masks(temporary, kept, final, predictions, track)
        roles = predictions.roles
        reviewed = [masks.cases.get(case.id, case) for case in kept]
        _write_manifest(temporary / "manifest.csv", reviewed, roles)
        tests = [case for case in reviewed if roles[case.id] == "test"]
        drawn = [case for case in dataset.cases if roles[case.id] == "test"]
        if tests:
            _write_manifest(temporary / "test.csv", tests, roles)
            _write_manifest(temporary / "test_as_drawn.csv", drawn, roles)
        _write_json(
            temporary / "dataset.json",
            _declared(dataset, predictions.classes, ignores=masks.ignores),
        )
        touched = {*masks.cases, *excluded}
        applied = AppliedReview(
            manifest=out / "manifest.csv",
            changed={name: sum(masks.voxels[name].values()) for name in masks.cases},
            excluded=tuple(sorted(excluded)),
            open=tuple(one for one in final if one.verdict is None),
            tests=tuple(sorted(name for name in touched if roles[name] == "test")),
        )
        record = {
            "run": str(folder.root.resolve()),
            "data": str(dataset.root.resolve()),
            "prediction": predictions.digest,
            "rule": RULE,
            "items": [_item_record(one, masks, excluded, roles) for one in final],
            "corrected": dict(applied.changed),
            "excluded": list(applied.excluded),
            "test_cases": list(applied.tests),
            "agreement": {
                "reviewers": list(agreement.reviewers),
                "n_items": agreement.n_items,
                "share": value_to_json(agreement.share),
                "kappa": value_to_json(agreement.kappa),
                "method": agreement.method,
            },
        }
        _write_json(temporary / "review.json", record)
    return replace(applied, record=record)


@dataclass(frozen=True)
class _Masks:
    """Cases with a corrected mask, the voxels changed by case and item, and whether any ignores."""

    cases: Mapping[str, Case]
    voxels: Mapping[str, Mapping[str, int]]
    ignores: bool


def _correct_masks(
    out: Path,
    cases: Sequence[Case],
    final: Sequence[FinalAnswer],
    predictions: CasePredictions,
    track: Track,
) -> _Masks:
    """Write the masks that differ from what was drawn."""
    classes = predictions.classes
    ignore_value = choose_ignore_value(classes)
    by_case: defaultdict[str, list[FinalAnswer]] = defaultdict(list)
    for one in final:
        if one.verdict is not None:
            by_case[one.item.case_id].append(one)
    todo = [c for c in cases if any(one.verdict in ACTS for one in by_case.get(c.id, ()))]
    new: dict[str, Case] = {}
    voxels: dict[str, Mapping[str, int]] = {}
    ignores = False
    for case in track(todo, "correcting masks", len(todo)):
        image = read_case_image(case)
        labels = read_labels(case, classes, image)
        found = correct_labels(labels, predictions.of(case.id, image), by_case[case.id], classes)
        voxels[case.id] = found.changed
        if not any(found.changed.values()):
            continue
        mask = read_case_mask(case, image)
        original = labels * 0 if mask is None else mask.array
        geometry = image.geometry if mask is None else mask.geometry
        drawn_in = case.mask if isinstance(case.mask, Path) else case.images[0]
        path = Path("masks") / f"{case.id}{mask_suffix(drawn_in)}"
        (out / "masks").mkdir(exist_ok=True)
        values = to_mask_values(original, labels, found.labels, classes, ignore_value)
        write_mask(out / path, values, geometry)
        new[case.id] = replace(case, mask=path)
        ignores = ignores or bool(((found.labels == IGNORE) & (labels != IGNORE)).any())
    return _Masks(new, voxels, ignores)


def _write_manifest(path: Path, cases: Sequence[Case], roles: Mapping[str, Role]) -> None:
    """Write a manifest; a relative mask is of the new folder."""
    most = max(len(case.images) for case in cases)
    images = ["image"] if most == 1 else [f"image_{number}" for number in range(most)]
    names = list(dict.fromkeys(name for case in cases for name, _ in case.annotations))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *images, "mask", "group", "split", *(f"mask_{n}" for n in names)])
        for case in cases:
            files = [str(image.resolve()) for image in case.images]
            drawn = {name: _named(mask) for name, mask in case.annotations}
            writer.writerow(
                [
                    case.id,
                    *files,
                    *[""] * (most - len(files)),
                    _named(as_mask_file(case, path.parent / "masks")),
                    case.group or "",
                    roles[case.id],
                    *(drawn.get(name, "") for name in names),
                ]
            )


def _named(mask: Path | None) -> str:
    if mask is None:
        return EMPTY
    return str(mask.resolve()) if mask.is_absolute() else mask.as_posix()


def _declared(dataset: Dataset, classes: Classes, *, ignores: bool) -> dict[str, Any]:
    """Return a ``dataset.json`` that gives the classes and regions of the run again."""
    labels = {"background": 0, **dict(zip(classes.names[1:], classes.values[1:], strict=True))}
    if ignores or classes.ignore_value is not None:
        labels["ignore"] = choose_ignore_value(classes)
    declared: dict[str, Any] = {"labels": labels}
    if dataset.regions:
        declared["regions"] = {name: list(values) for name, values in dataset.regions.items()}
    if dataset.channel_names:
        declared["channel_names"] = dict(enumerate(dataset.channel_names))
    return declared


def _item_record(
    one: FinalAnswer, masks: _Masks, excluded: set[str], roles: Mapping[str, Role]
) -> dict[str, Any]:
    item = one.item
    by = [_answer_record(answer) for answer in one.answers]
    record: dict[str, Any] = {
        "case": item.case_id,
        "role": roles[item.case_id],
        "item": item.id,
        "kind": item.kind,
        "region": item.region,
        "box": [list(side) for side in item.box],
        "done": one.verdict,
    }
    if one.verdict is None:
        record["reason"] = one.reason
    elif item.case_id in excluded and one.verdict != "exclude case":
        record["reason"] = "the case was excluded"
    if one.verdict in ACTS:
        record["voxels_changed"] = masks.voxels.get(item.case_id, {}).get(item.id, 0)
    return {**record, "decisions": by}


def _answer_record(answer: Answer) -> dict[str, str]:
    return {
        "reviewer": answer.reviewer,
        "verdict": answer.verdict,
        "note": answer.note,
        "at": answer.at,
    }


def _require_known(
    final: Sequence[FinalAnswer], dataset: Dataset, classes: Classes, path: Path
) -> None:
    known = {case.id for case in dataset.cases}
    for one in final:
        if one.item.case_id not in known or one.item.region not in classes.regions:
            raise RunError(
                f"{path} holds a decision on the case '{one.item.case_id}', region "
                f"'{one.item.region}', which the run does not hold; it belongs to another run."
            )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
