"""Predict images: one mask per region and one label map per image, at the chosen points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rareseg.data.dataset import open_images
from rareseg.data.formats import mask_suffix, read_image, write_mask, write_probabilities
from rareseg.data.records import Case, Image
from rareseg.data.score_files.image_score_files import NAME as PRESENCES
from rareseg.data.score_files.image_score_files import PresenceFile
from rareseg.decision.calibration.calibration import Calibration
from rareseg.decision.decisions import Decisions
from rareseg.decision.operating_point import Infeasible
from rareseg.errors import DataError, OutputError, ReadError, UsageError
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.prediction.detector import Detector
from rareseg.prediction.model import Model
from rareseg.progress import Track, silent
from rareseg.run.outputs.guarantee_text import statement_lines
from rareseg.run.setup.prepare import Say, say_nothing
from rareseg.run.setup.run_folder import claim, find_bundle
from rareseg.run.tune import describe


def predict(
    run: Path | str,
    images: Path | str,
    out: Path | str,
    *,
    probabilities: bool = False,
    calibrated: bool = False,
    device: str | torch.device = "cpu",
    track: Track = silent,
    say: Say = say_nothing,
) -> list[Path]:
    """Write ``out/ID.ext`` (label map) and ``out/REGION/ID.ext`` (0/1 masks) for every image.

    ``run`` is a run's folder, or its bundle alone, wherever that lies.
    Masks are on each image's own grid, in its own format (PNG for JPEG, NIfTI for DICOM).
    ``probabilities`` also writes ``out/probabilities/REGION/ID.ext``, ``calibrated`` as the run's
    calibration makes them; masks are cut from the scores as they are either way. Where the model
    tells the presence, ``out/probabilities/image_scores.csv`` holds it beside them. Images whose
    label map is there already, by this model at these points, are skipped, so that an interrupted
    call can be repeated. Returns the label maps.

    Raises :class:`DataError` for images that the model cannot take, or where a calibration is asked
    for and was never fitted, :class:`UsageError` for ``calibrated`` without ``probabilities``, and
    :class:`OutputError` where ``out`` is a file, the folder that the images come from, or holds
    anything else.
    """
    out = Path(out)
    place = find_bundle(Path(run))
    model, decisions = load_model(place), load_decisions(place)
    if not decisions.points:
        raise DataError(
            f"{run} has no operating point; choose one with `rareseg tune {run} --maximize dice`."
        )
    calibration = _calibration(decisions, Path(run), probabilities) if calibrated else {}
    for found in decisions.found.values():
        say(describe(found) + (" It is cut at 0.5." if isinstance(found, Infeasible) else ""))
    guarantees = statement_lines(decisions, model.arithmetic(torch.device(device).type))
    for line in (line for lines in guarantees.values() for line in lines):
        say(line)
    cases = open_images(Path(images), channels=model.training.files_per_case)
    _require_other_place(out, cases)
    _begin(out, model, decisions, calibration)
    detector = Detector(model, decisions, device=device)
    targets = {case.id: out / f"{case.id}{mask_suffix(case.images[0])}" for case in cases}
    told = None
    if probabilities and model.tells_presence:
        kept = [case for case, target in targets.items() if target.is_file()]
        told = PresenceFile(out / "probabilities" / PRESENCES, kept=kept)
    for case in track(cases, "predicting", len(cases)):
        target = targets[case.id]
        if not target.is_file():
            _predict_case(detector, case, target, calibration if probabilities else None, told)
    return list(targets.values())


def _predict_case(
    detector: Detector,
    case: Case,
    target: Path,
    calibration: Mapping[str, Calibration] | None,
    told: PresenceFile | None,
) -> None:
    """Write everything of one case, the label map last: where it stands, the rest does too.

    Probabilities are written where ``calibration`` is not None, and calibrated where it says how;
    the presence of the regions goes to ``told``.
    """
    image = read_image(case.images)
    try:
        found = detector(image)
    except ReadError:
        raise
    except DataError as error:
        raise DataError(f"case '{case.id}': {error}") from error
    for region, score in found.scores.items():
        _write(target.parent / region / target.name, found.masks[region].astype(np.uint8), image)
        if calibration is not None:
            place = target.parent / "probabilities" / region / target.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shown = calibration[region].apply(score) if region in calibration else score
            write_probabilities(place, shown, image.geometry)
    if told is not None and found.presence is not None:
        told.add(case.id, found.presence)
    _write(target, found.labels, image)


def _calibration(decisions: Decisions, run: Path, probabilities: bool) -> Mapping[str, Calibration]:
    """Return the calibration of every region that has a point."""
    if not probabilities:
        raise UsageError("--calibrated says what --probabilities writes; give both or neither.")
    calibration = decisions.calibration
    missing = [region for region in decisions.points if region not in calibration]
    if missing:
        raise DataError(
            f"{run} was never calibrated for {', '.join(missing)}; call `rareseg calibrate {run}`."
        )
    return calibration


def _begin(
    out: Path, model: Model, decisions: Decisions, calibration: Mapping[str, Calibration]
) -> None:
    """Note in ``out/predictions.json`` which model and points its masks are of."""
    about: dict[str, object] = {
        "weights": model.digest,
        "points": {region: point.to_dict() for region, point in decisions.points.items()},
    }
    if calibration:
        about["calibration"] = {region: own.to_dict() for region, own in calibration.items()}
    claim(
        out,
        "predictions.json",
        about,
        "predictions of another model, at other operating points or calibrated otherwise",
    )


def _write(path: Path, mask: NDArray[np.integer], image: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask(path, mask, image.geometry)


def _require_other_place(out: Path, cases: tuple[Case, ...]) -> None:
    """Raise :class:`OutputError` where predictions would land among the images."""
    if out.is_file():
        raise OutputError(f"--out {out} is a file; name a folder.")
    sources = {path.parent.resolve() for case in cases for path in case.images}
    if out.resolve() in sources:
        raise OutputError(
            f"--out {out} is the folder that the images come from; masks would overwrite them. "
            "Name another folder."
        )
