import pytest
from hypothesis import given
from hypothesis import strategies as st

from rareseg.evaluation.statistics.intervals import Estimate
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg.report.wording.numbers import (
    count,
    difference,
    object_noun,
    percent,
    quantity,
    size,
    threshold,
    with_interval,
)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.12, "12 %"),
        (0.05, "5 %"),
        (0.043, "4.3 %"),
        (0.0014, "0.14 %"),
        (0.00062, "0.06 %"),
        (0.977, "98 %"),
        (0.9944, "99.4 %"),
        (0.99996, "99.996 %"),
        (1e-9, "<0.001 %"),
        (1 - 1e-7, ">99.999 %"),
    ],
)
def test_percent(share, text):
    assert percent(share) == text


@given(st.floats(1e-9, 1 - 1e-9))
def test_percent_is_never_rounded_to_all_or_nothing(share):
    assert float(percent(share).removesuffix(" %").lstrip("<>")) not in (0.0, 100.0)


@given(st.floats(1e-7, 1 - 1e-7))
def test_a_threshold_keeps_its_distance_from_0_and_1(value):
    shown = float(threshold(value))
    assert min(shown, 1 - shown) == pytest.approx(min(value, 1 - value), rel=0.06, abs=5.1e-4)
    assert 0 < shown < 1


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (0.93441, "0.934"), (0.99987, "0.99987"), (2e-5, "0.000020")]
)
def test_threshold(value, text):
    assert threshold(value) == text


def test_small_things():
    assert [quantity(v) for v in (0, 0.0034, 0.284, 4.0, 11.52, 12345.6)] == [
        "0",
        "0.0034",
        "0.28",
        "4.00",
        "11.5",
        "12,346",
    ]
    assert [size(v) for v in (35.0, 62.5, 12345.6)] == ["35", "62.5", "12,346"]
    assert [difference(v) for v in (0.1, -0.1, -0.001)] == ["+0.10", "−0.10", "0.00"]
    assert [count(1, "case"), count(1200, "case")] == ["1 case", "1,200 cases"]


def test_an_estimate_reads_with_its_interval_or_its_reason():
    assert with_interval(Estimate(0.8, 0.7, 0.9, 9, 9, 0, "")) == "0.80 (0.70–0.90)"
    assert with_interval(Estimate(0.05, 0.01, 0.17, 9, 9, 0, ""), percent) == "5 % (1–17 %)"
    assert (
        with_interval(Estimate(0.1, -0.02, 0.2, 9, 9, 0, ""), difference)
        == "+0.10 (−0.02 to +0.20)"
    )
    nothing = Undefined("no case")
    assert with_interval(Estimate(nothing, nothing, nothing, 0, 0, 0, "")) == "undefined (no case)"
    alone = Undefined("an interval needs two groups or more")
    assert with_interval(Estimate(0.8, alone, alone, 1, 1, 0, "")) == f"0.80 ({alone.reason})"


@pytest.mark.parametrize(
    ("unit", "noun"), [("mm³", "lesion"), ("mm²", "object"), ("pixels", "object")]
)
def test_what_sentences_call_an_object(unit: str, noun: str) -> None:
    assert object_noun(unit) == noun
