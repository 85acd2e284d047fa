"""A region without an operating point: cut at one half, and its reason wherever it is shown."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

from rareseg.decision.decisions import Decisions
from rareseg.decision.operating_point import Frontier, Infeasible, OperatingPoint, PointChoice

WHY = "no validation case holds it"


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run whose region has no point."""
    run = shutil.copytree(finished, tmp_path / "run")
    Decisions.none(["foreground"], WHY).save(run / "bundle")
    return run


def test_an_evaluation_tells_the_reason_everywhere(run, specks, call, tmp_path):
    called = call("evaluate", run, specks, "--out", tmp_path / "out")
    assert called.code == 0, called.err
    assert WHY in called.out
    with (tmp_path / "out" / "cases.csv").open(encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert lines
    assert {line["no_point"] for line in lines} == {WHY}
    assert {float(line["threshold"]) for line in lines} == {0.5}
    record = json.loads((tmp_path / "out" / "scorecard.json").read_text(encoding="utf-8"))
    assert record["points"]["foreground"] == {"infeasible": WHY}
    assert [part["region"] for part in record["scorecards"]["at 0.5"]["regions"]] == ["foreground"]
    assert WHY in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_with_a_point_the_column_is_empty(finished, specks, call, tmp_path):
    called = call("evaluate", finished, specks, "--out", tmp_path / "out")
    assert called.code == 0, called.err
    with (tmp_path / "out" / "cases.csv").open(encoding="utf-8") as stream:
        assert {line["no_point"] for line in csv.DictReader(stream)} == {""}


def test_what_is_decided_stays_beside_what_is_decided_later():
    none = Decisions.none(["a", "b"], WHY)
    point = OperatingPoint("a", 0.2)
    chosen = none.choose({"a": PointChoice(point, Frontier())})
    assert chosen.found == {"a": point, "b": Infeasible("b", WHY)}
    used = chosen.points_in_use
    assert (used["a"], used["b"].threshold) == (point, 0.5)
    refused = PointChoice(Infeasible("a", "a limit cannot be kept"), Frontier())
    assert chosen.choose({"a": refused}).found["a"] == point, "what was in use stays"
    again = none.choose({"a": refused}).found["a"]
    assert again == Infeasible("a", "a limit cannot be kept")
