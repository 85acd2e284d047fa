"""Predict cases for review with networks that have not seen them, and cache them."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray

from rareseg.data.records import Role
from rareseg.errors import DataError, ReadError
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.prediction.scorer import ModelScorer
from rareseg.run.setup.network_folds import Folds, folds_of_run
from rareseg.run.setup.run_folder import RunFolder
from rareseg.run.setup.split_files import read_split
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.decision.cut_point import apply_point
from rareseg_runner.decision.label_map import class_map
from rareseg_runner.decision.region_scores import region_scores
from rareseg_runner.image_records import Classes, Image

_KNOWN_AS: Mapping[Role, str] = {
    "train": "the model, which learnt from this very case and so agrees with its label more than "
    "with others",
    "validation": "the model, whose operating points were chosen on this case among others",
    "certify": "the model, which had not seen this case",
    "test": "the model, which had not seen this case",
}

_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)
"""What numpy and zipfile say of a file that is missing, cut off or no archive."""


class CasePredictions:
    """The run's class maps at its operating points, one case at a time.

    A case that folds were learnt from is predicted by the networks that had not seen it; any other
    by the whole model. What was predicted is kept in ``folder``, and is the same when it is asked
    for again. ``digest`` names networks and points: with others, other masks were seen.
    """

    def __init__(self, run: RunFolder, folder: Path, *, device: str | torch.device = "cpu") -> None:
        self.model = load_model(run.bundle)
        self.points = load_decisions(run.bundle).points_in_use
        self.device = device
        self.roles = read_split(run.split)
        in_folds = self.model.cascade is None
        self.folds = folds_of_run(run, self.model) if in_folds else Folds({})
        about = {
            "weights": self.model.digest,
            "points": {region: point.to_dict() for region, point in self.points.items()},
            "folds": self.folds.fold_of,
        }
        if self.model.presence:
            scalings = self.model.presence.items()
            about["presence"] = {region: own.to_dict() for region, own in scalings}
        text = json.dumps(about, sort_keys=True)
        self.digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.folder = folder / self.digest
        self._scorers: dict[int | None, ModelScorer] = {}
        self._lock = Lock()

    @property
    def classes(self) -> Classes:
        """The classes and regions of the model."""
        return self.model.classes

    def of(self, case_id: str, image: Image) -> NDArray[np.uint8]:
        """Return the class indices (z, y, x) that the model gives a case, on its original grid.

        Raises :class:`DataError` where the model cannot take the image.
        """
        path = self.folder / f"{case_id}.npz"
        with self._lock:
            known = _read(path, image.array.shape[1:])
            if known is not None:
                return known
            predicted = self._predict(case_id, image)
            with atomic_write(path) as temporary:
                np.savez_compressed(temporary, classes=predicted)
            return predicted

    def by(self, case_id: str) -> str:
        """Say who predicts a case, and whether it had seen it."""
        fold = self.folds.fold_of.get(case_id)
        if fold is not None and self.folds.held_out == 1:
            return f"the network of fold {fold + 1}, which had not seen this case"
        if fold is not None:
            return f"the mean of {self.folds.held_out} networks, which had not seen this case"
        if self.folds:
            return f"the mean of {self.model.members} networks, none of which had seen this case"
        return _KNOWN_AS[self.roles[case_id]]

    def _predict(self, case_id: str, image: Image) -> NDArray[np.uint8]:
        try:
            found = self._scorer(self.folds.fold_of.get(case_id)).score(image)
        except ReadError:
            raise
        except DataError as error:
            raise DataError(f"case '{case_id}': {error}") from error
        classes = self.classes
        nothing = np.zeros(found.probabilities.shape[1:], np.bool_)
        masks = {
            region: apply_point(
                score,
                self.points[region],
                found.presence_of(region),
                spacing=image.geometry.spacing,
            )
            if region in self.points
            else nothing
            for region, score in region_scores(found.probabilities, classes).items()
        }
        return class_map(found.probabilities, masks, classes)

    def _scorer(self, fold: int | None) -> ModelScorer:
        """Return the networks blind to a fold, or the whole model; each is built once."""
        if fold not in self._scorers:
            model = self.model
            if fold is not None:
                model = model.mean_of(self.folds.blind_to(fold))
            self._scorers[fold] = ModelScorer(model, device=self.device)
        return self._scorers[fold]


def _read(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Return what was kept, or None where it is absent or damaged and must be made again."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            classes: NDArray[np.uint8] = kept["classes"]
    except _DAMAGED:
        return None
    return classes if classes.shape == shape and classes.dtype == np.uint8 else None
