from __future__ import annotations

import json

import pytest

from rareseg.decision.guarantees.guarantee import (
    Certificate,
    EstimatedGuarantee,
    make_guarantee,
    statement_from_dict,
)
from rareseg.errors import ScoreError, UsageError
from rareseg_runner.decision.component_size import ANY_SIZE, Size

VALUES = {
    "region": "defect",
    "guarantee": make_guarantee("false alarm rate", 0.1, confidence=0.95),
    "threshold": 0.25,
    "gate": 0.5,
    "smallest_component": ANY_SIZE,
    "value": 1 / 46,
    "n_groups": 46,
    "n_cases": 80,
    "role": "certify",
    "method": "Learn then Test, binomial tail",
    "cases": "ab12",
    "arithmetic": {"weights": "cd34", "precision": "32", "tile": [64, 64], "mirror": False},
    "assumes_independent_images": False,
}
CERTIFICATE = Certificate(**VALUES)
AS_USED = {"threshold": 0.25, "gate": 0.5, "smallest_component": ANY_SIZE}


def test_usual_levels_and_rules_within_groups():
    fnr = make_guarantee("false negative rate", 0.1, confidence=None)
    assert (fnr.level, fnr.within, fnr.binary, fnr.monotone) == ("voxel", "mean", False, True)
    alarm = make_guarantee("false alarm rate", 0.1, confidence=0.95)
    assert (alarm.level, alarm.within, alarm.binary, alarm.monotone) == ("image", "any", True, True)
    fdp = make_guarantee("false discovery proportion", 0.1, confidence=0.95)
    assert (fdp.level, fdp.within, fdp.binary, fdp.monotone) == ("voxel", "mean", False, False)
    assert make_guarantee("false alarm rate", 0.1, level="voxel", confidence=None).within == "mean"


def test_who_a_guarantee_is_about():
    for kind, about in (
        ("false negative rate", (True, False)),
        ("false alarm rate", (False, True)),
        ("false discovery proportion", (True, True)),
    ):
        guarantee = make_guarantee(kind, 0.1, confidence=0.95)
        assert (guarantee.is_about(positive=True), guarantee.is_about(positive=False)) == about


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "false alarms"}, "did you mean 'false alarm rate'"),
        ({"alpha": 0.0}, "between 0 and 1"),
        ({"alpha": 5}, "between 0 and 1"),
        ({"confidence": 95}, "such as 0.95"),
        ({"level": "voxels"}, "did you mean 'voxel'"),
        ({"level": "object", "kind": "false alarm rate"}, "not bounded at the level 'object'"),
        ({"within": "any"}, "image-level"),
        (
            {"kind": "false discovery proportion", "confidence": None},
            "only be guaranteed with a confidence",
        ),
    ],
)
def test_guarantees_that_cannot_be_are_refused(arguments, message):
    given = {"kind": "false negative rate", "alpha": 0.1, **arguments}
    with pytest.raises(UsageError, match=message):
        make_guarantee(given.pop("kind"), given.pop("alpha"), **given)


@pytest.mark.parametrize("kind", [Certificate, EstimatedGuarantee])
def test_a_statement_comes_back_from_json(kind):
    statement = kind(**VALUES)
    back = statement_from_dict(json.loads(json.dumps(statement.to_dict())))
    assert back == statement
    assert type(back) is kind


def test_a_certificate_is_no_estimate():
    estimate = EstimatedGuarantee(**VALUES)
    assert estimate != CERTIFICATE
    assert estimate.sentence.startswith("estimate for defect")


def test_a_damaged_statement_is_refused():
    record = CERTIFICATE.to_dict()
    with pytest.raises(ScoreError, match="unknown fields: colour"):
        statement_from_dict({**record, "colour": "red"})
    with pytest.raises(ScoreError, match="allowed: certificate, estimate"):
        statement_from_dict({**record, "is": "guess"})
    with pytest.raises(ScoreError, match="damaged"):
        statement_from_dict({**record, "guarantee": {**record["guarantee"], "alpha": 2.0}})
    with pytest.raises(ScoreError, match="damaged"):
        statement_from_dict({**record, "guarantee": {"alpha": 0.1}})


def test_its_sentence_says_what_how_sure_on_how_many_and_by_which_sum():
    sentence = CERTIFICATE.sentence
    for part in (
        "defect",
        "10 %",
        "95 % confidence",
        "46 independent groups",
        "2.17 %",
        "binomial",
    ):
        assert part in sentence


def test_what_voids_a_statement():
    same = dict(CERTIFICATE.arithmetic)
    assert CERTIFICATE.void_because(**AS_USED, arithmetic=same) is None
    size = Size(4, "voxels")
    for name, value in (("threshold", 0.3), ("gate", 0.0), ("smallest_component", size)):
        reason = CERTIFICATE.void_because(**{**AS_USED, name: value}, arithmetic=same)
        assert reason == "the operating point was changed afterwards"
    for name, value, reason in (
        ("weights", "ef", "other weights"),
        ("precision", "bf16", "precision was 32 and is now bf16"),
        ("mirror", True, "mirror was False"),
        ("tile", None, "tile was"),
        ("temperature", 1.5, "temperature was None and is now 1.5"),
    ):
        assert reason in CERTIFICATE.void_because(**AS_USED, arithmetic={**same, name: value})
