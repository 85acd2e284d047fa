"""Run one training of a study: train, choose points, count test cases."""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.data.folder_lock import one_writer
from rareseg.data.records import Case, object_named
from rareseg.decision.decisions import Decisions
from rareseg.evaluation.comparisons.paired_test import Headline, headline
from rareseg.evaluation.measures.case_result import CaseResult
from rareseg.evaluation.statistics.undefined import is_defined
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.prediction.scorer import ModelScorer
from rareseg.progress import Track, silent
from rareseg.run.scores.case_scoring import Points, score_all, score_each
from rareseg.run.scores.network_source import NetworkSource
from rareseg.run.setup.out_of_memory import full_memory_named
from rareseg.run.setup.prepare import Say, SharedInputs, say_nothing
from rareseg.run.train import learn
from rareseg.run.tune import tune_source
from rareseg.study.design import Roles, StudyCell
from rareseg.study.job_queue import DEAD_AFTER
from rareseg.study.shared_data import SharedData
from rareseg_runner.decision.cut_point import apply_point
from rareseg_runner.decision.region_scores import region_scores

HALF, CHOSEN = "0.5", "chosen point"
"""Where a row's scores are cut: at 0.5, and at the point chosen on its own validation cases."""


@dataclass(frozen=True)
class SliceMask:
    """The mask of one region on one slice of a case, at the chosen point."""

    case_id: str
    region: str
    plane: int
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class CellResult:
    """What is kept of a cell.

    ``headlines`` lead from where it was cut to the measures of every case and region; ``points``
    are the chosen ones as plain values; ``masks`` are of the cases that are shown, in the cells
    that show any. ``seconds`` is the whole time, ``training_seconds`` that of training in it.
    """

    headlines: Mapping[str, tuple[Headline, ...]]
    points: Mapping[str, Any]
    masks: tuple[SliceMask, ...]
    seconds: float
    training_seconds: float

    def mean_dice(self) -> float:
        """Return the mean dice over regions and positive cases at the chosen point, or 0."""
        found = [line.values.get("dice", None) for line in self.headlines[CHOSEN]]
        values = [value for value in found if value is not None and is_defined(value)]
        return float(np.mean(values)) if values else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "headlines": {
                cut: [[h.case_id, h.region, h.group, dict(h.values)] for h in lines]
                for cut, lines in self.headlines.items()
            },
            "points": dict(self.points),
            "masks": [_mask_record(mask) for mask in self.masks],
            "seconds": self.seconds,
            "training_seconds": self.training_seconds,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> CellResult:
        """Return the result that :meth:`to_dict` wrote."""
        return cls(
            headlines={
                cut: tuple(
                    Headline(
                        case, region, group, {object_named(k): value for k, value in v.items()}
                    )
                    for case, region, group, v in lines
                )
                for cut, lines in record["headlines"].items()
            },
            points=record["points"],
            masks=tuple(_mask(entry) for entry in record["masks"]),
            seconds=record["seconds"],
            training_seconds=record["training_seconds"],
        )


@full_memory_named()
@one_writer("folder", wait_s=DEAD_AFTER)
def run_cell(
    cell: StudyCell,
    roles: Roles,
    data: SharedData,
    folder: Path,
    *,
    shown: Sequence[str] = (),
    track: Track = silent,
    say: Say = say_nothing,
) -> CellResult:
    """Train and judge one cell in ``folder``, or go on where it stopped there.

    ``shown`` are test cases whose masks are kept. Raises as :func:`rareseg.run.train.train`.
    """
    started = time.monotonic()
    fabric = data.machine.fabric("32")
    fabric.launch()
    shared = SharedInputs(data.fingerprint, cell.recipe, roles, data.store)
    run = learn(
        data.options,
        folder,
        fabric,
        shared=shared,
        machine=data.machine,
        track=track,
        say=say,
    )
    trained = time.monotonic()
    tune_source(NetworkSource.open(run.root, device=fabric.device), track=track)
    decisions = load_decisions(run.bundle)
    scorer = ModelScorer(load_model(run.bundle), device=fabric.device)
    # A region without a point of its own is cut at 0.5 in both.
    halves = Decisions.none(decisions.regions).points_in_use
    chosen = decisions.points_in_use
    cases = [case for case in data.dataset.cases if roles[case.id] == "test"]
    scored = score_all(
        scorer,
        cases,
        role="test",
        points=(halves, chosen),
        track=track,
        doing="scoring test cases",
    )
    masks = _masks(scorer, [case for case in cases if case.id in shown], chosen)
    return CellResult(
        headlines={
            cut: tuple(_plain(result) for result in results)
            for cut, results in zip((HALF, CHOSEN), scored.results, strict=True)
        },
        points={region: point.to_dict() for region, point in decisions.points.items()},
        masks=tuple(masks),
        seconds=time.monotonic() - started,
        training_seconds=trained - started,
    )


def _plain(result: CaseResult) -> Headline:
    """Return what is compared of a result, without what is undefined."""
    line = headline(result)
    values = {name: value for name, value in line.values.items() if is_defined(value)}
    return Headline(line.case_id, line.region, line.group, values)


def _masks(scorer: ModelScorer, cases: Sequence[Case], points: Points) -> list[SliceMask]:
    """Return the masks of every region in the slice of each case that holds most foreground."""
    classes = scorer.model.classes
    found = []
    for scored in score_each(scorer, cases):
        plane = plane_of_most_foreground(scored.labels)
        scores = region_scores(scored.probabilities, classes)
        for region, point in points.items():
            presence, spacing = scored.presence_of(region), scored.image.geometry.spacing
            mask = apply_point(scores[region], point, presence, spacing=spacing)
            found.append(SliceMask(scored.case.id, region, plane, mask[plane]))
    return found


def plane_of_most_foreground(labels: NDArray[np.uint8]) -> int:
    """Return the slice of (z, y, x) class indices with most foreground, else the middle one."""
    foreground = (labels != 0).sum(axis=(1, 2))
    return int(np.argmax(foreground)) if foreground.any() else len(labels) // 2


def _mask_record(mask: SliceMask) -> list[Any]:
    packed = base64.b85encode(zlib.compress(np.packbits(mask.mask).tobytes(), 9)).decode()
    return [mask.case_id, mask.region, mask.plane, list(mask.mask.shape), packed]


def _mask(record: Sequence[Any]) -> SliceMask:
    case_id, region, plane, (height, width), packed = record
    bits = np.frombuffer(zlib.decompress(base64.b85decode(packed)), np.uint8)
    flat = np.unpackbits(bits, count=height * width)
    return SliceMask(case_id, region, plane, flat.reshape(height, width).astype(np.bool_))
