"""What lies behind the numbers, on results made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from test_verdict import GOOD, make, negative, positive, sentences

from rareseg.evaluation.scores import ScoreTable, score_case


def test_one_group_that_carries_the_errors_is_named():
    results = [positive(k, 90, 1, 1) for k in range(12)] + [positive(50, 10, 400, 90, group="bad")]
    [found] = sentences(make(results), "carries")
    assert "One of 13 groups, bad, carries 95 % of what is wrong in pit" in found.text
    assert "with 1 of 13 cases" in found.text
    assert not sentences(make(GOOD), "carries")
    # With a third of the cases, most of the errors are no surprise.
    many = [*GOOD[:6], *(positive(60 + k, 10, 90, 90, group="bad") for k in range(3))]
    assert not sentences(make(many), "carries")


@pytest.mark.parametrize(("truth", "said"), [(0.9, False), (0.5, True)])
def test_scores_that_promise_too_much(truth, said):
    rng = np.random.default_rng(0)
    scores = np.full((1, 100, 100), 0.9, np.float32)
    reference = rng.random((1, 100, 100)) < truth
    table = ScoreTable((score_case(scores, reference, case_id="a", region="pit"),))
    found = sentences(make(GOOD, table=table), "promise too much")
    assert bool(found) == said
    if said:
        assert "they say 40 % more" in found[0].text


@pytest.mark.parametrize(
    ("priority", "counts", "level", "words"),
    [
        ("recall", (90, 50, 10), "good", "0.90"),
        ("recall", (50, 5, 50), "warning", "--min-recall"),
        ("precision", (90, 10, 50), "good", "0.90"),
        ("precision", (50, 50, 5), "warning", "--min-precision"),
        ("balanced", (80, 20, 22), "good", "recall is 0.78 and precision 0.80"),
        ("balanced", (80, 20, 80), "warning", "--beta"),
    ],
)
def test_what_was_asked_for_is_answered(priority, counts, level, words):
    results = [positive(k, *counts) for k in range(24)] + [negative(k) for k in range(100, 124)]
    [found] = sentences(make(results, priority=priority), "You asked for")
    assert (found.level, words in found.text) == (level, True)
    assert not sentences(make(results), "You asked for")
    # Where nothing is defined there is no answer.
    empty = make([negative(k) for k in range(30)])
    assert not sentences(replace(empty, priority=priority), "You asked for")
