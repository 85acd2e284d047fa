"""What Optuna is asked for: draws that know the others, and who falls behind."""

from dataclasses import replace

import pytest

from rareseg.study.job_queue import ClaimedJob, Record, State
from rareseg.study.optuna_trials import STARTUP, Trial, draw, falls_behind
from rareseg.study.search_space import make_space

SPACE = make_space(
    ["training.learning_rate=1e-4..1e-1:log"], ["loss.name=focal|tversky|cross_entropy"]
)
FIRST = {"training.learning_rate": 0.02}


def finished(number, rate, value, scores=()):
    drawn = {"training.learning_rate": rate, "loss.name": "focal"}
    return Trial(number, drawn, dict(scores), State.DONE, value)


def test_a_trial_comes_back_from_its_job():
    drawn = draw(SPACE, 0, [], first=FIRST, seed=1)
    trial = Trial(3, drawn, {5: 0.25, 10: 0.5})
    assert Trial.of(ClaimedJob(1, "0003", trial.task(), "me")) == trial
    record = Record("0003", State.DONE, trial.task(), {"value": 0.75, "seconds": 2.0}, None)
    assert Trial.of(record) == replace(trial, state=State.DONE, value=0.75, seconds=2.0)
    assert Trial.of(record).outcome == "recorded"
    given_up = replace(record, result={"value": None, "seconds": 2.0})
    assert Trial.of(given_up).outcome == "given up"
    failed = Record("0004", State.FAILED, {}, None, "full")
    assert (Trial.of(failed).outcome, Trial.of(failed).error) == ("failed", "full")


def test_the_first_draw_has_the_planned_values_and_every_draw_follows_from_its_seed():
    assert draw(SPACE, 0, [], first=FIRST, seed=1)["training.learning_rate"] == 0.02
    draws = [draw(SPACE, number, [], first=FIRST, seed=1) for number in (1, 2, 3)]
    assert draws == [draw(SPACE, number, [], first=FIRST, seed=1) for number in (1, 2, 3)]
    assert len({found["training.learning_rate"] for found in draws}) == 3
    assert draw(SPACE, 1, [], first=FIRST, seed=2) != draws[0]


def test_draws_lean_towards_what_was_good():
    """Twenty trials, good around 0.03 alone: most later draws lie near."""
    rates = [10 ** (-4 + 3 * i / 19) for i in range(20)]
    others = [finished(i, r, 1.0 if 0.02 < r < 0.06 else 0.1) for i, r in enumerate(rates)]
    blind = [draw(SPACE, n, [], first=FIRST, seed=0) for n in range(20, 60)]
    told = [draw(SPACE, n, others, first=FIRST, seed=0) for n in range(20, 60)]
    near = [
        sum(0.015 < found["training.learning_rate"] < 0.08 for found in draws)
        for draws in (blind, told)
    ]
    assert near[1] > 2 * near[0]


def test_what_failed_tells_nothing_and_what_is_under_way_keeps_others_away():
    rates = [10 ** (-4 + 3 * i / 19) for i in range(20)]
    others = [finished(i, r, 1.0 if 0.02 < r < 0.06 else 0.1) for i, r in enumerate(rates)]
    more = [replace(finished(20 + i, 0.03, None), state=State.FAILED) for i in range(10)]
    running = [replace(trial, state=State.RUNNING) for trial in more]
    alone, with_failed, with_running = (
        [draw(SPACE, n, known, first=FIRST, seed=0) for n in range(40, 50)]
        for known in (others, others + more, others + running)
    )
    assert with_failed == alone
    assert with_running != alone


def test_a_training_below_the_median_falls_behind_once_enough_are_finished():
    scores = [(5, 0.4), (10, 0.8)]
    others = [finished(i, 0.01, 0.8, scores) for i in range(STARTUP)]
    poor, good = (
        Trial(9, {**others[0].drawn}, {5: score}, State.RUNNING) for score in (0.39, 0.41)
    )
    assert falls_behind(SPACE, poor, others)
    assert not falls_behind(SPACE, good, others)
    assert not falls_behind(SPACE, poor, others[1:])


@pytest.mark.parametrize("state", [State.FAILED, State.RUNNING])
def test_what_is_not_finished_makes_no_median(state):
    scores = [(5, 0.4)]
    others = [replace(finished(i, 0.01, None, scores), state=state) for i in range(STARTUP)]
    assert not falls_behind(SPACE, Trial(9, {**others[0].drawn}, {5: 0.1}), others)
