"""Calibrate scores, and give predictive values at a prevalence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rareseg.data.folder_lock import one_writer
from rareseg.decision.calibration.calibration import Calibration
from rareseg.decision.calibration.calibration import calibrate as calibrate_scores
from rareseg.decision.calibration.prevalence import (
    Call,
    PredictiveValues,
    calls_at,
    estimate_prevalence,
    predictive_values,
)
from rareseg.decision.decisions import RegionDecision
from rareseg.decision.operating_point import OperatingPoint
from rareseg.errors import RunError, UsageError
from rareseg.evaluation.statistics.undefined import (
    Undefined,
    Value,
    format_value,
    is_defined,
    value_to_json,
)
from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg.progress import Track, silent
from rareseg.run.scores.network_source import NetworkSource
from rareseg.run.scores.score_source import ScoreSource, Unlabelled, asked_regions
from rareseg.run.setup.prepare import Say, say_nothing
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.text_files import read_json

JOINT = 0.975
"""Confidence of each of two intervals that hold together with 95 % (Bonferroni)."""

RECORD = "calibration.json"
"""The file in the run's folder that keeps the numbers and sentences."""


@dataclass(frozen=True)
class CalibratedRegion:
    """What is said of one region: its calibration, and predictive values where they were asked for.

    ``prevalence`` is the share of positive images where the model will work, ``source`` how it is
    known, ``role`` that of the cases behind the predictive values. ``sentences`` are all of it in
    words.
    """

    calibration: Calibration
    prevalence: Value
    source: str
    predictive: PredictiveValues | None
    role: str
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers and the sentences as plain JSON values."""
        found = self.predictive
        return {
            "calibration": self.calibration.to_dict(),
            "prevalence": value_to_json(self.prevalence),
            "source": self.source,
            "positive_predictive_value": None if found is None else value_to_json(found.positive),
            "positive_interval": None if found is None else _ends(found.positive_interval),
            "negative_predictive_value": None if found is None else value_to_json(found.negative),
            "negative_interval": None if found is None else _ends(found.negative_interval),
            "role": self.role,
            "sentences": list(self.sentences),
        }


def calibrate(
    run: Path | str,
    *,
    prevalence: float | None = None,
    unlabelled: Path | str | None = None,
    region: str | None = None,
    device: str | torch.device = "cpu",
    track: Track = silent,
    say: Say = say_nothing,
) -> Mapping[str, CalibratedRegion]:
    """Fit what the scores of every region of a run, or of one, mean; store it beside the model.

    As :func:`calibrate_source`. Raises :class:`RunError` for a folder that is no finished run.
    """
    return calibrate_source(
        NetworkSource.open(run, device=device),
        prevalence=prevalence,
        unlabelled=unlabelled,
        region=region,
        track=track,
        say=say,
    )


@one_writer("source.root")
def calibrate_source(
    source: ScoreSource,
    *,
    prevalence: float | None = None,
    unlabelled: Path | str | None = None,
    region: str | None = None,
    track: Track = silent,
    say: Say = say_nothing,
) -> Mapping[str, CalibratedRegion]:
    """Fit what the scores of every region, or of one, mean; store it with the decisions.

    On the validation cases, or in folds the out-of-fold scores, as
    :func:`rareseg.decision.calibration.calibration.calibrate` does. The prior that the sampler
    delivered is a candidate where the loss is a proper scoring rule and no objects were pasted.
    Masks, operating points and certificates stay as they are, since the order of scores does.

    ``prevalence`` is the share of positive images where the model will work; or it is estimated
    from the ``unlabelled`` images (a file, a folder or a data set), as
    :func:`rareseg.decision.calibration.prevalence.estimate_prevalence` does, or it is told why it
    cannot be. With either the scores are fitted for that prevalence, and predictive values are told
    of the point in use, on the test cases where they were scored, else on the validation cases.
    Writes ``calibration.json``.

    Raises :class:`UsageError` for an unknown region, for a prevalence outside [0, 1] or beside
    unlabelled images, and for these where no model can score them; :class:`DataError` for images
    that the model cannot take.
    """
    if prevalence is not None and unlabelled is not None:
        raise UsageError(
            "--prevalence states what --unlabelled would estimate; give one of the two."
        )
    if prevalence is not None and not 0.0 <= prevalence <= 1.0:
        raise UsageError(
            f"--prevalence is {prevalence:g}; give the share of positive images, between 0 and 1."
        )
    asked_regions(source.classes.regions, region)
    validation, decisions = source.tables(track), source.decisions()
    names = asked_regions(source.regions(track), region)
    images = None if unlabelled is None else source.unlabelled(Path(unlabelled), track)
    test = source.kept_tables("test")
    judged, role = (validation, _role_of(validation[0])) if test is None else (test, "test")
    found = {}
    for name in names:
        prior, why = source.sampled_prior(name)
        point = decisions.regions[name].point
        confidence = 0.95 if point is None else JOINT
        stated, known, known_by = _prevalence(validation[0], name, prevalence, images, confidence)
        fitted_for = stated if is_defined(stated) and 0.0 < stated < 1.0 else None
        calibration = calibrate_scores(
            validation[0], region=name, sampled_prior=prior, prevalence=fitted_for
        )
        lines = [f"{calibration.sentence}{why}."]
        if point is not None:
            lines.append(_cut_sentence(point, calibration))
        predictive = None
        if known_by:
            lines.append(_prevalence_sentence(name, stated, known, known_by, validation[0]))
            if point is not None and is_defined(stated):
                table = judged[1] if point.smallest_component.removes else judged[0]
                predictive = _predict_values(calls_at(table, point), name, stated, known)
                lines.append(_predictive_sentence(predictive, role))
            lines += _void(decisions.regions[name])
        found[name] = CalibratedRegion(
            calibration, stated, known_by, predictive, role, tuple(lines)
        )
    _write(source.root / RECORD, found)
    source.keep(decisions.calibrate({name: part.calibration for name, part in found.items()}))
    for part in found.values():
        for line in part.sentences:
            say(line)
    return found


def _role_of(table: ScoreTable) -> str:
    """Return the role of the cases that points are chosen on: validation or out-of-fold."""
    return next((row.role for row in table.rows if row.role is not None), "validation")


def _prevalence(
    table: ScoreTable,
    region: str,
    stated: float | None,
    images: Unlabelled | None,
    confidence: float,
) -> tuple[Value, tuple[Value, Value], str]:
    """Return the prevalence, its interval and how it is known; "" where none was asked for."""
    if stated is not None:
        return stated, (stated, stated), "stated"
    if images is None:
        none = Undefined("not asked for")
        return none, (none, none), ""
    found = estimate_prevalence(
        table,
        images.scores[region],
        region=region,
        groups=images.groups,
        generator=np.random.default_rng(0),
        confidence=confidence,
    )
    source = f"estimated from {len(images.groups)} unlabelled images"
    return found.value, (found.low, found.high), source


def _predict_values(
    calls: Sequence[Call], region: str, prevalence: float, known: tuple[Value, Value]
) -> PredictiveValues:
    """Return the predictive values; their intervals span those of an estimated prevalence."""
    low, high = known
    if low == high or not is_defined(low) or not is_defined(high):
        return predictive_values(calls, region=region, prevalence=prevalence)
    rare, common = (
        predictive_values(calls, region=region, prevalence=end, confidence=JOINT)
        for end in (low, high)
    )
    return replace(
        predictive_values(calls, region=region, prevalence=prevalence),
        positive_interval=(rare.positive_interval[0], common.positive_interval[1]),
        negative_interval=(common.negative_interval[0], rare.negative_interval[1]),
    )


def _cut_sentence(point: OperatingPoint, calibration: Calibration) -> str:
    """Return what the threshold is as a probability, and for which costs it would be right."""
    p = float(calibration.apply([point.threshold])[0])
    text = f"{point.region}: the threshold {point.threshold:.4g} is a probability of {p:.3g}"
    if not 0.0 < p < 1.0:
        return f"{text}."
    return (
        f"{text}: by expected cost it would be right where a missed voxel costs {(1 - p) / p:.3g} "
        "times a falsely predicted one."
    )


def _prevalence_sentence(
    region: str, stated: Value, known: tuple[Value, Value], source: str, table: ScoreTable
) -> str:
    """Return the prevalence, how far it is known, and that of the cases behind the fit."""
    rows = [row for row in table.select(region=region).rows if row.n_voxels > 0]
    n_positive = sum(row.n_inside > 0 for row in rows)
    here = f"of the {_role_of(table)} cases {n_positive} of {len(rows)} are positive"
    if isinstance(stated, Undefined):
        asked = source.removeprefix("estimated from ")
        return (
            f"{region}: the prevalence cannot be estimated from {asked}: {stated.reason}; {here}."
        )
    low, high = known
    span = f", interval {format_value(low)} to {format_value(high)}" if low != high else ""
    return f"{region}: prevalence {format_value(stated)} ({source}{span}); {here}."


def _predictive_sentence(found: PredictiveValues, role: str) -> str:
    """Return the positive predictive value with its interval, and what it rests on."""
    n_positive, n_negative = found.sensitivity.n_groups, found.false_alarm_rate.n_groups
    optimistic = (
        ", on which the point was chosen: it is less good on others" if role != "test" else ""
    )
    low, high = (format_value(end) for end in found.positive_interval)
    value = format_value(found.positive)
    interval = f" (95 % interval {low} to {high})" if is_defined(found.positive) else ""
    return (
        f"{found.region}: at that prevalence an image with anything on holds the region with "
        f"probability {value}{interval}; from {n_positive} positive and {n_negative} negative "
        f"groups of {role} cases{optimistic}."
    )


def _void(decision: RegionDecision) -> list[str]:
    """Return what another prevalence takes away."""
    kinds = {statement.guarantee.kind for statement in decision.statements}
    if "false discovery proportion" not in kinds:
        return []
    return [
        f"{decision.found.region}: its guarantee on the false discovery proportion holds at the "
        "prevalence of the cases that it rests on alone, and is void at another; guarantees on "
        "false negatives and alarms stand."
    ]


def _ends(interval: tuple[Value, Value]) -> list[Any]:
    return [value_to_json(end) for end in interval]


def _write(path: Path, found: Mapping[str, CalibratedRegion]) -> None:
    """Write the numbers, in place of what was written for these regions before."""
    try:
        known = read_json(path) if path.is_file() else {}
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); remove it and calibrate again.") from error
    known |= {name: part.to_dict() for name, part in found.items()}
    with atomic_write(path) as temporary:
        text = json.dumps(known, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
