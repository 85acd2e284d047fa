"""Words of earlier versions: the role select, the setting split.select, and promises."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from rareseg.data.dataset import open_dataset
from rareseg.decision.guarantees.guarantee import Certificate, make_guarantee, statement_from_dict
from rareseg.decision.operating_point import OperatingPoint, make_goal
from rareseg.errors import RecipeError
from rareseg.evaluation.comparisons.paired_test import read_headlines
from rareseg.evaluation.measures.case_result import measure_case, write_cases_csv
from rareseg.evaluation.measures.scorecard import make_scorecard, scorecard_to_json
from rareseg.evaluation.measures.scorecard_reading import scorecard_from_json
from rareseg.evaluation.tables.component_table import ComponentTable, components_of_case
from rareseg.evaluation.tables.component_table_io import load_components, save_components
from rareseg.evaluation.tables.score_table import ScoreTable, score_case
from rareseg.evaluation.tables.score_table_io import load_table, save_table
from rareseg.quality.suspects.suspect import Suspect, load_suspects, save_suspects
from rareseg.recipe import make_recipe, parse_settings, read_overrides
from rareseg.run.setup.run_folder import RunFolder
from rareseg.run.setup.split_files import read_split
from rareseg_runner.decision.component_size import ANY_SIZE


def test_the_earlier_key_of_the_recipe_is_read_and_the_new_one_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert parse_settings(["split.select=0.3"]) == {"split": {"validation": 0.3}}
    assert caplog.messages == ["--set: split.select is called split.validation now."]
    recipe = make_recipe({"split": {"train": 0.5, "select": 0.3}})
    assert recipe.split.validation == 0.3


def test_a_recipe_file_of_an_earlier_version_is_read_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("split:\n  train: 0.5\n  select: 0.3\n", encoding="utf-8")
    assert read_overrides(path) == {"split": {"train": 0.5, "validation": 0.3}}
    assert caplog.messages == []


def test_one_setting_under_both_names_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"split\.select and split\.validation are one setting"):
        parse_settings(["split.select=0.3", "split.validation=0.3"])


def test_the_earlier_role_is_read_from_a_split_and_a_manifest(tmp_path: Path) -> None:
    split = tmp_path / "split.csv"
    split.write_text("id,role,group\na,train,\nb,select,\n", encoding="utf-8")
    assert read_split(split) == {"a": "train", "b": "validation"}
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("id,image,mask,split\na,a.png,empty,select\n", encoding="utf-8")
    assert [case.role for case in open_dataset(manifest).cases] == ["validation"]


def test_a_score_table_of_an_earlier_version_is_found_and_read(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.scores("validation").name == "validation.npz"
    row = score_case([0.2, 0.9], [0, 1], case_id="a", region="r", role="validation")
    earlier = tmp_path / "scores" / "select.npz"
    earlier.parent.mkdir()
    save_table(ScoreTable((row,)), earlier)
    with np.load(earlier) as file:
        columns = dict(file)
    assert columns["role"].tolist() == ["validation"]
    columns["role"] = np.array(["select"])
    np.savez(earlier, **columns)
    assert folder.scores("validation") == earlier
    assert load_table(earlier).rows[0].role == "validation"


def test_a_point_and_a_certificate_of_an_earlier_version_are_read() -> None:
    point = OperatingPoint("r", threshold=0.5, role="validation")
    assert OperatingPoint.from_dict({**point.to_dict(), "role": "select"}) == point
    statement = Certificate(
        region="r",
        guarantee=make_guarantee("false alarm rate", 0.1, confidence=0.95),
        threshold=0.5,
        gate=0.0,
        smallest_component=ANY_SIZE,
        value=0.0,
        n_groups=59,
        n_cases=59,
        role="validation",
        method="m",
        cases="d",
        arithmetic={},
        assumes_independent_images=False,
    )
    record = {**statement.to_dict(), "role": "select"}
    record["promise"] = record.pop("guarantee")
    assert statement_from_dict(record) == statement


def test_the_earlier_level_is_taken_and_the_new_one_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        goal = make_goal("cost", level="lesion", cost_false_positive=1, cost_false_negative=2)
    assert goal.level == "object"
    assert caplog.messages == ["The level 'lesion' is called 'object' now."]
    assert make_guarantee("false negative rate", 0.1, level="lesion").level == "object"


def test_a_component_table_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    row = components_of_case([[[0.2, 0.9]]], [[[0, 1]]], case_id="a", region="r")
    path = tmp_path / "components.npz"
    save_components(ComponentTable((row,)), path)
    with np.load(path) as file:
        columns = {name.replace("object", "lesion"): file[name] for name in file.files}
    assert "lesion_sizes" in columns
    np.savez(path, **columns)
    assert load_components(path).rows[0].object_sizes.tolist() == [1]


def test_cases_and_a_scorecard_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 0, 0] = True
    point = OperatingPoint("r", threshold=0.5)
    results = [measure_case(mask, mask, case_id=name, point=point, top_score=0.9) for name in "ab"]
    path = tmp_path / "cases.csv"
    write_cases_csv(path, results)
    today = read_headlines(path)
    assert today[0].values["object recall"] == 1.0
    path.write_text(path.read_text(encoding="utf-8").replace("object", "lesion"), encoding="utf-8")
    assert "lesion_recall" in path.read_text(encoding="utf-8")
    assert read_headlines(path) == today
    record = json.dumps(scorecard_to_json(make_scorecard(results)))
    earlier = json.loads(record.replace("object", "lesion"))
    assert scorecard_from_json(earlier) == scorecard_from_json(json.loads(record))


def test_suspects_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    box = ((0, 1), (0, 2), (0, 2))
    suspect = Suspect("0", "a", None, "r", "missed object", 0.5, box, 4, 0, "why")
    path = tmp_path / "suspects.json"
    save_suspects(path, [suspect])
    path.write_text(path.read_text(encoding="utf-8").replace("object", "lesion"), encoding="utf-8")
    assert load_suspects(path) == (suspect,)
