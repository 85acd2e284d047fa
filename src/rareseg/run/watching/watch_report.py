"""Make of the state of a watch what is said of it: in words, as a record, and on the page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rareseg.decision.calibration.prevalence import Call
from rareseg.errors import DataError, ScoreError, UsageError
from rareseg.evaluation.statistics.undefined import value_to_json
from rareseg.monitoring.change_test import ChangeTest, find_change, shares_of
from rareseg.monitoring.expected_flags import ExpectedFlags, expect_flags
from rareseg.monitoring.likeness import NearestImage, nearest_images
from rareseg.monitoring.noticeable import SHIFTS, share_noticed
from rareseg.monitoring.observed_features import Observation, ObservedFeature, by_group
from rareseg.monitoring.watch_state import WatchedImages, WatchState
from rareseg.progress import Track
from rareseg.report.pages.monitor_page import (
    MonitorContent,
    PicturedImage,
    UnlikePair,
    picture_of,
)
from rareseg.report.wording.monitor_text import SHOWN, change_sentences, expectation_lines
from rareseg.report.wording.numbers import count
from rareseg.run.predictions.prediction_summary import Failure
from rareseg.run.watching.chosen_on import chosen_on
from rareseg.run.watching.label_list import DrawnLabels
from rareseg.run.watching.watched_model import WatchedModel
from rareseg_runner.formats import read_image

RANKED = 20
"""Images that are listed as worth a look first."""

_NAMED = 10
"""Images unlike all known ones that are named in the terminal; the record has all."""


@dataclass(frozen=True, eq=False)
class WatchReport:
    """What a call of `monitor` has found.

    ``noticed`` leads from a shift, in standard deviations, to the share of such shifts that would
    have been noticed by now. ``unlike`` are the images of the stream that are unlike all known
    ones.
    """

    page: Path
    content: MonitorContent
    noticed: Mapping[float, float]
    unlike: tuple[NearestImage, ...]
    expected: tuple[ExpectedFlags, ...]
    failures: tuple[Failure, ...]
    drawn: DrawnLabels | None

    @property
    def changed(self) -> bool:
        """Whether the stream has left the reference, now or at any call before."""
        return self.content.test.changed

    def lines(self) -> list[str]:
        """Return the answer in words."""
        content = self.content
        return [
            *content.sentences,
            *content.counted,
            *self._unlike_lines(),
            *content.expected,
            *content.drawn,
            f"Report: {self.page.resolve()}",
        ]

    def record(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        test = self.content.test
        regions = dict.fromkeys(feature.region for feature in test.features if feature.region)
        return {
            "changed": self.changed,
            "groups": test.n_groups,
            "reference_groups": test.n_reference,
            "alpha": test.alpha,
            "noticed": {f"{shift:g}": share for shift, share in self.noticed.items()},
            "images": _part(test, ""),
            "regions": {region: _part(test, region) for region in regions},
            "unlike": [
                {
                    "image": one.image.files[0],
                    "nearest": one.nearest.files[0],
                    "distance": one.distance,
                    "differs_most_in": one.most.words,
                }
                for one in self.unlike
            ],
            "expected": {one.region: _expected(one) for one in self.expected},
            "review_first": [
                {"image": name, "region": region, "doubt": doubt}
                for name, region, doubt in self.content.ranked
            ],
            "sentences": list(self.content.sentences),
            "counted": list(self.content.counted),
            "failures": [vars(failure) for failure in self.failures],
            "labels": None
            if self.drawn is None
            else {
                "folder": str(self.drawn.folder),
                "groups": list(self.drawn.groups),
                "images": self.drawn.n_images,
            },
            "report": str(self.page),
        }

    def lasting(self) -> dict[str, Any]:
        """Return what holds of the watch whichever call is the last, for who reads its state."""
        of_the_call = ("counted", "failures", "labels")
        return {name: own for name, own in self.record().items() if name not in of_the_call}

    def _unlike_lines(self) -> list[str]:
        named = [
            f"Unlike any known image: {one.image.files[0]}, most in its {one.most.name}; nearest "
            f"is {one.nearest.files[0]}."
            for one in self.unlike[:_NAMED]
        ]
        more = len(self.unlike) - _NAMED
        return named if more <= 0 else [*named, f"and {count(more, 'more image')} like these."]


def make_report(
    state: WatchState,
    model: WatchedModel,
    page: Path,
    *,
    counts: Counter[str],
    failures: Sequence[Failure],
    remarks: Sequence[str],
    drawn: DrawnLabels | None,
    track: Track,
) -> WatchReport:
    """Test what was observed, and gather what is said of it."""
    seen, features = state.observed(), model.features
    _, reference = by_group(seen.reference, features)
    _, stream = by_group(seen.stream, features)
    test = find_change(reference, stream, features)
    least = float(shares_of(features).min())
    noticed = {
        shift: share_noticed(test.n_reference, test.n_groups, least, shift=shift)
        for shift in SHIFTS
    }
    known = seen.training or seen.reference
    nearest = nearest_images((*seen.training, *seen.reference), seen.stream)
    expected = tuple(_expectations(model, test, seen.stream))
    shown, why = _to_show(test, seen, nearest, known)
    reference_name = (
        "the held-out cases of the run"
        if state.about("reference") == "the run's own"
        else str(state.about("reference"))
    )
    content = MonitorContent(
        title=f"Watch over {model.name}",
        test=test,
        calls=state.calls(),
        reference_name=reference_name,
        sentences=change_sentences(
            test,
            noticed=noticed,
            reference=reference_name,
            guarantees=_guarantees(model),
            label=f"rareseg monitor {model.name} IMAGES --out {page.parent} --label "
            "false-alarm-rate=0.05",
        ),
        counted=(*_counted(counts, seen, failures), *remarks),
        expected=tuple(line for one in expected for line in expectation_lines(one)),
        drawn=() if drawn is None else drawn.lines,
        reference=reference,
        stream=stream,
        pairs=tuple(track(map(_pair, shown), "drawing images", len(shown))),
        pairs_said=why,
        ranked=_ranked(seen.stream),
    )
    unlike = tuple(one for one in nearest if one.unlike)
    return WatchReport(page, content, noticed, unlike, expected, tuple(failures), drawn)


def _guarantees(model: WatchedModel) -> tuple[str, ...]:
    """Return what is guaranteed of the points in use, of each region."""
    return tuple(
        f"{name}: {statement.guarantee.sentence}"
        for name, point in model.decisions.points.items()
        for statement in model.decisions.statements[name]
        if statement.holds_for(point)
    )


def _counted(
    counts: Counter[str], seen: WatchedImages, failures: Sequence[Failure]
) -> tuple[str, ...]:
    """Return what this call brought, and which images do not count, in sentences."""
    said = {
        "known": "{} known from an earlier call, counted once",
        "repeated": "{} in this call twice, counted once",
        "reference": "{} of the reference, counted there alone",
        "learned": "{} learned by the model, not counted",
    }
    parts = [words.format(counts[key]) for key, words in said.items() if counts[key]]
    if failures:
        parts.append(f"{len(failures)} could not be observed")
    new = f"{count(counts['new'], 'new image')} in this call" + (
        f" ({'; '.join(parts)})." if parts else "."
    )
    if not seen.late:
        return (new,)
    return (
        new,
        f"{count(len(seen.late), 'image')} of groups that were known already, which count once.",
    )


def _expectations(
    model: WatchedModel, test: ChangeTest, stream: Sequence[Observation]
) -> Iterator[ExpectedFlags]:
    """Yield what to expect of each region; not estimable where the images have changed."""
    tables, why = chosen_on(model)
    drifted = [feature for feature in test.noticed_at if not feature.region]
    if drifted:
        why = f"more than the prevalence has changed ({drifted[0].words})"
    for region, point in model.detector.points.items():
        reason = why
        calls: Sequence[Call] = ()
        if tables is not None and not reason:
            try:
                calls = tables.calls(point)
            except (ScoreError, UsageError) as error:
                reason = str(error).rstrip(".")
        yield expect_flags(
            region,
            None if tables is None else tables.scores,
            calls,
            [one.values[ObservedFeature(region, "image score")] for one in stream],
            [one.values[ObservedFeature(region, "flagged")] > 0.0 for one in stream],
            [one.group for one in stream],
            not_estimable=reason,
        )


def _to_show(
    test: ChangeTest,
    seen: WatchedImages,
    nearest: Sequence[NearestImage],
    known: Sequence[Observation],
) -> tuple[list[tuple[Observation, NearestImage | None, str]], str]:
    """Return the images to look at, and in a sentence which they are.

    Where what a region shows has changed and the images have not, those furthest out in the first
    feature that changed; else those that are most unlike the known images.
    """
    if test.changed and all(feature.region for feature in test.noticed_at):
        feature = min(test.noticed_at, key=lambda own: test.noticed_at[own])
        middle = float(np.median([one.values[feature] for one in seen.reference]))
        order = sorted(seen.stream, key=lambda one: -abs(one.values[feature] - middle))
        of = {one.image.digest: one for one in nearest}
        shown = [
            (one, of.get(one.digest), f"{feature.words}: {one.values[feature]:.3g}")
            for one in order[:SHOWN]
        ]
        return shown, (
            f"The images of the stream whose {feature.name} of {feature.region} lies furthest from "
            f"the median of the reference ({middle:.3g}), each beside the known image that it is "
            "nearest to."
        )
    return [
        (
            one.image,
            one,
            f"{'unlike any known image' if one.unlike else 'within what is known'}, most in its "
            f"{one.most.name}",
        )
        for one in nearest[:SHOWN]
    ], (
        f"The images of the stream that are most unlike {count(len(known), 'known image')}, each "
        "beside the known image that it is nearest to."
    )


def _pair(shown: tuple[Observation, NearestImage | None, str]) -> UnlikePair:
    one, nearest, why = shown
    return UnlikePair(
        _pictured(one, why), None if nearest is None else _pictured(nearest.nearest, "nearest")
    )


def _pictured(one: Observation, words: str) -> PicturedImage:
    try:
        uri = picture_of(read_image([Path(file) for file in one.files]))
    except (DataError, OSError):
        uri = ""
    said = words if words != "nearest" else f"nearest known image: {one.id}"
    return PicturedImage(one.id, uri, said)


def _ranked(stream: Sequence[Observation]) -> tuple[tuple[str, str, float], ...]:
    """Return the most doubtful images of all regions, the most doubtful first."""
    rows = [(one.files[0], region, doubt) for one in stream for region, doubt in one.doubt.items()]
    return tuple(sorted(rows, key=lambda row: (-row[2], row[0]))[:RANKED])


def _part(test: ChangeTest, region: str) -> dict[str, Any]:
    """Return the features of a region, or of the images themselves, as JSON values."""
    own = [feature for feature in test.features if feature.region == region]
    return {
        "changed": any(feature in test.noticed_at for feature in own),
        "features": {
            feature.name: {
                "changed": feature in test.noticed_at,
                "at_group": test.noticed_at.get(feature),
                "evidence": math.exp(min(test.highest(feature), 700.0)),
            }
            for feature in own
        },
    }


def _expected(one: ExpectedFlags) -> dict[str, Any]:
    return {
        "prevalence": value_to_json(one.prevalence.value),
        "prevalence_interval": [
            value_to_json(one.prevalence.low),
            value_to_json(one.prevalence.high),
        ],
        "flagged": value_to_json(one.flagged),
        "flagged_interval": [value_to_json(end) for end in one.flagged_interval],
        "observed": one.observed,
        "images": one.n_images,
    }
