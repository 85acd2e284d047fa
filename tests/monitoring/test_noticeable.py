"""How often a shift is noticed, against what the test itself does with drawn streams."""

from __future__ import annotations

import numpy as np
import pytest

from rareseg.monitoring.change_test import find_change
from rareseg.monitoring.noticeable import share_noticed
from rareseg.monitoring.observed_features import ObservedFeature


def test_it_says_what_the_test_does():
    features = tuple(ObservedFeature("", f"f{k}") for k in range(4))
    noticed = 0
    for seed in range(60):
        drawn = np.random.default_rng(seed).normal(size=(90, 4))
        drawn[40:, 2] += 2.0
        noticed += features[2] in find_change(drawn[:40], drawn[40:], features).noticed_at
    told = share_noticed(40, 50, 0.25, shift=2.0)
    assert noticed / 60 == pytest.approx(told, abs=0.2)


def test_larger_shifts_more_reference_and_longer_streams_are_noticed_more_often():
    assert share_noticed(100, 60, 0.1, shift=1.0) < share_noticed(100, 60, 0.1, shift=2.0)
    assert share_noticed(20, 60, 0.1, shift=2.0) < share_noticed(200, 60, 0.1, shift=2.0)
    assert share_noticed(200, 3, 0.1, shift=2.0) < share_noticed(200, 60, 0.1, shift=2.0)


def test_no_shift_is_hardly_ever_noticed_and_nothing_in_no_stream():
    assert share_noticed(50, 100, 0.1, shift=0.0) <= 0.01
    assert share_noticed(50, 0, 0.1, shift=4.0) == 0.0
