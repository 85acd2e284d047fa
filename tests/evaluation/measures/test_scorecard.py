from __future__ import annotations

import csv
import json
from dataclasses import dataclass

import numpy as np
import pytest

from rareseg.errors import ScoreError
from rareseg.evaluation.measures.scorecard import (
    make_scorecard,
    measure_case,
    scorecard_to_json,
    write_cases_csv,
    write_scorecard,
)
from rareseg.evaluation.measures.scorecard_reading import scorecard_from_json
from rareseg.evaluation.metrics.overlap import Counts
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg_runner.decision.component_size import Size
from rareseg_runner.image_records import IGNORE, Geometry

FOUR = Size(4, "mm³")


@dataclass(frozen=True)
class Point:
    region: str = "foreground"
    threshold: float = 0.5
    gate: float = 0.0
    smallest_component: Size = FOUR


def measured(reference, prediction, case_id="a", **more):
    return measure_case(
        np.array(prediction, bool),
        np.array(reference, np.uint8),
        case_id=case_id,
        point=more.pop("point", Point()),
        top_score=more.pop("top_score", 0.9),
        ignores=True,
        **more,
    )


@pytest.fixture
def results():
    """Two positives (one missed), two negatives (one alarm of two pixels in two components)."""
    return [
        measured([[1, 1, 0, 0, 0, 1]], [[1, 0, 1, 0, 0, 0]], "hit", group="p1", role="test"),
        measured([[1, 0, 0, 0, 0, 0]], [[0, 0, 0, 0, 0, 0]], "miss", group="p2", role="test"),
        measured([[0, 0, 0, 0, 0, 0]], [[1, 0, 1, 0, 0, 0]], "alarm", group="p3", role="test"),
        measured([[0, 0, 0, 0, 0, 0]], [[0, 0, 0, 0, 0, 0]], "quiet", group="p3", role="test"),
    ]


def test_strata_are_kept_apart_and_counted(results):
    part = make_scorecard(results).region("foreground")
    assert (part.positives.n_cases, part.positives.n_groups) == (2, 2)
    # dice: 2·1 / (2·1 + 1 + 2) = 0.4 and 0; recall 1/3 and 0.
    assert part["dice"].value == pytest.approx(0.2)
    assert part["recall"].value == pytest.approx(1 / 6)
    assert part["found"].value == 0.5
    assert (part.negatives.n_cases, part.negatives.n_groups) == (2, 1)
    assert part["false_alarm"].value == 0.5
    assert part["groups_alarmed"].value == 1.0
    assert part["false_positive_size"].value == 1.0
    assert part.negatives.size_unit == "pixels"
    assert part.role == "test"


def test_precision_of_an_empty_prediction_is_undefined_and_counted(results):
    precision = make_scorecard(results).region("foreground")["precision"]
    assert precision.value == 0.5
    assert (precision.n_cases, precision.n_undefined) == (1, 1)


def test_objects_have_their_own_recall_and_false_positives(results):
    part = make_scorecard(results).region("foreground")
    assert part.objects.n_objects == 3
    assert part["object_recall"].value == pytest.approx(1 / 3)
    assert part.objects.median_size == 1.0
    # "hit": the second predicted pixel lies beside the first object, apart by one pixel.
    assert part["false_positive_components"].value == pytest.approx((1 + 0 + 2 + 0) / 4)


def test_accuracy_stands_beside_that_of_predicting_nothing(results):
    part = make_scorecard(results).region("foreground")
    assert part.accuracy == pytest.approx((24 - 3 - 1 - 2) / 24)
    assert part.background_accuracy == pytest.approx(20 / 24)


def test_strata_without_cases_are_undefined_with_their_reason(results):
    part = make_scorecard(results[:2]).region("foreground")
    assert part["false_alarm"].value == Undefined("no negative case")
    part = make_scorecard(results[2:]).region("foreground")
    assert part["dice"].value == Undefined("no positive case")
    assert part["object_recall"].value == Undefined("no object")
    assert part.objects.median_size == Undefined("no object")


def test_a_case_of_ignored_voxels_alone_is_in_no_stratum(results):
    ignored = measured([[IGNORE] * 6], [[1] * 6], "ignored", group="p4", role="test")
    assert ignored.stratum == "ignored"
    assert not ignored.false_alarm
    part = make_scorecard([*results, ignored]).region("foreground")
    assert (part.n_ignored, part.negatives.n_cases, part.objects.n_cases) == (1, 2, 4)


def test_an_alarm_on_ignored_voxels_is_none():
    assert not measured([[0, IGNORE]], [[0, 1]]).false_alarm


def test_unknown_groups_are_said(results):
    assert make_scorecard(results).assumption == ""
    alone = measured([[1]], [[1]], "x")
    card = make_scorecard([alone])
    assert card.assumption == "assumes independent images"
    assert "assumes independent images" in card.regions[0]["found"].method


