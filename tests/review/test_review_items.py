"""What is listed: suspects in their order, then the worst cases, and nothing of another run."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from rareseg.decision.operating_point import default_point
from rareseg.errors import RunError
from rareseg.evaluation.measures.case_result import case_record, measure_case
from rareseg.quality.suspects import load_suspects, save_suspects
from rareseg.review.case_predictions import CasePredictions
from rareseg.review.review_items import WORST, list_items, worst_cases
from rareseg.run.setup.run_folder import open_run


def classes_of(run):
    return CasePredictions(open_run(run), run / "review").classes


def write_cases(path, rows):
    """Lines as `evaluate` writes them: (case, dice or None, fp, fn, top score)."""
    nothing = np.zeros((1, 4, 4), bool)
    names = list(
        case_record(
            measure_case(nothing, nothing, case_id="", point=default_point("r"), top_score=0)
        )
    )
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        for case, dice, fp, fn, top in rows:
            stratum = "negative" if dice is None else "positive"
            alarm = int(fp > 0) if dice is None else ""
            writer.writerow(
                {"case": case, "region": "r", "stratum": stratum, "dice": dice, "tp": 5, "fp": fp}
                | {"fn": fn, "top_score": top, "false_alarm": alarm}
            )


def test_worst_cases_are_the_lowest_dice_then_the_largest_alarms(tmp_path):
    rows = [("good", 1.0, 0, 0, 1), ("bad", 0.2, 3, 9, 1), ("worse", 0.1, 3, 9, 1)]
    rows += [("clean", None, 0, 0, 0.3), ("alarm", None, 7, 0, 0.8), ("louder", None, 9, 0, 0.7)]
    write_cases(tmp_path / "cases.csv", [*rows, ("elsewhere", 0.0, 0, 1, 1)])
    shapes = {name: (5, 30, 40) for name, *_ in rows}
    found = worst_cases(tmp_path / "cases.csv", shapes)
    assert [item.case_id for item in found] == ["worse", "bad", "louder", "alarm"]
    assert [round(item.score, 6) for item in found] == [0.9, 0.8, 0.7, 0.8]
    assert {item.box for item in found} == {((0, 5), (0, 30), (0, 40))}
    assert {item.kind for item in found} == {"worst case"}
    assert [item.voxels for item in found] == [12, 12, 9, 7]
    assert found == worst_cases(tmp_path / "cases.csv", shapes)
    assert len({item.id for item in found}) == 4


def test_no_more_worst_cases_than_anyone_looks_at(tmp_path):
    rows = [(f"p{k}", k / 1000, 1, 1, 1) for k in range(500)]
    rows += [(f"n{k}", None, 1 + k, 0, 1) for k in range(500)]
    write_cases(tmp_path / "cases.csv", rows)
    found = worst_cases(tmp_path / "cases.csv", {name: (1, 8, 8) for name, *_ in rows})
    assert len(found) == 2 * WORST
    assert (found[0].case_id, found[-1].case_id) == ("p0", f"n{500 - WORST}")


def test_suspects_come_first_in_their_order(run):
    suspects = load_suspects(run / "suspects.json")
    listed = list_items(open_run(run), classes_of(run))
    assert listed.items[: len(suspects)] == suspects
    assert listed.notice == ""


def test_without_suspects_the_worst_cases_are_offered_and_it_is_said(run):
    (run / "suspects.json").unlink()
    write_cases(run / "cases.csv", [("plate0000_0", 0.5, 1, 1, 1)])
    listed = list_items(open_run(run), type("C", (), {"regions": {"r": (1,)}}))
    assert [item.case_id for item in listed.items] == ["plate0000_0"]
    assert "rareseg suspects" in listed.notice
    assert ". " not in listed.notice


def test_nothing_to_review_is_an_error_with_a_remedy(run):
    (run / "suspects.json").unlink()
    (run / "cases.csv").unlink()
    with pytest.raises(RunError, match=r"nothing to review.*rareseg suspects"):
        list_items(open_run(run), classes_of(run))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"region": "foregroud"}, "did you mean 'foreground'"),
        ({"case_id": "nobody"}, "does not hold"),
        ({"box": ((0, 1), (0, 65), (0, 5))}, "outside of its case"),
        ({"box": ((0, 1), (5, 5), (0, 5))}, "outside of its case"),
        ({"plane": 1}, "outside of its case"),
    ],
)
def test_suspects_of_another_run_are_refused(run, change, words):
    suspects = load_suspects(run / "suspects.json")
    save_suspects(run / "suspects.json", [*suspects[1:], replace(suspects[0], **change)])
    with pytest.raises(RunError, match=words):
        list_items(open_run(run), classes_of(run))


def test_two_suspects_of_one_id_are_refused(run):
    suspects = load_suspects(run / "suspects.json")
    save_suspects(run / "suspects.json", [*suspects, suspects[0]])
    with pytest.raises(RunError, match=f"two suspects with the id '{suspects[0].id}'"):
        list_items(open_run(run), classes_of(run))


def test_a_damaged_cases_csv_is_named(run):
    (run / "cases.csv").write_text("case,region\nplate0000_0,foreground\n")
    with pytest.raises(RunError, match=r"cases\.csv cannot be read"):
        list_items(open_run(run), classes_of(run))


def test_the_file_is_json_for_others_too(run):
    assert json.loads((run / "suspects.json").read_text())["suspects"]
