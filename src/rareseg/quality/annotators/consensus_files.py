"""Write a data set of consensus masks, which can be trained on."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rareseg.data.folder_lock import one_writer
from rareseg.data.layouts.dataset_json import IGNORE_NAME
from rareseg.data.records import Dataset
from rareseg.errors import DataError, OutputError, ProblemsError
from rareseg.evaluation.measures.scorecard import plain_record
from rareseg.evaluation.statistics.undefined import Undefined, is_defined
from rareseg.progress import Track, silent
from rareseg.quality.annotators.agreement import CaseAgreement, DrawnObject
from rareseg.quality.annotators.all_annotators import (
    AnnotatorResults,
    compare_and_unite,
    ignore_value,
    is_kept,
)
from rareseg.quality.annotators.consensus import ConsensusSettings
from rareseg_runner.atomic_files import atomic_folder


@one_writer("out", beside=True)
def write_consensus(
    dataset: Dataset,
    out: Path,
    settings: ConsensusSettings | None = None,
    *,
    jobs: int = -1,
    track: Track = silent,
) -> AnnotatorResults:
    """Unite the masks of every case and write them to ``out`` as a data set, whole or not at all.

    ``out`` gets ``masks/``, ``manifest.csv``, ``dataset.json``, ``agreement.json``,
    ``agreement.csv`` and ``objects.csv``; images stay where they are and are named by path.
    ``dataset`` comes from :func:`rareseg.data.dataset.open_annotations`.

    Raises :class:`OutputError` where ``out`` holds anything, :class:`DataError` where no case has
    enough reviews, and otherwise as :func:`measure_agreement`.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise OutputError(
            f"{out} exists already and nothing in it was changed; choose another --out, or remove "
            "it first."
        )
    settings = settings or ConsensusSettings()
    if dataset.problems:
        raise ProblemsError(dataset.problems)
    if not any(is_kept(case, settings) for case in dataset.cases):
        most = max(len(case.annotations) for case in dataset.cases)
        raise DataError(
            f"{dataset.root} has no case with {settings.minimum_reviews} reviews (the most are "
            f"{most}); ask for fewer with --minimum-reviews, or add masks."
        )
    with atomic_folder(out) as temporary:
        (temporary / "masks").mkdir()
        agreed = compare_and_unite(dataset, settings, temporary / "masks", jobs=jobs, track=track)
        _write_manifest(temporary, out, dataset, agreed)
        _write_declared(temporary / "dataset.json", dataset, agreed)
        _write_json(temporary / "agreement.json", agreement_record(agreed))
        _write_csv(temporary / "agreement.csv", [_case_row(case) for case in agreed.cases])
        objects = [_object_row(component) for case in agreed.cases for component in case.objects]
        _write_csv(temporary / "objects.csv", objects)
    return agreed


def agreement_record(agreed: AnnotatorResults) -> dict[str, Any]:
    """Return everything but the rows of cases and objects, which are CSV, as JSON takes it."""
    classes, kept = agreed.classes, agreed.kept
    return {
        "settings": plain_record(agreed.settings),
        "annotators": agreed.reviews,
        "too_few_reviews": [
            {"id": case.case_id, "reviews": len(case.annotators), "kept": case.mask is not None}
            for case in agreed.few
        ],
        "regions": [plain_record(region) for region in agreed.regions],
        "consensus": {
            "cases": len(kept),
            "voxels": {
                name: sum(case.voxels[k] for case in kept) for k, name in enumerate(classes.names)
            },
            "cases_without_certain_foreground": [case.case_id for case in agreed.undecided],
            "ambiguous_voxels": sum(case.ambiguous for case in kept),
            "ignored_voxels": sum(case.ignored for case in kept),
            "classes_without_consensus": list(agreed.unheld),
        },
        "cases": [plain_record(case) for case in agreed.consensus],
    }