def test_sizes_are_in_the_files_units():
    volume = measured(
        [[[0, 0]]], [[[1, 1]]], geometry=Geometry(spacing=(3.0, 0.5, 0.5), dimension=3)
    )
    assert (volume.false_positive_size, volume.size_unit) == (1.5, "mm³")
    photo = measured([[[0, 0]]], [[[1, 1]]], geometry=Geometry(spacing=(1.0, 0.5, 0.5)))
    assert (photo.false_positive_size, photo.size_unit) == (0.5, "mm²")


def test_results_that_cannot_stand_together_are_refused(results):
    with pytest.raises(ScoreError, match="twice"):
        make_scorecard([results[0], results[0]])
    other = measured([[1]], [[1]], "x", role="test", point=Point(threshold=0.25))
    with pytest.raises(ScoreError, match="several operating points"):
        make_scorecard([results[0], other])
    train = measured([[1]], [[1]], "x", role="train")
    with pytest.raises(ScoreError, match=r"several roles \(test, train\)"):
        make_scorecard([results[0], train])


def test_equal_results_give_equal_scorecards(results):
    assert make_scorecard(results) == make_scorecard(results)
    assert make_scorecard([]).regions == ()


def test_cases_csv_holds_every_count_and_the_reason_of_what_is_undefined(results, tmp_path):
    path = tmp_path / "out" / "cases.csv"
    write_cases_csv(path, results)
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["case"] for row in rows] == ["hit", "miss", "alarm", "quiet"]
    hit, miss, alarm, quiet = rows
    counts = Counts(*(int(hit[name]) for name in ("tp", "fp", "fn", "tn")))
    assert counts == results[0].counts == Counts(1, 1, 2, 2)
    assert float(hit["dice"]) == results[0].metric("dice")
    assert (hit["role"], hit["group"], hit["threshold"], hit["gate"]) == (
        "test",
        "p1",
        "0.5",
        "0.0",
    )
    assert (hit["smallest_component"], hit["smallest_component_unit"]) == ("4", "mm³")
    assert (miss["precision"], miss["undefined"]) == ("", "precision: nothing is predicted")
    assert (miss["found"], miss["false_alarm"]) == ("0", "")
    assert (alarm["found"], alarm["false_alarm"], alarm["dice"]) == ("", "1", "0.0")
    assert "dice: reference and prediction are empty" in quiet["undefined"]
    assert quiet["dice"] == ""


def test_an_empty_cases_csv_has_its_columns(tmp_path):
    write_cases_csv(tmp_path / "cases.csv", [])
    assert (tmp_path / "cases.csv").read_text().startswith("case,region,role,group,stratum,")


def test_scorecard_json_is_plain_and_keeps_reasons(results, tmp_path):
    card = make_scorecard(results[:2])
    write_scorecard(tmp_path / "scorecard.json", card)
    read = json.loads((tmp_path / "scorecard.json").read_text(encoding="utf-8"))
    assert read == scorecard_to_json(card)
    region = read["regions"][0]
    assert region["positives"]["dice"]["value"] == pytest.approx(0.2)
    assert region["negatives"]["false_alarm_rate"]["value"] == {"undefined": "no negative case"}


def test_a_scorecard_comes_back_from_its_json(results):
    for some in (results, results[:2], results[2:], []):
        card = make_scorecard(some)
        assert scorecard_from_json(json.loads(json.dumps(scorecard_to_json(card)))) == card


def test_a_scorecard_of_before_counts_voxels(results):
    record = scorecard_to_json(make_scorecard(results))
    assert record["regions"][0]["smallest_component"] == "4 mm³"
    record["regions"][0]["smallest_component"] = 4
    assert scorecard_from_json(record).regions[0].smallest_component == Size(4, "voxels")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("regions",), 5),
        (("regions", 0), "words"),
        (("regions", 0, "role"), "judge"),
        (("regions", 0, "threshold"), "high"),
        (("regions", 0, "smallest_component"), "large"),
        (("regions", 0, "smallest_component"), None),
        (("regions", 0, "positives", "n_cases"), True),
        (("regions", 0, "positives", "dice", "low"), {"undefined": 3}),
    ],
)
def test_what_is_no_scorecard_is_refused_by_its_place(place, value, results):
    record = json.loads(json.dumps(scorecard_to_json(make_scorecard(results))))
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ScoreError, match=f"{place[-1] if place[-1] else 'regions.0'}.* is "):
        scorecard_from_json(record)
    del inner[place[-1]]
    if isinstance(place[-1], str):
        with pytest.raises(ScoreError, match=f"has no {place[-1]}"):
            scorecard_from_json(record)
