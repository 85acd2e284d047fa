"""Rows of what was found: their sums by hand, their places in the file, the journal."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from rareseg.run.predictions.predicted_case import PredictedCase, measure
from rareseg.run.predictions.prediction_journal import NAME, Journal
from rareseg.run.predictions.prediction_tables import (
    OBJECT_COLUMNS,
    PREDICTION_COLUMNS,
    write_tables,
)
from rareseg_runner.decision.detection import Detection
from rareseg_runner.geometry import from_canonical
from rareseg_runner.image_records import Geometry, Image


def found_in(mask: np.ndarray, scores: np.ndarray, geometry: Geometry) -> Detection:
    return Detection(
        image=Image(np.zeros((1, *mask.shape), np.uint8), geometry),
        scores={"crack": scores.astype(np.float32)},
        masks={"crack": mask},
        label_map=mask.astype(np.uint8),
        image_scores={"crack": float(scores.max(initial=0))},
        presence=None,
    )


def case_of(mask, scores=None, geometry=None, name="a") -> PredictedCase:
    scores = mask * 0.5 if scores is None else scores
    found = found_in(mask, scores, geometry or Geometry())
    return measure(found, case_id=name, image=f"{name}.png", digest="d", mask=f"{name}.png")


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_photograph_by_hand(tmp_path):
    mask = np.zeros((1, 6, 8), np.bool_)
    mask[0, 1, 1] = mask[0, 2, 2] = True  # one object: pixels that touch at a corner
    mask[0, 4, 5:8] = True
    scores = np.zeros(mask.shape)
    scores[0, 1, 1], scores[0, 2, 2], scores[0, 4, 5:8] = 0.9, 0.7, 0.6
    write_tables(tmp_path, [case_of(mask, scores)], {"crack": ["long", "short"]})
    (row,) = rows_of(tmp_path / "predictions.csv")
    assert row == {
        "id": "a",
        "image": "a.png",
        "region": "crack",
        "classes": "long + short",
        "flagged": "yes",
        "top_score": "0.9",
        "image_score": "0.9",
        "objects": "2",
        "area_pixels": "5",
        "area_mm2": "",
        "volume_voxels": "",
        "volume_mm3": "",
        "largest_x_from": "5",
        "largest_x_to": "8",
        "largest_y_from": "4",
        "largest_y_to": "5",
        "largest_z_from": "",
        "largest_z_to": "",
        "mask": "crack/a.png",
    }
    first, second = rows_of(tmp_path / "objects.csv")
    assert (first["object"], first["area_pixels"], first["mean_score"]) == ("1", "2", "0.8")
    assert (first["x_from"], first["x_to"], first["y_from"], first["y_to"]) == ("1", "3", "1", "3")
    assert (first["centre_x"], first["centre_y"], first["centre_z"]) == ("2.00", "2.00", "")
    assert (second["centre_x"], second["centre_y"]) == ("6.50", "4.50")


def test_nothing_found_is_a_row_and_no_object(tmp_path):
    write_tables(tmp_path, [case_of(np.zeros((1, 3, 3), np.bool_))], {"crack": ["crack"]})
    (row,) = rows_of(tmp_path / "predictions.csv")
    assert (row["flagged"], row["objects"], row["area_pixels"]) == ("no", "0", "0")
    assert row["largest_x_from"] == ""
    assert rows_of(tmp_path / "objects.csv") == []


def test_without_images_there_are_the_names_of_the_columns(tmp_path):
    write_tables(tmp_path, [], {})
    for name, columns in (("predictions", PREDICTION_COLUMNS), ("objects", OBJECT_COLUMNS)):
        assert (tmp_path / f"{name}.csv").read_text().strip() == ",".join(columns)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR", "SAL"])
def test_boxes_of_a_volume_are_along_the_axes_of_its_file(tmp_path, orientation):
    mask = np.zeros((5, 6, 7), np.bool_)
    mask[1:3, 2:5, 0:2] = True
    frame = Geometry((2.0, 0.5, 0.25), 3, (0.0, 0.0, 0.0), (1.0,) * 9, orientation)
    write_tables(tmp_path, [case_of(mask, geometry=frame)], {"crack": ["crack"]})
    (row,) = rows_of(tmp_path / "objects.csv")
    k, j, i = np.nonzero(from_canonical(mask, orientation))
    for axis, places in zip("xyz", (i, j, k), strict=True):
        assert int(row[f"{axis}_from"]) == places.min()
        assert int(row[f"{axis}_to"]) == places.max() + 1
        assert float(row[f"centre_{axis}"]) == pytest.approx(places.mean() + 0.5)
    assert (row["volume_voxels"], row["volume_mm3"], row["area_pixels"]) == ("12", "3", "")


def test_known_pixels_have_an_area(tmp_path):
    mask = np.ones((1, 2, 3), np.bool_)
    write_tables(
        tmp_path, [case_of(mask, geometry=Geometry((1.0, 0.5, 0.5)))], {"crack": ["crack"]}
    )
    (row,) = rows_of(tmp_path / "predictions.csv")
    assert (row["area_pixels"], row["area_mm2"]) == ("6", "1.5")


class TestJournal:
    def test_what_is_written_is_read_again(self, tmp_path):
        case = case_of(np.ones((1, 2, 3), np.bool_), geometry=Geometry((1.0, 0.5, 0.5)))
        assert PredictedCase.from_dict(json.loads(json.dumps(case.to_dict()))) == case
        Journal(tmp_path).add(case)
        (tmp_path / "a.png").touch()
        again = Journal(tmp_path)
        assert again.close() == {"a": case}
        assert again.finished("a", "d")
        assert not again.finished("a", "other bytes")
        assert not again.finished("b", "d")

    def test_an_image_without_its_label_map_is_not_finished(self, tmp_path):
        journal = Journal(tmp_path)
        journal.add(case_of(np.ones((1, 2, 3), np.bool_)))
        assert not journal.finished("a", "d")
        assert journal.close() == {}

    def test_a_cut_line_costs_itself(self, tmp_path):
        journal = Journal(tmp_path)
        for name in ("a", "b"):
            journal.add(case_of(np.ones((1, 2, 3), np.bool_), name=name))
            (tmp_path / f"{name}.png").touch()
        whole = (tmp_path / NAME).read_bytes()
        (tmp_path / NAME).write_bytes(whole[:-20])
        again = Journal(tmp_path)
        assert again.finished("a", "d")
        assert not again.finished("b", "d")
        again.add(case_of(np.ones((1, 2, 3), np.bool_), name="b"))
        assert set(Journal(tmp_path).close()) == {"a", "b"}
        assert (tmp_path / NAME).read_bytes() == whole

    def test_what_another_call_wrote_meanwhile_is_kept(self, tmp_path):
        one, other = Journal(tmp_path), Journal(tmp_path)
        for name, journal in (("b", one), ("a", other)):
            journal.add(case_of(np.ones((1, 2, 3), np.bool_), name=name))
            (tmp_path / f"{name}.png").touch()
        assert list(one.close()) == list(other.close()) == ["a", "b"]
