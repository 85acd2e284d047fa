"""Predict images: one mask per region and one label map per image, at the chosen points."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from rareseg.data.annotation_export.annotation_formats import chosen_formats
from rareseg.data.folder_lock import sole_writer
from rareseg.data.identity import FileDigests
from rareseg.data.input_images import open_inputs
from rareseg.data.records import Case
from rareseg.data.score_files.image_score_files import NAME as PRESENCES
from rareseg.data.score_files.image_score_files import PresenceFile
from rareseg.data.score_files.mask_files import RESULT_FOLDERS
from rareseg.decision.calibration.calibration import Calibration
from rareseg.decision.decisions import Decisions
from rareseg.decision.operating_point import Infeasible
from rareseg.errors import DataError, OutputError, ProblemsError, ScoreError, UsageError
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.prediction.detector import Detector
from rareseg.progress import Track, silent
from rareseg.run.outputs.guarantee_text import statement_lines
from rareseg.run.predictions.opened_model import opened_bundle
from rareseg.run.predictions.predicted_case import PredictedCase, measure
from rareseg.run.predictions.prediction_files import PredictionFiles, require_fitting
from rareseg.run.predictions.prediction_journal import Journal
from rareseg.run.predictions.prediction_record import claim_predictions, note_images
from rareseg.run.predictions.prediction_summary import (
    Failure,
    PredictionSummary,
    converted_remarks,
    unlike_remarks,
)
from rareseg.run.predictions.prediction_tables import write_tables
from rareseg.run.setup.prepare import Say, say_nothing
from rareseg.run.tune import describe
from rareseg_runner.file_names import clean_name
from rareseg_runner.formats import (
    mask_suffix,
    write_mask,
    write_probabilities,
)
from rareseg_runner.image_records import Classes, Image

MaskValues = int | Literal["index"] | None
"""What masks hold: see :class:`PredictOptions`."""

LARGEST_VALUE = 65535


@dataclass(frozen=True)
class PredictOptions:
    """What is asked of a prediction beside the masks.

    ``probabilities`` also writes ``out/probabilities/REGION/ID.ext``, ``calibrated`` as the run's
    calibration makes them; masks are cut from the scores as they are either way. Where the model
    tells the presence, ``out/probabilities/image_scores.csv`` holds it beside them. ``overlay``
    draws ``out/overlays/ID.png``, and ``formats`` names files of annotation tools
    (:mod:`rareseg.data.annotation_export.annotation_formats`).

    ``values`` is what is on in the masks of regions, and in the label map of a single class: 1 and
    the class's own value where None. With several classes the label map keeps their own values;
    ``"index"`` numbers them 1, 2, … in the order of the classes.
    """

    probabilities: bool = False
    calibrated: bool = False
    overlay: bool = False
    values: MaskValues = None
    formats: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.calibrated and not self.probabilities:
            raise UsageError("--calibrated says what --probabilities writes; give both or neither.")
        whole = isinstance(self.values, int) and not isinstance(self.values, bool)
        if self.values not in (None, "index") and not (
            whole and 1 <= int(self.values) <= LARGEST_VALUE
        ):
            raise UsageError(
                f"--values is {self.values!r}; allowed are a whole number from 1 to "
                f"{LARGEST_VALUE} (255 shows white) and index."
            )
        object.__setattr__(self, "formats", chosen_formats(self.formats))

    @property
    def on(self) -> int:
        """What is on in the mask of a region."""
        return self.values if isinstance(self.values, int) else 1

    def label_values(self, classes: Classes) -> dict[int, int]:
        """Return what stands in label maps for each of the classes' own values."""
        own = classes.values
        if self.values == "index":
            return {value: index for index, value in enumerate(own)}
        if self.values is not None and classes.count == 2:
            return {0: 0, own[1]: self.on}
        return {value: value for value in own}


def predict(
    run: Path | str,
    images: Path | str,
    out: Path | str,
    *,
    probabilities: bool = False,
    calibrated: bool = False,
    overlay: bool = False,
    values: MaskValues = None,
    formats: Sequence[str] = (),
    device: str | torch.device = "cpu",
    track: Track = silent,
    say: Say = say_nothing,
) -> list[Path]:
    """Predict images as :func:`predict_images` does, and return the label maps.

    Raises as it does, and :class:`ProblemsError` at the end, when all others are written, where
    single images could not be predicted.
    """
    options = PredictOptions(probabilities, calibrated, overlay, values, tuple(formats))
    done = predict_images(run, images, out, options, device=device, track=track, say=say)
    if done.failures:
        raise ProblemsError(
            [
                one.reason if one.image in one.reason else f"{one.image}: {one.reason}"
                for one in done.failures
            ],
            remedy=f"the other {len(done.cases)} images were predicted",
        )
    return list(done.label_maps)


