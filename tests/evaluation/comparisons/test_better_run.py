"""What several measures say together: nothing that was lost is praised."""

from __future__ import annotations

import numpy as np
import pytest

from rareseg.evaluation.comparisons.better_run import falls_short, weigh
from rareseg.evaluation.comparisons.paired_test import compare_paired

N = 24


def line(measure, change, *, noise=0.01, seed=0, n=N):
    """A measure that changes by ``change`` in the mean, with noise between groups."""
    rng = np.random.default_rng(seed)
    shift = rng.normal(0, noise, n)
    shift += change - shift.mean()
    before = {f"{measure}{k}": 0.5 for k in range(n)}
    after = {case: 0.5 + own for case, own in zip(before, shift, strict=True)}
    return compare_paired(before, after, {}, measure=measure)


def test_all_that_is_weighed_must_hold():
    gains = [line("dice", 0.05), line("found", 0.0), line("false alarm", -0.1)]
    assert weigh(gains) == "better"
    assert weigh([line("dice", 0.05), line("found", -0.1), line("false alarm", -0.1)]) == "trades"
    assert weigh([line("dice", 0.0), line("found", -0.1), line("false alarm", 0.0)]) == "worse"
    assert weigh([line("dice", 0.0), line("found", 0.0), line("false alarm", 0.0)]) == "cannot tell"


def test_fewer_alarms_are_no_gain_where_what_is_found_may_have_fallen():
    """Found fell from 75 to 38 % in eight groups: within its interval, and no gain all the same."""
    found = compare_paired(
        {str(k): 1.0 for k in range(8)},
        {str(k): float(k % 2) for k in range(8)},
        {},
        measure="found",
    )
    fewer = line("false alarm", -0.3, n=20)
    assert weigh([line("dice", 0.0), found, fewer]) != "better"
    assert falls_short(found)
    wide = line("found", -0.03, noise=0.2, n=8)
    assert weigh([wide, fewer]) == "cannot tell"
    assert not falls_short(wide)


def test_a_stratum_without_a_change_in_any_case_is_no_loss():
    same = line("found", 0.0, noise=0.0)
    assert weigh([line("dice", 0.05), same]) == "better"
    few = line("found", 0.0, noise=0.0, n=3)
    assert weigh([line("dice", 0.05), few]) == "cannot tell"


def test_a_stratum_without_cases_says_nothing():
    none = compare_paired({}, {}, {}, measure="false alarm")
    assert weigh([line("dice", 0.05), none]) == "better"


@pytest.mark.parametrize(
    ("priority", "outcome"), [(None, "better"), ("recall", "trades"), ("balanced", "better")]
)
def test_what_matters_to_the_user_is_weighed_too(priority, outcome):
    lines = [line("dice", 0.05), line("found", 0.0), line("recall", -0.3)]
    assert weigh(lines, priority=priority) == outcome


def test_what_changed_alike_everywhere_is_told_by_the_test():
    assert weigh([line("false alarm", -1.0, noise=0.0)]) == "better"
