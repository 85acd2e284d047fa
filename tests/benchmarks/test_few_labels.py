"""Counts and tables of the benchmark: rows with points, with the most probable class, with masks.

Two fields of one tile hold something, two hold nothing, and every row says something else of them.
"""

import argparse
import json
from types import SimpleNamespace

import few_labels_table as table
import numpy as np
import PIL.Image
import pytest
from few_labels_data import CaseNote
from few_labels_results import CHOSEN, HALF, UNGATED, UNION, count_cases
from few_labels_rows import Outcome

from rareseg.data.records import Case
from rareseg.evaluation.tables.score_table import ScoreTable, score_case
from rareseg_runner.image_records import Classes

CLASSES = Classes(("background", "foreground"), (0, 1), {"foreground": (1,)})
SCORES = {"p": (0.9, 0.8, 0.1, 0.1), "n": (0.7, 0.1, 0.1, 0.1)}
"""Of four pixels of a case with something in the first two, and of one with nothing."""
INSIDE = {"p": (1, 1, 0, 0), "n": (0, 0, 0, 0)}
NOTES = {i: CaseNote(i, i, i, "spot" if i == "p" else "nothing", i == "p", 0) for i in SCORES}


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.array([values], np.uint8)).save(path)
    return path


@pytest.fixture
def counted(tmp_path):
    """Count masks that are on where a score reaches 0.85 in the first case, 0.6 in the other."""

    def count(**given):
        for case, cut in (("p", 0.85), ("n", 0.6)):
            on = [score >= cut for score in SCORES[case]]
            write(tmp_path / "masks" / "foreground" / f"{case}.png", on)
        rows = [
            score_case(
                np.array([SCORES[i]], np.float32),
                np.array([INSIDE[i]], np.uint8),
                case_id=i,
                region="foreground",
            )
            for i in SCORES
        ]
        outcome = Outcome(
            **{
                "masks": tmp_path / "masks",
                "table": ScoreTable(tuple(rows)),
                "points": {},
                "command": "",
                "settings": (),
                "steps": 1,
                "seconds": 1.0,
                "resumed": False,
                "about": {},
            }
            | given
        )
        cases = [
            Case(i, (tmp_path / f"{i}.png",), write(tmp_path / f"m_{i}.png", INSIDE[i]))
            for i in SCORES
        ]
        records = count_cases(outcome, cases, NOTES, CLASSES)
        return {record["id"]: record["regions"] for record in records}

    return count


def counts(record):
    return record["tp"], record["fp"], record["fn"]


class TestCounts:
    def test_of_a_point_the_ungated_cut_is_its_threshold(self, counted):
        point = {"threshold": 0.5, "gate": 0.99, "smallest_component": 0}
        found = counted(points={"foreground": point})["p"]["foreground"]
        assert counts(found[CHOSEN]) == (1, 0, 1)
        assert counts(found[HALF]) == counts(found[UNGATED]) == (2, 0, 0)
        assert found["image_score"] == pytest.approx(0.9)

    def test_of_the_most_probable_class_it_is_the_mask(self, counted):
        found = counted(ungated=True)
        assert counts(found["p"]["foreground"][UNGATED]) == (1, 0, 1)
        assert counts(found["n"]["foreground"][UNGATED]) == (0, 1, 0)
        assert counts(found["n"][UNION][CHOSEN]) == (0, 1, 0)

    def test_of_masks_alone_nothing_is_said_of_scores(self, counted):
        found = counted(table=None, ungated=True)["n"]["foreground"]
        assert found == {"image_score": None, CHOSEN: {"tp": 0, "fp": 1, "fn": 0, "alarmed": True}}


def run(row, cases):
    """Return the record of a run: (case, image score, dice or None, on) of every case."""
    return {
        "asked": {
            "row": row,
            "fold": 0,
            "seed": 0,
            "threads": 1,
            "length": "10steps",
            "row_settings": [],
            "row_settings_if_known": [],
        },
        "rareseg": {"commit": "c" * 40, "changed": False},
        "steps": 10,
        "seconds": 60.0,
        "resumed": False,
        "about": {},
        "against_own_cases": None,
        "cases": [
            {
                "id": case,
                "group": case,
                "object": case,
                "kind": "nothing" if dice is None else "spot",
                "positive": dice is not None,
                "regions": {"foreground": said_of(score, dice, on=on)},
            }
            for case, score, dice, on in cases
        ],
    }


def said_of(score, dice, *, on):
    values = {"alarmed": on} if dice is None else {"dice": dice, "found": on}
    cuts = (CHOSEN,) if score is None else (CHOSEN, HALF, UNGATED)
    return {"image_score": score, **dict.fromkeys(cuts, values)}


POSITIVE = [(f"p{k}", 0.5 + 0.1 * k, 0.8, True) for k in range(5)]
NEGATIVE = [(f"n{k}", 0.2 * k, None, k > 1) for k in range(5)]
"""Three of five are alarmed, with the image scores 0.4, 0.6 and 0.8."""


@pytest.fixture
def lines(tmp_path):
    """The table of three rows: with scores, with better ones, and with masks alone."""
    better = [(case, score + 0.5, dice, on) for case, score, dice, on in POSITIVE]
    rows = {
        "planned": POSITIVE + NEGATIVE,
        "better": better + NEGATIVE,
        "masks": [(case, None, dice, on) for case, _, dice, on in POSITIVE + NEGATIVE],
    }
    for row, cases in rows.items():
        place = tmp_path / "results" / "crackforest" / row / "fold0_seed0_10steps.json"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps(run(row, cases)), encoding="utf-8")

    def made(alarms=None):
        given = SimpleNamespace(
            sets="crackforest",
            out=tmp_path,
            only=",".join(rows),
            limit=0,
            length=None,
            regions="",
            alarms=alarms,
        )
        text = "\n".join(table.table_lines(argparse.Namespace(**vars(given))))
        parts = text.split("**foreground, ")[1:]
        return {part.partition("**")[0]: part.splitlines() for part in parts}

    return made


def cells(part, row):
    """Return the cells of a row in the first table of a part, None where it is not there."""
    found = [line for line in part if line.startswith(f"| {row} |")]
    return [cell.strip() for cell in found[0].split("|")[1:-1]] if found else None


class TestTable:
    def test_a_row_of_masks_alone_stands_where_masks_are_counted(self, lines):
        found = lines()
        chosen, half = found["at the chosen points"], found["at 0.5"]
        with_scores, masks = cells(chosen, "planned"), cells(chosen, "masks")
        assert masks[1:6] == with_scores[1:6]
        assert (with_scores[6], masks[6]) == ("0.780", "—")
        assert cells(half, "masks") is None
        assert cells(half, "planned")[1:] == with_scores[1:]

    def test_at_equal_alarms_each_row_is_cut_by_its_own_image_scores(self, lines):
        (part,) = (part for title, part in lines(alarms=0.2).items() if "at most 20%" in title)
        # One of five may be alarmed, that of 0.8: the gate lies above 0.6.
        assert cells(part, "planned")[4].startswith("20.0%")
        assert cells(part, "planned")[3].startswith("60.0%")
        assert cells(part, "better")[3].startswith("100.0%")
        assert cells(part, "masks") is None