def predict_images(
    run: Path | str,
    images: Path | str,
    out: Path | str,
    options: PredictOptions | None = None,
    *,
    device: str | torch.device = "cpu",
    track: Track = silent,
    say: Say = say_nothing,
) -> PredictionSummary:
    """Write ``out/ID.ext`` (label map) and ``out/REGION/ID.ext`` (masks) for every image.

    ``run`` is a run's folder, its bundle alone, wherever that lies, a bundle in one file, or an
    exported model. Images are those of
    :func:`~rareseg.data.input_images.open_inputs`: of one in a folder below, the id keeps the
    folder, and so do its results. Masks are on each image's own grid, in its own format (PNG for
    JPEG, NIfTI for DICOM). Grey photographs are repeated for a model of three channels, and
    coloured ones made grey for a model of one; that is counted in the remarks.

    ``out/predictions.csv`` and ``out/objects.csv`` say what was found in all images that the folder
    holds results of. Images that are there already, of the same bytes, by this model at these
    points, are not predicted again, so that an interrupted call can be repeated, and overlays and
    formats be asked for later. An image that cannot be predicted is a failure of its own, and the
    others are predicted.

    Raises :class:`DataError` where there is no operating point or no image, or where a calibration
    is asked for and was never fitted, :class:`UsageError` for a format that cannot hold the images,
    and :class:`OutputError` where ``out`` is a file, the folder that the images come from, or holds
    anything else.
    """
    options = options or PredictOptions()
    out = Path(out)
    with opened_bundle(Path(run)) as place:
        model, decisions = load_model(place), load_decisions(place)
        if not decisions.points:
            raise DataError(
                f"{run} has no operating point; choose one with `rareseg tune {run} --maximize "
                "dice`."
            )
        detector = Detector(model, decisions, device=device)
    calibration = _calibration(decisions, Path(run)) if options.calibrated else {}
    for found in decisions.found.values():
        say(describe(found) + (" It is cut at 0.5." if isinstance(found, Infeasible) else ""))
    guarantees = statement_lines(decisions, model.arithmetic(torch.device(device).type))
    for line in (line for lines in guarantees.values() for line in lines):
        say(line)
    reserved = (*RESULT_FOLDERS, *map(clean_name, model.classes.regions))
    inputs = open_inputs(images, channels=model.training.files_per_case, out=out, reserved=reserved)
    cases = tuple(replace(case, nodata_value=model.nodata_value) for case in inputs.cases)
    _require_other_place(out, cases)
    require_fitting(options.formats, cases)
    with sole_writer(out):
        claim_predictions(out, model, decisions, calibration, options.values)
        work = _PredictionWork(out, Path(images), detector, options, calibration)
        work.begin(cases)
        for case in track(cases, "predicting", len(cases)):
            work.take(case)
        return work.finish(cases, inputs.remarks)


