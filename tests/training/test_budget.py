"""From a duration in words to a number of steps."""

import time

import pytest

from rareseg.errors import UsageError
from rareseg.training import budget
from rareseg.training.budget import parse_duration, plan_steps, seconds_per_call


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("90 sec", 90),
        ("20min", 1200),
        ("20 m", 1200),
        (" 1.5h ", 5400),
        ("0.5min", 30),
    ],
)
def test_durations_are_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "20", "min", "0s", "0.0h", "-3min", "1e3s", "2 days", "5.s"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match=r"--budget .* is no duration; write it like 20min"):
        parse_duration(text)


def test_steps_fill_what_scoring_and_the_reserve_leave():
    # 8 % of 1000 s are kept; 20 s have gone, 100 cases take 2 s each: 920 − 20 − 200 = 700.
    found = plan_steps(1000, step_seconds=0.5, case_seconds=2.0, cases_to_score=100, gone=20)
    assert found.steps == 1400
    assert "16.7 min" in found.reason
    assert "0.500 s a step" in found.reason


def test_what_is_planned_fits_into_the_budget():
    found = plan_steps(60, step_seconds=0.3, case_seconds=0.01, cases_to_score=50, gone=3)
    assert 3 + 50 * 0.01 + found.steps * 0.3 <= 60 * (1 - budget.RESERVE)


def test_twenty_steps_are_the_least():
    options = {"step_seconds": 1.0, "case_seconds": 1.0, "cases_to_score": 26}
    assert plan_steps(50.5, **options).steps == 20
    with pytest.raises(UsageError) as caught:
        plan_steps(49, **options)
    assert "leaves time for 19 steps" in str(caught.value)
    # 20 steps and 26 cases take 46 s, which is 92 % of 50 s.
    assert "give at least 0.8min" in str(caught.value)


def test_a_budget_that_is_gone_already_is_refused():
    with pytest.raises(UsageError, match="leaves time for 0 steps"):
        plan_steps(10, step_seconds=0.1, case_seconds=1.0, cases_to_score=500)


def test_the_warm_up_is_not_measured(monkeypatch):
    monkeypatch.setattr(budget, "MEASURED_SECONDS", 0.05)
    calls = []

    def call(number):
        calls.append(number)
        time.sleep(0.3 if number < budget.WARM_UP else 0.01)

    assert 0.01 <= seconds_per_call(call) < 0.1
    assert calls == list(range(len(calls)))


def test_all_processes_make_the_calls_that_the_first_one_decides(monkeypatch):
    monkeypatch.setattr(budget, "MEASURED_SECONDS", 1e9)
    answers = iter([True] * 5 + [False])
    calls = []
    seconds_per_call(calls.append, agree=lambda mine: next(answers))
    assert len(calls) == budget.WARM_UP + 5
