"""Export a run's model: one folder that decides without torch, and how faithful it is."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rareseg.data.case_files import read_case_image
from rareseg.data.records import Case
from rareseg.decision.decisions import Decisions
from rareseg.errors import DataError, UsageError, WorkError, nearest
from rareseg.prediction.bundle import as_text, load_decisions, load_model, model_record, save_model
from rareseg.prediction.engine_export import export_networks
from rareseg.prediction.model import Model
from rareseg.prediction.scorer import ModelScorer, describe_model
from rareseg.progress import Track, silent
from rareseg.report.wording.numbers import count
from rareseg.run.outputs.exported_readme import exported_readme
from rareseg.run.outputs.guarantee_text import statement_lines
from rareseg.run.setup.bundle_images import NAME as BUNDLE_IMAGES
from rareseg.run.setup.own_data import cases_of
from rareseg.run.setup.run_folder import RunFolder, open_run, require_free
from rareseg.run.tune import describe
from rareseg_runner.atomic_files import atomic_folder
from rareseg_runner.bundle_archive import DESCRIPTION
from rareseg_runner.decision.detection import Detection, decide
from rareseg_runner.exported_model import Fidelity
from rareseg_runner.scoring.engines import engines

TORCH = "torch"
"""The engine that is rareseg itself."""

MOST_PIXELS = 0.002
"""The largest share of pixels that may differ before an export asks for --allow-differences."""

_KEPT = ("NOTICE", "MODEL_CARD.md", "LICENSES", BUNDLE_IMAGES)
"""What an export takes over from the bundle beside its decisions."""


@dataclass(frozen=True)
class Exported:
    """An exported model: its folder, and how it differs from the run (torch: not at all, None)."""

    folder: Path
    fidelity: Fidelity | None


def export(
    run: Path | str,
    out: Path | str,
    *,
    engine: str = "openvino",
    precision: str = "auto",
    allow_differences: bool = False,
    records: bool = True,
    track: Track = silent,
) -> Exported:
    """Write the model of a finished run, with its decisions, for an engine.

    The engine "torch" is rareseg itself: the folder holds the weights as they are. For others the
    masks of all validation cases (training cases, where there are none) are compared with those
    of the run's own model, and the difference is written in. With ``records`` the folder keeps what
    the run knows of its data (names of cases, digests, thumbnails of the images), without which it
    predicts, and can be neither evaluated nor certified. Nothing stands under ``out`` before all is
    written.

    Raises :class:`WorkError` where a flag, or more than 0.2 % of the pixels, differs and
    ``allow_differences`` does not allow it, or where the engine is not installed;
    :class:`UsageError` for one that is not known, :class:`OutputError` where ``out`` holds anything
    else, :class:`RunError` where there is no finished run.
    """
    if engine not in (known := (*engines(), TORCH)):
        raise UsageError(
            f"The engine '{engine}' is unknown; allowed are {', '.join(known)}"
            f"{nearest(engine, known)}."
        )
    folder, out = open_run(Path(run)), Path(out)
    require_free(out)
    model, decisions = load_model(folder.bundle), load_decisions(folder.bundle)
    if model.engine is not None:
        raise UsageError(f"{run} is exported already, for {model.engine.name}; name its run.")
    cases = cases_of(folder, "validation") or cases_of(folder, "train")
    with atomic_folder(out, is_synced=True) as new:
        if engine == TORCH:
            exported, fidelity = _with_weights(model, new, precision), None
        else:
            files = export_networks(model, new, engine, precision)
            exported = replace(model, weights={}, engine=files, folder=new)
            fidelity, flags = compare_models(model, exported, folder, cases, track=track)
            exported = replace(exported, engine=replace(files, fidelity=fidelity))
            if not allow_differences:
                require_faithful(fidelity, flags, engine)
            _write_description(exported, new)
        decisions.save(new)
        for name in _KEPT:
            _copy(folder.bundle / name, new / name)
        if records:
            _copy_records(folder, RunFolder(new / RunFolder.RECORDS))
        text = exported_readme(exported, _decided(exported, decisions), has_records=records)
        (new / "README.md").write_text(text, encoding="utf-8")
    return Exported(out, fidelity)


def _with_weights(model: Model, folder: Path, precision: str) -> Model:
    """Write the model as it is; UsageError where another precision is asked for."""
    if precision not in ("auto", model.precision):
        raise UsageError(
            f"The run scores in {model.precision}, and torch computes what the run computes; leave "
            "--precision out, or train with prediction.precision set."
        )
    return save_model(folder, model)


def compare_models(
    model: Model,
    exported: Model,
    folder: RunFolder,
    cases: Sequence[Case],
    *,
    track: Track = silent,
) -> tuple[Fidelity, tuple[str, ...]]:
    """Return how the masks of two models differ at the points in use, on some cases.

    The ids of the cases whose flags differ stand beside it.
    """
    points = load_decisions(folder.bundle).points_in_use
    scorers = ModelScorer(model), ModelScorer(exported)
    largest, differing, pixels = 0.0, 0, 0
    flags = []
    for case in track(cases, "comparing with the run", len(cases)):
        image = read_case_image(case)
        try:
            first, second = (
                decide(image, scorer.score(image), model.classes, points) for scorer in scorers
            )
        except DataError as error:
            raise DataError(f"case '{case.id}': {error}") from error
        largest = max(largest, _largest_difference(first, second))
        differing += sum(
            int((first.masks[region] != second.masks[region]).sum()) for region in points
        )
        pixels += sum(mask.size for mask in first.masks.values())
        if first.flagged != second.flagged:
            flags.append(case.id)
    found = Fidelity(len(cases), largest, differing / max(1, pixels), len(flags))
    return found, tuple(flags)


def _decided(model: Model, decisions: Decisions) -> list[str]:
    """Return the points in use and what is guaranteed of them, in words."""
    guarantees = statement_lines(decisions, model.arithmetic("cpu"))
    return [
        *map(describe, decisions.found.values()),
        *(line for lines in guarantees.values() for line in lines),
    ]


def _largest_difference(first: Detection, second: Detection) -> float:
    return max(
        float(np.abs(first.scores[region] - second.scores[region]).max(initial=0.0))
        for region in first.scores
    )


def require_faithful(fidelity: Fidelity, flags: Sequence[str], engine: str) -> None:
    """Raise :class:`WorkError` where an exported model decides otherwise.

    ``flags`` are the ids of the cases that it flags otherwise.
    """
    if flags:
        what = f"{count(len(flags), 'case')} (such as {', '.join(flags[:3])}) would be flagged"
    elif fidelity.pixels_differ >= MOST_PIXELS:
        what = f"{100 * fidelity.pixels_differ:.2g} % of the pixels would be cut"
    else:
        return
    raise WorkError(
        f"With {engine} {what} otherwise than by the run, of "
        f"{count(fidelity.n_cases, 'case')}: nothing was written. Choose --precision 32, or accept "
        "it with --allow-differences."
    )


def _write_description(model: Model, folder: Path) -> None:
    assert model.engine is not None
    settings = describe_model(model).settings
    record = model_record(model) | {
        "scoring": vars(settings),  # in JSON a tuple is a list
        "engine": model.engine.to_dict(),
    }
    (folder / DESCRIPTION).write_text(as_text(record), encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _copy_records(source: RunFolder, target: RunFolder) -> None:
    """Copy what a run knows of its data: no image, no mask, no score."""
    for own, new in zip(source.records, target.records, strict=True):
        _copy(own, new)
