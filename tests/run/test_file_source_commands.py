"""The command line on scores in files: our own model's, written by `predict --probabilities`."""

from __future__ import annotations

import csv
import json

import pytest

from rareseg.run.setup.split_files import read_split


@pytest.fixture(scope="module")
def written(finished, specks, call, tmp_path_factory):
    """The scores of every image as files, and the run's split."""
    out = tmp_path_factory.mktemp("written")
    called = call("predict", finished, specks / "images", "--out", out / "masks", "--probabilities")
    assert called.code == 0, called.err
    return out / "masks" / "probabilities"


def options(written, specks, finished):
    return (
        *("--probabilities", written, "--references", specks),
        *("--split", finished / "split.csv"),
    )


def test_the_point_and_the_cases_are_those_of_the_run(written, specks, finished, call, tmp_path):
    asked = options(written, specks, finished)
    called = call("tune", *asked, "--out", tmp_path / "points", "--json")
    assert called.code == 0, called.err
    found = json.loads(called.out)["foreground"]["found"]
    decisions = json.loads((finished / "bundle" / "decisions.json").read_text())
    own = decisions["regions"]["foreground"]["found"]
    # The files hold 16 bits of each score.
    for name in ("threshold", "gate", "value", "mean_dice"):
        assert found[name] == pytest.approx(own[name], abs=2e-3), name
    assert (found["n_positive"], found["n_negative"]) == (own["n_positive"], own["n_negative"])
    called = call(
        "evaluate", *asked, "--points", tmp_path / "points", "--out", tmp_path / "evaluation",
        "--priority", "recall",
    )  # fmt: skip
    assert called.code == 0, called.err
    assert "You asked for recall" in called.out
    with (tmp_path / "evaluation" / "cases.csv").open(encoding="utf-8") as file:
        cases = {row["case"] for row in csv.DictReader(file)}
    roles = read_split(finished / "split.csv")
    assert cases == {case for case, role in roles.items() if role == "test"}
    assert (tmp_path / "evaluation" / "report.html").stat().st_size > 100_000


def test_a_guarantee_from_validation_is_an_estimate(written, specks, finished, call, tmp_path):
    asked = options(written, specks, finished)
    called = call("tune", *asked, "--out", tmp_path / "points", "--max-false-negative-rate", "0.6")
    assert called.code == 0, called.err
    assert "estimate" in called.out.lower()
    refused = call(
        "tune", *asked, "--out", tmp_path / "points", "--max-false-alarm-rate", "0.01",
        "--confidence", "0.99",
    )  # fmt: skip
    assert refused.code == 1
    assert "infeasible" in refused.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tune",), "Name a RUN"),
        (("tune", "run", "--probabilities", "p", "--references", "d"), "in place of a RUN"),
        (("tune", "--probabilities", "p"), "go together"),
        (("tune", "--probabilities", "p", "--references", "d"), "--out DIR"),
        (("tune", "run", "--out", "o"), "--out belongs"),
        (("evaluate", "run", "--out", "o"), "RUN and DATA"),
        (("evaluate", "--probabilities", "p", "--out", "o"), "go together"),
    ],
)
def test_calls_that_name_too_little_or_too_much(arguments, words, call):
    called = call(*arguments)
    assert called.code == 2
    assert words in called.err
    assert "Traceback" not in called.err
