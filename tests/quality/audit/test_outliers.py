"""Robust distances: one case far out is found, a second mode or a spread is not."""

from dataclasses import replace

import numpy as np

from rareseg.data.checks.case_checks import ChannelFacts
from rareseg.data.checks.fingerprint import CaseFacts
from rareseg.quality.audit.outliers import Feature, far_out, find_outliers


def feature(values, floor=0.1):
    return Feature("x", {f"c{k}": float(v) for k, v in enumerate(values)}, floor)


def test_one_far_case_is_found_with_its_distance():
    values = np.random.default_rng(0).normal(size=100)
    values[7] = 30
    ((name, distance, side),) = far_out(feature(values))
    middle = np.median(values)
    scale = 1.4826 * np.median(np.abs(values - middle))
    assert (name, side) == ("c7", "large")
    assert distance == (30 - middle) / scale


def test_a_second_mode_and_few_cases_are_not_odd():
    assert far_out(feature([0.0] * 90 + [50.0] * 10)) == []
    assert far_out(feature([0.0] * 10 + [50.0])) == []
    assert far_out(feature(np.random.default_rng(1).normal(size=500))) == []


def test_where_all_are_equal_the_floor_is_the_scale():
    assert far_out(feature([5.0] * 40 + [5.5])) == []
    assert [name for name, _, _ in far_out(feature([5.0] * 40 + [6.0]))] == ["c40"]


def case(name, **other):
    channel = ChannelFacts(20.0, 100.0, 180.0, 100.0, 30.0)
    made = CaseFacts(
        name,
        None,
        None,
        (1, 200, 300),
        (1.0, 1.0, 1.0),
        2,
        1,
        "uint8",
        (60000, 0),
        0,
        (channel,),
        "",
    )
    return replace(made, **other)


def test_features_are_named_in_words():
    usual = [case(f"c{k}") for k in range(60)]
    dark = ChannelFacts(0.0, 2.0, 10.0, 2.0, 1.0)
    odd = [case("dark", intensities=(dark,)), case("wide", shape=(1, 200, 2400))]
    (finding,) = find_outliers([*usual, *odd], {})
    notes = {example.case_id: example.note for example in finding.examples}
    assert set(notes) == {"dark", "wide"}
    assert "its width is unusually large" in notes["wide"]
    assert "brightness is unusually small" in notes["dark"]
    assert "contrast is unusually small" in notes["dark"]


def test_alike_cases_and_none_say_nothing():
    assert find_outliers([case(f"c{k}") for k in range(60)], {}) == []
    assert find_outliers([], {}) == []
