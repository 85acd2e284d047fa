"""Estimate without labels how many images to expect flagged; these are estimates and no guarantee.

The share of images that hold a region is estimated anew from the stream's image scores, and what a
point makes of positive and of negative images is taken from the cases that it was chosen on. That
stands as long as nothing but this share has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from rareseg.decision.calibration.prevalence import (
    Call,
    PredictiveValues,
    estimate_prevalence,
    predictive_values,
)
from rareseg.evaluation.statistics.intervals import Estimate, count_groups
from rareseg.evaluation.statistics.undefined import Undefined, Value, is_defined
from rareseg.evaluation.tables.score_table import ScoreTable


@dataclass(frozen=True)
class ExpectedFlags:
    """What to expect of the images of a stream, for one region.

    ``prevalence`` is the share of images that hold it, and ``flagged`` the share of images that are
    expected to be flagged at it, with (low, high); ``observed`` the share that was. ``predictive``
    says what a flag is worth at that prevalence, None where it is not known.
    """

    region: str
    prevalence: Estimate
    flagged: Value
    flagged_interval: tuple[Value, Value]
    observed: float
    n_images: int
    predictive: PredictiveValues | None


def expect_flags(
    region: str,
    table: ScoreTable | None,
    calls: Sequence[Call],
    image_scores: Sequence[float],
    flags: Sequence[bool],
    groups: Sequence[str | None],
    *,
    not_estimable: str = "",
    seed: int = 0,
) -> ExpectedFlags:
    """Return what to expect of unlabelled images, given by score, flag and group.

    ``table`` and ``calls`` are of the cases that the point was chosen on. ``not_estimable`` is why
    the prevalence is not estimated, such as that the images have changed; else it is undefined for
    the reasons of :func:`~rareseg.decision.calibration.prevalence.estimate_prevalence`.
    """
    observed = float(np.mean(flags)) if len(flags) else 0.0
    if table is None or not_estimable:
        why = Undefined(not_estimable or "no cases with known masks were scored by this model")
        none = Estimate(why, why, why, len(flags), count_groups(groups), 0, "not estimated")
        return ExpectedFlags(region, none, why, (why, why), observed, len(flags), None)
    prevalence = estimate_prevalence(
        table,
        image_scores,
        region=region,
        generator=np.random.default_rng(seed),
        groups=groups,
    )
    share, low, high = prevalence.value, prevalence.low, prevalence.high
    if not (is_defined(share) and is_defined(low) and is_defined(high)):
        why = share if isinstance(share, Undefined) else Undefined("its interval is not known")
        return ExpectedFlags(region, prevalence, why, (why, why), observed, len(flags), None)
    worth = predictive_values(calls, region=region, prevalence=share)
    found, alarms = worth.sensitivity, worth.false_alarm_rate
    at = _flagged(found.value, alarms.value, share)
    corners = [
        _flagged(s, f, p)
        for s, f, p in product((found.low, found.high), (alarms.low, alarms.high), (low, high))
    ]
    known = [value for value in corners if is_defined(value)]
    ends: tuple[Value, Value] = (at, at) if len(known) < len(corners) else (min(known), max(known))
    return ExpectedFlags(region, prevalence, at, ends, observed, len(flags), worth)


def _flagged(found: Value, alarms: Value, prevalence: float) -> Value:
    """Return s·π + f·(1 − π)."""
    if not is_defined(found):
        return found
    if not is_defined(alarms):
        return alarms
    return found * prevalence + alarms * (1.0 - prevalence)
