"""May one way replace the others? Only where no column speaks against it, and one speaks for it."""

import json

import numpy as np
import pytest

from rareseg.errors import UsageError
from rareseg.evaluation.comparisons.non_inferiority import (
    check_non_inferiority,
    non_inferiority_record,
)
from rareseg.evaluation.comparisons.paired_test import Headline
from rareseg.report.pages.comparison_page import non_inferiority_sentence


def runs(dice, alarms=(), *, recall=None, seeds=3, noise=0.002, start=0):
    """The same cases under some seeds: dice and recall of positives, alarms of negatives."""
    rng = np.random.default_rng(start)
    made = []
    for _ in range(seeds):
        lines = [
            Headline(
                f"p{i}",
                "spot",
                None,
                {
                    "dice": d + noise * rng.normal(),
                    "object recall": d if recall is None else recall,
                },
            )
            for i, d in enumerate(dice)
        ]
        lines += [Headline(f"n{i}", "spot", None, {"false alarm": a}) for i, a in enumerate(alarms)]
        made.append(lines)
    return {"0.5": made}


DICE = np.linspace(0.4, 0.9, 40)
QUIET, LOUD = [0.0] * 38 + [1.0] * 2, [1.0] * 30 + [0.0] * 10


def outcomes(rows, candidate, **more):
    claim = check_non_inferiority(rows, candidate, cut="0.5", **more)
    return claim, {measure: outcome for (_, measure), outcome in claim.columns().items()}


def test_better_in_one_and_worse_in_none_may_replace_all():
    rows = {"old": runs(DICE, LOUD), "other": runs(DICE - 0.05, LOUD), "new": runs(DICE, QUIET)}
    claim, found = outcomes(rows, "new")
    assert found == {"dice": "not worse", "object recall": "not worse", "false alarm": "better"}
    assert claim.holds
    assert claim.rivals == ("old", "other")
    sentence = non_inferiority_sentence(claim)
    assert "new may replace old and other at 0.5" in sentence
    assert "better in false alarm of spot" in sentence


def test_one_column_lost_is_enough():
    rows = {"old": runs(DICE, LOUD), "new": runs(DICE - 0.1, QUIET)}
    claim, found = outcomes(rows, "new")
    assert found["dice"] == "worse"
    assert found["false alarm"] == "better"
    assert not claim.holds
    assert "worse in dice of spot" in non_inferiority_sentence(claim)


def test_what_intervals_leave_open_stays_open():
    mixed = DICE + np.where(np.arange(40) % 2, 0.2, -0.2)
    claim, found = outcomes({"old": runs(DICE), "new": runs(mixed)}, "new")
    assert found["dice"] == "open"
    assert not claim.holds
    assert "cannot be told" in non_inferiority_sentence(claim)


def test_level_everywhere_is_no_reason_to_replace():
    claim, found = outcomes({"old": runs(DICE), "new": runs(DICE, start=1)}, "new")
    assert set(found.values()) == {"not worse"}
    assert not claim.holds
    assert "better in no column" in non_inferiority_sentence(claim)


def test_the_margin_is_what_may_be_lost():
    rows = {"old": runs(DICE, LOUD), "new": runs(DICE - 0.02, QUIET)}
    assert outcomes(rows, "new", margin=0.01)[1]["dice"] == "worse"
    assert outcomes(rows, "new", margin=0.03)[1]["dice"] == "not worse"


def test_the_worst_rival_does_not_excuse_the_best():
    """Better than one and worse than another is worse."""
    rows = {"low": runs(DICE - 0.2), "high": runs(DICE + 0.05), "new": runs(DICE)}
    claim, found = outcomes(rows, "new")
    assert found["dice"] == "worse"
    assert {one.rival: one.outcome for one in claim.held if one.measure == "dice"} == {
        "low": "better",
        "high": "worse",
    }


def test_a_silent_rival_is_no_rival_in_alarms():
    mute = runs(DICE * 0, [0.0] * 40, recall=0.0)
    rows = {"mute": mute, "old": runs(DICE, LOUD), "new": runs(DICE, QUIET)}
    claim, found = outcomes(rows, "new")
    assert found["false alarm"] == "better"
    assert [one.rival for one in claim.held if one.measure == "false alarm"] == ["old"]


def test_one_group_alone_leaves_everything_open():
    rows = {"old": runs(DICE[:1]), "new": runs(DICE[:1] + 0.1)}
    assert set(outcomes(rows, "new")[1].values()) == {"open"}


def test_a_false_claim_is_rare():
    """Candidates that are worse by just the margin pass in at most 5 % of the trials."""
    rng = np.random.default_rng(7)
    passed = 0
    for _ in range(60):
        base = rng.uniform(0.4, 0.9, 30)
        rows = {
            name: {
                "0.5": [
                    [
                        Headline(f"p{i}", "spot", None, {"dice": v - loss + own})
                        for i, (v, own) in enumerate(
                            zip(base, rng.normal(0, 0.02, 30), strict=True)
                        )
                    ]
                ]
            }
            for name, loss in (("old", 0.0), ("new", 0.01))
        }
        [column] = check_non_inferiority(rows, "new", cut="0.5").columns().values()
        passed += column in ("not worse", "better")
    assert passed <= 6  # 2.5 % of 60 is 1.5; more than 6 once in a thousand


def test_the_record_is_plain_json_and_complete():
    rows = {"old": runs(DICE, LOUD), "new": runs(DICE, QUIET, start=1)}
    record = json.loads(
        json.dumps(non_inferiority_record(check_non_inferiority(rows, "new", cut="0.5")))
    )
    assert record["holds"] is True
    assert record["margin"] == 0.01
    assert len(record["columns"]) == len(record["held"]) == 3
    assert record["held"][0]["low"] < record["held"][0]["difference"] < record["held"][0]["high"]


@pytest.mark.parametrize(
    ("candidate", "margin", "says"),
    [("absent", 0.01, "the rows are a, b"), ("a", 1.5, "margin of a claim is 1.5")],
)
def test_what_cannot_be_claimed_is_a_sentence(candidate, margin, says):
    rows = {"a": runs(DICE), "b": runs(DICE)}
    with pytest.raises(UsageError, match=says):
        check_non_inferiority(rows, candidate, cut="0.5", margin=margin)
