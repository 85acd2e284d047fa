"""Predict images: one mask per region and one label map per image, at the chosen points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rareseg.data.dataset import open_images
from rareseg.data.formats import mask_suffix, read_image, write_mask, write_probabilities
from rareseg.data.presences import NAME as PRESENCES
from rareseg.data.presences import PresenceFile
from rareseg.data.records import Case, Image
from rareseg.decision.calibration import Calibration
from rareseg.decision.operating_point import Infeasible, apply_point
from rareseg.errors import DataError, OutputError, ReadError, UsageError
from rareseg.evaluation.scores import region_scores
from rareseg.prediction.bundle import Bundle, load_bundle
from rareseg.prediction.predictor import Predictor, label_map
from rareseg.progress import Track, silent
from rareseg.run.folder import RunFolder, claim, find_bundle
from rareseg.run.points import decided_points, points_in_use
from rareseg.run.prepare import Say, nobody
from rareseg.run.statements import statement_lines
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
    say: Say = nobody,
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
    bundle = load_bundle(place)
    if not bundle.points:
        raise DataError(
            f"{run} has no operating point; choose one with `rareseg tune {run} --maximize dice`."
        )
    calibration = _calibration(bundle, Path(run), probabilities) if calibrated else {}
    choices = RunFolder(Path(run)).decision
    for found in decided_points(bundle.points, bundle.classes.regions, choices).values():
        say(describe(found) + (" It is cut at 0.5." if isinstance(found, Infeasible) else ""))
    promises = statement_lines(bundle, place, device=device)
    for line in (line for lines in promises.values() for line in lines):
        say(line)
    cases = open_images(Path(images), channels=bundle.trained["files_per_case"])
    _require_other_place(out, cases)
    _begin(out, bundle, calibration)
    predictor = Predictor(bundle, device=device)
    targets = {case.id: out / f"{case.id}{mask_suffix(case.images[0])}" for case in cases}
    told = None
    if probabilities and bundle.tells_presence:
        kept = [case for case, target in targets.items() if target.is_file()]
        told = PresenceFile(out / "probabilities" / PRESENCES, kept=kept)
    for case in track(cases, "predicting", len(cases)):
        target = targets[case.id]
        if not target.is_file():
            _predict_case(predictor, case, target, calibration if probabilities else None, told)
    return list(targets.values())


def _predict_case(
    predictor: Predictor,
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
        found = predictor.predict(image)
    except ReadError:
        raise
    except DataError as error:
        raise DataError(f"case '{case.id}': {error}") from error
    classes = predictor.bundle.classes
    points = points_in_use(predictor.bundle.points, classes.regions)
    masks = {}
    for region, score in region_scores(found.probabilities, classes).items():
        masks[region] = apply_point(
            score, points[region], found.presence_of(region), spacing=image.geometry.spacing
        )
        _write(target.parent / region / target.name, masks[region].astype(np.uint8), image)
        if calibration is not None:
            place = target.parent / "probabilities" / region / target.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shown = calibration[region].apply(score) if region in calibration else score
            write_probabilities(place, shown, image.geometry)
    if told is not None and found.presence is not None:
        told.add(case.id, found.presence)
    _write(target, label_map(found.probabilities, masks, classes), image)


def _calibration(bundle: Bundle, run: Path, probabilities: bool) -> Mapping[str, Calibration]:
    """Return the calibration of every region that has a point."""
    if not probabilities:
        raise UsageError("--calibrated says what --probabilities writes; give both or neither.")
    missing = [region for region in bundle.points if region not in bundle.calibration]
    if missing:
        raise DataError(
            f"{run} was never calibrated for {', '.join(missing)}; call `rareseg calibrate {run}`."
        )
    return bundle.calibration


def _begin(out: Path, bundle: Bundle, calibration: Mapping[str, Calibration]) -> None:
    """Note in ``out/predictions.json`` which model and points its masks are of."""
    about: dict[str, object] = {
        "trained": dict(bundle.trained),
        "points": {region: point.to_dict() for region, point in bundle.points.items()},
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
