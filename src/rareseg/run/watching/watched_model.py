"""The model that a watch belongs to, and what of it must stay the same from call to call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rareseg.data.records import Case
from rareseg.decision.decisions import Decisions
from rareseg.errors import UsageError
from rareseg.monitoring.observed_features import (
    Observation,
    ObservedFeature,
    disagreement,
    features_of,
    observe,
)
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.prediction.detector import Detector
from rareseg.run.predictions.opened_model import find_run, opened_bundle
from rareseg.run.setup.run_folder import RunFolder
from rareseg_runner.decision.detection import Detection


@dataclass(frozen=True, eq=False)
class WatchedModel:
    """A detector, and the folder of the run that it is of; None of a bundle alone.

    ``members`` are the detectors of its single networks, where these are to be compared.
    """

    detector: Detector
    folder: RunFolder | None
    name: str
    members: tuple[Detector, ...] = ()

    @classmethod
    def open(
        cls, run: Path, device: str | torch.device, *, compare_members: bool = False
    ) -> WatchedModel:
        """Return the model of a run's folder, or of its bundle alone; raises as `opened_bundle`.

        Raises :class:`UsageError` where members are to be compared and there is one network alone.
        """
        with opened_bundle(run) as place:
            model, decisions = load_model(place), load_decisions(place)
            detector = Detector(model, decisions, device=device)
        folder = find_run(run)
        if not compare_members:
            return cls(detector, folder, run.resolve().name)
        if model.members < 2 or model.cascade is not None:
            raise UsageError(
                f"--compare-members: {run} is no mean of several networks (`rareseg train --folds` "
                "makes one); leave it out."
            )
        members = tuple(
            Detector(model.mean_of((k,)), decisions, device=device) for k in range(model.members)
        )
        return cls(detector, folder, run.resolve().name, members)

    @property
    def decisions(self) -> Decisions:
        """What is decided about its scores."""
        return self.detector.decisions

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions, in the order of the classes."""
        return tuple(self.detector.model.classes.regions)

    @property
    def features(self) -> tuple[ObservedFeature, ...]:
        """What is observed of each image."""
        model = self.detector.model
        return features_of(self.regions, model.channels, tells_presence=model.tells_presence)

    @property
    def arithmetic(self) -> dict[str, Any]:
        """What scores the images."""
        return self.detector.model.arithmetic(self.detector.device.type)

    def about(self) -> dict[str, Any]:
        """Return what a watch belongs to: another model, or other points, observe other things."""
        return {
            "weights": self.detector.model.digest,
            "points": {name: point.to_dict() for name, point in self.detector.points.items()},
            "arithmetic": self.arithmetic,
            "features": [[feature.region, feature.name] for feature in self.features],
        }

    def detect(self, case: Case) -> Detection:
        """Return what is found in a case, as `predict` finds it."""
        return self.detector(case.images if len(case.images) > 1 else case.images[0])

    def observe(self, case: Case, digest: str) -> Observation:
        """Score an image and observe it; raises DataError where the model cannot take it."""
        found = self.detect(case)
        values, doubt = observe(found, self.detector.points)
        if self.members:
            apart = disagreement([member(found.image) for member in self.members])
            doubt = {region: (own + apart[region]) / 2.0 for region, own in doubt.items()}
        return observation(case, digest, values, doubt)


def observation(
    case: Case, digest: str, values: Mapping[ObservedFeature, float], doubt: Mapping[str, float]
) -> Observation:
    """Return what was observed of a case."""
    files = tuple(str(path.resolve()) for path in case.images)
    return Observation(digest, case.id, case.group, files, dict(values), dict(doubt))
