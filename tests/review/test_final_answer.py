"""What several reviewers said becomes one thing that is done, or nothing with a reason."""

import itertools

import pytest

from rareseg.quality.suspects import Suspect
from rareseg.review.answers import VERDICTS, Answer
from rareseg.review.final_answer import final_answers

ITEM = Suspect("i", "c", None, "r", "missed object", 0.5, ((0, 1), (0, 1), (0, 1)), 1, 0, "")
LABEL, PREDICTION, EXCLUDE, IGNORE, UNSURE = VERDICTS


def final(*verdicts, seen="now"):
    said = {
        f"reviewer {k}": Answer(k, ITEM, f"reviewer {k}", verdict, "", seen, "")
        for k, verdict in enumerate(verdicts)
    }
    (found,) = final_answers({"i": said}, "now")
    return found.verdict, found.reason


@pytest.mark.parametrize(
    ("said", "done"),
    [
        ((LABEL,), (LABEL, "")),
        ((PREDICTION, PREDICTION), (PREDICTION, "")),
        ((PREDICTION, LABEL), (None, "no majority")),
        ((PREDICTION, LABEL, LABEL), (LABEL, "")),
        ((PREDICTION, LABEL, EXCLUDE), (None, "no majority")),
        ((IGNORE, IGNORE, LABEL, EXCLUDE), (None, "no majority")),
        ((IGNORE, UNSURE, UNSURE), (IGNORE, "")),
        ((IGNORE, LABEL, UNSURE), (None, "no majority")),
        ((UNSURE, UNSURE), (None, "nobody was sure")),
    ],
)
def test_the_rule(said, done):
    for order in itertools.permutations(said):
        assert final(*order) == done


@pytest.mark.parametrize("verdict", VERDICTS)
def test_what_was_said_of_another_prediction_counts_only_where_it_is_about_none(verdict):
    expected = (
        (None, "decided on another prediction than the present one")
        if verdict in (PREDICTION, IGNORE)
        else (None, "nobody was sure")
        if verdict == UNSURE
        else (verdict, "")
    )
    assert final(verdict, seen="earlier") == expected


def test_nothing_said_is_nothing_settled():
    assert final_answers({}, "now") == ()
    assert final_answers({"i": {}}, "now") == ()
