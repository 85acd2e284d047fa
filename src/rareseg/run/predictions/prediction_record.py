"""Keep in ``predictions.json`` of which model, points and images the masks of a folder are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rareseg.data.input_images import PREDICTIONS
from rareseg.decision.calibration.calibration import Calibration
from rareseg.decision.decisions import Decisions
from rareseg.prediction.model import Model
from rareseg.run.predictions.predicted_case import PredictedCase
from rareseg.run.setup.run_folder import claim
from rareseg_runner.atomic_files import atomic_write

_IMAGES = "images"
"""The key that leads from ids to the digests of images."""


def claim_predictions(
    out: Path,
    model: Model,
    decisions: Decisions,
    calibration: Mapping[str, Calibration],
    values: int | str | None,
) -> None:
    """Note of which model, points and ``--values`` the masks in ``out`` are.

    Raises :class:`~rareseg.errors.OutputError` where the folder holds anything else.
    """
    about: dict[str, object] = {
        "weights": model.digest,
        "points": {region: point.to_dict() for region, point in decisions.points.items()},
    }
    if calibration:
        about["calibration"] = {region: own.to_dict() for region, own in calibration.items()}
    if values is not None:
        about["values"] = values
    claim(
        out,
        PREDICTIONS,
        about,
        "predictions of another model, at other operating points, calibrated otherwise or with "
        "other --values",
        later=_IMAGES,
    )


def note_images(out: Path, known: Mapping[str, PredictedCase]) -> None:
    """Note of which images, by their digests, the masks in ``out`` are."""
    about = json.loads((out / PREDICTIONS).read_text(encoding="utf-8"))
    about[_IMAGES] = {name: case.digest for name, case in known.items()}
    with atomic_write(out / PREDICTIONS) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