def _write_manifest(folder: Path, out: Path, dataset: Dataset, agreed: AnnotatorResults) -> None:
    """Write the manifest of the kept cases; image paths are relative to where it will stand."""
    masks = {case.case_id: case.mask for case in agreed.kept}
    cases = [case for case in dataset.cases if case.id in masks]
    channels = max(len(case.images) for case in cases)
    names = ["image"] if channels == 1 else [f"image_{number}" for number in range(channels)]
    home = out.resolve()
    _write_csv(
        folder / "manifest.csv",
        [
            {
                "id": case.id,
                **dict.fromkeys(names, ""),
                **{
                    name: _relative_path(home, image)
                    for name, image in zip(names, case.images, strict=False)
                },
                "mask": f"masks/{masks[case.id]}",
                "group": case.group or "",
                "split": case.role or "",
            }
            for case in cases
        ],
    )


def _relative_path(home: Path, image: Path) -> str:
    """Return the path to an image from a folder; links to files stay links."""
    place = image.parent.resolve() / image.name
    try:
        return Path(os.path.relpath(place, home)).as_posix()
    except ValueError:  # another drive
        return place.as_posix()


def _write_declared(path: Path, dataset: Dataset, agreed: AnnotatorResults) -> None:
    """Write what the masks hold: labels with ignore, and the regions that were declared.

    Classes that no mask holds are left out, unless none is held: training would stop at them.
    """
    classes = agreed.classes
    gone = set(agreed.unheld) if len(agreed.unheld) < classes.count - 1 else set()
    pairs = zip(classes.names[1:], classes.values[1:], strict=True)
    labels = {name: value for name, value in pairs if name not in gone}
    regions = {
        name: [value for value in values if value in labels.values()]
        for name, values in (dataset.regions or {}).items()
    }
    content: dict[str, Any] = {
        "labels": {"background": 0, **labels, IGNORE_NAME: ignore_value(classes)}
    }
    if dataset.channel_names:
        content["channel_names"] = {str(k): name for k, name in enumerate(dataset.channel_names)}
    if any(regions.values()):
        content["regions"] = {name: values for name, values in regions.items() if values}
    _write_json(path, content)


def _case_row(case: CaseAgreement) -> dict[str, object]:
    """Return one line of CSV: what is undefined is "" and its reason stands last."""
    values = {
        "dice": case.dice,
        "surface_dice": case.surface_dice,
        "kappa": case.kappa,
        "kappa_near": case.kappa_near,
        "disagreed_share": case.disagreed_share,
        "ambiguous_share": case.ambiguous_share,
    }
    reasons = [
        f"{name}: {value.reason}" for name, value in values.items() if isinstance(value, Undefined)
    ]
    return {
        "case": case.case_id,
        "region": case.region,
        "group": case.group or "",
        "annotators": len(case.annotators),
        "drew": len(case.drawn_by),
        "voxels": case.votes.voxels,
        "voxels_near": case.near.voxels,
        "drawn": case.votes.drawn,
        "disagreed": case.votes.disagreed,
        "ambiguous": case.ambiguous,
        "objects": len(case.objects),
        "objects_drawn_by_all": sum(
            len(component.drawn_by) == len(case.annotators) for component in case.objects
        ),
        **{name: value if is_defined(value) else "" for name, value in values.items()},
        "undefined": "; ".join(reasons),
    }


def _object_row(component: DrawnObject) -> dict[str, object]:
    """Return one line of CSV: where an object lies, and who drew it."""
    return {
        "case": component.case_id,
        "region": component.region,
        "group": component.group or "",
        "object": component.number,
        "box": " ".join(f"{low}:{high}" for low, high in component.box),
        "voxels": component.voxels,
        "size": component.size,
        "size_unit": component.size_unit,
        "annotators": len(component.annotators),
        "drawn_by": len(component.drawn_by),
        "who": " ".join(component.drawn_by),
        "dice": component.dice if is_defined(component.dice) else "",
    }


def _write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["case"])
        writer.writeheader()
        writer.writerows(rows)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
