"""Which cases a report shows, and the pictures of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.data.records import Case, Image
from rareseg.decision.operating_point import apply_point
from rareseg.evaluation.cases import CaseResult
from rareseg.evaluation.scores import region_references, region_scores
from rareseg.evaluation.values import is_defined
from rareseg.prediction.predictor import Predictor
from rareseg.progress import Track, silent
from rareseg.report.content import CasePicture
from rareseg.run.scoring import Points, ScoredCase, score_each


@dataclass(frozen=True)
class Wanted:
    """One picture to be made: a region of a case, and why it is shown."""

    case_id: str
    region: str
    caption: str


def choose_pictures(
    results: Sequence[CaseResult], regions: Sequence[str], *, most: int = 3
) -> list[Wanted]:
    """Choose what to show: of each region the best, the middle and the worst, and false alarms.

    ``most`` of each kind for the first region, one of each for up to three more. A case is shown
    once per region at most.
    """
    wanted: list[Wanted] = []
    for number, region in enumerate(regions[:4]):
        own = [result for result in results if result.region == region]
        wanted += _of_region(own, most if number == 0 else 1)
    return wanted


def draw_pictures(
    predictor: Predictor,
    cases: Sequence[Case],
    wanted: Sequence[Wanted],
    points: Points,
    *,
    track: Track = silent,
) -> tuple[CasePicture, ...]:
    """Score the wanted cases once more and return their pictures, in the order wanted."""
    names = {want.case_id for want in wanted}
    shown = [case for case in cases if case.id in names]
    made = {
        (scored.case.id, want.region): _draw(scored, want, predictor, points)
        for scored in score_each(predictor, shown, track=track, doing="drawing pictures")
        for want in wanted
        if want.case_id == scored.case.id
    }
    return tuple(made[want.case_id, want.region] for want in wanted)


def _of_region(results: Sequence[CaseResult], most: int) -> list[Wanted]:
    ranked = sorted(
        (r for r in results if r.stratum == "positive"),
        key=lambda r: -value if is_defined(value := r.metric("dice")) else 0.0,
    )
    middle = max(0, (len(ranked) - most) // 2)
    parts = (
        ("one of the best", ranked[:most]),
        ("a middling one", ranked[middle : middle + most]),
        ("one of the worst", ranked[-most:][::-1]),
    )
    alarms = sorted((r for r in results if r.false_alarm), key=lambda r: -r.false_positive_size)[
        :most
    ]
    wanted: dict[str, Wanted] = {}
    for why, chosen in parts:
        for result in chosen:
            value = result.metric("dice")
            dice = f"dice {value:.2f}" if is_defined(value) else str(value)
            text = f"{why}: {dice}"
            if not result.found:
                text += ", missed altogether"
            wanted.setdefault(result.case_id, Wanted(result.case_id, result.region, text))
    for result in alarms:
        text = f"a false alarm of {result.false_positive_size:g} {result.size_unit}"
        wanted.setdefault(result.case_id, Wanted(result.case_id, result.region, text))
    return list(wanted.values())


def _draw(scored: ScoredCase, want: Wanted, predictor: Predictor, points: Points) -> CasePicture:
    classes = predictor.bundle.classes
    scores = region_scores(scored.probabilities, classes)[want.region]
    reference = region_references(scored.labels, classes)[want.region] == 1
    prediction = apply_point(scores, points[want.region])
    plane = int((reference | prediction).sum(axis=(1, 2)).argmax())
    return CasePicture(
        case_id=scored.case.id,
        group=scored.case.group,
        region=want.region,
        stratum="positive" if reference.any() else "negative",
        caption=want.caption,
        image=to_picture(scored.image, plane),
        reference=reference[plane],
        prediction=prediction[plane],
        plane=None if scored.image.geometry.dimension == 2 else plane,
    )


def to_picture(image: Image, plane: int) -> NDArray[np.uint8]:
    """Return one slice as uint8: (y, x, 3) for colour photographs, else (y, x) of channel 0.

    Grey values from the 0.5 to the 99.5 percentile of the slice fill the range.
    """
    array = image.array[:, plane]
    if len(array) == 3 and array.dtype == np.uint8:
        return np.ascontiguousarray(np.moveaxis(array, 0, -1))
    grey = array[0].astype(np.float32)
    low, high = np.percentile(grey, (0.5, 99.5))
    return np.asarray(
        np.clip((grey - low) / max(float(high - low), 1e-6) * 255, 0, 255), dtype=np.uint8
    )
