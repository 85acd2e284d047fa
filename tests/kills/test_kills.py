"""Calls that are killed and called again end as others; `python -m kills` kills more."""

from __future__ import annotations

import os
import random
import sys

import pytest

from kills.killing_runs import Killing, Report
from kills.scenarios import SCENARIOS, WITHOUT, WRITES_NOTHING
from rareseg.cli import app

QUICK = ("predict", "evaluate", "monitor", "tune", "answers", "store", "apply-review")


@pytest.fixture(scope="module")
def killing(tmp_path_factory, python_path):
    made = Killing(tmp_path_factory.mktemp("kills"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def python_path():
    """The warm process finds rareseg and these modules where the tests do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        yield patch


def check(killing: Killing, scenario, seed: str) -> None:
    report = Report()
    killing.kill(scenario, random.Random(seed), report)
    killing.twice_at_once(scenario, report)
    assert report.faults == []


@pytest.mark.parametrize(
    "scenario", [s for s in SCENARIOS if s.name in QUICK], ids=lambda s: s.name
)
def test_a_killed_call_goes_on(scenario, killing):
    check(killing, scenario, f"quick {scenario.name}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "scenario", [s for s in SCENARIOS if s.name not in QUICK], ids=lambda s: s.name
)
def test_a_killed_call_of_the_slower_commands_goes_on(scenario, killing):
    check(killing, scenario, f"slow {scenario.name}")


def test_every_command_that_writes_is_killed():
    """A new command needs a line in tests/kills/scenarios.py."""
    names = {c.name or c.callback.__name__ for c in app.registered_commands}
    killed = {word for s in SCENARIOS for word in s.arguments[:1] if not s.function}
    assert names - {*WRITES_NOTHING, *WITHOUT} == killed
