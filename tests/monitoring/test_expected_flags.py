"""What is expected without labels: the sum by hand, its interval in simulation, and when not."""

from __future__ import annotations

import numpy as np
import pytest

from rareseg.decision.calibration.prevalence import Call
from rareseg.evaluation.statistics.undefined import Undefined, is_defined
from rareseg.evaluation.tables.score_table import ScoreTable, score_case
from rareseg.monitoring.expected_flags import expect_flags


def known_cases(rng: np.random.Generator, n: int):
    """Return a score table of n cases, half of them positive, and what a cut at 0.5 says."""
    rows, calls = [], []
    for k in range(n):
        holds = k % 2 == 0
        top = drawn_score(rng, holds=holds)
        scores = np.full((1, 2, 2), 0.01, np.float32)
        scores[0, 0, 0] = top
        reference = np.zeros((1, 2, 2), bool)
        reference[0, 0, 0] = holds
        rows.append(score_case(scores, reference, case_id=f"c{k}", region="speck"))
        calls.append(Call(None, holds, top >= 0.5))
    return ScoreTable(tuple(rows)), tuple(calls)


def drawn_score(rng: np.random.Generator, *, holds: bool) -> float:
    return float(rng.beta(6, 2) if holds else rng.beta(2, 6))


def stream(rng: np.random.Generator, prevalence: float, n: int) -> list[float]:
    return [drawn_score(rng, holds=bool(rng.random() < prevalence)) for _ in range(n)]


def expect(seed: int, prevalence: float, **options):
    rng = np.random.default_rng(seed)
    table, calls = known_cases(rng, 160)
    scores = stream(rng, prevalence, 200)
    flags = [score >= 0.5 for score in scores]
    return expect_flags("speck", table, calls, scores, flags, [None] * 200, **options)


def test_the_share_that_is_expected_is_that_of_the_sum():
    found = expect(0, 0.1)
    assert found.predictive is not None
    s, f = found.predictive.sensitivity.value, found.predictive.false_alarm_rate.value
    pi = found.prevalence.value
    assert found.flagged == pytest.approx(s * pi + f * (1 - pi))
    low, high = found.flagged_interval
    assert low < found.flagged < high
    assert (found.n_images, found.observed) == (200, pytest.approx(found.observed))


def test_the_interval_covers_the_true_share():
    rng = np.random.default_rng(9)
    flagged = np.mean([s >= 0.5 for s in stream(rng, 0.1, 100_000)])
    held, asked = 0, 0
    for seed in range(10):
        low, high = expect(seed, 0.1).flagged_interval
        if is_defined(low):
            asked += 1
            held += low <= flagged <= high
    assert asked >= 9
    assert held >= asked - 1


def test_it_is_not_estimable_where_the_images_have_changed_or_nothing_is_known():
    found = expect(0, 0.1, not_estimable="darker images")
    assert found.flagged == Undefined("darker images")
    assert found.predictive is None
    unknown = expect_flags("speck", None, (), [0.2], [False], [None])
    assert isinstance(unknown.flagged, Undefined)
    empty = expect_flags("speck", *known_cases(np.random.default_rng(0), 40), [], [], [])
    assert isinstance(empty.flagged, Undefined)