class _PredictionWork:
    """The images of a call, one after the other."""

    def __init__(
        self,
        out: Path,
        images: Path,
        detector: Detector,
        options: PredictOptions,
        calibration: Mapping[str, Calibration],
    ) -> None:
        self._out, self._images, self._detector = out, images, detector
        self._options, self._calibration = options, calibration
        classes = detector.model.classes
        written = options.label_values(classes)
        self._files = PredictionFiles(
            out,
            list(classes.regions),
            {n: written[v] for n, v in zip(classes.names[1:], classes.values[1:], strict=True)},
            overlay=options.overlay,
            formats=options.formats,
        )
        self._lookup = written
        self._journal = Journal(out)
        self._failures: list[Failure] = []
        self._notes: list[str] = []
        self._unlike: list[str] = []
        self._presences: PresenceFile | None = None

    def begin(self, cases: Sequence[Case]) -> None:
        """Find which images are done, and go on with the file of their presences."""
        digests = FileDigests()
        self._digests = {case.id: _digest(case, digests) for case in cases}
        if self._options.probabilities and self._detector.model.tells_presence:
            kept = [case.id for case in cases if self._is_done(case)]
            self._presences = PresenceFile(self._out / "probabilities" / PRESENCES, kept=kept)

    def take(self, case: Case) -> None:
        """Predict an image that is not done, and write what is asked for besides."""
        try:
            if not self._is_done(case):
                self._journal.add(self._predicted(case))
            if self._files.any:
                self._files.add(case, self._journal.case(case.id))
        except (DataError, ScoreError) as error:
            self._failures.append(Failure(self._name(case), str(error)))

    def finish(self, cases: Sequence[Case], remarks: Sequence[str]) -> PredictionSummary:
        """Write the tables of all that the folder holds, and return what this call was about."""
        model = self._detector.model
        known = self._journal.close()
        note_images(self._out, known)
        names = {
            region: [model.classes.names[k] for k in members]
            for region, members in model.classes.regions.items()
        }
        write_tables(self._out, list(known.values()), names)
        own = tuple(known[case.id] for case in cases if self._is_done(case))
        return PredictionSummary(
            out=self._out,
            regions=tuple(model.classes.regions),
            label_maps=tuple(self._out / case.mask for case in own),
            cases=own,
            failures=tuple(self._failures),
            remarks=(
                *remarks,
                *converted_remarks(self._notes, len(cases)),
                *unlike_remarks(self._unlike, len(cases)),
            ),
            written=self._files.close(),
        )

    def _is_done(self, case: Case) -> bool:
        return self._journal.finished(case.id, self._digests[case.id])

    def _name(self, case: Case) -> str:
        """Return the path of an image within the folder that is predicted."""
        file = case.images[0]
        if self._images.is_dir() and file.is_relative_to(self._images):
            name = file.relative_to(self._images).as_posix()
        else:
            name = Path(os.path.relpath(file, self._images.parent)).as_posix()
        return name.encode("utf-8", "replace").decode("utf-8")  # names of files may be no text

    def _predicted(self, case: Case) -> PredictedCase:
        """Write everything of one image, the label map last, and return its rows."""
        found = self._detector(case.images if len(case.images) > 1 else case.images[0])
        image = found.image
        self._unlike += found.unlike
        target = f"{case.id}{mask_suffix(case.images[0])}"
        for region, score in found.scores.items():
            mask = found.masks[region].astype(np.uint16) * np.uint16(self._options.on)
            _write(self._out / clean_name(region) / target, mask, image)
            if self._options.probabilities:
                place = self._out / "probabilities" / clean_name(region) / target
                place.parent.mkdir(parents=True, exist_ok=True)
                own = self._calibration.get(region)
                told = (own.apply(score) if own else score).reshape(image.array.shape[1:])
                write_probabilities(place, told, image.geometry)
        if self._presences is not None and found.presence is not None:
            self._presences.add(case.id, found.presence)
        _write(self._out / target, self._as_written(found.label_map), image)
        if found.converted is not None:
            self._notes.append(found.converted)
        return measure(
            found,
            case_id=case.id,
            image=self._name(case),
            digest=self._digests[case.id],
            mask=target,
        )

    def _as_written(self, labels: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return a label map with the values that are asked for."""
        if all(own == new for own, new in self._lookup.items()):
            return labels
        result = np.zeros(labels.shape, np.uint16)
        for own, new in self._lookup.items():
            result[labels == own] = new
        return result


def _digest(case: Case, digests: FileDigests) -> str:
    """Return the digest of an image's files; "" where they cannot be read, which reading tells.

    Of one file, or one folder, that by which a run knows its images.
    """
    try:
        own = [digests.of_image(path) for path in case.images]
    except OSError:
        return ""
    return own[0] if len(own) == 1 else hashlib.sha256(" ".join(own).encode()).hexdigest()


def _calibration(decisions: Decisions, run: Path) -> Mapping[str, Calibration]:
    """Return the calibration of every region that has a point."""
    calibration = decisions.calibration
    missing = [region for region in decisions.points if region not in calibration]
    if missing:
        raise DataError(
            f"{run} was never calibrated for {', '.join(missing)}; call `rareseg calibrate {run}`."
        )
    return calibration


def _write(path: Path, mask: NDArray[np.integer], image: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask(path, mask.reshape(image.array.shape[1:]), image.geometry)


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
