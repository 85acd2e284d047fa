"""What is usual for a network, compared with plain counts."""

from __future__ import annotations

import numpy as np
import pytest

from rareseg.quality.suspects.place import ComponentEvidence
from rareseg.quality.suspects.usual_scores import (
    UNKNOWN,
    OtherComponents,
    measure_units,
    spread_of_similar,
)


def component(score, *, met=1.0, ground=0.01, scorer="a"):
    box = ((0, 1), (0, 3), (0, 3))
    return ComponentEvidence(
        "c", None, "r", scorer, "drawn", box, 0, 0, 9, 9, met, score, cut=0.5, ground=ground
    )


def test_units_are_medians_of_log_odds_beyond_the_cut():
    own = [component(score) for score in (0.9, 0.9, 0.95, 0.99, 0.999)] + [component(0.01, met=0.0)]
    units = measure_units(own, own)
    assert units.present == pytest.approx(np.log(0.95 / 0.05))
    assert units.absent == pytest.approx(np.log(0.99 / 0.01))


def test_few_of_its_own_are_not_asked_and_none_is_no_error():
    everyone = [component(0.99) for _ in range(9)]
    assert measure_units([component(0.6)], everyone).present == pytest.approx(np.log(99))
    assert measure_units([], []).present == UNKNOWN
    # A network that is hardly ever sure is not taken to be sure of the least hint.
    assert measure_units([component(0.51)] * 6, []).present == 0.5


def test_a_share_is_that_of_the_others_of_similar_size():
    sizes = np.array([10] * 100 + [10_000] * 100)
    holds = np.array([0.0] * 100 + [1.0] * 100)
    others = OtherComponents(sizes, holds, np.zeros(200))
    assert others.share(0) < 0.02
    assert others.share(150) > 0.98
    alone = OtherComponents(np.array([5]), np.array([0.0]), np.zeros(1))
    assert alone.share(0) == pytest.approx(0.5)
    assert OtherComponents(np.full(3, 5), np.ones(3), np.zeros(3)).share(1) == pytest.approx(
        (2 + 2.5 / 3) / 3
    )


def test_of_those_as_sure_alone_where_it_is_asked_for():
    sureness = np.array([0.1] * 50 + [2.0] * 50)
    holds = np.array([0.0] * 50 + [1.0] * 50)
    others = OtherComponents(np.full(100, 30), holds, sureness)
    assert others.share(75, as_sure=True) > 0.97
    # One that is exactly as sure weighs half of one that is surer.
    assert others.share(10, as_sure=True) == pytest.approx(50 / (50 + 49 / 2), abs=0.01)


def test_median_and_spread_are_those_of_a_plain_sample_of_one_size():
    values = np.random.default_rng(0).normal(0.3, 0.1, 401)
    median, spread = spread_of_similar(values, np.full(401, 50), 7)
    rest = np.delete(values, 7)
    assert median == pytest.approx(np.median(rest), abs=3e-3)
    assert spread == pytest.approx(1.4826 * np.median(np.abs(rest - np.median(rest))), abs=3e-3)
    # Of two sizes, each by its own.
    both, sizes = np.concatenate([values, values + 0.4]), np.repeat([10, 10_000], 401)
    assert spread_of_similar(both, sizes, 3)[0] == pytest.approx(0.3, abs=0.02)
    assert spread_of_similar(both, sizes, 500)[0] == pytest.approx(0.7, abs=0.02)
    assert np.isnan(spread_of_similar(np.ones(1), np.ones(1, np.int64), 0)).all()
